/* Makes a container of an image, mounts it, lists its root directory, and takes all away again: mount IMAGE */
#include <dirent.h>
#include <orlop.h>
#include <stdio.h>

static const char *const NAME = "orlop-example";

static int list(const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        perror(path);
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        puts(entry->d_name);
    }
    closedir(dir);
    return 0;
}

int main(int argc, char **argv) {
    orlop_config *config = NULL;
    orlop_store *store = NULL;
    orlop_error *error = NULL;
    orlop_buf path = {0};
    int created = 0, mounted = 0, status = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: mount IMAGE\n");
        return 2;
    }
    orlop_new_container container = {.size = sizeof container, .image = argv[1], .names = {&NAME, 1}};
    if (orlop_config_load(NULL, &config, &error) < 0 || orlop_store_open(config, &store, &error) < 0) {
        goto end;
    }
    if (orlop_create_container(store, &container, NULL, &error) < 0) {
        goto end;
    }
    created = 1;
    if (orlop_mount(store, NAME, NULL, &path, &error) < 0) {
        goto end;
    }
    mounted = 1;
    status = list((const char *)path.data) != 0;
end:
    if (error != NULL) {
        fprintf(stderr, "%s\n", orlop_error_message(error));
        orlop_error_free(error);
        error = NULL;
    }
    if ((mounted && orlop_unmount(store, NAME, 0, &error) < 0) ||
        (created && orlop_delete_container(store, NAME, &error) < 0)) {
        fprintf(stderr, "%s\n", orlop_error_message(error));
        status = 1;
    }
    orlop_error_free(error);
    orlop_buf_free(&path);
    orlop_store_free(store);
    orlop_config_free(config);
    return status;
}
