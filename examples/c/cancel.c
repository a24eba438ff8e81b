/* Imports a layer from standard input, and calls that off after some seconds, whatever comes: cancel SECONDS <TAR */
#define _POSIX_C_SOURCE 200809L
#include <orlop.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct timer {
    orlop_cancel *cancel;
    double seconds;
};

static void *run_out(void *argument) {
    struct timer *timer = argument;
    struct timespec time = {.tv_sec = (time_t)timer->seconds};
    time.tv_nsec = (long)((timer->seconds - (double)time.tv_sec) * 1e9);
    nanosleep(&time, NULL);
    orlop_cancel_now(timer->cancel);
    return NULL;
}

int main(int argc, char **argv) {
    orlop_config *config = NULL;
    orlop_store *store = NULL;
    orlop_error *error = NULL;
    orlop_buf layer = {0};
    struct timer timer = {0};
    pthread_t thread;
    int status = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: cancel SECONDS <TAR\n");
        return 2;
    }
    timer.seconds = atof(argv[1]);
    if (orlop_config_load(NULL, &config, &error) < 0 || orlop_store_open(config, &store, &error) < 0 ||
        orlop_cancel_new(&timer.cancel, &error) < 0) {
        goto end;
    }
    if (pthread_create(&thread, NULL, run_out, &timer) != 0) {
        fprintf(stderr, "no thread\n");
        goto end;
    }
    orlop_operation operation = {.size = sizeof operation, .cancel = timer.cancel};
    int32_t code = orlop_import_layer(store, NULL, 0, &operation, &layer, &error);
    /* The token lives until nobody uses it any more. */
    pthread_join(thread, NULL);
    if (code == ORLOP_ERR_CANCELLED) {
        puts("called off; nothing is left of it");
        status = 3;
    } else if (code == ORLOP_OK) {
        status = puts((const char *)layer.data) < 0;
    }
end:
    if (error != NULL && orlop_error_code(error) != ORLOP_ERR_CANCELLED) {
        fprintf(stderr, "%s\n", orlop_error_message(error));
    }
    orlop_buf_free(&layer);
    orlop_cancel_free(timer.cancel);
    orlop_store_free(store);
    orlop_config_free(config);
    orlop_error_free(error);
    return status;
}
