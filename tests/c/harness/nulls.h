#ifndef NULLS_H
#define NULLS_H

#include <orlop.h>

/* Whose functions end the process. */
extern const orlop_layer_upload null_upload;

/* Written by nulls.py: NULL for each argument that must be there. */
void nulls_one_by_one(orlop_store *store, orlop_driver *driver, orlop_config *config, orlop_progress *progress,
                      orlop_files *files, orlop_docker *docker, int32_t null_fd);

#endif
