#include "log_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// What may wait, in bytes: a call that has more to tell is in a state in which the first lines say why.
enum { ROOM = 1 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct orlop_go_line *first, **end = &first;
static size_t used;
static uint64_t left_out;

uint32_t orlop_go_lines_wait;

void orlop_go_log(uint32_t level, const char *line, void *unused) {
    (void)unused;
    size_t length = strlen(line) + 1;
    struct orlop_go_line *entry = malloc(sizeof *entry + length);
    if (entry != NULL) {
        entry->next = NULL;
        entry->level = level;
        entry->text = memcpy(entry + 1, line, length);
    }
    pthread_mutex_lock(&lock);
    if (entry == NULL || used + length > ROOM) {
        left_out++;
        free(entry);
    } else {
        used += length;
        *end = entry;
        end = &entry->next;
    }
    __atomic_store_n(&orlop_go_lines_wait, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}

struct orlop_go_line *orlop_go_take_lines(uint64_t *lost) {
    pthread_mutex_lock(&lock);
    struct orlop_go_line *taken = first;
    *lost = left_out;
    first = NULL;
    end = &first;
    used = 0;
    left_out = 0;
    __atomic_store_n(&orlop_go_lines_wait, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    return taken;
}
