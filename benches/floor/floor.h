/* What the files of the floor share. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stddef.h>

/* Ends the program: `what` failed, and errno says why. */
void die(const char *what);

/* Writes all of it. */
void write_all(int fd, const void *bytes, size_t length);

/* Flushes the file system that `path` is on. */
void flush_all(const char *path);

/* import.c: unpacks `archive` (tar, tar.gz or tar.zst) below `folder`, which is there and empty. */
void import(const char *archive, const char *folder);

/* tree.c: removes a tree with that many threads; writes the content of all its files to standard output. */
void delete_tree(const char *path, int threads);
void export_tree(const char *path);

/* records.c: the commands on layers and containers, in a store of the floor's own. */
void list(const char *store);
void create(const char *store, const char *layer, int container, int parents);
void mount_layer(const char *store, const char *layer);
void unmount_layer(const char *store, const char *layer);
void delete_layer(const char *store, const char *layer, int container);

#endif
