/* Stores, drivers and images to work on. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

orlop_config *config_of(const char *root, const char *run, const char *driver) {
    orlop_config *config = NULL;
    OK(orlop_config_load(
        OPTIONS(orlop_config_options, .only_given = 1, .graph_root = root, .run_root = run, .driver = driver), &config,
        &failure));
    return config;
}

struct world open_world(const char *name) {
    struct world world = {.root = in_folder("%s/root", name), .run = in_folder("%s/run", name)};
    world.config = config_of(world.root, world.run, driver_name);
    OK(orlop_store_open(world.config, &world.store, &failure));
    return world;
}

void close_world(struct world *world) {
    OK(orlop_shutdown(world->store, 1, &failure));
    orlop_store_free(world->store);
    orlop_config_free(world->config);
    *world = (struct world){0};
}

orlop_driver *open_driver(const orlop_config *config) {
    orlop_driver *driver = NULL;
    OK(orlop_driver_open(config, &driver, &failure));
    OK(orlop_driver_prepare(driver, &failure));
    return driver;
}

void import_file(const struct world *world, const char *id, const char *parent, const char *name, const char *text) {
    int tar = TAR({'0', name, text});
    OK(orlop_import_layer(world->store, OPTIONS(orlop_new_layer, .id = id, .parent = parent, .read_only = 1), tar, NULL,
                          NULL, &failure));
    close(tar);
}

void create_image(const struct world *world, const char *id, const char *layer, const char *name) {
    OK(orlop_create_image(world->store, OPTIONS(orlop_new_image, .id = id, .layer = layer, .names = STRINGS(name)), NULL,
                          &failure));
}
