/* Stores of others: docker's data root, the layout of 2016, thin images. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool overlay(void) {
    return strcmp(driver_name, "overlay") == 0;
}

/* Runs a program to its good end. */
static void run(int input, const char *const arguments[]) {
    pid_t child = fork();
    CHECK_ERRNO(child >= 0);
    if (child == 0) {
        if (input >= 0) {
            dup2(input, 0);
        }
        execvp(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    int status = -1;
    CHECK_ERRNO(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}
#define RUN(input, ...) run((input), (const char *const[]){__VA_ARGS__, NULL})

/* Content of the image NAME at PATH, NULL where nothing is there; to be freed. */
static char *in_image(orlop_store *store, const char *name, const char *path) {
    orlop_buf root = {0};
    char file[1024], *text = NULL;
    OK(orlop_mount_image(store, name, NULL, &root, &failure));
    snprintf(file, sizeof file, "%s/%s", (const char *)root.data, path);
    if (is_there(file)) {
        text = read_file(file);
    }
    orlop_buf_free(&root);
    OK(orlop_unmount_image(store, name, 1, &failure));
    return text;
}

static void check_docker_lists(const orlop_docker *docker) {
    orlop_buf buf = {0};
    OK(orlop_docker_images(docker, &buf, &failure));
    HAS(buf, "[{\"id\":\"");
    HAS(buf, "\"names\":[\"web:1\"],\"created\":\"2023-11-14T22:13:20Z\",\"diff-digests\":[\"sha256:");
    orlop_buf_free(&buf);
    OK(orlop_docker_layers(docker, &buf, &failure));
    HAS(buf, "\"parent\":\"");
    HAS(buf, "\"cache-id\":\"");
    HAS(buf, "\"size\":9}");
    orlop_buf_free(&buf);
    OK(orlop_docker_containers(docker, &buf, &failure));
    HAS(buf, "\"name\":\"box\"");
    HAS(buf, "\"running\":false");
    orlop_buf_free(&buf);
    OK(orlop_docker_images(docker, NULL, &failure));
}

static void check_docker_refusals(orlop_store *store, const orlop_docker *docker) {
    orlop_docker *other = NULL;
    FAILS(ORLOP_ERR_IO, orlop_docker_open(in_folder("nothing"), &other, &failure));
    CHECK_ERRNO(mkdir(in_folder("empty"), 0755) == 0);
    FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_docker_open(in_folder("empty"), &other, &failure));
    CHECK(other == NULL);
    orlop_buf report = {.len = 1};
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_migrate_docker(store, docker, OPTIONS(orlop_migrate_docker_options, .transfer = 4), NULL, &report, &failure));
    CHECK(report.data == NULL && report.len == 0);
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_migrate_docker(store, docker, OPTIONS(orlop_migrate_docker_options, .dry_run = 2), NULL, &report, &failure));
    FAILS(ORLOP_ERR_IMAGE_UNKNOWN,
          orlop_migrate_docker(store, docker, OPTIONS(orlop_migrate_docker_options, .images = STRINGS("other:1")), NULL,
                               &report, &failure));
    orlop_cancel *token = NULL;
    OK(orlop_cancel_new(&token, &failure));
    orlop_cancel_now(token);
    FAILS(ORLOP_ERR_CANCELLED,
          orlop_migrate_docker(store, docker, NULL, OPTIONS(orlop_operation, .cancel = token), &report, &failure));
    orlop_cancel_free(token);
}

