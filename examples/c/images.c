/* Reads storage.conf as podman does, and lists the images of the store: one JSON array. */
#include <orlop.h>
#include <stdio.h>

int main(void) {
    orlop_config *config = NULL;
    orlop_store *store = NULL;
    orlop_error *error = NULL;
    orlop_buf images = {0};
    int status = 1;

    if (orlop_config_load(NULL, &config, &error) < 0 || orlop_store_open(config, &store, &error) < 0 ||
        orlop_images(store, &images, &error) < 0) {
        fprintf(stderr, "%s\n", orlop_error_message(error));
        goto end;
    }
    status = puts((const char *)images.data) < 0;
end:
    orlop_buf_free(&images);
    orlop_store_free(store);
    orlop_config_free(config);
    orlop_error_free(error);
    return status;
}
