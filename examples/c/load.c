/* Loads the images of an archive, and tells meanwhile how far it is: load ARCHIVE */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <orlop.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

struct load {
    orlop_store *store;
    const char *archive;
    orlop_progress *progress;
    orlop_buf images;
    orlop_error *error;
    int32_t code;
};

static void *run(void *argument) {
    struct load *load = argument;
    orlop_operation operation = {.size = sizeof operation, .progress = load->progress};
    load->code = orlop_load(load->store, load->archive, -1, NULL, &operation, &load->images, &load->error);
    return NULL;
}

/* Any thread may look, at any time. */
static uint64_t show(const orlop_progress *progress) {
    orlop_progress_state state = {.size = sizeof state};
    if (orlop_progress_read(progress, &state, NULL) == ORLOP_OK) {
        fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " bytes, %" PRIu64 " of %" PRIu64 " layers", state.bytes_done,
                state.bytes_total, state.items_finished, state.items_started);
    }
    return state.items_finished;
}

int main(int argc, char **argv) {
    orlop_config *config = NULL;
    struct load load = {0};
    pthread_t thread;
    int status = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: load ARCHIVE\n");
        return 2;
    }
    load.archive = argv[1];
    if (orlop_config_load(NULL, &config, &load.error) < 0 ||
        orlop_store_open(config, &load.store, &load.error) < 0 ||
        orlop_progress_new(&load.progress, &load.error) < 0) {
        fprintf(stderr, "%s\n", orlop_error_message(load.error));
        goto end;
    }
    if (pthread_create(&thread, NULL, run, &load) != 0) {
        fprintf(stderr, "no thread\n");
        goto end;
    }
    /* A program with a window would look each time that it draws. */
    for (int i = 0; i < 10 && show(load.progress) == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    pthread_join(thread, NULL);
    show(load.progress);
    fputc('\n', stderr);
    if (load.code < 0) {
        fprintf(stderr, "%s\n", orlop_error_message(load.error));
        goto end;
    }
    status = puts((const char *)load.images.data) < 0;
end:
    orlop_buf_free(&load.images);
    orlop_progress_free(load.progress);
    orlop_store_free(load.store);
    orlop_config_free(config);
    orlop_error_free(load.error);
    return status;
}