/* The records, the migration with all its options, and its report. */
void check_docker(void) {
    const char *path = in_folder("docker");
    RUN(-1, "cp", "-a", getenv("DOCKER_ROOT"), path);
    struct world world = open_world("store");
    orlop_docker *docker = NULL;
    OK(orlop_docker_open(path, &docker, &failure));
    check_docker_lists(docker);
    orlop_buf buf = {0};
    if (!overlay()) {
        FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_migrate_docker(world.store, docker, NULL, NULL, &buf, &failure));
        orlop_docker_free(docker);
        close_world(&world);
        return;
    }
    check_docker_refusals(world.store, docker);
    CHECK(OK(orlop_migrate_docker(world.store, docker, OPTIONS(orlop_migrate_docker_options, .dry_run = 1), NULL, &buf,
                                  &failure)) == 1);
    HAS(buf, "{\"images\":[{\"id\":\"");
    HAS(buf, "\"outcome\":\"planned\"");
    orlop_buf_free(&buf);
    /* The file system in memory knows no reflinks: reported, and nothing is left. */
    CHECK(OK(orlop_migrate_docker(world.store, docker,
                                  OPTIONS(orlop_migrate_docker_options, .transfer = ORLOP_TRANSFER_REFLINK), NULL, &buf,
                                  &failure)) == 0);
    HAS(buf, "\"error\":\"");
    orlop_buf_free(&buf);
    OK(orlop_layers(world.store, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);

    orlop_progress *progress = NULL;
    OK(orlop_progress_new(&progress, &failure));
    CHECK(OK(orlop_migrate_docker(
              world.store, docker,
              OPTIONS(orlop_migrate_docker_options, .images = STRINGS("web:1"), .transfer = ORLOP_TRANSFER_COPY,
                      .containers = 1),
              OPTIONS(orlop_operation, .progress = progress), &buf, &failure)) == 1);
    HAS(buf, "\"names\":[\"docker.io/library/web:1\"]");
    HAS(buf, "\"outcome\":\"copied\"");
    HAS(buf, "\"container\":\"box\"");
    HAS_NOT(buf, "\"error\"");
    HAS_NOT(buf, "\"unfinished\"");
    orlop_buf_free(&buf);
    orlop_progress_state state = {.size = sizeof state};
    OK(orlop_progress_read(progress, &state, &failure));
    CHECK(state.items_started >= 3 && state.items_finished == state.items_started && state.bytes_done > 0);
    orlop_progress_free(progress);
    char *text = in_image(world.store, "docker.io/library/web:1", "etc/name");
    CHECK(text != NULL && strcmp(text, "web\n") == 0);
    free(text);
    CHECK(in_image(world.store, "docker.io/library/web:1", "etc/gone") == NULL);
    text = in_image(world.store, "localhost/box:latest", "written");
    CHECK(text != NULL && strcmp(text, "by box") == 0);
    free(text);

    /* A daemon's lock; without, docker keeps what its container is made from. */
    int lock = open(in_folder("docker/volumes/metadata.db"), O_RDWR | O_CLOEXEC);
    CHECK_ERRNO(lock >= 0 && flock(lock, LOCK_EX) == 0);
    const orlop_migrate_docker_options *move =
        OPTIONS(orlop_migrate_docker_options, .transfer = ORLOP_TRANSFER_MOVE, .unverified = 1);
    FAILS(ORLOP_ERR_BUSY, orlop_migrate_docker(world.store, docker, move, NULL, &buf, &failure));
    close(lock);
    CHECK(OK(orlop_migrate_docker(world.store, docker, move, NULL, &buf, &failure)) == 1);
    HAS(buf, "\"outcome\":\"present\"");
    HAS(buf, "\"moved\":false,\"kept\":\"");
    orlop_buf_free(&buf);
    orlop_docker_free(docker);
    close_world(&world);
}

/* A store in a layout of the caller's choice. */
static struct world open_dialect(const char *name, const char *dialect, orlop_strings options) {
    struct world world = {.root = in_folder("%s/root", name), .run = in_folder("%s/run", name)};
    OK(orlop_config_load(OPTIONS(orlop_config_options, .only_given = 1, .graph_root = world.root, .run_root = world.run,
                                 .driver = driver_name, .dialect = dialect, .driver_options = options),
                         &world.config, &failure));
    OK(orlop_store_open(world.config, &world.store, &failure));
    return world;
}

