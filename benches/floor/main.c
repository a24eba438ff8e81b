/*
 * The floor: what the operations of a store cost when nothing but the unavoidable is done. No tar-split, no checks, no
 * defence against a hostile archive, no errors that help: whatever goes wrong ends the program.
 *
 * The codecs are orlop's own: zlib-rs through its C interface and the libzstd that the zstd crate brings (benches/codecs
 * makes a library of both), because the zlib of the distributions takes half as long again to decode: with that one the floor
 * would be too high, and "twice the floor" easy. The digests are OpenSSL's, which like ours uses the processor's SHA
 * instructions. An import has as many threads as orlop's pipeline (src/archive/import.rs) had when this was written: two
 * for a plain archive, four for a compressed one.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

void write_all(int fd, const void *bytes, size_t length) {
    const char *from = bytes;
    while (length > 0) {
        ssize_t written = write(fd, from, length);
        if (written < 0) die("write");
        from += written;
        length -= written;
    }
}

void flush_all(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) < 0) die(path);
    close(fd);
}

/* The layers of an image, each in a process of its own, all at once. */
static void load(const char *folder, char **archives, int count) {
    for (int n = 0; n < count; n++) {
        char target[4096];
        snprintf(target, sizeof target, "%s/%d", folder, n);
        if (mkdir(target, 0755) < 0) die(target);
        pid_t child = fork();
        if (child < 0) die("fork");
        if (child == 0) {
            import(archives[n], target);
            exit(0);
        }
    }
    int status;
    while (wait(&status) > 0)
        if (status != 0) exit(1);
}

int main(int argc, char **argv) {
    int sync = argc > 1 && strcmp(argv[1], "--sync") == 0;
    argc -= 1 + sync;
    argv += 1 + sync;
    const char *command = argc > 0 ? argv[0] : "";
#define IS(name, arguments) (strcmp(command, name) == 0 && argc == 1 + (arguments))
    umask(0);
    if (IS("import", 2)) {
        import(argv[2], argv[1]);
        if (sync) flush_all(argv[1]);
    } else if (strcmp(command, "load") == 0 && argc > 2) {
        load(argv[1], argv + 2, argc - 2);
        if (sync) flush_all(argv[1]);
    } else if (IS("delete-tree", 2)) {
        delete_tree(argv[1], atoi(argv[2]));
    } else if (IS("export-tree", 1)) {
        export_tree(argv[1]);
    } else if (IS("list", 1)) {
        list(argv[1]);
    } else if (IS("create-layer", 3)) {
        create(argv[1], argv[2], 0, atoi(argv[3]));
    } else if (IS("create-container", 3)) {
        create(argv[1], argv[2], 1, atoi(argv[3]));
    } else if (IS("mount", 2)) {
        mount_layer(argv[1], argv[2]);
    } else if (IS("unmount", 2)) {
        unmount_layer(argv[1], argv[2]);
    } else if (IS("delete-layer", 2)) {
        delete_layer(argv[1], argv[2], 0);
    } else if (IS("delete-container", 2)) {
        delete_layer(argv[1], argv[2], 1);
    } else {
        fprintf(stderr, "usage: floor [--sync] import DIR ARCHIVE | load DIR ARCHIVE...\n"
                        "       floor delete-tree DIR THREADS | export-tree DIR | list STORE\n"
                        "       floor create-layer | create-container STORE LAYER PARENTS\n"
                        "       floor mount | unmount | delete-layer | delete-container STORE LAYER\n");
        return 2;
    }
    return 0;
}
