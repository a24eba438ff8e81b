#include "ring.h"
#include "floor.h"

#include <stdlib.h>

void ring_init(struct ring *ring, int users) {
    *ring = (struct ring){.users = users};
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->moved, NULL);
    for (int n = 0; n < SLOTS; n++)
        if ((ring->data[n] = malloc(SLOT)) == NULL) die("malloc");
}

static int is_full(const struct ring *ring) {
    for (int user = 0; user < ring->users; user++)
        if (ring->made - ring->used[user] == SLOTS) return 1;
    return 0;
}

unsigned char *ring_room(struct ring *ring) {
    pthread_mutex_lock(&ring->lock);
    while (is_full(ring)) pthread_cond_wait(&ring->moved, &ring->lock);
    pthread_mutex_unlock(&ring->lock);
    return ring->data[ring->made % SLOTS];
}

void ring_put(struct ring *ring, size_t length) {
    pthread_mutex_lock(&ring->lock);
    ring->length[ring->made++ % SLOTS] = length;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

size_t ring_get(struct ring *ring, int user, unsigned char **data) {
    pthread_mutex_lock(&ring->lock);
    while (ring->made == ring->used[user]) pthread_cond_wait(&ring->moved, &ring->lock);
    pthread_mutex_unlock(&ring->lock);
    unsigned long slot = ring->used[user] % SLOTS;
    *data = ring->data[slot];
    return ring->length[slot];
}

void ring_done(struct ring *ring, int user) {
    pthread_mutex_lock(&ring->lock);
    ring->used[user]++;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}