void check_legacy(void) {
    orlop_buf report = {0};
    if (!overlay()) {
        struct world world = open_world("store");
        FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_migrate_legacy(world.store, NULL, &report, &failure));
        close_world(&world);
        return;
    }
    struct world world = open_dialect("store", "legacy", (orlop_strings){0});
    import_file(&world, "base", NULL, "hello", "hello");
    import_file(&world, "top", "base", "more", "more");
    create_image(&world, "image", "top", "localhost/old:1");
    close_world(&world);
    CHECK(is_there(in_folder("store/root/overlay/base/root/hello")));

    world = open_world("store");
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_migrate_legacy(world.store, OPTIONS(orlop_migrate_legacy_options, .reserved = 1), &report, &failure));
    OK(orlop_migrate_legacy(world.store, OPTIONS(orlop_migrate_legacy_options, .dry_run = 1), &report, &failure));
    IS(report, "{\"image-layers\":2,\"container-layers\":0,\"verified\":0,\"linked-files\":0,\"whiteouts\":0,\"removed\":false}");
    orlop_buf_free(&report);
    CHECK(is_there(in_folder("store/root/overlay/base/root/hello")));
    OK(orlop_mount_image(world.store, "image", NULL, NULL, &failure));
    FAILS(ORLOP_ERR_BUSY, orlop_migrate_legacy(world.store, NULL, &report, &failure));
    OK(orlop_unmount_image(world.store, "image", 1, &failure));
    OK(orlop_migrate_legacy(world.store, NULL, &report, &failure));
    IS(report, "{\"image-layers\":2,\"container-layers\":0,\"verified\":2,\"linked-files\":2,\"whiteouts\":0,\"removed\":false}");
    orlop_buf_free(&report);
    /* It has the driver of the old layout, and is good for nothing more. */
    FAILS(ORLOP_ERR_BUSY, orlop_mount_image(world.store, "image", NULL, NULL, &failure));
    orlop_store_free(world.store);
    orlop_config_free(world.config);
    CHECK(is_there(in_folder("store/root/overlay/base/diff/hello")));
    CHECK(is_there(in_folder("store/root/overlay.legacy")));

    world = open_world("store");
    char *text = in_image(world.store, "localhost/old:1", "hello");
    CHECK(text != NULL && strcmp(text, "hello") == 0);
    free(text);
    OK(orlop_migrate_legacy(world.store, OPTIONS(orlop_migrate_legacy_options, .remove = 1), &report, &failure));
    IS(report, "{\"image-layers\":0,\"container-layers\":0,\"verified\":0,\"linked-files\":0,\"whiteouts\":0,\"removed\":true}");
    orlop_buf_free(&report);
    CHECK(!is_there(in_folder("store/root/overlay.legacy")));
    close_world(&world);
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int32_t thin_json(const char *text, orlop_buf *checked) {
    return orlop_thin_json((const uint8_t *)text, strlen(text), checked, &failure);
}

static void check_thin_documents(void) {
    static const char written[] =
        "{\"version\":\"1.0\",\"layers\":[{\"digest\":\"" HEX "\",\"url\":\"cvmfs://r.example/layers/1\"}],\"comment\":\"c\"}";
    orlop_buf buf = {0}, again = {0};
    OK(thin_json("{\"comment\": \"c\", \"unknown\": 1, \"origin\": \"\", \"version\": \"1.0\",\n"
                 " \"layers\": [{\"url\": \"cvmfs://r.example/layers/1\", \"digest\": \"" HEX "\"}]}",
                 &buf));
    IS(buf, written);
    OK(orlop_thin_archive(buf.data, buf.len, &again, &failure));
    CHECK(again.len % 512 == 0 && strcmp((const char *)again.data, "thin.json") == 0);
    CHECK(memcmp(again.data + 512, written, strlen(written)) == 0);
    orlop_buf_free(&buf);
    orlop_buf_free(&again);
    FAILS(ORLOP_ERR_CORRUPT, thin_json("", &buf));
    FAILS(ORLOP_ERR_CORRUPT, thin_json("{\"version\":\"1.0\",\"layers\":[{\"digest\":\"short\"}]}", &buf));
    FAILS(ORLOP_ERR_CORRUPT,
          thin_json("{\"version\":\"1.0\",\"layers\":[{\"digest\":\"" HEX "\",\"url\":\"cvmfs://r/../x\"}]}", &buf));
    FAILS(ORLOP_ERR_NOT_SUPPORTED, thin_json("{\"version\":\"2.0\",\"min_version\":\"2.0\",\"layers\":[]}", &buf));
    FAILS(ORLOP_ERR_CORRUPT, orlop_thin_archive((const uint8_t *)"[]", 2, &again, &failure));
    CHECK(buf.data == NULL && again.data == NULL);
}

