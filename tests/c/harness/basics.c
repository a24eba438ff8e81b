/* Versions, names of codes, configuration, and structs of options of other versions. */
#define _GNU_SOURCE
#include "check.h"
#include "checks.h"

#include <errno.h>
#include <unistd.h>

void check_versions(void) {
    char header[32];
    snprintf(header, sizeof header, "%d.%d.%d", ORLOP_VERSION_MAJOR, ORLOP_VERSION_MINOR, ORLOP_VERSION_PATCH);
    CHECK(strcmp(orlop_version(), header) == 0);
    CHECK(orlop_has("overlay") == 1 && orlop_has("vfs") == 1);
    CHECK(orlop_has("zfs") == 0 && orlop_has("") == 0 && orlop_has(NULL) == 0);
    CHECK(strcmp(orlop_code_name(ORLOP_OK), "ORLOP_OK") == 0);
    CHECK(orlop_code_name(1) == NULL && orlop_code_name(-1000) == NULL);
}

void check_config(void) {
    const char *file = in_folder("storage.conf");
    char text[2048];
    snprintf(text, sizeof text,
             "[storage]\ndriver = \"vfs\"\ngraphroot = \"%s/graph\"\nrunroot = \"%s/run\"\n"
             "[storage.options]\nadditionalimagestores = [\"%s/more\"]\n",
             folder, folder, folder);
    write_file(file, text);
    orlop_config *config = NULL;
    OK(orlop_config_load(OPTIONS(orlop_config_options, .file = file), &config, &failure));
    orlop_buf json = {0};
    OK(orlop_config_json(config, &json, &failure));
    HAS(json, "\"driver\":\"vfs\"");
    HAS(json, "/graph\"");
    HAS(json, "/more\"");
    orlop_buf_free(&json);
    CHECK(json.data == NULL && json.len == 0);
    orlop_buf_free(&json);
    orlop_config_free(config);

    /* A bad file: the file, the line and the key are told. */
    write_file(file, "[storage]\ndriver = \"vfs\"\ngraphroot = 7\n");
    CHECK(orlop_config_load(OPTIONS(orlop_config_options, .file = file), &config, &failure) == ORLOP_ERR_CONFIG);
    CHECK(config == NULL);
    CHECK(strstr(orlop_error_message(failure), "graphroot") != NULL);
    CHECK(orlop_error_path(failure) != NULL && strcmp(orlop_error_path(failure), file) == 0);
    orlop_error_free(failure);
    failure = NULL;

    /* Paths are any bytes, texts are UTF-8. */
    config = config_of("/\xff\xfe", "/run/x", "vfs");
    orlop_config_free(config);
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_config_load(OPTIONS(orlop_config_options, .only_given = 1, .driver = "\xff"), &config, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_config_load(OPTIONS(orlop_config_options, .only_given = 2), &config, &failure));
    FAILS(ORLOP_ERR_INVALID_ARGUMENT,
          orlop_config_load(OPTIONS(orlop_config_options, .reserved = 1), &config, &failure));

    /* An error object is only made for who asks. */
    CHECK(orlop_config_load(OPTIONS(orlop_config_options, .only_given = 2), &config, NULL) == ORLOP_ERR_INVALID_ARGUMENT);
}

/* A program that was compiled with a header of another version. */
void check_options(void) {
    struct later {
        orlop_config_options known;
        uint64_t more;
    } later = {.known = {.size = sizeof later, .only_given = 1, .graph_root = "/g", .run_root = "/r"}};
    orlop_config *config = NULL;
    OK(orlop_config_load(&later.known, &config, &failure));
    orlop_config_free(config);
    later.more = 1;
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_config_load(&later.known, &config, &failure));

    /* An older one ends before image_store: what comes behind is not read. */
    orlop_config_options older = {.only_given = 1, .graph_root = "/g", .run_root = "/r", .driver = "nothing good \xff"};
    older.size = offsetof(orlop_config_options, image_store);
    OK(orlop_config_load(&older, &config, &failure));
    orlop_buf json = {0};
    OK(orlop_config_json(config, &json, &failure));
    HAS(json, "\"root\":\"/g\"");
    HAS_NOT(json, "driver\":");
    orlop_buf_free(&json);
    orlop_config_free(config);

    /* Not initialised. */
    for (size_t size = 0; size < sizeof(size_t); size++) {
        older.size = size;
        FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_config_load(&older, &config, &failure));
    }
    older.size = SIZE_MAX;
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_config_load(&older, &config, &failure));

    /* What is filled in goes as far as the caller's struct. */
    orlop_progress *progress = NULL;
    OK(orlop_progress_new(&progress, &failure));
    struct {
        orlop_progress_state known;
        uint64_t more;
    } state;
    memset(&state, 0x55, sizeof state);
    state.known.size = sizeof state;
    OK(orlop_progress_read(progress, &state.known, &failure));
    CHECK(state.known.size == sizeof state && state.known.bytes_done == 0 && state.known.items_finished == 0);
    CHECK(state.more == 0x5555555555555555);
    memset(&state, 0x55, sizeof state);
    state.known.size = offsetof(orlop_progress_state, bytes_total);
    OK(orlop_progress_read(progress, &state.known, &failure));
    CHECK(state.known.bytes_done == 0 && state.known.bytes_total == 0x5555555555555555);
    state.known.size = sizeof(size_t);
    FAILS(ORLOP_ERR_INVALID_ARGUMENT, orlop_progress_read(progress, &state.known, &failure));
    orlop_progress_free(progress);
}
