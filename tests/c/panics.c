/* Linked with the library that panics where ORLOP_PANIC says: what a host sees of a defect. One point for each run. */
#define _GNU_SOURCE
#include "harness/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char logged[4096];

static void keep(uint32_t level, const char *line, void *userdata) {
    (void)userdata;
    if (level == ORLOP_LOG_ERROR) {
        snprintf(logged, sizeof logged, "%s", line);
    }
}

/* The text of the panic is in the error. */
static void internal(int32_t code) {
    CHECK(code == ORLOP_ERR_INTERNAL && orlop_error_code(failure) == code);
    CHECK(orlop_error_message(failure) != NULL && orlop_error_advice(failure) != NULL);
    orlop_error_free(failure);
    failure = NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const char *point = argv[1];
    folder = argv[2];
    driver_name = "vfs";
    /* Whatever is written there shows. */
    int errors = open(in_folder("stderr"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int saved = dup(2);
    CHECK_ERRNO(errors >= 0 && saved >= 0);
    OK(orlop_set_log(keep, NULL, ORLOP_LOG_ERROR, &failure));
    struct world world = open_world("store");
    import_file(&world, "base", NULL, "hello", "hello");
    orlop_store *other = NULL;
    OK(orlop_store_open(world.config, &other, &failure));
    CHECK_ERRNO(dup2(errors, 2) == 2);
    setenv("ORLOP_PANIC", point, 1);
    bool tears = false;
    if (strcmp(point, "handle") == 0) {
        /* A call with a handle. */
        internal(orlop_exists(world.store, "base", &failure));
        tears = true;
    } else if (strcmp(point, "call") == 0) {
        /* A call without. */
        orlop_cancel *cancel = NULL;
        internal(orlop_cancel_new(&cancel, &failure));
        CHECK(cancel == NULL);
        internal(orlop_set_log(keep, NULL, ORLOP_LOG_ERROR, &failure));
    } else if (strcmp(point, "stream") == 0) {
        /* On a thread of the library's. */
        int tar = TAR({'0', "file", "content"});
        internal(orlop_import_layer(world.store, OPTIONS(orlop_new_layer, .id = "never"), tar, NULL, NULL, &failure));
        close(tar);
        tears = true;
    } else if (strcmp(point, "free") == 0) {
        orlop_store_free(other);
        other = NULL;
    } else {
        CHECK(!"a point that there is");
    }
    unsetenv("ORLOP_PANIC");
    fflush(stderr);
    CHECK_ERRNO(dup2(saved, 2) == 2);
    struct stat stat;
    CHECK_ERRNO(fstat(errors, &stat) == 0);
    if (stat.st_size != 0) {
        fail(__FILE__, __LINE__, "on standard error: %s", read_file(in_folder("stderr")));
    }
    if (strstr(logged, "on purpose") == NULL || strstr(logged, point) == NULL) {
        fail(__FILE__, __LINE__, "in the log: %s", logged);
    }

    /* The handle is torn, and can be freed; others are not, nor is the process. */
    if (tears) {
        internal(orlop_exists(world.store, "base", &failure));
        internal(orlop_layers(world.store, NULL, &failure));
        orlop_store_free(world.store);
        OK(orlop_store_open(world.config, &world.store, &failure));
    }
    CHECK(OK(orlop_exists(world.store, "base", &failure)) == 1);
    CHECK(OK(orlop_exists(world.store, "never", &failure)) == 0);
    if (other != NULL) {
        CHECK(OK(orlop_exists(other, "base", &failure)) == 1);
    }
    orlop_store_free(other);
    close_world(&world);
    return 0;
}
