/* Trees out and away: the folders are a queue that any number of threads work off. */
#define _GNU_SOURCE
#include "floor.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct walk {
    char **folders; /* parents before children */
    size_t count, room, taken, finished;
    void (*file)(int folder, const char *name);
    pthread_mutex_t lock;
    pthread_cond_t more;
};

static void add(struct walk *walk, const char *parent, const char *name) {
    char *path;
    if (asprintf(&path, "%s%s%s", parent, *name ? "/" : "", name) < 0) die("asprintf");
    pthread_mutex_lock(&walk->lock);
    if (walk->count == walk->room) {
        walk->room = walk->room * 2 + 64;
        walk->folders = realloc(walk->folders, walk->room * sizeof *walk->folders);
        if (walk->folders == NULL) die("realloc");
    }
    walk->folders[walk->count++] = path;
    pthread_cond_signal(&walk->more);
    pthread_mutex_unlock(&walk->lock);
}

/* The next folder, or NULL when all are done. */
static const char *take(struct walk *walk) {
    const char *path = NULL;
    pthread_mutex_lock(&walk->lock);
    while (walk->taken == walk->count && walk->finished < walk->count)
        pthread_cond_wait(&walk->more, &walk->lock);
    if (walk->taken < walk->count) path = walk->folders[walk->taken++];
    pthread_mutex_unlock(&walk->lock);
    return path;
}

static void *work(void *argument) {
    struct walk *walk = argument;
    const char *path;
    while ((path = take(walk)) != NULL) {
        DIR *folder = opendir(path);
        if (folder == NULL) die(path);
        struct dirent *entry;
        while ((entry = readdir(folder)) != NULL) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
            if (entry->d_type == DT_DIR)
                add(walk, path, entry->d_name);
            else
                walk->file(dirfd(folder), entry->d_name);
        }
        closedir(folder);
        pthread_mutex_lock(&walk->lock);
        if (++walk->finished == walk->count) pthread_cond_broadcast(&walk->more);
        pthread_mutex_unlock(&walk->lock);
    }
    return NULL;
}

static void run(struct walk *walk, const char *path, int threads) {
    pthread_t others[64];
    if (threads < 1 || threads > 64) threads = 1;
    pthread_mutex_init(&walk->lock, NULL);
    pthread_cond_init(&walk->more, NULL);
    add(walk, path, "");
    for (int n = 1; n < threads; n++)
        if (pthread_create(&others[n], NULL, work, walk) != 0) die("pthread_create");
    work(walk);
    for (int n = 1; n < threads; n++) pthread_join(others[n], NULL);
}

static void remove_file(int folder, const char *name) {
    if (unlinkat(folder, name, 0) < 0) die(name);
}

void delete_tree(const char *path, int threads) {
    struct walk walk = {.file = remove_file};
    run(&walk, path, threads);
    while (walk.count > 0)
        if (rmdir(walk.folders[--walk.count]) < 0) die(walk.folders[walk.count]);
}

enum { BUFFER = 1 << 20 };
static char buffer[BUFFER];
static size_t held;

static void copy_file(int folder, const char *name) {
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) die(name);
    ssize_t got;
    while ((got = read(fd, buffer + held, BUFFER - held)) != 0) {
        if (got < 0) die(name);
        held += got;
        if (held == BUFFER) {
            write_all(STDOUT_FILENO, buffer, held);
            held = 0;
        }
    }
    close(fd);
}

void export_tree(const char *path) {
    struct walk walk = {.file = copy_file};
    run(&walk, path, 1);
    write_all(STDOUT_FILENO, buffer, held);
}