/* Unpacks layers where a repository would show them. */
struct publisher {
    const char *root;
    int sent;
    int asked;
    /* What was sent last, and how often it was asked for since. */
    char last[80];
    int waited;
    int fails_with;
    uint32_t answer;
};

static int32_t publish(void *userdata, const char *digest, int32_t fd, uint64_t bytes) {
    struct publisher *publisher = userdata;
    struct stat stat;
    CHECK(strlen(digest) == 71 && memcmp(digest, "sha256:", 7) == 0);
    CHECK_ERRNO(fstat(fd, &stat) == 0);
    CHECK((uint64_t)stat.st_size == bytes && lseek(fd, 0, SEEK_CUR) == 0);
    publisher->sent++;
    if (publisher->fails_with != 0) {
        return publisher->fails_with;
    }
    char folder_of[1024];
    snprintf(folder_of, sizeof folder_of, "%s/r.example/layers/%s", publisher->root, digest + 7);
    RUN(-1, "mkdir", "-p", folder_of);
    RUN(fd, "tar", "-xzC", folder_of);
    snprintf(publisher->last, sizeof publisher->last, "%s", digest);
    publisher->waited = 0;
    return 0;
}

static int32_t published(void *userdata, const char *digest, uint32_t *publication) {
    struct publisher *publisher = userdata;
    CHECK(strlen(digest) == 71);
    publisher->asked++;
    if (strcmp(publisher->last, digest) != 0) {
        *publication = ORLOP_PUBLICATION_UNKNOWN;
    } else {
        /* Not at the first question. */
        *publication = publisher->waited++ == 0 ? ORLOP_PUBLICATION_UNDER_WAY : publisher->answer;
    }
    return 0;
}

static int32_t asking_fails(void *userdata, const char *digest, uint32_t *publication) {
    (void)userdata, (void)digest, (void)publication;
    return ECONNREFUSED;
}

/* Knows nothing yet when it is asked first. */
static int32_t published_later(void *userdata, const char *digest, uint32_t *publication) {
    struct publisher *publisher = userdata;
    if (publisher->asked == 0) {
        publisher->asked++;
        return EAGAIN;
    }
    return published(userdata, digest, publication);
}

