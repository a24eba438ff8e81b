/* Many threads on one handle, and a process that forks in the middle. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 10 };

static const struct world *shared;
static atomic_int finished;

static int rounds(void) {
    const char *text = getenv("ROUNDS");
    return text != NULL ? atoi(text) : 5;
}

static void *work(void *argument) {
    int number = *(const int *)argument;
    orlop_store *store = shared->store;
    for (int round = 0; round < rounds(); round++) {
        char id[32], name[32];
        snprintf(id, sizeof id, "layer-%d-%d", number, round);
        snprintf(name, sizeof name, "box-%d-%d", number, round);
        orlop_buf buf = {0};
        import_file(shared, id, "base", "file", id);
        OK(orlop_layers(store, &buf, &failure));
        HAS(buf, id);
        orlop_buf_free(&buf);
        OK(orlop_create_container(store, OPTIONS(orlop_new_container, .id = name, .image = "image"), NULL, &failure));
        OK(orlop_mount(store, name, NULL, &buf, &failure));
        orlop_buf_free(&buf);
        CHECK(OK(orlop_unmount(store, name, 0, &failure)) == 0);
        OK(orlop_mount(store, id, NULL, &buf, &failure));
        char file[1024];
        snprintf(file, sizeof file, "%s/file", (const char *)buf.data);
        char *text = read_file(file);
        CHECK(strcmp(text, id) == 0);
        free(text);
        orlop_buf_free(&buf);
        OK(orlop_unmount(store, id, 0, &failure));
        /* An error belongs to the call that gave it, whatever the others do. */
        CHECK(orlop_layer(store, name, NULL, &failure) == ORLOP_ERR_LAYER_UNKNOWN);
        CHECK(strcmp(orlop_error_id(failure), name) == 0);
        orlop_error_free(failure);
        failure = NULL;
        OK(orlop_delete_container(store, name, &failure));
        OK(orlop_delete_layer(store, id, &failure));
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

static void prepare(struct world *world) {
    *world = open_world("store");
    import_file(world, "base", NULL, "hello", "hello");
    create_image(world, "image", "base", "localhost/one:1");
}

void check_threads(void) {
    struct world world;
    prepare(&world);
    shared = &world;
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(atomic_load(&finished) == THREADS);
    orlop_buf buf = {0};
    OK(orlop_layers(world.store, &buf, &failure));
    HAS(buf, "\"base\"");
    HAS_NOT(buf, "layer-");
    orlop_buf_free(&buf);
    OK(orlop_containers(world.store, &buf, &failure));
    IS(buf, "[]");
    orlop_buf_free(&buf);
    close_world(&world);
}

/* A child may free handles, which does nothing, and open others; the parent's go on. */
void check_fork(void) {
    struct world world;
    prepare(&world);
    orlop_driver *driver = open_driver(world.config);
    orlop_buf path = {0};
    OK(orlop_driver_create_read_write(driver, "work", "base", NULL, &failure));
    OK(orlop_driver_get(driver, "work", NULL, &path, &failure));
    char file[1024];
    snprintf(file, sizeof file, "%s/hello", (const char *)path.data);
    orlop_buf_free(&path);

    /* In the middle: others are at work. */
    shared = &world;
    pthread_t busy;
    CHECK(pthread_create(&busy, NULL, work, &(int){77}) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        CHECK_ERRNO(child >= 0);
        if (child == 0) {
            alarm(60);
            FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_exists(world.store, "base", &failure));
            FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_driver_put(driver, "work", &failure));
            FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_config_json(world.config, NULL, &failure));
            orlop_driver_free(driver);
            orlop_store_free(world.store);
            orlop_config_free(world.config);
            _exit(0);
        }
        int status = 0;
        CHECK_ERRNO(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(is_there(file));
        usleep(2000);
    }
    CHECK(pthread_join(busy, NULL) == 0);
    OK(orlop_driver_put(driver, "work", &failure));
    CHECK(!is_there(file) || strcmp(driver_name, "overlay") != 0);
    OK(orlop_driver_remove(driver, "work", &failure));

    /* With a handle of its own, where no other thread was in the library. */
    pid_t child = fork();
    CHECK_ERRNO(child >= 0);
    if (child == 0) {
        alarm(60);
        struct world own = open_world("store");
        CHECK(OK(orlop_exists(own.store, "base", &failure)) == 1);
        import_file(&own, "child", "base", "child", "child");
        orlop_store_free(own.store);
        orlop_config_free(own.config);
        _exit(0);
    }
    int status = 0;
    CHECK_ERRNO(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(OK(orlop_exists(world.store, "child", &failure)) == 1);
    orlop_driver_free(driver);
    close_world(&world);
}
