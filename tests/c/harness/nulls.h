#ifndef NULLS_H
#define NULLS_H

#include <orlop.h>

/* Written by nulls.py: NULL for each argument that must be there. */
void nulls_one_by_one(orlop_store *store, orlop_driver *driver, orlop_config *config, orlop_progress *progress,
                      orlop_files *files, int32_t null_fd);

#endif
