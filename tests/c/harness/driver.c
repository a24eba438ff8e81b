/* A driver's layers from their making to their removal, as a Go engine uses them. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
    orlop_config *config;
    orlop_driver *driver;
};

static struct bench open_bench(void) {
    struct bench bench = {.config = config_of(in_folder("root"), in_folder("run"), driver_name)};
    bench.driver = open_driver(bench.config);
    return bench;
}

static void close_bench(struct bench *bench) {
    OK(orlop_driver_cleanup(bench->driver, &failure));
    orlop_driver_free(bench->driver);
    orlop_config_free(bench->config);
}

static const char *get(orlop_driver *driver, const char *id, const orlop_mount_options *options) {
    static char paths[8][1024];
    static size_t next;
    orlop_buf path = {0};
    OK(orlop_driver_get(driver, id, options, &path, &failure));
    char *kept = paths[next++ % 8];
    snprintf(kept, sizeof *paths, "%s", (const char *)path.data);
    orlop_buf_free(&path);
    return kept;
}

static const char *below(const char *top, const char *name) {
    static char paths[8][1200];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof *paths, "%s/%s", top, name);
    return path;
}

void check_driver_life(void) {
    struct bench bench = open_bench();
    orlop_driver *driver = bench.driver;
    orlop_buf buf = {0};
    bool overlay = strcmp(driver_name, "overlay") == 0;

    OK(orlop_driver_name(driver, &buf, &failure));
    IS(buf, driver_name);
    orlop_buf_free(&buf);
    OK(orlop_driver_layers(driver, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    OK(orlop_driver_status(driver, &buf, &failure));
    /* As in Go, vfs has nothing to say. */
    HAS(buf, overlay ? "[[\"" : "[]");
    orlop_buf_free(&buf);
    OK(orlop_driver_temp_dir_roots(driver, &buf, &failure));
    HAS(buf, in_folder("root"));
    orlop_buf_free(&buf);
    OK(orlop_driver_additional_image_stores(driver, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    int32_t syncs = OK(orlop_driver_syncs(driver, &failure));
    CHECK(syncs == 0 || syncs == 1);
    int32_t shifts = OK(orlop_driver_supports_shifting(driver, (orlop_id_maps){0}, (orlop_id_maps){0}, &failure));
    CHECK(overlay ? shifts == 0 || shifts == 1 : shifts == 0);

    /* A layer with content, one upon it that takes some of it away, and a container's. */
    OK(orlop_driver_create(driver, "base", NULL, NULL, &failure));
    int tar = TAR({'5', "etc", NULL}, {'0', "etc/motd", "hello\n"}, {'0', "gone", "x"});
    uint64_t bytes = 0, size = 0;
    OK(orlop_driver_apply_diff(driver, "base", tar, NULL, NULL, &bytes, &failure));
    close(tar);
    OK(orlop_driver_diff_size(driver, "base", NULL, NULL, &size, &failure));
    CHECK(bytes == 7 && size == bytes);
    OK(orlop_driver_create(driver, "upper", "base", NULL, &failure));
    tar = TAR({'0', ".wh.gone", ""}, {'0', "new", "new\n"});
    OK(orlop_driver_apply_diff(driver, "upper", tar, PLAIN(orlop_apply_options), NULL, NULL, &failure));
    close(tar);
    OK(orlop_driver_create_read_write(driver, "work", "upper", PLAIN(orlop_layer_options), &failure));
    CHECK(OK(orlop_driver_exists(driver, "work", &failure)) == 1);
    CHECK(OK(orlop_driver_exists(driver, "nothing", &failure)) == 0);
    OK(orlop_driver_layers(driver, &buf, &failure));
    HAS(buf, "\"base\"");
    HAS(buf, "\"work\"");
    orlop_buf_free(&buf);

    /* Mounted twice, given back twice. */
    const char *top = get(driver, "work", NULL);
    char *text = read_file(below(top, "etc/motd"));
    CHECK(strcmp(text, "hello\n") == 0);
    free(text);
    CHECK(!is_there(below(top, "gone")) && is_there(below(top, "new")));
    CHECK(OK(orlop_driver_is_mounted(driver, top, &failure)) == 1);
    CHECK(strcmp(get(driver, "work", NULL), top) == 0);
    OK(orlop_driver_put(driver, "work", &failure));
    CHECK(is_there(below(top, "new")));
    write_file(below(top, "written"), "four");
    CHECK_ERRNO(unlink(below(top, "new")) == 0);

    /* Records of one byte, the path and NUL. */
    OK(orlop_driver_changes(driver, "work", "upper", NULL, &buf, &failure));
    CHECK(buf.len > 0 && buf.data[buf.len - 1] == '\0');
    bool added = false, deleted = false;
    for (const char *record = (const char *)buf.data, *end = record + buf.len; record < end;
         record += strlen(record) + 1) {
        added |= strcmp(record, "A/written") == 0;
        deleted |= strcmp(record, "D/new") == 0;
    }
    CHECK(added && deleted);
    orlop_buf_free(&buf);

    orlop_disk_usage usage = {.size = sizeof usage};
    OK(orlop_driver_disk_usage(driver, "work", &usage, &failure));
    CHECK(usage.bytes >= 4 && usage.inodes >= 2);
    OK(orlop_driver_metadata(driver, "work", &buf, &failure));
    if (overlay) {
        HAS(buf, "\"MergedDir\"");
    }
    orlop_buf_free(&buf);
    OK(orlop_driver_put(driver, "work", &failure));
    /* What vfs gives is a directory, and stays one. */
    CHECK(OK(orlop_driver_is_mounted(driver, top, &failure)) == !overlay);

    if (overlay) {
        /* Read-only, as asked for. */
        top = get(driver, "work", OPTIONS(orlop_mount_options, .options = STRINGS("ro")));
        CHECK(open(below(top, "x"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == EROFS);
        OK(orlop_driver_put(driver, "work", &failure));

        /* The same for one who mounts it elsewhere, and without a place in the tree. */
        const orlop_mount_options *reading = OPTIONS(orlop_mount_options, .options = STRINGS("ro"));
        OK(orlop_driver_describe_mount(driver, "work", reading, &buf, &failure));
        HAS(buf, "/work/diff\",");
        HAS(buf, "/base/diff\"]");
        HAS(buf, "\"options\":[\"ro\"");
        HAS_NOT(buf, "\"upper\"");
        orlop_buf_free(&buf);
        int32_t mount = -1;
        if (getenv("NO_FSOPEN") != NULL) {
            FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_driver_mount_detached(driver, "work", reading, &mount, &failure));
            CHECK(mount == -1);
        } else {
            OK(orlop_driver_mount_detached(driver, "work", reading, &mount, &failure));
            CHECK(fcntl(mount, F_GETFD) == FD_CLOEXEC);
            int motd = openat(mount, "etc/motd", O_RDONLY | O_CLOEXEC);
            CHECK_ERRNO(motd >= 0);
            char read_back[16] = {0};
            CHECK(read(motd, read_back, sizeof read_back) == 6 && strcmp(read_back, "hello\n") == 0);
            close(motd);
            CHECK(openat(mount, "x", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == EROFS);
            close(mount);
        }
        CHECK(OK(orlop_driver_is_mounted(driver, top, &failure)) == 0);
    }

    OK(orlop_driver_create_from_template(driver, "copy", "upper", NULL, 0, &failure));
    OK(orlop_driver_diff_size(driver, "copy", "base", PLAIN(orlop_diff_options), &size, &failure));
    if (!overlay) {
        /* Nobody's owner differs between no maps and no maps. */
        OK(orlop_driver_update_id_maps(driver, "work", (orlop_id_maps){0}, (orlop_id_maps){0}, (orlop_id_maps){0},
                                       (orlop_id_maps){0}, NULL, &failure));
    }

    /* Gone at once, the bytes later; or all at once. */
    orlop_trash *trash = NULL;
    OK(orlop_driver_deferred_remove(driver, "copy", &trash, &failure));
    CHECK(OK(orlop_driver_exists(driver, "copy", &failure)) == 0);
    OK(orlop_trash_empty(trash, &failure));
    OK(orlop_driver_deferred_remove(driver, "work", &trash, &failure));
    orlop_trash_free(trash);
    OK(orlop_driver_remove(driver, "upper", &failure));
    OK(orlop_driver_remove(driver, "base", &failure));
    OK(orlop_driver_layers(driver, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    close_bench(&bench);
}

void check_driver_streams(void) {
    struct bench bench = open_bench();
    orlop_driver *driver = bench.driver;

    /* Unpacked before there is a layer. */
    int tar = TAR({'5', "d", NULL}, {'0', "d/file", "content"}, {'2', "link", "d/file"});
    orlop_staged *staged = NULL;
    uint64_t bytes = 0;
    OK(orlop_driver_stage(driver, NULL, tar, NULL, NULL, &staged, &bytes, &failure));
    CHECK(bytes == 7 && OK(orlop_driver_exists(driver, "a", &failure)) == 0);
    OK(orlop_driver_create(driver, "a", NULL, NULL, &failure));
    OK(orlop_driver_commit_staged(driver, "a", staged, &failure));
    /* One that nobody wants, and one that has no place. */
    CHECK_ERRNO(lseek(tar, 0, SEEK_SET) == 0);
    OK(orlop_driver_stage(driver, "a", tar, NULL, NULL, &staged, NULL, &failure));
    orlop_staged_free(staged);
    CHECK_ERRNO(lseek(tar, 0, SEEK_SET) == 0);
    OK(orlop_driver_stage(driver, "a", tar, NULL, NULL, &staged, NULL, &failure));
    FAILS(ORLOP_ERR_LAYER_UNKNOWN, orlop_driver_commit_staged(driver, "nothing", staged, &failure));
    close(tar);

    /* The tar comes out as it went in, as far as files go. */
    int out = memfd_create("diff", MFD_CLOEXEC);
    OK(orlop_driver_diff(driver, "a", NULL, NULL, out, NULL, &failure));
    off_t length = lseek(out, 0, SEEK_CUR);
    CHECK(length > 0 && length % 512 == 0);
    CHECK_ERRNO(lseek(out, 0, SEEK_SET) == 0);
    OK(orlop_driver_create(driver, "b", NULL, NULL, &failure));
    OK(orlop_driver_apply_diff(driver, "b", out, NULL, NULL, &bytes, &failure));
    CHECK(bytes == 7);
    close(out);

    /* Files of a layer, which outlive the driver. */
    orlop_files *files = NULL;
    OK(orlop_driver_files(driver, "b", &files, &failure));
    int32_t fd = -1;
    OK(orlop_files_open(files, "d/file", &fd, &failure));
    char text[16] = {0};
    CHECK(read(fd, text, sizeof text) == 7 && strcmp(text, "content") == 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    close(fd);
    CHECK(orlop_files_open(files, "d/none", &fd, &failure) == ORLOP_ERR_IO);
    CHECK(fd == -1 && orlop_error_errno(failure) == ENOENT);
    orlop_error_free(failure);
    failure = NULL;
    orlop_files_free(files);
    OK(orlop_driver_remove(driver, "a", &failure));
    OK(orlop_driver_remove(driver, "b", &failure));
    close_bench(&bench);
}
