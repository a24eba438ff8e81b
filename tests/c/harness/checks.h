#ifndef CHECKS_H
#define CHECKS_H

struct check {
    const char *name;
    void (*run)(void);
    /* Whether the driver matters. */
    bool per_driver;
};

void check_versions(void);
void check_config(void);
void check_options(void);
void check_nulls(void);
void check_codes(void);
void check_driver_life(void);
void check_driver_streams(void);
void check_store_life(void);
void check_store_data(void);
void check_image_files(void);
void check_docker(void);
void check_legacy(void);
void check_thin(void);
void check_threads(void);
void check_fork(void);
void check_closed_pipe(void);
void check_cancel(void);
void check_progress(void);
void check_log(void);
void check_signal_masks(void);
void check_descriptors(void);
void check_process_state(void);

#endif
