/* Buffers that one thread fills and others use, in order and without a copy. */
#ifndef RING_H
#define RING_H

#include <pthread.h>
#include <stddef.h>

enum { SLOTS = 8, SLOT = 256 * 1024, USERS = 2 };

struct ring {
    unsigned char *data[SLOTS];
    size_t length[SLOTS];
    unsigned long made, used[USERS];
    int users;
    pthread_mutex_t lock;
    pthread_cond_t moved;
};

void ring_init(struct ring *ring, int users);

/* A buffer of SLOT bytes to fill, then its length: 0 ends the stream. */
unsigned char *ring_room(struct ring *ring);
void ring_put(struct ring *ring, size_t length);

/* What is next for that user; `ring_done` gives it back. */
size_t ring_get(struct ring *ring, int user, unsigned char **data);
void ring_done(struct ring *ring, int user);

#endif
