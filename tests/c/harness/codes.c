/* Every code of the header: how a C program comes to see it, or why it cannot today. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the calls below work on. */
static struct world world;

static bool overlay(void) {
    return strcmp(driver_name, "overlay") == 0;
}

static void layer_unknown(void) {
    CHECK(orlop_layer(world.store, "nothing", NULL, &failure) == ORLOP_ERR_LAYER_UNKNOWN);
    CHECK(strcmp(orlop_error_id(failure), "nothing") == 0);
    orlop_error_free(failure);
    failure = NULL;
    FAILS(ORLOP_ERR_LAYER_UNKNOWN, orlop_mount(world.store, "nothing", NULL, NULL, &failure));
    FAILS(ORLOP_ERR_LAYER_UNKNOWN, orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .parent = "nothing"), NULL, &failure));
}

static void image_unknown(void) {
    FAILS(ORLOP_ERR_IMAGE_UNKNOWN, orlop_image(world.store, "nothing", NULL, &failure));
    FAILS(ORLOP_ERR_IMAGE_UNKNOWN, orlop_save(world.store, STRINGS("nothing"), in_folder("saved"), -1, NULL, NULL, &failure));
}

static void container_unknown(void) {
    FAILS(ORLOP_ERR_CONTAINER_UNKNOWN, orlop_container(world.store, "nothing", NULL, &failure));
}

static void not_found(void) {
    FAILS(ORLOP_ERR_NOT_FOUND, orlop_lookup(world.store, "nothing", NULL, &failure));
    FAILS(ORLOP_ERR_NOT_FOUND, orlop_set_names(world.store, "nothing", STRINGS("a"), &failure));
}

static void not_a_layer(void) {
    FAILS(ORLOP_ERR_NOT_A_LAYER, orlop_delete_layer(world.store, "image", &failure));
}

static void not_an_image(void) {
    FAILS(ORLOP_ERR_NOT_AN_IMAGE, orlop_delete_image(world.store, "base", 0, NULL, &failure));
}

static void invalid_data_name(void) {
    FAILS(ORLOP_ERR_INVALID_DATA_NAME, orlop_set_container_data(world.store, "box", "", NULL, 0, &failure));
    FAILS(ORLOP_ERR_INVALID_DATA_NAME, orlop_image_data(world.store, "image", "..", NULL, &failure));
}

static void incomplete_options(void) {
    orlop_config *config = config_of("", "", driver_name);
    orlop_store *store = NULL;
    FAILS(ORLOP_ERR_INCOMPLETE_OPTIONS, orlop_store_open(config, &store, &failure));
    CHECK(store == NULL);
    orlop_config_free(config);
}

static void not_a_container(void) {
    FAILS(ORLOP_ERR_NOT_A_CONTAINER, orlop_delete_container(world.store, "image", &failure));
}

static void duplicate_id(void) {
    FAILS(ORLOP_ERR_DUPLICATE_ID, orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .id = "base"), NULL, &failure));
    FAILS(ORLOP_ERR_DUPLICATE_ID, orlop_create_image(world.store, OPTIONS(orlop_new_image, .id = "image"), NULL, &failure));
}

static void duplicate_name(void) {
    FAILS(ORLOP_ERR_DUPLICATE_NAME, orlop_create_image(world.store, OPTIONS(orlop_new_image, .names = STRINGS("localhost/one:1")), NULL, &failure));
}

static void layer_has_children(void) {
    FAILS(ORLOP_ERR_LAYER_HAS_CHILDREN, orlop_delete_layer(world.store, "base", &failure));
}

static void layer_used_by_image(void) {
    FAILS(ORLOP_ERR_LAYER_USED_BY_IMAGE, orlop_delete_layer(world.store, "alone", &failure));
}

/* The container's own layer, by the record. */
static const char *container_layer(void) {
    static char id[65];
    orlop_buf buf = {0};
    OK(orlop_container(world.store, "box", &buf, &failure));
    const char *layer = strstr((const char *)buf.data, "\"layer\":\"");
    CHECK(layer != NULL);
    snprintf(id, sizeof id, "%.64s", layer + 9);
    orlop_buf_free(&buf);
    return id;
}

