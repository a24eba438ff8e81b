/* harness --list: the checks, one a line. harness NAME DRIVER FOLDER: one check, in an empty folder. */
#include "check.h"
#include "checks.h"

static const struct check checks[] = {
    {"versions", check_versions, false},
    {"config", check_config, false},
    {"options", check_options, false},
    {"nulls", check_nulls, true},
    {"codes", check_codes, true},
    {"driver-life", check_driver_life, true},
    {"driver-streams", check_driver_streams, true},
    {"store-life", check_store_life, true},
    {"store-data", check_store_data, true},
    {"image-files", check_image_files, true},
    {"docker", check_docker, true},
    {"legacy", check_legacy, true},
    {"thin", check_thin, true},
    {"threads", check_threads, true},
    {"fork", check_fork, true},
    {"closed-pipe", check_closed_pipe, true},
    {"cancel", check_cancel, true},
    {"progress", check_progress, true},
    {"log", check_log, true},
    {"signal-masks", check_signal_masks, true},
    {"descriptors", check_descriptors, true},
    {"process-state", check_process_state, true},
};

int main(int argc, char **argv) {
    const size_t count = sizeof checks / sizeof *checks;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++) {
            printf("%s %s\n", checks[i].name, checks[i].per_driver ? "overlay vfs" : "-");
        }
        return 0;
    }
    for (size_t i = 0; argc == 4 && i < count; i++) {
        if (strcmp(argv[1], checks[i].name) == 0) {
            driver_name = argv[2];
            folder = argv[3];
            checks[i].run();
            CHECK(failure == NULL);
            return 0;
        }
    }
    fprintf(stderr, "usage: harness --list | harness CHECK DRIVER FOLDER\n");
    return 2;
}
