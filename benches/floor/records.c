/*
 * Layers and containers: the folders, links, mounts and records of a store, each made and replaced once, under the lock.
 * The store is overlay/, layers.json, containers.json and mountpoints.json in one folder; what the records say does not
 * matter here, only how long they are.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void enter(const char *store) {
    if (chdir(store) < 0) die(store);
    int fd = open("layers.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_SETLKW, &whole) < 0) die("layers.lock");
}

static char *read_record(const char *name, size_t *length) {
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) < 0) die(name);
    char *content = malloc(facts.st_size + 1);
    if (content == NULL || read(fd, content, facts.st_size) != facts.st_size) die(name);
    close(fd);
    *length = facts.st_size;
    return content;
}

/* Reads the record and writes it anew, so that a power cut leaves one or the other. */
static void replace_record(const char *name) {
    size_t length;
    char *content = read_record(name, &length);
    int fd = open("new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) die("new");
    write_all(fd, content, length);
    if (fsync(fd) < 0 || close(fd) < 0 || rename("new", name) < 0) die(name);
    int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fsync(folder) < 0) die("fsync");
    close(folder);
    free(content);
}

static void write_file(const char *path, const char *content) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) die(path);
    write_all(fd, content, strlen(content));
    close(fd);
}

enum { LOWERS = 4096 };

/* A path in the layer's folder; good until the next call. */
static const char *in(const char *layer, const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "overlay/%s/%s", layer, name);
    return path;
}

static const char *link_of(const char *layer) {
    static char path[512];
    snprintf(path, sizeof path, "overlay/l/%s", layer);
    return path;
}

void list(const char *store) {
    size_t length;
    enter(store);
    char *content = read_record("layers.json", &length);
    write_all(STDOUT_FILENO, content, length);
}

/* The parents are the layers 1 to `parents`. */
void create(const char *store, const char *layer, int container, int parents) {
    char lowers[LOWERS] = "", target[512];
    for (int n = parents; n > 0; n--)
        snprintf(lowers + strlen(lowers), LOWERS - strlen(lowers), "%sl/%d", *lowers ? ":" : "", n);
    enter(store);
    const char *folders[] = {"", "diff", "work", "merged"};
    for (int n = 0; n < 4; n++)
        if (mkdir(in(layer, folders[n]), 0700) < 0) die(in(layer, folders[n]));
    snprintf(target, sizeof target, "../%s/diff", layer);
    if (symlink(target, link_of(layer)) < 0) die("symlink");
    write_file(in(layer, "link"), layer);
    if (parents > 0) write_file(in(layer, "lower"), lowers);
    replace_record("layers.json");
    if (container) replace_record("containers.json");
}

void mount_layer(const char *store, const char *layer) {
    size_t length;
    char options[LOWERS + 1024];
    enter(store);
    free(read_record("layers.json", &length));
    char *lowers = read_record(in(layer, "lower"), &length);
    snprintf(options, sizeof options, "lowerdir=%.*s,upperdir=%s/diff,workdir=%s/work", (int)length,
             lowers, layer, layer);
    if (chdir("overlay") < 0) die("overlay");
    char merged[512];
    snprintf(merged, sizeof merged, "%s/merged", layer);
    if (mount("overlay", merged, "overlay", 0, options) < 0) die(options);
    if (chdir("..") < 0) die("..");
    replace_record("mountpoints.json");
}

void unmount_layer(const char *store, const char *layer) {
    size_t length;
    enter(store);
    free(read_record("layers.json", &length));
    if (umount2(in(layer, "merged"), MNT_DETACH) < 0) die(in(layer, "merged"));
    replace_record("mountpoints.json");
}

void delete_layer(const char *store, const char *layer, int container) {
    enter(store);
    if (container) replace_record("containers.json");
    replace_record("layers.json");
    const char *files[] = {"link", "lower"}, *folders[] = {"work/work", "work", "merged", "diff", ""};
    if (unlink(link_of(layer)) < 0) die(link_of(layer));
    for (int n = 0; n < 2; n++)
        if (unlink(in(layer, files[n])) < 0 && errno != ENOENT) die(in(layer, files[n]));
    for (int n = 0; n < 5; n++)
        if (rmdir(in(layer, folders[n])) < 0 && errno != ENOENT) die(in(layer, folders[n]));
}
