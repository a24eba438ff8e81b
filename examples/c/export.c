/* Writes what a layer changes to a file, as a tar compressed with zstd: export LAYER FILE */
#include <fcntl.h>
#include <inttypes.h>
#include <orlop.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    orlop_config *config = NULL;
    orlop_store *store = NULL;
    orlop_error *error = NULL;
    uint64_t bytes = 0;
    int status = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: export LAYER FILE\n");
        return 2;
    }
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd < 0) {
        perror(argv[2]);
        return 1;
    }
    /* It could be a pipe or a socket as well. Over its parent, since no other reference is given. */
    if (orlop_config_load(NULL, &config, &error) < 0 || orlop_store_open(config, &store, &error) < 0 ||
        orlop_export(store, argv[1], NULL, ORLOP_COMPRESSION_ZSTD, fd, NULL, &bytes, &error) < 0) {
        fprintf(stderr, "%s\n", orlop_error_message(error));
    } else {
        status = printf("%" PRIu64 " bytes of tar\n", bytes) < 0;
    }
    if (close(fd) != 0) {
        perror(argv[2]);
        status = 1;
    }
    if (status != 0) {
        unlink(argv[2]);
    }
    orlop_store_free(store);
    orlop_config_free(config);
    orlop_error_free(error);
    return status;
}
