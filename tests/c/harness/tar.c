/* Archives: whole ones in memory, and one that comes out of a pipe for as long as one wants. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

void tar_header(char header[512], char type, const char *name, const char *target, unsigned long long size) {
    memset(header, 0, 512);
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", type == '5' ? 0755u : 0644u);
    snprintf(header + 108, 8, "%07o", 0u);
    snprintf(header + 116, 8, "%07o", 0u);
    snprintf(header + 124, 12, "%011llo", size);
    snprintf(header + 136, 12, "%011o", 1700000000u);
    memset(header + 148, ' ', 8);
    header[156] = type;
    if (target != NULL) {
        snprintf(header + 157, 100, "%s", target);
    }
    memcpy(header + 257, "ustar\0" "00", 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++) {
        sum += (unsigned char)header[i];
    }
    snprintf(header + 148, 7, "%06o", sum);
}

static void put(int fd, const void *bytes, size_t length) {
    CHECK_ERRNO(write(fd, bytes, length) == (ssize_t)length);
}

int tar_of(const struct member *members, size_t count) {
    static const char zeroes[1024];
    int fd = memfd_create("tar", MFD_CLOEXEC);
    CHECK_ERRNO(fd >= 0);
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &members[i];
        size_t size = member->type == '0' && member->text != NULL ? strlen(member->text) : 0;
        char header[512];
        tar_header(header, member->type, member->name, member->type == '2' ? member->text : NULL, size);
        put(fd, header, sizeof header);
        put(fd, member->text, size);
        put(fd, zeroes, (512 - size % 512) % 512);
    }
    put(fd, zeroes, 1024);
    CHECK_ERRNO(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static void *feed_run(void *argument) {
    struct feed *feed = argument;
    /* The test's own writes must not kill it; the mask is that of this thread. */
    sigset_t pipes;
    sigemptyset(&pipes);
    sigaddset(&pipes, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipes, NULL);
    char block[4096] = {0};
    tar_header(block, '0', "large", NULL, feed->limit);
    unsigned long long left = feed->limit + 512;
    while (left > 0) {
        size_t part = left < sizeof block ? (size_t)left : sizeof block;
        ssize_t written = write(feed->writer, block, part);
        if (written < 0) {
            CHECK_ERRNO(errno == EPIPE);
            break;
        }
        CHECK(written == (ssize_t)part);
        memset(block, 'x', sizeof block);
        left -= part;
    }
    if (left == 0) {
        static const char zeroes[1024];
        size_t odd = (512 - feed->limit % 512) % 512;
        (void)!write(feed->writer, zeroes, odd);
        (void)!write(feed->writer, zeroes, sizeof zeroes);
    }
    close(feed->writer);
    return NULL;
}

void feed_start(struct feed *feed, unsigned long long limit) {
    int ends[2];
    CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
    *feed = (struct feed){.reader = ends[0], .writer = ends[1], .limit = limit};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, feed_run, feed) == 0);
    feed->thread = (unsigned long)thread;
}

void feed_join(struct feed *feed) {
    close(feed->reader);
    CHECK(pthread_join((pthread_t)feed->thread, NULL) == 0);
}
