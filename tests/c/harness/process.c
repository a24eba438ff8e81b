/* What the library does to the process that it lives in: nothing that lasts. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static atomic_int lines;
static atomic_int seen_levels;

static void count_line(uint32_t level, const char *line, void *userdata) {
    CHECK(userdata == &lines && level >= ORLOP_LOG_ERROR && level <= ORLOP_LOG_DEBUG);
    CHECK(line != NULL && *line != '\0');
    atomic_fetch_or(&seen_levels, 1 << level);
    atomic_fetch_add(&lines, 1);
}

/* Something that is always worth a warning: a name of a driver that is an old one. */
static void provoke_warning(void) {
    const char *file = in_folder("storage.conf");
    write_file(file, "[storage]\ndriver = \"overlay2\"\n");
    orlop_config *config = NULL;
    OK(orlop_config_load(OPTIONS(orlop_config_options, .file = file), &config, &failure));
    orlop_config_free(config);
}

void check_log(void) {
    provoke_warning();
    CHECK(atomic_load(&lines) == 0);
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_set_log(count_line, &lines, ORLOP_LOG_DEBUG + 1, &failure));
    OK(orlop_set_log(count_line, &lines, ORLOP_LOG_DEBUG, &failure));
    struct world world = open_world("store");
    import_file(&world, "base", NULL, "hello", "hello");
    provoke_warning();
    CHECK(atomic_load(&lines) > 0);
    CHECK(atomic_load(&seen_levels) & 1 << ORLOP_LOG_WARN);
    /* Less, then nothing. */
    atomic_store(&seen_levels, 0);
    OK(orlop_set_log(count_line, &lines, ORLOP_LOG_WARN, &failure));
    import_file(&world, "more", "base", "hello", "hello");
    provoke_warning();
    CHECK((atomic_load(&seen_levels) & (1 << ORLOP_LOG_INFO | 1 << ORLOP_LOG_DEBUG)) == 0);
    CHECK(atomic_load(&seen_levels) & 1 << ORLOP_LOG_WARN);
    int before = atomic_load(&lines);
    OK(orlop_set_log(count_line, &lines, ORLOP_LOG_OFF, &failure));
    provoke_warning();
    OK(orlop_set_log(NULL, NULL, ORLOP_LOG_DEBUG, &failure));
    provoke_warning();
    CHECK(atomic_load(&lines) == before);
    close_world(&world);
}

/* Name and blocked signals of each thread but those of the check itself. */
static int library_threads(bool check) {
    DIR *tasks = opendir("/proc/self/task");
    CHECK_ERRNO(tasks != NULL);
    int found = 0;
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char path[300];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        if (status == NULL) {
            continue;
        }
        char line[256], name[64] = "";
        unsigned long long blocked = 0;
        while (fgets(line, sizeof line, status) != NULL) {
            sscanf(line, "Name:\t%63s", name);
            sscanf(line, "SigBlk:\t%llx", &blocked);
        }
        fclose(status);
        if (strncmp(name, "orlop", 5) == 0) {
            found++;
            /* All but SIGKILL, SIGSTOP and the two that the C library keeps for itself. */
            unsigned long long all = ~(1ull << 8 | 1ull << 18 | 1ull << 31 | 1ull << 32);
            if (check && (blocked & all) != all) {
                fail(__FILE__, __LINE__, "the thread %s blocks only %016llx", name, blocked);
            }
        } else if (check && strcmp(name, "harness") != 0) {
            fail(__FILE__, __LINE__, "a thread is called %s", name);
        }
    }
    closedir(tasks);
    return found;
}

struct slow_import {
    const struct world *world;
    int fd;
};

static void *import_slowly(void *argument) {
    struct slow_import *import = argument;
    OK(orlop_import_layer(import->world->store, OPTIONS(orlop_new_layer, .id = "slow"), import->fd, NULL, NULL, &failure));
    return NULL;
}

void check_signal_masks(void) {
    struct world world = open_world("store");
    CHECK(library_threads(true) == 0);
    int ends[2];
    CHECK_ERRNO(pipe2(ends, O_CLOEXEC) == 0);
    struct slow_import import = {&world, ends[0]};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, import_slowly, &import) == 0);
    char block[512];
    tar_header(block, '0', "file", NULL, 1 << 20);
    CHECK(write(ends[1], block, sizeof block) == sizeof block);
    memset(block, 'x', sizeof block);
    int found = 0;
    for (int part = 0; part < 2048; part++) {
        CHECK(write(ends[1], block, sizeof block) == sizeof block);
        if (part % 128 == 0) {
            usleep(1000);
            int now = library_threads(true);
            found = now > found ? now : found;
        }
    }
    CHECK(found > 0);
    memset(block, 0, sizeof block);
    CHECK(write(ends[1], block, sizeof block) == sizeof block && write(ends[1], block, sizeof block) == sizeof block);
    close(ends[1]);
    CHECK(pthread_join(thread, NULL) == 0);
    close(ends[0]);
    /* They end with the call; the kernel may show one for a moment longer. */
    for (int i = 0; i < 1000 && library_threads(false) > 0; i++) {
        usleep(1000);
    }
    CHECK(library_threads(true) == 0);
    close_world(&world);
}

