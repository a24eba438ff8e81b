/* A store from its first layer to its wiping. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void check_lists(orlop_store *store) {
    orlop_buf buf = {0};
    OK(orlop_layers(store, &buf, &failure));
    HAS(buf, "\"id\":\"base\"");
    HAS(buf, "\"diff-digest\":\"sha256:");
    orlop_buf_free(&buf);
    OK(orlop_images(store, &buf, &failure));
    HAS(buf, "\"names\":[\"localhost/one:1\"]");
    orlop_buf_free(&buf);
    OK(orlop_containers(store, &buf, &failure));
    HAS(buf, "\"id\":\"box\"");
    orlop_buf_free(&buf);
    OK(orlop_layer(store, "top", &buf, &failure));
    HAS(buf, "\"parent\":\"base\"");
    orlop_buf_free(&buf);
    OK(orlop_image(store, "localhost/one:1", &buf, &failure));
    HAS(buf, "\"id\":\"image\"");
    orlop_buf_free(&buf);
    OK(orlop_container(store, "box", &buf, &failure));
    HAS(buf, "\"image\":\"image\"");
    orlop_buf_free(&buf);
    OK(orlop_lookup(store, "image", &buf, &failure));
    HAS(buf, "{\"kind\":\"image\",\"record\":{");
    orlop_buf_free(&buf);
    OK(orlop_images_by_top_layer(store, "top", &buf, &failure));
    HAS(buf, "\"id\":\"image\"");
    orlop_buf_free(&buf);
    OK(orlop_images_by_digest(store, DIGEST, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    OK(orlop_layers_by_diff_digest(store, DIGEST, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    OK(orlop_layers_by_compressed_digest(store, DIGEST, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    OK(orlop_store_status(store, &buf, &failure));
    HAS(buf, strcmp(driver_name, "overlay") == 0 ? "[[\"" : "[]");
    orlop_buf_free(&buf);
    OK(orlop_store_config(store, &buf, &failure));
    HAS(buf, driver_name);
    orlop_buf_free(&buf);
    CHECK(OK(orlop_exists(store, "box", &failure)) == 1);
    CHECK(OK(orlop_exists(store, "nothing", &failure)) == 0);
}

static void check_names(orlop_store *store) {
    orlop_buf buf = {0};
    OK(orlop_add_names(store, "image", STRINGS("localhost/two:2"), &failure));
    OK(orlop_image(store, "image", &buf, &failure));
    HAS(buf, "\"names\":[\"localhost/two:2\",\"localhost/one:1\"]");
    orlop_buf_free(&buf);
    OK(orlop_remove_names(store, "image", STRINGS("localhost/one:1"), &failure));
    CHECK(OK(orlop_exists(store, "localhost/one:1", &failure)) == 0);
    OK(orlop_set_names(store, "image", STRINGS("localhost/one:1"), &failure));
    OK(orlop_set_names(store, "image", (orlop_strings){0}, &failure));
    OK(orlop_image(store, "image", &buf, &failure));
    HAS_NOT(buf, "\"names\":");
    orlop_buf_free(&buf);
    OK(orlop_set_metadata(store, "image", "{\"a\":1}", &failure));
    OK(orlop_image(store, "image", &buf, &failure));
    HAS(buf, "\"metadata\":\"{\\\"a\\\":1}\"");
    orlop_buf_free(&buf);
}

static void check_mounts(orlop_store *store) {
    orlop_buf path = {0}, buf = {0};
    char file[1024];
    int64_t count = -1;
    OK(orlop_mount(store, "box", PLAIN(orlop_mount_request), &path, &failure));
    snprintf(file, sizeof file, "%s/hello", (const char *)path.data);
    char *text = read_file(file);
    CHECK(strcmp(text, "hello") == 0);
    free(text);
    snprintf(file, sizeof file, "%s/written", (const char *)path.data);
    write_file(file, "four");
    orlop_buf_free(&path);
    OK(orlop_mount(store, "box", NULL, NULL, &failure));
    OK(orlop_mounted(store, "box", &count, &failure));
    CHECK(count == 2);
    CHECK(OK(orlop_unmount(store, "box", 0, &failure)) == 1);
    CHECK(OK(orlop_unmount(store, "box", 0, &failure)) == 0);
    OK(orlop_mount(store, "box", NULL, NULL, &failure));
    OK(orlop_mount(store, "box", NULL, NULL, &failure));
    CHECK(OK(orlop_unmount(store, "box", 1, &failure)) == 0);
    OK(orlop_mounted(store, "box", &count, &failure));
    CHECK(count == 0);
    OK(orlop_container(store, "box", &buf, &failure));
    const char *layer = strstr((const char *)buf.data, "\"layer\":\"");
    CHECK(layer != NULL);
    char id[65] = {0};
    snprintf(id, sizeof id, "%.64s", layer + 9);
    CHECK(strlen(id) == 64);
    orlop_buf_free(&buf);
    OK(orlop_changes(store, id, NULL, &buf, &failure));
    bool added = false;
    for (const char *record = (const char *)buf.data, *end = record + buf.len; record < end;
         record += strlen(record) + 1) {
        added |= strcmp(record, "A/written") == 0;
    }
    CHECK(added);
    orlop_buf_free(&buf);
    uint64_t bytes = 0;
    OK(orlop_diff_size(store, id, NULL, &bytes, &failure));
    CHECK(bytes == 4);
    OK(orlop_mount_image(store, "image", NULL, &path, &failure));
    snprintf(file, sizeof file, "%s/top", (const char *)path.data);
    CHECK(is_there(file));
    orlop_buf_free(&path);
    CHECK(OK(orlop_unmount_image(store, "image", 0, &failure)) == 0);
}

static void check_export(orlop_store *store) {
    static const int32_t ways[] = {ORLOP_COMPRESSION_AS_IT_CAME, ORLOP_COMPRESSION_NONE, ORLOP_COMPRESSION_GZIP,
                                   ORLOP_COMPRESSION_ZSTD};
    orlop_buf buf = {0};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char id[16];
        snprintf(id, sizeof id, "again%zu", i);
        int out = memfd_create("export", MFD_CLOEXEC);
        uint64_t bytes = 0;
        OK(orlop_export(store, "base", NULL, ways[i], out, NULL, &bytes, &failure));
        CHECK(bytes == 2048 && lseek(out, 0, SEEK_CUR) > 0);
        CHECK_ERRNO(lseek(out, 0, SEEK_SET) == 0);
        OK(orlop_import_layer(store, OPTIONS(orlop_new_layer, .id = id), out, NULL, &buf, &failure));
        HAS(buf, "\"diff-size\":2048");
        orlop_buf_free(&buf);
        close(out);
        OK(orlop_delete_layer(store, id, &failure));
    }
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_export(store, "base", NULL, 77, 1, NULL, NULL, &failure));
}

void check_store_life(void) {
    struct world world = open_world("store");
    orlop_store *store = world.store;
    orlop_buf buf = {0};
    OK(orlop_layers(store, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);

    import_file(&world, "base", NULL, "hello", "hello");
    import_file(&world, "top", "base", "top", "top");
    create_image(&world, "image", "top", "localhost/one:1");
    OK(orlop_create_container(store, OPTIONS(orlop_new_container, .id = "box", .image = "image"), &buf, &failure));
    HAS(buf, "\"id\":\"box\"");
    orlop_buf_free(&buf);
    check_lists(store);
    check_names(store);
    check_mounts(store);
    check_export(store);

    /* An empty layer, and content laid over it. */
    OK(orlop_create_layer(store, OPTIONS(orlop_new_layer, .id = "empty", .names = STRINGS("named")), &buf, &failure));
    HAS(buf, "\"names\":[\"named\"]");
    orlop_buf_free(&buf);
    int tar = TAR({'0', "file", "content"});
    uint64_t bytes = 0;
    OK(orlop_apply_diff(store, "empty", tar, NULL, &bytes, &failure));
    CHECK(bytes == 7);
    close(tar);
    OK(orlop_delete(store, "empty", &failure));

    int64_t size = 0;
    OK(orlop_container_size(store, "box", &size, &failure));
    CHECK(size >= 4);
    OK(orlop_image_size(store, "image", &size, &failure));
    CHECK(size == 4096);

    /* Taken away in order. */
    OK(orlop_delete_container(store, "box", &failure));
    OK(orlop_delete_image(store, "image", 1, &buf, &failure));
    IS(buf, "[\"top\",\"base\"]");
    orlop_buf_free(&buf);
    OK(orlop_delete_image(store, "image", 0, &buf, &failure));
    IS(buf, "[\"top\",\"base\"]");
    orlop_buf_free(&buf);
    CHECK(OK(orlop_exists(store, "base", &failure)) == 0);
    import_file(&world, "base", NULL, "hello", "hello");
    OK(orlop_wipe(store, &failure));
    OK(orlop_layers(store, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    OK(orlop_shutdown(store, 0, &failure));
    close_world(&world);
}

/* Big data, and folders for the caller's files. */
void check_store_data(void) {
    struct world world = open_world("store");
    orlop_store *store = world.store;
    import_file(&world, "base", NULL, "hello", "hello");
    const orlop_data_item item = {.key = "first", .data = (const uint8_t *)"a\0b", .len = 3};
    OK(orlop_create_image(
        store, OPTIONS(orlop_new_image, .id = "image", .layer = "base", .big_data = {&item, 1}), NULL, &failure));
    OK(orlop_create_container(
        store, OPTIONS(orlop_new_container, .id = "box", .image = "image", .big_data = {&item, 1}), NULL, &failure));

    orlop_buf buf = {0};
    OK(orlop_image_data(store, "image", "first", &buf, &failure));
    CHECK(buf.len == 3 && memcmp(buf.data, "a\0b", 4) == 0);
    orlop_buf_free(&buf);
    OK(orlop_set_image_data(store, "image", "first", NULL, 0, NULL, &failure));
    OK(orlop_image_data(store, "image", "first", &buf, &failure));
    IS(buf, "");
    orlop_buf_free(&buf);
    OK(orlop_set_image_data(store, "image", "second", (const uint8_t *)"xyz", 3, DIGEST, &failure));
    OK(orlop_image(store, "image", &buf, &failure));
    HAS(buf, "\"second\":\"" DIGEST "\"");
    orlop_buf_free(&buf);
    OK(orlop_set_container_data(store, "box", "second", (const uint8_t *)"xyz", 3, &failure));
    OK(orlop_container_data(store, "box", "second", &buf, &failure));
    IS(buf, "xyz");
    orlop_buf_free(&buf);

    int fd = memfd_create("item", MFD_CLOEXEC);
    CHECK(write(fd, "of a layer", 10) == 10 && lseek(fd, 3, SEEK_SET) == 3);
    OK(orlop_set_layer_data(store, "base", "item", fd, NULL, &failure));
    int out = memfd_create("out", MFD_CLOEXEC);
    OK(orlop_layer_data(store, "base", "item", out, NULL, &failure));
    char text[16] = {0};
    CHECK(pread(out, text, sizeof text, 0) == 7 && strcmp(text, "a layer") == 0);
    close(fd);
    close(out);

    int32_t (*const dirs[])(const orlop_store *, const char *, orlop_buf *, orlop_error **) = {
        orlop_image_dir, orlop_image_run_dir, orlop_container_dir, orlop_container_run_dir};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        OK(dirs[i](store, i < 2 ? "image" : "box", &buf, &failure));
        CHECK(is_there((const char *)buf.data));
        HAS(buf, i % 2 == 0 ? world.root : world.run);
        orlop_buf_free(&buf);
    }
    close_world(&world);
}

