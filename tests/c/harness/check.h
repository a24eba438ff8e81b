/* What all checks use: assertions on calls, a world of its own for each check, tar streams. */
#ifndef CHECK_H
#define CHECK_H

#include <orlop.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* The error of the last call in this thread that got &failure. */
extern _Thread_local orlop_error *failure;

/* Ends the process with a message. */
_Noreturn void fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define CHECK(what) ((what) ? (void)0 : fail(__FILE__, __LINE__, "not so: %s", #what))
#define CHECK_ERRNO(what) ((what) ? (void)0 : fail(__FILE__, __LINE__, "%s: %s", #what, strerror(errno)))

/* A call with &failure that must work; gives its number. */
#define OK(call) check_ok((call), #call, __FILE__, __LINE__)
/* A call with &failure that must end in CODE, with an error object that says the same. */
#define FAILS(code, call) check_fails((code), #code, (call), #call, __FILE__, __LINE__)
/* The text of a buffer has PART in it. */
#define HAS(buf, part) check_has(&(buf), true, (part), __FILE__, __LINE__)
#define HAS_NOT(buf, part) check_has(&(buf), false, (part), __FILE__, __LINE__)
/* The text of a buffer is TEXT. */
#define IS(buf, text) check_is(&(buf), (text), __FILE__, __LINE__)

int32_t check_ok(int32_t code, const char *call, const char *file, int line);
void check_fails(int32_t wanted, const char *name, int32_t code, const char *call, const char *file, int line);
void check_has(const orlop_buf *buf, bool wanted, const char *part, const char *file, int line);
void check_is(const orlop_buf *buf, const char *text, const char *file, int line);

/* A list of strings: STRINGS("a", "b"). */
#define STRINGS(...) ((orlop_strings){(const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)})

/* A zeroed struct with its size: OPTIONS(orlop_mount_request, .read_only = 1). */
#define OPTIONS(type, ...) (&(struct type){.size = sizeof(struct type), __VA_ARGS__})
#define PLAIN(type) (&(struct type){.size = sizeof(struct type)})

/* The folder of the running check, empty when it begins, and the driver that it is run with. */
extern const char *folder;
extern const char *driver_name;

/* PRINTF within `folder`; the text stays until the process ends. */
const char *in_folder(const char *format, ...) __attribute__((format(printf, 1, 2)));

void write_file(const char *path, const char *text);
/* Whole content, to be freed. */
char *read_file(const char *path);
bool is_there(const char *path);

/* A store of its own below `folder`/NAME. */
struct world {
    orlop_config *config;
    orlop_store *store;
    const char *root;
    const char *run;
};
struct world open_world(const char *name);
void close_world(struct world *world);
orlop_config *config_of(const char *root, const char *run, const char *driver);
orlop_driver *open_driver(const orlop_config *config);

/* A member of an archive: a type of ustar ('0' file, '5' directory, '2' link), name, content or target. */
struct member {
    char type;
    const char *name;
    const char *text;
};
/* A file in memory with an archive, standing at its beginning. */
int tar_of(const struct member *members, size_t count);
#define TAR(...) tar_of((const struct member[]){__VA_ARGS__}, sizeof((const struct member[]){__VA_ARGS__}) / sizeof(struct member))
/* The 512 bytes before a file of `size` bytes. */
void tar_header(char header[512], char type, const char *name, const char *target, unsigned long long size);

/* A layer with one file NAME of content TEXT; to the world's store. */
void import_file(const struct world *world, const char *id, const char *parent, const char *name, const char *text);
/* An image of that layer. */
void create_image(const struct world *world, const char *id, const char *layer, const char *name);

/* Writes an archive of one file into a pipe until the reader goes or `limit` bytes are written; the thread ends with it. */
struct feed {
    int reader;
    int writer;
    unsigned long long limit;
    unsigned long thread;
};
void feed_start(struct feed *feed, unsigned long long limit);
void feed_join(struct feed *feed);

#endif
