// The lines of the library's log, kept for Go: the library gives them on threads of its own too, in the middle of its work, where
// nobody may wait for what Go does with a line.
#ifndef ORLOP_GO_LOG_QUEUE_H
#define ORLOP_GO_LOG_QUEUE_H

#include <stdint.h>

struct orlop_go_line {
    struct orlop_go_line *next;
    uint32_t level;
    // Behind the struct, in the same block.
    const char *text;
};

// 1 while lines wait.
extern uint32_t orlop_go_lines_wait;

// The function for orlop_set_log.
void orlop_go_log(uint32_t level, const char *line, void *unused);

// All lines that wait, the oldest first, each to be freed; *lost is how many there was no room for.
struct orlop_go_line *orlop_go_take_lines(uint64_t *lost);

#endif