static void layer_used_by_container(void) {
    FAILS(ORLOP_ERR_LAYER_USED_BY_CONTAINER, orlop_delete_layer(world.store, container_layer(), &failure));
}

static void image_used_by_container(void) {
    FAILS(ORLOP_ERR_IMAGE_USED_BY_CONTAINER, orlop_delete_image(world.store, "image", 0, NULL, &failure));
}

static void parent_is_container(void) {
    FAILS(ORLOP_ERR_PARENT_IS_CONTAINER, orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .parent = container_layer()), NULL, &failure));
}

static void read_only(void) {
    orlop_config *config = NULL;
    orlop_store *store = NULL;
    char option[600];
    snprintf(option, sizeof option, "%s.imagestore=%s", driver_name, world.root);
    OK(orlop_config_load(OPTIONS(orlop_config_options, .only_given = 1, .graph_root = in_folder("beside"), .run_root = in_folder("beside-run"), .driver = driver_name, .driver_options = STRINGS(option)), &config, &failure));
    OK(orlop_store_open(config, &store, &failure));
    FAILS(ORLOP_ERR_READ_ONLY, orlop_delete_image(store, "image", 0, NULL, &failure));
    FAILS(ORLOP_ERR_READ_ONLY, orlop_mount(store, "base", NULL, NULL, &failure));
    OK(orlop_shutdown(store, 0, &failure));
    orlop_store_free(store);
    orlop_config_free(config);
}

/* Replaces a word in a record file of `store`, as a program of another version may have left it, and opens the store anew. */
static void damage(struct world *store, const char *file, const char *word, const char *other) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s-%s", store->root, driver_name, file);
    char *text = read_file(path);
    char *at = strstr(text, word);
    CHECK(at != NULL && strlen(word) == strlen(other));
    memcpy(at, other, strlen(other));
    write_file(path, text);
    free(text);
    orlop_store_free(store->store);
    OK(orlop_store_open(store->config, &store->store, &failure));
}

static void size_unknown(void) {
    struct world store = open_world("unsized");
    const orlop_data_item item = {.key = "item", .data = (const uint8_t *)"x", .len = 1};
    OK(orlop_create_image(store.store, OPTIONS(orlop_new_image, .id = "image", .big_data = {&item, 1}), NULL, &failure));
    damage(&store, "images/images.json", "big-data-sizes", "other-field---");
    int64_t size = 0;
    FAILS(ORLOP_ERR_SIZE_UNKNOWN, orlop_image_size(store.store, "image", &size, &failure));
    close_world(&store);
}

static void data_unknown(void) {
    FAILS(ORLOP_ERR_DATA_UNKNOWN, orlop_image_data(world.store, "image", "nothing", NULL, &failure));
    FAILS(ORLOP_ERR_DATA_UNKNOWN, orlop_container_data(world.store, "box", "nothing", NULL, &failure));
}