/* Open descriptors, without the one that lists them. Those of lock files are kept (store-format 9.1). */
static int descriptors(bool check) {
    DIR *all = opendir("/proc/self/fd");
    CHECK_ERRNO(all != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(all) || fd < 3) {
            continue;
        }
        char path[300], target[4096] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) < 0) {
            continue;
        }
        int flags = fcntl(fd, F_GETFD);
        /* What the program was started with, by valgrind or the runner, is not the library's. */
        bool ours = strstr(target, folder) != NULL || strncmp(target, "anon_inode", 10) == 0;
        if (check && ours && flags >= 0 && (flags & FD_CLOEXEC) == 0) {
            fail(__FILE__, __LINE__, "%d (%s) is not closed on exec", fd, target);
        }
        count += strstr(target, ".lock") == NULL && strstr(target, "lock-") == NULL;
    }
    closedir(all);
    return count;
}

static void *watch_descriptors(void *argument) {
    atomic_bool *end = argument;
    while (!atomic_load(end)) {
        descriptors(true);
    }
    return NULL;
}

static void one_round(const struct world *world) {
    orlop_driver *driver = NULL;
    orlop_store *store = NULL;
    orlop_cancel *cancel = NULL;
    orlop_progress *progress = NULL;
    OK(orlop_store_open(world->config, &store, &failure));
    OK(orlop_driver_open(world->config, &driver, &failure));
    OK(orlop_cancel_new(&cancel, &failure));
    OK(orlop_progress_new(&progress, &failure));
    int tar = TAR({'0', "file", "content"});
    OK(orlop_import_layer(store, OPTIONS(orlop_new_layer, .id = "round"), tar,
                          OPTIONS(orlop_operation, .cancel = cancel, .progress = progress), NULL, &failure));
    close(tar);
    int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    OK(orlop_export(store, "round", NULL, ORLOP_COMPRESSION_GZIP, out, NULL, NULL, &failure));
    OK(orlop_driver_diff(driver, "round", NULL, NULL, out, NULL, &failure));
    close(out);
    OK(orlop_mount(store, "round", NULL, NULL, &failure));
    OK(orlop_unmount(store, "round", 0, &failure));
    orlop_files *files = NULL;
    OK(orlop_driver_files(driver, "round", &files, &failure));
    orlop_files_free(files);
    orlop_trash *trash = NULL;
    OK(orlop_driver_create(driver, "made", NULL, NULL, &failure));
    OK(orlop_driver_deferred_remove(driver, "made", &trash, &failure));
    orlop_trash_free(trash);
    FAILS(ORLOP_ERR_LAYER_UNKNOWN, orlop_layer(store, "nothing", NULL, &failure));
    OK(orlop_delete_layer(store, "round", &failure));
    orlop_progress_free(progress);
    orlop_cancel_free(cancel);
    orlop_driver_free(driver);
    orlop_store_free(store);
}

void check_descriptors(void) {
    struct world world = open_world("store");
    one_round(&world);
    int before = descriptors(true);
    atomic_bool end = false;
    pthread_t watcher;
    CHECK(pthread_create(&watcher, NULL, watch_descriptors, &end) == 0);
    const char *text = getenv("LEAK_ROUNDS");
    int rounds = text != NULL ? atoi(text) : 200;
    for (int i = 0; i < rounds; i++) {
        one_round(&world);
    }
    atomic_store(&end, true);
    CHECK(pthread_join(watcher, NULL) == 0);
    int after = descriptors(true);
    if (after != before) {
        fail(__FILE__, __LINE__, "%d descriptors before %d rounds, %d after", before, rounds, after);
    }
    close_world(&world);
}

static void on_signal(int number) {
    (void)number;
}

/* umask, working directory, environment, signal handlers, masks and limits are the host's. */
void check_process_state(void) {
    char before_dir[4096], after_dir[4096];
    umask(0147);
    CHECK(getcwd(before_dir, sizeof before_dir) != NULL);
    signal(SIGUSR1, on_signal);
    signal(SIGCHLD, on_signal);
    struct sigaction before[65], after;
    for (int number = 1; number <= 64; number++) {
        memset(&before[number], 0, sizeof before[number]);
        sigaction(number, NULL, &before[number]);
    }
    sigset_t mask, mask_after;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    size_t variables = 0;
    char *environment[1024];
    for (; environ[variables] != NULL; variables++) {
        CHECK(variables < 1024);
        environment[variables] = environ[variables];
    }

    struct world world = open_world("store");
    one_round(&world);
    OK(orlop_load(world.store, getenv("IMAGE"), -1, NULL, NULL, NULL, &failure));
    /* What the umask would take away is there all the same: modes are those of the archive. */
    orlop_buf path = {0};
    import_file(&world, "modes", NULL, "file", "content");
    OK(orlop_mount(world.store, "modes", NULL, &path, &failure));
    char file[1024];
    snprintf(file, sizeof file, "%s/file", (const char *)path.data);
    struct stat stat;
    CHECK_ERRNO(lstat(file, &stat) == 0);
    CHECK((stat.st_mode & 07777) == 0644);
    orlop_buf_free(&path);
    OK(orlop_unmount(world.store, "modes", 0, &failure));
    close_world(&world);

    CHECK(umask(0) == 0147);
    CHECK(getcwd(after_dir, sizeof after_dir) != NULL && strcmp(before_dir, after_dir) == 0);
    for (int number = 1; number <= 64; number++) {
        memset(&after, 0, sizeof after);
        if (sigaction(number, NULL, &after) == 0 &&
            (after.sa_handler != before[number].sa_handler || after.sa_flags != before[number].sa_flags)) {
            fail(__FILE__, __LINE__, "the handler of signal %d has changed", number);
        }
    }
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int number = 1; number <= 64; number++) {
        CHECK(sigismember(&mask, number) == sigismember(&mask_after, number));
    }
    size_t count = 0;
    for (; environ[count] != NULL; count++) {
        CHECK(count < variables && environ[count] == environment[count]);
    }
    CHECK(count == variables);
}
