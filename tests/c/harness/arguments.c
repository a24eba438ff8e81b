/* NULL where something is needed, and all that goes with it: nothing is changed by it. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"
#include "nulls.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int32_t put(void *userdata, const char *digest, int32_t fd, uint64_t bytes) {
    (void)userdata, (void)digest, (void)fd, (void)bytes;
    fail(__FILE__, __LINE__, "a layer was sent");
}

static int32_t status(void *userdata, const char *digest, uint32_t *publication) {
    (void)userdata, (void)digest, (void)publication;
    fail(__FILE__, __LINE__, "a layer was asked for");
}

const orlop_layer_upload null_upload = {
    .size = sizeof null_upload, .repository = "r.example", .put = put, .status = status};

void check_nulls(void) {
    struct world world = open_world("store");
    import_file(&world, "base", NULL, "hello", "hello");
    orlop_driver *driver = open_driver(world.config);
    orlop_progress *progress = NULL;
    OK(orlop_progress_new(&progress, &failure));
    orlop_files *files = NULL;
    OK(orlop_driver_files(driver, "base", &files, &failure));
    orlop_buf before = {0}, after = {0};
    OK(orlop_layers(world.store, &before, &failure));
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_ERRNO(fd >= 0);

    orlop_docker *docker = NULL;
    OK(orlop_docker_open(getenv("DOCKER_ROOT"), &docker, &failure));

    nulls_one_by_one(world.store, driver, world.config, progress, files, docker, fd);

    OK(orlop_layers(world.store, &after, &failure));
    CHECK(before.len == after.len && memcmp(before.data, after.data, before.len) == 0);
    orlop_buf_free(&before);
    orlop_buf_free(&after);

    /* Nobody wants the answer. */
    OK(orlop_layers(world.store, NULL, &failure));
    OK(orlop_image_size(world.store, "base", NULL, NULL) == ORLOP_ERR_IMAGE_UNKNOWN ? 0 : -1);
    /* Lists and their items. */
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_set_names(world.store, "base", (orlop_strings){NULL, 1}, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_set_names(world.store, "base", STRINGS(NULL), &failure));
    OK(orlop_set_names(world.store, "base", (orlop_strings){NULL, 0}, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_create_image(world.store, OPTIONS(orlop_new_image, .big_data = {NULL, 1}), NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_create_image(world.store, OPTIONS(orlop_new_image, .big_data = {&(orlop_data_item){0}, 1}), NULL,
                             &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .uid_map = {NULL, 1}), NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .flags = "[1]"), NULL, &failure));
    close(fd);
    orlop_files_free(files);
    orlop_docker_free(docker);
    orlop_progress_free(progress);
    orlop_driver_free(driver);
    close_world(&world);
}
