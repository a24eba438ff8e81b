/* Descriptors that nobody reads, operations that are called off, and those that are looked at. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A layer with a file of 4 MiB, more than a pipe holds. */
static void import_large(const struct world *world, const char *id) {
    struct feed feed;
    feed_start(&feed, 4 << 20);
    OK(orlop_import_layer(world->store, OPTIONS(orlop_new_layer, .id = id), feed.reader, NULL, NULL, &failure));
    feed_join(&feed);
}

/* EPIPE, and no SIGPIPE where its disposition is SIG_DFL and would end the process. */
void check_closed_pipe(void) {
    signal(SIGPIPE, SIG_DFL);
    struct world world = open_world("store");
    import_large(&world, "large");
    create_image(&world, "image", "large", "localhost/large:1");
    orlop_driver *driver = open_driver(world.config);
    int ends[2];
    for (int way = 0; way < 4; way++) {
        CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
        close(ends[0]);
        int32_t code = 0;
        switch (way) {
        case 0: code = orlop_export(world.store, "large", NULL, ORLOP_COMPRESSION_NONE, ends[1], NULL, NULL, &failure); break;
        case 1: code = orlop_export(world.store, "large", NULL, ORLOP_COMPRESSION_GZIP, ends[1], NULL, NULL, &failure); break;
        case 2: code = orlop_driver_diff(driver, "large", NULL, NULL, ends[1], NULL, &failure); break;
        case 3: {
            int fd = memfd_create("item", MFD_CLOEXEC);
            CHECK_ERRNO(ftruncate(fd, 1 << 20) == 0);
            OK(orlop_set_layer_data(world.store, "large", "item", fd, NULL, &failure));
            close(fd);
            code = orlop_layer_data(world.store, "large", "item", ends[1], NULL, &failure);
            break;
        }
        }
        close(ends[1]);
        CHECK(code == ORLOP_ERR_IO);
        if (orlop_error_errno(failure) != EPIPE) {
            fail(__FILE__, __LINE__, "way %d: errno %d: %s", way, orlop_error_errno(failure),
                 orlop_error_message(failure));
        }
        orlop_error_free(failure);
        failure = NULL;
        sigset_t pending, mask;
        sigpending(&pending);
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        CHECK(!sigismember(&pending, SIGPIPE) && !sigismember(&mask, SIGPIPE));
    }

    /* The reader goes in the middle. */
    CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK_ERRNO(child >= 0);
    if (child == 0) {
        char bytes[4096];
        (void)!read(ends[0], bytes, sizeof bytes);
        _exit(0);
    }
    close(ends[0]);
    FAILS(ORLOP_ERR_IO, orlop_export(world.store, "large", NULL, ORLOP_COMPRESSION_NONE, ends[1], NULL, NULL, &failure));
    close(ends[1]);

    /* One that was pending before stays pending. */
    sigset_t pipes, pending;
    sigemptyset(&pipes);
    sigaddset(&pipes, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipes, NULL);
    pthread_kill(pthread_self(), SIGPIPE);
    CHECK(OK(orlop_exists(world.store, "large", &failure)) == 1);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE));
    CHECK(sigtimedwait(&pipes, NULL, &(struct timespec){0}) == SIGPIPE);
    orlop_driver_free(driver);
    close_world(&world);
}

struct later {
    orlop_cancel *cancel;
    double at;
};

static void *cancel_later(void *argument) {
    struct later *later = argument;
    usleep(200000);
    later->at = now();
    orlop_cancel_now(later->cancel);
    return NULL;
}