/* Load, save, commit: the image is one that the runner has made. */
void check_image_files(void) {
    struct world world = open_world("store");
    orlop_store *store = world.store;
    const char *archive = getenv("IMAGE");
    CHECK(archive != NULL);
    orlop_buf buf = {0};
    OK(orlop_load(store, archive, -1, NULL, NULL, &buf, &failure));
    HAS(buf, "[{\"id\":\"");
    HAS(buf, "\"names\":[\"localhost/orlop/tour:1\"]");
    char id[65] = {0};
    snprintf(id, sizeof id, "%.64s", (const char *)buf.data + 8);
    orlop_buf_free(&buf);

    /* Saved to a descriptor, loaded from it: the same image. */
    int fd = memfd_create("saved", MFD_CLOEXEC);
    OK(orlop_save(store, STRINGS("localhost/orlop/tour:1"), NULL, fd, OPTIONS(orlop_save_options, .format = "oci-archive"),
                  NULL, &failure));
    struct world other = open_world("other");
    CHECK_ERRNO(lseek(fd, 0, SEEK_SET) == 0);
    OK(orlop_load(other.store, NULL, fd, OPTIONS(orlop_load_options, .names = STRINGS("localhost/other:1")), NULL, &buf,
                  &failure));
    HAS(buf, id);
    HAS(buf, "localhost/other:1");
    orlop_buf_free(&buf);
    close(fd);
    OK(orlop_save(store, STRINGS(id), in_folder("saved"), -1, OPTIONS(orlop_save_options, .format = "oci-dir"), NULL,
                  &failure));
    CHECK(is_there(in_folder("saved/index.json")));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_load(store, archive, 0, NULL, NULL, NULL, &failure));
    close_world(&other);

    /* What a container changes becomes an image. */
    OK(orlop_create_container(store, OPTIONS(orlop_new_container, .id = "box", .image = id), NULL, &failure));
    OK(orlop_mount(store, "box", NULL, &buf, &failure));
    char file[1024];
    snprintf(file, sizeof file, "%s/written", (const char *)buf.data);
    write_file(file, "four");
    orlop_buf_free(&buf);
    OK(orlop_unmount(store, "box", 0, &failure));
    OK(orlop_commit(store, "box", "localhost/changed:1",
                    OPTIONS(orlop_commit_options, .author = "me", .changes = STRINGS("CMD [\"/bin/sh\"]"),
                            .created = "2024-01-02T03:04:05Z"),
                    NULL, &buf, &failure));
    CHECK(buf.len == 64);
    orlop_buf_free(&buf);
    OK(orlop_image_data(store, "localhost/changed:1", "manifest", &buf, &failure));
    HAS(buf, "application/vnd.oci.image.config.v1+json");
    orlop_buf_free(&buf);
    close_world(&world);
}