void check_thin(void) {
    check_thin_documents();
    struct publisher publisher = {.root = in_folder("cvmfs"), .answer = ORLOP_PUBLICATION_DONE};
    const orlop_layer_upload *upload = OPTIONS(orlop_layer_upload, .repository = "r.example", .put = publish,
                                               .status = published, .userdata = &publisher);
    const orlop_make_thin_options *how = OPTIONS(orlop_make_thin_options, .name = "thin", .pause_ms = 1);
    orlop_buf buf = {0};
    struct world plain = open_world("plain");
    FAILS(ORLOP_ERR_NOT_SUPPORTED, orlop_make_thin(plain.store, "image", upload, how, NULL, &buf, &failure));
    close_world(&plain);
    CHECK(publisher.sent == 0);
    if (!overlay()) {
        return;
    }
    RUN(-1, "mkdir", "-p", in_folder("cvmfs/r.example"));
    char root[1024];
    snprintf(root, sizeof root, "cvmfsRoot=%s", publisher.root);
    struct world world = open_dialect("store", "cvmfs", STRINGS("cvmfsMountMethod=external", root));
    orlop_store *store = world.store;
    OK(orlop_load(store, getenv("IMAGE"), -1, NULL, NULL, NULL, &failure));
    const char *image = "localhost/orlop/tour:1";

    FAILS(ORLOP_ERR_IMAGE_UNKNOWN, orlop_make_thin(store, "nothing", upload, how, NULL, &buf, &failure));
    orlop_layer_upload wrong = *upload;
    wrong.put = NULL;
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_make_thin(store, image, &wrong, how, NULL, &buf, &failure));
    wrong = *upload;
    wrong.repository = "../etc";
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_make_thin(store, image, &wrong, how, NULL, &buf, &failure));
    CHECK(publisher.sent == 0);

    /* What a function gives is the error of the call, and the store is as before. */
    publisher.fails_with = ENOSPC;
    CHECK(orlop_make_thin(store, image, upload, how, NULL, &buf, &failure) == ORLOP_ERR_IO);
    CHECK(orlop_error_errno(failure) == ENOSPC && publisher.sent == 1);
    orlop_error_free(failure);
    failure = NULL;
    publisher.fails_with = 0;
    publisher.answer = ORLOP_PUBLICATION_UNKNOWN;
    FAILS(ORLOP_ERR_IO, orlop_make_thin(store, image, upload, OPTIONS(orlop_make_thin_options, .pause_ms = 1, .limit_s = 1),
                                        NULL, &buf, &failure));
    publisher.answer = 77;
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_make_thin(store, image, upload, how, NULL, &buf, &failure));
    wrong = *upload;
    wrong.status = asking_fails;
    CHECK(orlop_make_thin(store, image, &wrong, how, NULL, &buf, &failure) == ORLOP_ERR_IO);
    CHECK(orlop_error_errno(failure) == ECONNREFUSED);
    orlop_error_free(failure);
    failure = NULL;
    CHECK(OK(orlop_exists(store, "localhost/thin:latest", &failure)) == 0);

    publisher = (struct publisher){.root = publisher.root, .answer = ORLOP_PUBLICATION_DONE};
    orlop_progress *progress = NULL;
    OK(orlop_progress_new(&progress, &failure));
    /* Without an answer the layer is sent, and asked for again. */
    wrong = *upload;
    wrong.status = published_later;
    OK(orlop_make_thin(store, image, &wrong, how, OPTIONS(orlop_operation, .progress = progress), &buf, &failure));
    HAS(buf, "{\"id\":\"");
    HAS(buf, "\"names\":[\"localhost/thin:latest\"]}");
    orlop_buf_free(&buf);
    CHECK(publisher.sent == 3 && publisher.asked == 9);
    orlop_progress_state state = {.size = sizeof state};
    OK(orlop_progress_read(progress, &state, &failure));
    CHECK(state.items_started == 6 && state.items_finished == 6 && state.bytes_done == state.bytes_total);
    orlop_progress_free(progress);
    /* The layer of the list shows the list; what lies on it sees the layers that are listed. */
    char *list = in_image(store, "localhost/thin:latest", "thin.json");
    OK(thin_json(list, NULL));
    free(list);
    OK(orlop_create_container(store, OPTIONS(orlop_new_container, .id = "box", .image = "localhost/thin:latest"), NULL, &failure));
    OK(orlop_mount(store, "box", NULL, &buf, &failure));
    snprintf(root, sizeof root, "%s/etc/motd", (const char *)buf.data);
    orlop_buf_free(&buf);
    char *text = read_file(root);
    CHECK(strcmp(text, "welcome below deck\n") == 0);
    free(text);
    OK(orlop_unmount(store, "box", 1, &failure));
    close_world(&world);
}