static void invalid_digest(void) {
    FAILS(ORLOP_ERR_INVALID_DIGEST, orlop_images_by_digest(world.store, "sha256:x", NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_DIGEST, orlop_create_image(world.store, OPTIONS(orlop_new_image, .digest = "md5:x"), NULL, &failure));
}

static void digest_mismatch(void) {
    int tar = TAR({'0', "file", "content"});
    FAILS(ORLOP_ERR_DIGEST_MISMATCH, orlop_import_layer(world.store, OPTIONS(orlop_new_layer, .id = "other", .expected_diff_digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"), tar, NULL, NULL, &failure));
    close(tar);
    CHECK(OK(orlop_exists(world.store, "other", &failure)) == 0);
}

static void invalid_argument(void) {
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .id = "../x"), NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_import_layer(world.store, NULL, -1, NULL, NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_import_layer(world.store, NULL, 1000000, NULL, NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_unmount(world.store, "box", 2, &failure));
}

static void config(void) {
    orlop_config *config = NULL;
    orlop_store *store = NULL;
    OK(orlop_config_load(OPTIONS(orlop_config_options, .only_given = 1, .graph_root = in_folder("root"), .run_root = in_folder("run"), .driver = driver_name, .driver_options = STRINGS("no.such=option")), &config, &failure));
    FAILS(ORLOP_ERR_CONFIG, orlop_store_open(config, &store, &failure));
    CHECK(store == NULL);
    orlop_config_free(config);
}

static void corrupt(void) {
    struct world damaged = open_world("damaged");
    import_file(&damaged, "base", NULL, "file", "content");
    damage(&damaged, "layers/layers.json", "[{", "{[");
    FAILS(ORLOP_ERR_CORRUPT, orlop_layers(damaged.store, NULL, &failure));
    damage(&damaged, "layers/layers.json", "{[", "[{");
    close_world(&damaged);
}

static void invalid_archive(void) {
    int fd = TAR({'0', "file", "content"});
    CHECK_ERRNO(ftruncate(fd, 515) == 0);
    FAILS(ORLOP_ERR_INVALID_ARCHIVE, orlop_import_layer(world.store, OPTIONS(orlop_new_layer, .id = "other"), fd, NULL, NULL, &failure));
    close(fd);
    CHECK(OK(orlop_exists(world.store, "other", &failure)) == 0);
    write_file(in_folder("no-archive"), "nothing of that kind");
    FAILS(ORLOP_ERR_INVALID_ARCHIVE, orlop_load(world.store, in_folder("no-archive"), -1, NULL, NULL, NULL, &failure));
}

static void not_supported(void) {
    /* A limit: vfs has none, and overlay's need a file system with project quotas. */
    FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_create_layer(world.store, OPTIONS(orlop_new_layer, .storage_opt = STRINGS("size=1g")), NULL, &failure));
    orlop_config *config = config_of(in_folder("zfs"), in_folder("zfs-run"), "zfs");
    orlop_store *store = NULL;
    FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_store_open(config, &store, &failure));
    orlop_config_free(config);
}

/* An overlay upon an overlay is refused; vfs works everywhere. */
static void incompatible_fs(void) {
    if (!overlay()) {
        return;
    }
    const char *merged = in_folder("merged");
    const char *names[] = {"lower", "upper", "work", "merged"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_ERRNO(mkdir(in_folder("%s", names[i]), 0755) == 0);
    }
    char words[2048];
    snprintf(words, sizeof words, "lowerdir=%s,upperdir=%s,workdir=%s", in_folder("lower"), in_folder("upper"), in_folder("work"));
    CHECK_ERRNO(mount("overlay", merged, "overlay", 0, words) == 0);
    // Layers there belong to the kernel: no program takes its place.
    const char *home[] = {"merged/root", "merged/root/overlay", "merged/root/overlay/layer"};
    for (size_t i = 0; i < sizeof home / sizeof *home; i++) {
        CHECK_ERRNO(mkdir(in_folder("%s", home[i]), 0755) == 0);
    }
    orlop_config *config = config_of(in_folder("merged/root"), in_folder("run-merged"), driver_name);
    orlop_driver *driver = NULL;
    FAILS(ORLOP_ERR_INCOMPATIBLE_FS, orlop_driver_open(config, &driver, &failure));
    CHECK(driver == NULL);
    orlop_config_free(config);
    CHECK_ERRNO(umount2(merged, MNT_DETACH) == 0);
}

static void max_depth(void) {
    if (!overlay()) {
        return;
    }
    orlop_config *config = config_of(in_folder("deep"), in_folder("deep-run"), driver_name);
    orlop_driver *driver = open_driver(config);
    char id[16], parent[16] = "";
    for (int i = 0; i <= 501; i++) {
        snprintf(id, sizeof id, "l%d", i);
        int32_t code = orlop_driver_create(driver, id, parent, NULL, &failure);
        if (code == ORLOP_ERR_MAX_DEPTH) {
            break;
        }
        OK(code);
        memcpy(parent, id, sizeof id);
    }
    if (failure == NULL) {
        CHECK(orlop_driver_get(driver, id, NULL, NULL, &failure) == ORLOP_ERR_MAX_DEPTH);
    }
    CHECK(orlop_error_code(failure) == ORLOP_ERR_MAX_DEPTH);
    orlop_error_free(failure);
    failure = NULL;
    OK(orlop_driver_cleanup(driver, &failure));
    orlop_driver_free(driver);
    orlop_config_free(config);
}

/* Mounted one way, asked for in another. */
static void busy(void) {
    if (!overlay()) {
        return;
    }
    orlop_driver *driver = open_driver(world.config);
    OK(orlop_driver_create(driver, "busy", NULL, NULL, &failure));
    OK(orlop_driver_get(driver, "busy", NULL, NULL, &failure));
    FAILS(ORLOP_ERR_BUSY, orlop_driver_get(driver, "busy", OPTIONS(orlop_mount_options, .options = STRINGS("ro")), NULL, &failure));
    OK(orlop_driver_put(driver, "busy", &failure));
    OK(orlop_driver_remove(driver, "busy", &failure));
    orlop_driver_free(driver);
}

static void policy_rejected(void) {
    const char *policy = in_folder("policy.json");
    write_file(policy, "{\"default\":[{\"type\":\"reject\"}]}");
    FAILS(ORLOP_ERR_POLICY_REJECTED, orlop_load(world.store, getenv("IMAGE"), -1, OPTIONS(orlop_load_options, .policy = policy), NULL, NULL, &failure));
    /* The user's own is found; accepting everything must be asked for. */
    CHECK(mkdir(in_folder("config"), 0755) == 0 && mkdir(in_folder("config/containers"), 0755) == 0);
    CHECK(rename(policy, in_folder("config/containers/policy.json")) == 0);
    CHECK(setenv("XDG_CONFIG_HOME", in_folder("config"), 1) == 0);
    FAILS(ORLOP_ERR_POLICY_REJECTED, orlop_load(world.store, getenv("IMAGE"), -1, NULL, NULL, NULL, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_load(world.store, getenv("IMAGE"), -1, OPTIONS(orlop_load_options, .policy = policy, .accept_anything = 1), NULL, NULL, &failure));
    OK(orlop_load(world.store, getenv("IMAGE"), -1, OPTIONS(orlop_load_options, .accept_anything = 1), NULL, NULL, &failure));
    CHECK(unsetenv("XDG_CONFIG_HOME") == 0);
}

static void io(void) {
    CHECK(orlop_load(world.store, in_folder("none"), -1, NULL, NULL, NULL, &failure) == ORLOP_ERR_IO);
    CHECK(orlop_error_errno(failure) == ENOENT);
    CHECK(strcmp(orlop_error_path(failure), in_folder("none")) == 0);
    orlop_error_free(failure);
    failure = NULL;
}

static void cancelled(void) {
    orlop_cancel *cancel = NULL;
    OK(orlop_cancel_new(&cancel, &failure));
    orlop_cancel_now(cancel);
    int tar = TAR({'0', "file", "content"});
    FAILS(ORLOP_ERR_CANCELLED, orlop_import_layer(world.store, NULL, tar, OPTIONS(orlop_operation, .cancel = cancel), NULL, &failure));
    close(tar);
    orlop_cancel_free(cancel);
}

static const struct {
    int32_t code;
    void (*how)(void);
    const char *why_not;
} table[] = {
    {ORLOP_ERR_LAYER_UNKNOWN, layer_unknown, NULL},
    {ORLOP_ERR_IMAGE_UNKNOWN, image_unknown, NULL},
    {ORLOP_ERR_CONTAINER_UNKNOWN, container_unknown, NULL},
    {ORLOP_ERR_NOT_FOUND, not_found, NULL},
    {ORLOP_ERR_NOT_A_LAYER, not_a_layer, NULL},
    {ORLOP_ERR_NOT_A_CONTAINER, not_a_container, NULL},
    {ORLOP_ERR_DUPLICATE_ID, duplicate_id, NULL},
    {ORLOP_ERR_DUPLICATE_NAME, duplicate_name, NULL},
    {ORLOP_ERR_LAYER_HAS_CHILDREN, layer_has_children, NULL},
    {ORLOP_ERR_LAYER_USED_BY_IMAGE, layer_used_by_image, NULL},
    {ORLOP_ERR_LAYER_USED_BY_CONTAINER, layer_used_by_container, NULL},
    {ORLOP_ERR_IMAGE_USED_BY_CONTAINER, image_used_by_container, NULL},
    {ORLOP_ERR_PARENT_IS_CONTAINER, parent_is_container, NULL},
    {ORLOP_ERR_PARENT_UNKNOWN, NULL, "no call of the library gives it: as in Go, a missing parent is a layer unknown"},
    {ORLOP_ERR_READ_ONLY, read_only, NULL},
    {ORLOP_ERR_SIZE_UNKNOWN, size_unknown, NULL},
    {ORLOP_ERR_DATA_UNKNOWN, data_unknown, NULL},
    {ORLOP_ERR_INVALID_DIGEST, invalid_digest, NULL},
    {ORLOP_ERR_DIGEST_MISMATCH, digest_mismatch, NULL},
    {ORLOP_ERR_INVALID_ARGUMENT, invalid_argument, NULL},
    {ORLOP_ERR_CONFIG, config, NULL},
    {ORLOP_ERR_CORRUPT, corrupt, NULL},
    {ORLOP_ERR_INVALID_ARCHIVE, invalid_archive, NULL},
    {ORLOP_ERR_NOT_SUPPORTED, not_supported, NULL},
    {ORLOP_ERR_PREREQUISITES, NULL, "a thin image's repository alone has one: configuration and key, which src/thin/repositories/tests.rs leaves out"},
    {ORLOP_ERR_INCOMPATIBLE_FS, incompatible_fs, NULL},
    {ORLOP_ERR_MAX_DEPTH, max_depth, NULL},
    {ORLOP_ERR_BUSY, busy, NULL},
    {ORLOP_ERR_POLICY_REJECTED, policy_rejected, NULL},
    {ORLOP_ERR_IO, io, NULL},
    {ORLOP_ERR_INTERNAL, NULL, "a defect: only the build that panics on purpose gives it (panics.c)"},
    {ORLOP_ERR_CANCELLED, cancelled, NULL},
    {ORLOP_ERR_NOT_AN_IMAGE, not_an_image, NULL},
    {ORLOP_ERR_INVALID_DATA_NAME, invalid_data_name, NULL},
    {ORLOP_ERR_INCOMPLETE_OPTIONS, incomplete_options, NULL},
};

void check_codes(void) {
    world = open_world("store");
    import_file(&world, "base", NULL, "hello", "hello");
    import_file(&world, "top", "base", "top", "top");
    import_file(&world, "alone", NULL, "alone", "alone");
    create_image(&world, "image", "top", "localhost/one:1");
    create_image(&world, "image-alone", "alone", "localhost/alone:1");
    OK(orlop_create_container(world.store, OPTIONS(orlop_new_container, .id = "box", .image = "image"), NULL, &failure));
    /* The library knows the codes from -1 downwards without a gap, and the table is exactly those. */
    const int32_t count = (int32_t)(sizeof table / sizeof *table);
    CHECK(orlop_code_name(-count) != NULL && orlop_code_name(-count - 1) == NULL);
    for (int32_t i = 0; i < count; i++) {
        CHECK(table[i].code == -(i + 1));
        CHECK((table[i].how == NULL) == (table[i].why_not != NULL));
        if (table[i].how != NULL) {
            table[i].how();
        } else {
            printf("not provoked: %s: %s\n", orlop_code_name(table[i].code), table[i].why_not);
        }
        CHECK(failure == NULL);
    }
    close_world(&world);
}