/* From another thread, while the call reads, waits for what never comes, or writes to whom does not read. */
void check_cancel(void) {
    struct world world = open_world("store");
    import_large(&world, "large");
    orlop_driver *driver = open_driver(world.config);
    OK(orlop_driver_create(driver, "target", NULL, NULL, &failure));
    orlop_cancel_now(NULL);
    for (int way = 0; way < 5; way++) {
        struct later later = {0};
        OK(orlop_cancel_new(&later.cancel, &failure));
        const orlop_operation *operation = OPTIONS(orlop_operation, .cancel = later.cancel);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, cancel_later, &later) == 0);
        struct feed feed;
        int ends[2];
        CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
        switch (way) {
        case 0:
            feed_start(&feed, 64ull << 30);
            FAILS(ORLOP_ERR_CANCELLED, orlop_import_layer(world.store, OPTIONS(orlop_new_layer, .id = "endless"),
                                                          feed.reader, operation, NULL, &failure));
            feed_join(&feed);
            break;
        case 1:
            FAILS(ORLOP_ERR_CANCELLED, orlop_import_layer(world.store, OPTIONS(orlop_new_layer, .id = "silent"),
                                                          ends[0], operation, NULL, &failure));
            break;
        case 2:
            FAILS(ORLOP_ERR_CANCELLED, orlop_export(world.store, "large", NULL, ORLOP_COMPRESSION_NONE, ends[1],
                                                    operation, NULL, &failure));
            break;
        case 3:
            FAILS(ORLOP_ERR_CANCELLED,
                  orlop_driver_apply_diff(driver, "target", ends[0], NULL, operation, NULL, &failure));
            break;
        case 4:
            FAILS(ORLOP_ERR_CANCELLED, orlop_driver_diff(driver, "large", NULL, NULL, ends[1], operation, &failure));
            break;
        }
        double end = now();
        CHECK(pthread_join(thread, NULL) == 0);
        /* Within a buffer of data, and what was unpacked taken away; the machine may be busy. */
        if (end - later.at > 10) {
            fail(__FILE__, __LINE__, "way %d took %.1f s to end", way, end - later.at);
        }
        close(ends[0]);
        close(ends[1]);
        /* Once used it stays used. */
        int tar = TAR({'0', "file", "content"});
        FAILS(ORLOP_ERR_CANCELLED, orlop_import_layer(world.store, NULL, tar, operation, NULL, &failure));
        close(tar);
        orlop_cancel_free(later.cancel);
    }
    /* Nothing is left. */
    orlop_buf buf = {0};
    OK(orlop_layers(world.store, &buf, &failure));
    HAS_NOT(buf, "endless");
    HAS_NOT(buf, "silent");
    orlop_buf_free(&buf);
    OK(orlop_driver_remove(driver, "target", &failure));
    OK(orlop_driver_layers(driver, &buf, &failure));
    IS(buf, "[\"large\"]");
    orlop_buf_free(&buf);

    /* A load is called off in the same way. */
    struct later later = {0};
    OK(orlop_cancel_new(&later.cancel, &failure));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, cancel_later, &later) == 0);
    int ends[2];
    CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
    FAILS(ORLOP_ERR_CANCELLED, orlop_load(world.store, NULL, ends[0], NULL,
                                          OPTIONS(orlop_operation, .cancel = later.cancel), NULL, &failure));
    CHECK(pthread_join(thread, NULL) == 0);
    close(ends[0]);
    close(ends[1]);
    orlop_cancel_free(later.cancel);
    orlop_driver_free(driver);
    close_world(&world);
}

struct import {
    const struct world *world;
    orlop_progress *progress;
    int fd;
};

static void *import_watched(void *argument) {
    struct import *import = argument;
    OK(orlop_import_layer(import->world->store, OPTIONS(orlop_new_layer, .id = "watched"), import->fd,
                          OPTIONS(orlop_operation, .progress = import->progress), NULL, &failure));
    return NULL;
}

/* Polled from another thread, while the operation stands still because its pipe does. */
void check_progress(void) {
    struct world world = open_world("store");
    struct import import = {.world = &world};
    OK(orlop_progress_new(&import.progress, &failure));
    int ends[2];
    CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
    import.fd = ends[0];
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, import_watched, &import) == 0);

    char block[512];
    tar_header(block, '0', "file", NULL, 1 << 20);
    CHECK(write(ends[1], block, sizeof block) == sizeof block);
    memset(block, 'x', sizeof block);
    orlop_progress_state state = {.size = sizeof state};
    uint64_t written = sizeof block;
    for (int part = 0; part < 2048; part++) {
        CHECK(write(ends[1], block, sizeof block) == sizeof block);
        written += sizeof block;
        if (part % 512 == 511) {
            /* All that was written comes to be read, and nothing else. */
            double begin = now();
            do {
                OK(orlop_progress_read(import.progress, &state, &failure));
                CHECK(state.bytes_done <= written && now() - begin < 60);
            } while (state.bytes_done < written && usleep(1000) == 0);
            CHECK(state.items_started == 1 && state.items_finished == 0 && state.bytes_total == 0);
        }
    }
    orlop_buf items = {0};
    OK(orlop_progress_items(import.progress, &items, &failure));
    HAS(items, "[{\"what\":\"layer watched\",\"done\":1049088}]");
    orlop_buf_free(&items);
    memset(block, 0, sizeof block);
    CHECK(write(ends[1], block, sizeof block) == sizeof block && write(ends[1], block, sizeof block) == sizeof block);
    close(ends[1]);
    CHECK(pthread_join(thread, NULL) == 0);
    close(ends[0]);
    OK(orlop_progress_read(import.progress, &state, &failure));
    CHECK(state.bytes_done == written + 1024 && state.items_finished == 1);
    OK(orlop_progress_items(import.progress, &items, &failure));
    HAS(items, "\"note\":\"done\"");
    orlop_buf_free(&items);
    orlop_progress_free(import.progress);

    /* The layers of an image; of a file the size is known. */
    OK(orlop_progress_new(&import.progress, &failure));
    OK(orlop_load(world.store, getenv("IMAGE"), -1, NULL, OPTIONS(orlop_operation, .progress = import.progress), NULL,
                  &failure));
    OK(orlop_progress_read(import.progress, &state, &failure));
    CHECK(state.items_started == 3 && state.items_finished == 3);
    CHECK(state.bytes_total > 0 && state.bytes_done == state.bytes_total);
    orlop_progress_free(import.progress);
    close_world(&world);
}
