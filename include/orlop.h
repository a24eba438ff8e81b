/*
 * orlop: container storage, shared with podman, buildah, skopeo and CRI-O.
 *
 * Made from the Rust sources of capi/ by `UPDATE=1 cargo test -p orlop-capi --test header`; do not edit.
 *
 * What holds for all functions, unless their comment says otherwise:
 *
 * - Calls that can fail return ORLOP_OK (0) or, where they say so, a number above; below zero is the code of an error. They
 *   take `error` last: NULL, or where to put an error object, which is NULL after success and else the caller's, to be freed with
 *   orlop_error_free. There is no state of the thread: an error belongs to the call that returned it.
 * - Pointers that are handed out are the caller's and are freed with the function of their type, never with free(3). Freeing NULL
 *   does nothing. What is handed in stays the caller's and is copied where it is needed longer than the call.
 * - The place for a buffer or a number that nobody wants may be NULL. After a failure handles are NULL, buffers are empty,
 *   descriptors are -1, and numbers and structs are as they were.
 * - Strings end with NUL. Paths are any bytes, everything else is UTF-8.
 * - A struct of options begins with its size as the caller knows it. Set it to sizeof of the struct and everything else that
 *   is not wanted to zero; NULL in place of the struct means all zeroes. An option that the library does not know is refused.
 * - Handles may be used by any number of threads at once. Freeing one is for the last user. After fork(2) the child may only
 *   free the parent's handles, which then does nothing; it may open others where no other thread of the parent was in the library.
 *   exec(3) is safe, all descriptors are closed by it.
 * - Descriptors that are handed in stay the caller's; they are read or written from where they stand, within the call.
 *   Those that are handed out are the caller's, and closed on exec.
 * - Threads that a call starts end with it, have names that begin with "orlop" and block all signals. No handler is
 *   installed, SIGPIPE is never raised, and umask, working directory and environment stay as they are.
 * - A defect of the library (a Rust panic) ends in ORLOP_ERR_INTERNAL, and so does every later call on the handle that was
 *   used.
 */

#ifndef ORLOP_H
#define ORLOP_H

#include <stddef.h>
#include <stdint.h>

// It has worked. Failures are below zero.
#define ORLOP_OK 0

// No layer of that id or name (Go: ErrLayerUnknown).
#define ORLOP_ERR_LAYER_UNKNOWN -1

// No image of that id or name (Go: ErrImageUnknown).
#define ORLOP_ERR_IMAGE_UNKNOWN -2

// No container of that id or name (Go: ErrContainerUnknown).
#define ORLOP_ERR_CONTAINER_UNKNOWN -3

// Nothing of that id or name (Go: ErrNotAnID).
#define ORLOP_ERR_NOT_FOUND -4

// The id is not a layer's (Go: ErrNotALayer).
#define ORLOP_ERR_NOT_A_LAYER -5

// The id is not a container's (Go: ErrNotAContainer).
#define ORLOP_ERR_NOT_A_CONTAINER -6

// The id is taken (Go: ErrDuplicateID).
#define ORLOP_ERR_DUPLICATE_ID -7

// The name is taken (Go: ErrDuplicateName).
#define ORLOP_ERR_DUPLICATE_NAME -8

// A layer has children (Go: ErrLayerHasChildren).
#define ORLOP_ERR_LAYER_HAS_CHILDREN -9

// A layer is used by an image (Go: ErrLayerUsedByImage).
#define ORLOP_ERR_LAYER_USED_BY_IMAGE -10

// A layer is used by a container (Go: ErrLayerUsedByContainer).
#define ORLOP_ERR_LAYER_USED_BY_CONTAINER -11

// A container uses the image (Go: ErrImageUsedByContainer).
#define ORLOP_ERR_IMAGE_USED_BY_CONTAINER -12

// A container's layer cannot be a parent (Go: ErrParentIsContainer).
#define ORLOP_ERR_PARENT_IS_CONTAINER -13

// The parent layer is not known (Go: ErrParentUnknown).
#define ORLOP_ERR_PARENT_UNKNOWN -14

// The object belongs to a read-only store (Go: ErrStoreIsReadOnly).
#define ORLOP_ERR_READ_ONLY -15

// The size is not recorded (Go: ErrSizeUnknown).
#define ORLOP_ERR_SIZE_UNKNOWN -16

// No big data item of that key (Go: os.ErrNotExist).
#define ORLOP_ERR_DATA_UNKNOWN -17

// A digest is malformed (Go: digest.ErrDigestInvalidFormat).
#define ORLOP_ERR_INVALID_DIGEST -18

// Content does not match its digest.
#define ORLOP_ERR_DIGEST_MISMATCH -19

// An argument is malformed, NULL where something is needed, or an unknown option is set.
#define ORLOP_ERR_INVALID_ARGUMENT -20

// A configuration file, key or option is malformed.
#define ORLOP_ERR_CONFIG -21

// A record, link or other file of a store is malformed.
#define ORLOP_ERR_CORRUPT -22

// An archive or image file is malformed.
#define ORLOP_ERR_INVALID_ARCHIVE -23

// The driver, kernel or file system lacks what was asked for (Go: graphdriver.ErrNotSupported).
#define ORLOP_ERR_NOT_SUPPORTED -24

// A prerequisite of the driver is missing (Go: graphdriver.ErrPrerequisites).
#define ORLOP_ERR_PREREQUISITES -25

// The driver does not work on this file system (Go: graphdriver.ErrIncompatibleFS).
#define ORLOP_ERR_INCOMPATIBLE_FS -26

// More lower layers than the kernel takes.
#define ORLOP_ERR_MAX_DEPTH -27

// The object is in use or mounted.
#define ORLOP_ERR_BUSY -28

// The signature policy rejects the image.
#define ORLOP_ERR_POLICY_REJECTED -29

// A system call failed; orlop_error_errno tells how.
#define ORLOP_ERR_IO -30

// A defect of the library; the handle that was used answers nothing but this from now on.
#define ORLOP_ERR_INTERNAL -31

// Called off by orlop_cancel_now (Go: context.Canceled).
#define ORLOP_ERR_CANCELLED -32

// The id is not that of an image which could be deleted (Go: ErrNotAnImage).
#define ORLOP_ERR_NOT_AN_IMAGE -33

// A big data item cannot have that key (Go: ErrInvalidBigDataName).
#define ORLOP_ERR_INVALID_DATA_NAME -34

// A store is to be opened without the roots that it needs (Go: ErrIncompleteOptions).
#define ORLOP_ERR_INCOMPLETE_OPTIONS -35

// Files are compared by size and a check sum, and then by the kernel.
#define ORLOP_DEDUP_CRC 0

// By their size, and then by the kernel.
#define ORLOP_DEDUP_SIZE 1

// By size and SHA-256, and then by the kernel.
#define ORLOP_DEDUP_SHA256 2

// Nothing.
#define ORLOP_LOG_OFF 0

// What went wrong and could not be reported otherwise.
#define ORLOP_LOG_ERROR 1

// What somebody should look at.
#define ORLOP_LOG_WARN 2

// What was decided.
#define ORLOP_LOG_INFO 3

// Each step.
#define ORLOP_LOG_DEBUG 4

// The compression that the layer's blob once came in.
#define ORLOP_COMPRESSION_AS_IT_CAME -1

// No compression. This and the following are the numbers in the records, too.
#define ORLOP_COMPRESSION_NONE 0

// bzip2, which is read and not written.
#define ORLOP_COMPRESSION_BZIP2 1

// gzip.
#define ORLOP_COMPRESSION_GZIP 2

// xz, which is read and not written.
#define ORLOP_COMPRESSION_XZ 3

// zstd.
#define ORLOP_COMPRESSION_ZSTD 4

// Files are reflinked where the file system can, else copied.
#define ORLOP_TRANSFER_EITHER 0

// They are reflinked, or the image is refused.
#define ORLOP_TRANSFER_REFLINK 1

// They are copied.
#define ORLOP_TRANSFER_COPY 2

// They are moved: docker forgets the images, and their layers as far as nothing else there needs them.
#define ORLOP_TRANSFER_MOVE 3

// The layer is on its way into the repository.
#define ORLOP_PUBLICATION_UNDER_WAY 0

// The repository has it.
#define ORLOP_PUBLICATION_DONE 1

// Nobody there has heard of it.
#define ORLOP_PUBLICATION_UNKNOWN 2

// The version of the header; orlop_version gives that of the library that the program runs with.
#define ORLOP_VERSION_MAJOR 0

// The second number of the version.
#define ORLOP_VERSION_MINOR 1

// The third number of the version.
#define ORLOP_VERSION_PATCH 0

// A layer that an additional layer store serves. The store counts it as used until it is freed.
typedef struct orlop_additional_layer orlop_additional_layer;

// A token by which operations are called off. It may be given to several operations, and once used it stays used.
typedef struct orlop_cancel orlop_cancel;

// What a store or a driver is opened with. It never changes: any thread may use it.
typedef struct orlop_config orlop_config;

// The data root of a docker daemon, which may run or not. Nothing is changed by reading it; any number of threads may use it at
// once, not after fork.
typedef struct orlop_docker orlop_docker;

// A driver of layers alone, without the records and locks of a store: for a program that keeps those itself. It does what Go's
// graphdriver.Driver does, on the same files.
//
// Calls that change a layer want what the Go interface wants: a lock of the caller's that keeps other processes away.
typedef struct orlop_driver orlop_driver;

// Why a call has failed. The caller frees it with orlop_error_free.
//
// An error never changes: any thread may read it, and what its getters return lives as long as it does.
typedef struct orlop_error orlop_error;

// The files of a layer and of those below it, for reading (Go's DiffGetter).
typedef struct orlop_files orlop_files;

// The progress of one operation, which any thread may read while it runs.
typedef struct orlop_progress orlop_progress;

// Content that belongs to no layer yet.
typedef struct orlop_staged orlop_staged;

// A store of layers, images and containers, shared with other processes under its locks. Any number of threads may use it at
// once; not after fork.
typedef struct orlop_store orlop_store;

// A removed layer whose bytes are still to be deleted.
typedef struct orlop_trash orlop_trash;

// Bytes made by the library; the caller frees them with orlop_buf_free.
//
// There is always a NUL byte behind the last one, which `len` does not count, so that text can be used as a C string.
typedef struct orlop_buf {
    // The bytes; NULL only in a struct that was never filled or has been freed.
    uint8_t *data;
    // How many, the closing NUL not counted.
    size_t len;
} orlop_buf;

// A list of C strings.
typedef struct orlop_strings {
    // The strings; may be NULL when there are none.
    const char *const *items;
    // How many.
    size_t count;
} orlop_strings;

// A range of ids inside a container and the ids outside that it stands for.
typedef struct orlop_id_map {
    // The first id inside.
    uint32_t container_id;
    // The first id outside.
    uint32_t host_id;
    // How many ids.
    uint32_t size;
} orlop_id_map;

// A list of ranges.
typedef struct orlop_id_maps {
    // The ranges; may be NULL when there are none.
    const struct orlop_id_map *items;
    // How many.
    size_t count;
} orlop_id_maps;

// Choices of the caller. NULL in its place, and zero in each field: none.
typedef struct orlop_config_options {
    // sizeof(struct orlop_config_options).
    size_t size;
    // A storage.conf to read in place of the one that CONTAINERS_STORAGE_CONF names or that is in the usual places.
    const char *file;
    // 1: read no file and no environment; what is given here is all there is.
    uint32_t only_given;
    // 1: container records live under the run root, and go with a reboot.
    uint32_t transient_store;
    // 1: never mount with overlay's "volatile"; only with only_given.
    uint32_t disable_volatile;
    // Zero.
    uint32_t reserved;
    // Root of the store. As with the Go command: where a root is given, nothing of the configuration holds but the other root.
    const char *graph_root;
    // Run-time root.
    const char *run_root;
    // Separate root for images.
    const char *image_store;
    // Name of the driver: "overlay" or "vfs".
    const char *driver;
    // "key=value" options for the driver.
    struct orlop_strings driver_options;
    // Drivers in the order in which they are tried where none is named; only with only_given.
    struct orlop_strings driver_priority;
    // User id map of the store; only with only_given.
    struct orlop_id_maps uid_map;
    // Group id map of the store; only with only_given.
    struct orlop_id_maps gid_map;
    // Whose layout the overlay driver's layers have: "containers" (podman's and its kin), "legacy" (of 2016), "cvmfs", or "moby"
    // (Docker's overlay2, with the graph root /var/lib/docker); NULL: as they show. It is no key of storage.conf.
    const char *dialect;
} orlop_config_options;

// What a layer is mounted with. NULL in its place, and zero in each field: nothing special.
typedef struct orlop_mount_options {
    // sizeof(struct orlop_mount_options).
    size_t size;
    // SELinux label; may be NULL.
    const char *mount_label;
    // User id map: the layers below are shown with mapped owners, where orlop_driver_supports_shifting says that mounts can.
    // orlop_driver_describe_mount and orlop_driver_mount_detached refuse anything but an empty one.
    struct orlop_id_maps uid_map;
    // Group id map; likewise.
    struct orlop_id_maps gid_map;
    // Mount words, which replace the configured ones; "ro" asks for a read-only mount.
    struct orlop_strings options;
    // 1: the content need not survive a crash of the machine.
    uint32_t is_volatile;
    // Zero.
    uint32_t reserved;
} orlop_mount_options;

// What a layer is made with. NULL in its place, and zero in each field: nothing special.
typedef struct orlop_layer_options {
    // sizeof(struct orlop_layer_options).
    size_t size;
    // SELinux label; may be NULL.
    const char *mount_label;
    // "key=value" options of a container's layer ("size", "inodes"); refused where the file system has no project quotas.
    struct orlop_strings storage_opt;
    // User id map: its root owns the layer's directories, and vfs gives it all files.
    struct orlop_id_maps uid_map;
    // Group id map; likewise.
    struct orlop_id_maps gid_map;
} orlop_layer_options;

// What orlop_driver_disk_usage fills in.
typedef struct orlop_disk_usage {
    // sizeof(struct orlop_disk_usage), set by the caller; what is beyond it is not written.
    size_t size;
    // The sizes of all files that are no directories, hard links once.
    uint64_t bytes;
    // Inodes, directories included.
    uint64_t inodes;
} orlop_disk_usage;

// How a tar is unpacked. NULL in its place, and zero in each field: as the driver is configured.
typedef struct orlop_apply_options {
    // sizeof(struct orlop_apply_options).
    size_t size;
    // SELinux label; may be NULL. The files get what the file system gives them, as with Go's overlay.
    const char *mount_label;
    // User id map: by it the owners in the tar become those on disk. An owner that is not mapped is an error.
    struct orlop_id_maps uid_map;
    // Group id map; likewise.
    struct orlop_id_maps gid_map;
    // 1: go on when an owner cannot be set.
    uint32_t ignore_chown_errors;
    // 1: every file gets the mode `force_mask` and stays the calling process's; what the tar says of it goes to the attribute
    // user.containers.override_stat, and files that are neither directories nor links are regular ones.
    uint32_t has_force_mask;
    // The mode; zero without has_force_mask.
    uint32_t force_mask;
    // Zero.
    uint32_t reserved;
    // orlop_driver_stage: the parent's user id map, which its files change for `uid_map` where the content begins as a copy of them
    // (vfs).
    struct orlop_id_maps parent_uid_map;
    // The parent's group id map; likewise.
    struct orlop_id_maps parent_gid_map;
} orlop_apply_options;

// How files are to be written into the directory of a partial pull; orlop_driver_begin_partial fills it in.
typedef struct orlop_partial {
    // sizeof(struct orlop_partial), set by the caller; what is beyond it is not written.
    size_t size;
    // 1: whiteouts are files as in the tar (".wh."); 0: as the kernel's overlay has them, character devices 0:0 and the attribute
    // trusted.overlay.opaque.
    uint32_t keep_whiteouts;
    // 1: in a user namespace, where device nodes cannot be made and the attribute is user.overlay.opaque.
    uint32_t in_user_namespace;
    // 1: go on when an owner cannot be set.
    uint32_t ignore_chown_errors;
    // 1: every file gets the mode `force_mask`.
    uint32_t has_force_mask;
    // The mode; zero without has_force_mask.
    uint32_t force_mask;
    // 1: only the content of regular files is to be written, at "ab/cdef..." by its SHA-256, and orlop_driver_commit_partial_image is to
    // be told the rest: use_composefs is set. 0: everything, for orlop_driver_commit_partial.
    uint32_t by_digest;
} orlop_partial;

// How a long operation is watched and called off. NULL in its place: not at all.
typedef struct orlop_operation {
    // sizeof(struct orlop_operation).
    size_t size;
    // By which the operation can be called off; may be NULL.
    const struct orlop_cancel *cancel;
    // Where it tells how far it is; may be NULL.
    const struct orlop_progress *progress;
} orlop_operation;

// How a layer is compared with its parent. NULL in its place, and zero in each field: without id maps.
typedef struct orlop_diff_options {
    // sizeof(struct orlop_diff_options).
    size_t size;
    // The layer's user id map: by it owners on disk become those of the tar. A file whose owner is not mapped is left out of it,
    // which the log says.
    struct orlop_id_maps uid_map;
    // The layer's group id map; likewise.
    struct orlop_id_maps gid_map;
    // The parent's user id map: owners are compared as they are inside.
    struct orlop_id_maps parent_uid_map;
    // The parent's group id map; likewise.
    struct orlop_id_maps parent_gid_map;
    // SELinux label of the mounts that a comparison may need; may be NULL.
    const char *mount_label;
    // Whose tars the tar is like: 0 those of the current Go library, 1 those of its version 1.24 (file types in the mode, names of
    // users and groups of this host).
    uint32_t compat;
    // Zero.
    uint32_t reserved;
} orlop_diff_options;

// Receives a line of the log: its level (ORLOP_LOG_*), and the text, which is only valid during the call.
//
// It is called on the thread of the call or on one of the library's, several at once, and must not call the library.
typedef void (*orlop_log_fn)(uint32_t level, const char *line, void *userdata);

// What orlop_progress_read fills in.
typedef struct orlop_progress_state {
    // sizeof(struct orlop_progress_state), set by the caller; what is beyond it is not written.
    size_t size;
    // Bytes that have been worked through, of all items.
    uint64_t bytes_done;
    // Bytes of all items whose size is known.
    uint64_t bytes_total;
    // Items (layers, files) that have begun.
    uint64_t items_started;
    // Items that have ended.
    uint64_t items_finished;
} orlop_progress_state;

// How to load. NULL in its place: this machine's platform, the policy that podman would obey, the names of the source.
typedef struct orlop_load_options {
    // sizeof(struct orlop_load_options).
    size_t size;
    // The platform to take from a multi-platform index, as "linux/arm/v7"; NULL: this machine's.
    const char *platform;
    // The signature policy (a containers-policy.json(5)) to obey; NULL: the one that podman would obey, where there is one: the
    // user's, else that of /etc/containers or /usr/share/containers.
    const char *policy;
    // 1: obey no policy, accept everything; not with `policy`.
    uint32_t accept_anything;
    // Zero.
    uint32_t reserved;
    // The names to give, in place of those that the source holds; only for a source with a single image.
    struct orlop_strings names;
    // Where large temporary files go; NULL: /var/tmp.
    const char *temp_dir;
} orlop_load_options;

// How to save. NULL in its place: a docker archive.
typedef struct orlop_save_options {
    // sizeof(struct orlop_save_options).
    size_t size;
    // "docker-archive", "oci-archive" or "oci-dir"; NULL: docker-archive.
    const char *format;
    // Where large temporary files go; NULL: /var/tmp.
    const char *temp_dir;
} orlop_save_options;

// How to commit. NULL in its place: as OCI, now, without further words.
typedef struct orlop_commit_options {
    // sizeof(struct orlop_commit_options).
    size_t size;
    // The author, for config and history.
    const char *author;
    // A message, for the history.
    const char *message;
    // Instructions such as `CMD ["/bin/sh"]`: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD (docker only), STOPSIGNAL, USER, VOLUME,
    // WORKDIR.
    struct orlop_strings changes;
    // When the image was created, as RFC 3339 has it; NULL: now.
    const char *created;
    // "oci" or "docker", the kind of manifest; NULL: oci.
    const char *format;
    // Where large temporary files go; NULL: /var/tmp.
    const char *temp_dir;
} orlop_commit_options;

// A big data item: content that is kept beside a record, under a key.
typedef struct orlop_data_item {
    // Its key, such as "manifest".
    const char *key;
    // Its content; may be NULL when there is none.
    const uint8_t *data;
    // How many bytes.
    size_t len;
    // The digest to record; NULL: the SHA-256 of the content. Only for images: a container's items always have that one.
    const char *digest;
} orlop_data_item;

// A list of big data items.
typedef struct orlop_data_items {
    // The items; may be NULL when there are none.
    const struct orlop_data_item *items;
    // How many.
    size_t count;
} orlop_data_items;

// A container to create. NULL in its place: an unnamed one made from nothing.
typedef struct orlop_new_container {
    // sizeof(struct orlop_new_container).
    size_t size;
    // The id; NULL: a random one.
    const char *id;
    // Names; each must be free.
    struct orlop_strings names;
    // Id or name of the image; NULL: made from nothing.
    const char *image;
    // The caller's metadata.
    const char *metadata;
    // 1: need not survive a crash.
    uint32_t is_volatile;
    // Zero.
    uint32_t reserved;
    // SELinux label of the process; given together with mount_label or not at all.
    const char *process_label;
    // SELinux label of the mount.
    const char *mount_label;
    // Mount options, used at every mount.
    struct orlop_strings mount_options;
    // User id map, used at every mount.
    struct orlop_id_maps uid_map;
    // Group id map; likewise.
    struct orlop_id_maps gid_map;
    // The caller's flags: the text of a JSON object.
    const char *flags;
    // "key=value" storage options of its layer, such as "size=1G".
    struct orlop_strings storage_opt;
    // Big data items, in the order of their names in the record.
    struct orlop_data_items big_data;
    // 1: the host's user ids, whatever the image's layer has; uid_map then does not count.
    uint32_t host_uids;
    // 1: the host's group ids; likewise.
    uint32_t host_gids;
} orlop_new_container;

// An image to create. NULL in its place: an unnamed one without layers.
typedef struct orlop_new_image {
    // sizeof(struct orlop_new_image).
    size_t size;
    // The id; NULL: a random one. By convention the hexadecimal digest of the config.
    const char *id;
    // Names; each must be free, unless take_names is set.
    struct orlop_strings names;
    // Names that it has had, newest first.
    struct orlop_strings names_history;
    // 1: take the names away from the images that have them.
    uint32_t take_names;
    // Zero.
    uint32_t reserved;
    // Id or name of the top layer; NULL: an image without layers.
    const char *layer;
    // Any text; the Go image library takes one that is not empty for JSON.
    const char *metadata;
    // The preferred digest; NULL: that of the item "manifest", where there is one.
    const char *digest;
    // When it was created, as RFC 3339 has it; NULL: now.
    const char *created;
    // Big data items, in the order of their names in the record.
    struct orlop_data_items big_data;
    // The caller's flags: the text of a JSON object.
    const char *flags;
} orlop_new_image;

// A layer to create. NULL in its place: an unnamed read-write layer without a parent.
typedef struct orlop_new_layer {
    // sizeof(struct orlop_new_layer).
    size_t size;
    // The id; NULL: a random one.
    const char *id;
    // Id or name of the parent; NULL: none.
    const char *parent;
    // Names; each must be free.
    struct orlop_strings names;
    // SELinux label of its mounts.
    const char *mount_label;
    // 1: for image content (Go's "non-writeable").
    uint32_t read_only;
    // Zero.
    uint32_t reserved;
    // User id map of its files; empty: the parent's, or the configured one without a parent.
    struct orlop_id_maps uid_map;
    // Group id map; likewise.
    struct orlop_id_maps gid_map;
    // The caller's metadata.
    const char *metadata;
    // The caller's flags: the text of a JSON object.
    const char *flags;
    // "key=value" storage options of the layer, such as "size=1G".
    struct orlop_strings storage_opt;
    // The digest that the stream, as it comes, must have; NULL: any.
    const char *expected_compressed_digest;
    // The digest that the uncompressed tar must have; NULL: any.
    const char *expected_diff_digest;
    // With original_size: recorded in place of the digest and size of the stream, for one that was decompressed on its way.
    const char *original_digest;
    // Bytes of what original_digest is of.
    uint64_t original_size;
    // 1: the host's user ids, whatever the parent has; uid_map then does not count.
    uint32_t host_uids;
    // 1: the host's group ids; likewise.
    uint32_t host_gids;
} orlop_new_layer;

// How to take images over from docker. NULL in its place: all images that `docker images` shows, each layer compared with its tar.
typedef struct orlop_migrate_docker_options {
    // sizeof(struct orlop_migrate_docker_options).
    size_t size;
    // Names, ids, or unique beginnings of ids of images there; none: all that `docker images` shows.
    struct orlop_strings images;
    // One of ORLOP_TRANSFER_*.
    uint32_t transfer;
    // 1: make an image of each stopped container, too: localhost/NAME.
    uint32_t containers;
    // 1: do not compare the layers with their tars.
    uint32_t unverified;
    // 1: only tell what would be done.
    uint32_t dry_run;
    // Where a container's changes are packed, in a file without a name; NULL: /var/tmp.
    const char *temp_dir;
} orlop_migrate_docker_options;

// How to migrate a legacy store. NULL in its place: each layer compared with its digest, and the old layout kept.
typedef struct orlop_migrate_legacy_options {
    // sizeof(struct orlop_migrate_legacy_options).
    size_t size;
    // 1: only tell what there is to do.
    uint32_t dry_run;
    // 1: do not put the layers' tars together to compare their digests.
    uint32_t unverified;
    // 1: remove the old layout, also one that an earlier migration has kept.
    uint32_t remove;
    // Zero.
    uint32_t reserved;
} orlop_migrate_legacy_options;

// How to mount. NULL in its place: as the layer's record and the configuration say.
typedef struct orlop_mount_request {
    // sizeof(struct orlop_mount_request).
    size_t size;
    // SELinux label; NULL: the container's or the layer's own.
    const char *mount_label;
    // 1: mount read-only.
    uint32_t read_only;
    // Zero.
    uint32_t reserved;
    // Mount words for the driver, in place of the configured ones.
    struct orlop_strings options;
} orlop_mount_request;

// Who takes layers and publishes them in a repository, for orlop_make_thin. The functions are called one after the other within the
// call, maybe by another thread than the caller's; they must return.
typedef struct orlop_layer_upload {
    // sizeof(struct orlop_layer_upload).
    size_t size;
    // The repository that layers appear in, as "unpacked.cern.ch"; each in its folder "layers", under the hexadecimal digits of its
    // digest.
    const char *repository;
    // Takes a layer, which may have been taken before: `bytes` bytes from `fd`, a gzip-compressed tar with the digest `digest`. The
    // descriptor is the library's, to be read until the function returns; it stands at the first byte. 0, or the errno of what went
    // wrong; nothing is published then.
    int32_t (*put)(void *userdata, const char *digest, int32_t fd, uint64_t bytes);
    // Sets *publication to how far the layer with that digest is, one of ORLOP_PUBLICATION_*. 0, or the errno of what went wrong;
    // EAGAIN if there is no answer now. Asked before the first `put`, too: a layer that is published, or about to be, is not sent. Where
    // there is no answer, and where a layer is still unknown after it was sent, it is asked again for two minutes, with pauses of up to
    // 15 seconds.
    int32_t (*status)(void *userdata, const char *digest, uint32_t *publication);
    // What the functions get.
    void *userdata;
} orlop_layer_upload;

// How to make a thin image. NULL in its place: without a name, asking each second for an hour.
typedef struct orlop_make_thin_options {
    // sizeof(struct orlop_make_thin_options).
    size_t size;
    // The name of the thin image, completed as podman does; NULL: none.
    const char *name;
    // Where large temporary files go; NULL: /var/tmp.
    const char *temp_dir;
    // Milliseconds between two questions whether a layer is published; 0: 1000.
    uint32_t pause_ms;
    // Seconds after which a layer that is not published makes the call fail; 0: 3600.
    uint32_t limit_s;
} orlop_make_thin_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Frees what a buffer holds and makes it empty.
//
// Ownership: the struct stays the caller's. NULL and an empty buffer are fine.
// Threads: any, one at a time for one buffer.
void orlop_buf_free(struct orlop_buf *buf);

// Makes a token that can call operations off.
//
// Ownership: *token is the caller's, to be freed with orlop_cancel_free.
// Threads: any.
// Errors: ORLOP_ERR_IO when no descriptor is to be had.
int32_t orlop_cancel_new(struct orlop_cancel **token, struct orlop_error **error);

// Calls off every operation that has the token, now and later: it ends with ORLOP_ERR_CANCELLED when it next reads or writes some of
// its data, at once where it waits for its descriptor. It leaves nothing behind but what has gone to a descriptor and what
// orlop_apply_diff and orlop_driver_apply_diff say. What is complete already stays so. Another one's lock on the store is waited for
// all the same. NULL is fine, and in a forked child nothing happens.
//
// Threads: any, also while operations run; not from a signal handler.
void orlop_cancel_now(const struct orlop_cancel *token);

// Frees a token; NULL is fine. Operations that have it go on.
//
// Threads: any; nobody else may use the pointer any more.
void orlop_cancel_free(struct orlop_cancel *token);

// The name of a code as in this header, such as "ORLOP_ERR_LAYER_UNKNOWN", or NULL for a number that is none.
//
// Ownership: the text is the library's and never changes.
// Threads: any.
const char *orlop_code_name(int32_t code);

// Reads the configuration: storage.conf with its drop-ins and environment, as containers-storage.conf(5) and podman have it, and
// the caller's choices upon it.
//
// Ownership: *config is the caller's, to be freed with orlop_config_free.
// Threads: any; it reads the environment, so that no other thread may call setenv meanwhile.
// Errors: ORLOP_ERR_CONFIG with the file, the line and the key; ORLOP_ERR_INVALID_ARGUMENT for the options.
int32_t orlop_config_load(const struct orlop_config_options *given,
                          struct orlop_config **config,
                          struct orlop_error **error);

// A configuration as JSON, with the field names of Go's types.StoreOptions: "runroot", "root", "imagestore", "driver",
// "driver-priority", "driver-options", "uidmap", "gidmap", "PullOptions", "disable-volatile", "transient_store" and so on; what is
// empty is left out. Bytes of a path that are not UTF-8 become U+FFFD.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_config_json(const struct orlop_config *config,
                          struct orlop_buf *text,
                          struct orlop_error **error);

// Frees a configuration; NULL is fine. What was opened with it lives on.
//
// Threads: any; nobody else may use the pointer any more.
void orlop_config_free(struct orlop_config *config);

// Opens the data root at `path`, which `docker info` shows as Docker Root Dir; NULL or empty: as /etc/docker/daemon.json says, else
// /var/lib/docker.
//
// Ownership: *docker is the caller's, to be freed with orlop_docker_free.
// Threads: any.
// Errors: ORLOP_ERR_NOT_SUPPORTED for one without layers of overlay2, or of a daemon that remaps users; ORLOP_ERR_CORRUPT for links and
// other things in the place of directories; ORLOP_ERR_CONFIG for a malformed daemon.json; ORLOP_ERR_IO.
int32_t orlop_docker_open(const char *path,
                          struct orlop_docker **docker,
                          struct orlop_error **error);

// Closes a data root; NULL is fine.
//
// Threads: any; no call on it may be running, and nobody may use the pointer any more.
void orlop_docker_free(struct orlop_docker *docker);

// Docker's images, sorted by id, as a JSON array of {"id", "names" (as docker has them, with tag), "parent" (the image that it was
// built upon there), "created", "diff-digests" (base first)}; "parent" and "created" only where they are known. One whose record is
// damaged is left out, and the log says so.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CORRUPT, ORLOP_ERR_IO when the database cannot be read as a whole.
int32_t orlop_docker_images(const struct orlop_docker *docker,
                            struct orlop_buf *records,
                            struct orlop_error **error);

// The layers of docker's images, sorted by id, as a JSON array of {"id" (the chain id), "parent" (not of a base layer),
// "diff-digest", "cache-id" (the name of its directory), "size" (bytes of file content)}. One whose record is damaged is left out,
// and the log says so.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: as for orlop_docker_images.
int32_t orlop_docker_layers(const struct orlop_docker *docker,
                            struct orlop_buf *records,
                            struct orlop_error **error);

// Docker's containers, sorted by id, as a JSON array of {"id", "name", "image", "running" (as its record says: a daemon that was
// killed leaves records that say so for ever), "created", "layer" (the name of its directory)}. One whose record is damaged is left
// out, and the log says so.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: as for orlop_docker_images.
int32_t orlop_docker_containers(const struct orlop_docker *docker,
                                struct orlop_buf *records,
                                struct orlop_error **error);

// Opens the driver that `config` names, else the one that fits, as a store does: the first of the priorities that has layers, else
// the first that this host serves. It asks whether the host serves it, and leaves the disk alone: what must exist is made by
// orlop_driver_prepare or by the first call that writes.
//
// Ownership: *driver is the caller's, to be freed with orlop_driver_free; `config` may be freed at once.
// Threads: any.
// Errors: ORLOP_ERR_INCOMPLETE_OPTIONS for a missing root; ORLOP_ERR_CONFIG for a malformed option; ORLOP_ERR_NOT_SUPPORTED or
// ORLOP_ERR_INCOMPATIBLE_FS where the driver cannot serve, which is when Go's Init would have the next one tried.
int32_t orlop_driver_open(const struct orlop_config *config,
                          struct orlop_driver **driver,
                          struct orlop_error **error);

// Closes a driver; NULL is fine. What is mounted stays mounted. Handles of removed layers, of staged content and of files that it gave
// out live on. After a fork it does nothing in the child.
//
// Threads: any; no call on the driver may be running, and nobody may use the pointer any more.
void orlop_driver_free(struct orlop_driver *driver);

// The driver's name, "overlay" or "vfs" (or as a foreign home's engine calls it: "overlay2"), as text.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_name(const struct orlop_driver *driver, struct orlop_buf *name, struct orlop_error **error);

// Whose layout the driver's layers have, "containers", "moby", "legacy" or "cvmfs", as text; empty for vfs.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_dialect(const struct orlop_driver *driver, struct orlop_buf *dialect, struct orlop_error **error);

// Makes what the driver needs on disk (its directories, for overlay the private mount of its home), as Go's Init does. Without it the
// first call that writes does so.
//
// Threads: any.
// Errors: ORLOP_ERR_NOT_SUPPORTED and ORLOP_ERR_INCOMPATIBLE_FS where kernel, user or file system do not serve; ORLOP_ERR_IO.
int32_t orlop_driver_prepare(const struct orlop_driver *driver,
                             struct orlop_error **error);

// Lets go what the driver holds, for overlay the private mount of its home unless layers are mounted; called at shutdown. The next call
// that needs it makes it again.
//
// Threads: any.
// Errors: when the kernel refuses.
int32_t orlop_driver_cleanup(const struct orlop_driver *driver,
                             struct orlop_error **error);

// Whether a new layer is to be synced to disk before it counts (option "sync"): 1 as Go's SyncModeFilesystem, 0 as SyncModeNone.
//
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_syncs(const struct orlop_driver *driver,
                           struct orlop_error **error);

// Whether the driver can map these ids when it mounts, so that no file needs another owner: 1 or 0.
//
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL; when the kernel could not be tried out.
int32_t orlop_driver_supports_shifting(const struct orlop_driver *driver,
                                       struct orlop_id_maps uid_map,
                                       struct orlop_id_maps gid_map,
                                       struct orlop_error **error);

// Rows for a status display, as a JSON array of [key, value], such as ["Backing Filesystem","extfs"]. For overlay the kernel is tried
// out, unless the answers are on record.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_status(const struct orlop_driver *driver,
                            struct orlop_buf *rows,
                            struct orlop_error **error);

// The directories in which the driver makes its temporary ones, as a JSON array of paths: what a killed process leaves there
// (store-format 10.3) is for whoever opens the store to clear away.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_temp_dir_roots(const struct orlop_driver *driver,
                                    struct orlop_buf *paths,
                                    struct orlop_error **error);

// The roots of the additional image stores of the driver's options, in order, as a JSON array of paths.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_additional_image_stores(const struct orlop_driver *driver,
                                             struct orlop_buf *paths,
                                             struct orlop_error **error);

// Finds the layer that an additional layer store serves under the digest `toc` of its table of contents; `reference` (NULL or empty:
// none) is that of the image, for a store that tells layers apart by it.
//
// Ownership: *layer is the caller's, to be freed with orlop_additional_layer_free, which tells the store; it may outlive the driver.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN when no store has it, or none is configured; ORLOP_ERR_INVALID_DIGEST.
int32_t orlop_driver_additional_layer(const struct orlop_driver *driver,
                                      const char *toc,
                                      const char *reference,
                                      struct orlop_additional_layer **layer,
                                      struct orlop_error **error);

// Gives the additional layer that the layer `id` of the driver was made of.
//
// Ownership: as for orlop_driver_additional_layer.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN, also for a layer with content of its own.
int32_t orlop_driver_additional_layer_of(const struct orlop_driver *driver,
                                         const char *id,
                                         struct orlop_additional_layer **layer,
                                         struct orlop_error **error);

// Creates the layer `id` on `parent` (NULL or empty: on none) with the content of an additional layer, which stays in its store; the
// store counts it as used until the layer is removed.
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN for the parent; ORLOP_ERR_NOT_SUPPORTED for a layer of a store that this driver does not have.
// Nothing is left behind.
int32_t orlop_driver_create_from_additional(const struct orlop_driver *driver,
                                            const char *id,
                                            const char *parent,
                                            const struct orlop_additional_layer *layer,
                                            struct orlop_error **error);

// Opens what the store tells of an additional layer: JSON of its own making.
//
// Ownership: *fd is the caller's, to be closed by it; -1 after a failure.
// Threads: any.
// Errors: ORLOP_ERR_IO with the errno.
int32_t orlop_additional_layer_info(const struct orlop_additional_layer *layer,
                                    int32_t *fd,
                                    struct orlop_error **error);

// Opens an additional layer as it was distributed: a compressed tar.
//
// Ownership: *fd is the caller's, to be closed by it; -1 after a failure.
// Threads: any.
// Errors: ORLOP_ERR_IO with the errno.
int32_t orlop_additional_layer_blob(const struct orlop_additional_layer *layer,
                                    int32_t *fd,
                                    struct orlop_error **error);

// Lets an additional layer go, and tells its store; NULL is fine.
//
// Threads: any; no call on it may be running, and nobody may use the pointer any more.
void orlop_additional_layer_free(struct orlop_additional_layer *layer);

// What orlop_driver_get would mount, as a JSON object, for a program that mounts by itself (in another mount namespace, in a virtual
// machine): "lowers" (uppermost first; of a read-only mount the layer's own directory is the first), "upper", "work" (without these
// two the mount is read-only), "options" (words of mount(8)), "label" (for context=); or "directory", a plain directory, of vfs. The
// layer is neither mounted nor counted, and if it is mounted nothing of it is changed; the driver's home is made ready as for
// orlop_driver_get.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any, under the caller's lock.
// Errors: as for orlop_driver_get; ORLOP_ERR_INVALID_ARGUMENT for a path that is not UTF-8.
int32_t orlop_driver_describe_mount(const struct orlop_driver *driver,
                                    const char *id,
                                    const struct orlop_mount_options *options,
                                    struct orlop_buf *description,
                                    struct orlop_error **error);

// Mounts a layer without a place in the tree, as fsmount(2) does: *mount_fd can be attached with move_mount(2), in whatever mount
// namespace, or files be opened below it. The mount is not counted and ends with its last user; until then the layer must be mounted in
// no other way, unless both are read-only.
//
// Ownership: the descriptor is the caller's, to be closed with close(2); it has the flag FD_CLOEXEC.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_NOT_SUPPORTED for vfs and before Linux 6.7; ORLOP_ERR_BUSY for a mounted layer that is asked for writing; as for
// orlop_driver_get.
int32_t orlop_driver_mount_detached(const struct orlop_driver *driver,
                                    const char *id,
                                    const struct orlop_mount_options *options,
                                    int32_t *mount_fd,
                                    struct orlop_error **error);

// Has equal files of these layers share their space on the disk, where the file system can (btrfs, xfs with reflinks); elsewhere it
// does nothing. Layers of additional stores, and ids of no layer, are passed over. `method` is one of ORLOP_DEDUP_*. *bytes, unless
// `bytes` is NULL, is how much is shared now, with what was before.
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_IO when content cannot be read.
int32_t orlop_driver_dedup(const struct orlop_driver *driver,
                           struct orlop_strings layers,
                           uint32_t method,
                           uint64_t *bytes,
                           struct orlop_error **error);

// Gives the files of a layer; those that it does not have itself come from the layers below.
//
// Ownership: *files is the caller's, to be freed with orlop_files_free; it may outlive the driver.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CORRUPT for a damaged layer.
int32_t orlop_driver_files(const struct orlop_driver *driver,
                           const char *id,
                           struct orlop_files **files,
                           struct orlop_error **error);

// Opens the regular file of that name, as the layer's tar has it, for reading. No symbolic link is followed out of the layer.
//
// Ownership: *fd is the caller's, to be closed by it; -1 after a failure.
// Threads: any.
// Errors: ORLOP_ERR_IO with the errno, ENOENT where no regular file has that name.
int32_t orlop_files_open(const struct orlop_files *files,
                         const char *name,
                         int32_t *fd,
                         struct orlop_error **error);

// Lets a layer's files go; NULL is fine. Descriptors that were handed out stay open.
//
// Threads: any; no call on it may be running, and nobody may use the pointer any more.
void orlop_files_free(struct orlop_files *files);

// Makes an empty layer for image content on `parent`, or on nothing where that is NULL or empty.
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN for the parent; ORLOP_ERR_NOT_SUPPORTED for a limit where
// the file system has no project quotas; ORLOP_ERR_INVALID_ARGUMENT for a map without root. Nothing is left behind.
int32_t orlop_driver_create(const struct orlop_driver *driver,
                            const char *id,
                            const char *parent,
                            const struct orlop_layer_options *options,
                            struct orlop_error **error);

// Makes an empty layer for a container; else as orlop_driver_create.
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: as for orlop_driver_create.
int32_t orlop_driver_create_read_write(const struct orlop_driver *driver,
                                       const char *id,
                                       const char *parent,
                                       const struct orlop_layer_options *options,
                                       struct orlop_error **error);

// Makes a layer with the content of the layer `template`; with `read_write` 1 one for a container, with 0 one for image content.
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN for the template; else as for orlop_driver_create.
int32_t orlop_driver_create_from_template(const struct orlop_driver *driver,
                                          const char *id,
                                          const char *template_id,
                                          const struct orlop_layer_options *options,
                                          uint32_t read_write,
                                          struct orlop_error **error);

// Removes a layer at once, unmounting it; a missing one is fine.
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_READ_ONLY for a layer of an additional store; ORLOP_ERR_IO for what could not be removed.
int32_t orlop_driver_remove(const struct orlop_driver *driver, const char *id, struct orlop_error **error);

// Moves a layer aside, unmounting it, to be deleted by orlop_trash_empty when the caller's lock is released; a missing one is fine.
//
// Ownership: *trash is the caller's, to be handed to orlop_trash_empty or orlop_trash_free.
// Threads: any, under the caller's lock.
// Errors: as for orlop_driver_remove; the layer is then still there, or in a temp dir, from which opening the store clears it.
int32_t orlop_driver_deferred_remove(const struct orlop_driver *driver,
                                     const char *id,
                                     struct orlop_trash **trash,
                                     struct orlop_error **error);

// Deletes the bytes of a layer that was moved aside, whether its driver is still open or not.
//
// Ownership: `trash` is taken over, whatever comes of it, and must not be used or freed any more.
// Threads: any, without the lock; nobody else may use the pointer any more.
// Errors: the first file that could not be removed; it stays for whoever opens the store next.
int32_t orlop_trash_empty(struct orlop_trash *trash, struct orlop_error **error);

// As orlop_trash_empty for whoever does not want to know how it went; NULL is fine.
//
// Threads: any; nobody else may use the pointer any more.
void orlop_trash_free(struct orlop_trash *trash);

// Whether the driver has that layer, in its home or an additional store: 1 or 0.
//
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for what cannot be an id.
int32_t orlop_driver_exists(const struct orlop_driver *driver, const char *id, struct orlop_error **error);

// The ids of the layers in the driver's home, without those of additional stores, as a JSON array. Children come before parents, so
// that they can be removed in that order.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IO when the home cannot be read.
int32_t orlop_driver_layers(const struct orlop_driver *driver,
                            struct orlop_buf *ids,
                            struct orlop_error **error);

// What the driver tells of a layer, as a JSON object of texts: for overlay "UpperDir", "LowerDir", "WorkDir" and "MergedDir", for vfs
// nothing. "Unclean" is there, and "true", where the last mount for writing was volatile and the machine was started anew since, by the
// wall clock: what was written may be missing. The next such mount forgets it, with a warning in the log.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CORRUPT for a damaged layer.
int32_t orlop_driver_metadata(const struct orlop_driver *driver,
                              const char *id,
                              struct orlop_buf *metadata,
                              struct orlop_error **error);

// Counts what a layer itself holds, without those below it.
//
// Ownership: `usage` is the caller's struct, its size field set.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_driver_disk_usage(const struct orlop_driver *driver,
                                const char *id,
                                struct orlop_disk_usage *usage,
                                struct orlop_error **error);

// Changes the owners of all files of a layer, those below it included, from one pair of id maps to another: what a file's owner is
// inside by the first pair, it is inside by the second. What the second pair does not map becomes nobody's (65534).
//
// Ownership: everything stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_BUSY for a mounted layer; ORLOP_ERR_INVALID_ARGUMENT for a file whose owner the first
// pair does not map, or a second one without root; ORLOP_ERR_NOT_SUPPORTED by a driver that cannot. The layer may be changed in part.
int32_t orlop_driver_update_id_maps(const struct orlop_driver *driver,
                                    const char *id,
                                    struct orlop_id_maps container_uid_map,
                                    struct orlop_id_maps container_gid_map,
                                    struct orlop_id_maps host_uid_map,
                                    struct orlop_id_maps host_gid_map,
                                    const char *mount_label,
                                    struct orlop_error **error);

// Mounts a layer and tells where, as the bytes of an absolute path. Uses are counted within the process: each one is given back with
// orlop_driver_put, the last of which unmounts. vfs mounts nothing and gives the layer's own directory.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_BUSY where it is mounted with other options; ORLOP_ERR_CORRUPT for a damaged layer;
// ORLOP_ERR_INVALID_ARGUMENT for a map without root; ORLOP_ERR_IO when the kernel refuses. Nothing is then counted.
int32_t orlop_driver_get(const struct orlop_driver *driver,
                         const char *id,
                         const struct orlop_mount_options *options,
                         struct orlop_buf *path,
                         struct orlop_error **error);

// Gives one orlop_driver_get back.
//
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN (overlay); ORLOP_ERR_IO when the kernel refuses to unmount.
int32_t orlop_driver_put(const struct orlop_driver *driver, const char *id, struct orlop_error **error);

// Whether a mount of the driver's kind is at `path`, made by whatever process: 1 or 0. For vfs, whether a directory is there.
//
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL or an empty path.
int32_t orlop_driver_is_mounted(const struct orlop_driver *driver,
                                const char *path,
                                struct orlop_error **error);

// Begins a layer's content that the caller writes itself, such as a pull of those parts of a layer that are not there yet: makes an
// empty directory, whose absolute path *target is; `target` may not be NULL. Its parent is free for what the caller needs beside it,
// but for the names "dir", "image" and "staging.lock". Unless `partial` is NULL it tells how to write.
//
// The directory is this process's until orlop_driver_commit_partial or orlop_driver_discard_partial, on whatever driver handle of
// the same store; what a killed process leaves goes with the next such call. No lock is needed, and no layer is touched.
//
// Ownership: *target is the caller's, to be freed with orlop_buf_free; `partial` is the caller's struct, its size field set.
// Threads: any.
// Errors: ORLOP_ERR_NOT_SUPPORTED for vfs, and with use_composefs in a user namespace or without the program mkcomposefs;
// ORLOP_ERR_IO.
int32_t orlop_driver_begin_partial(const struct orlop_driver *driver,
                                   const struct orlop_apply_options *options,
                                   struct orlop_partial *partial,
                                   struct orlop_buf *target,
                                   struct orlop_error **error);

// Makes the directory `target` the content of the layer `id`, which was created on `parent` (NULL or empty: on none); what that had
// before goes. With `keeps_mode` 1 the directory keeps its mode, with 0 it takes that of the parent's root.
//
// Ownership: everything stays the caller's. The directory is gone, or after a failure for whoever discards it.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for a directory that orlop_driver_begin_partial has not made, which is left as it is;
// ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_READ_ONLY for a layer of another store.
int32_t orlop_driver_commit_partial(const struct orlop_driver *driver,
                                    const char *id,
                                    const char *parent,
                                    const char *target,
                                    uint32_t keeps_mode,
                                    struct orlop_error **error);

// As orlop_driver_commit_partial, for a directory with content by digests: the layer becomes a composefs layer. `dump_fd` gives the list
// of its files, to its end: a line for each in the form of composefs-dump(5), the root first. A name that begins with ".wh.", or a
// character device 0:0, deletes what is below; a layer that deletes becomes an ordinary one, since images cannot.
//
// Ownership: everything stays the caller's, the descriptor as well. The directory is gone, or after a failure for whoever discards it.
// Threads: any, under the caller's lock.
// Errors: as orlop_driver_commit_partial; ORLOP_ERR_INVALID_ARGUMENT for a malformed list, or one that names content that is not there;
// ORLOP_ERR_NOT_SUPPORTED without the program mkcomposefs.
int32_t orlop_driver_commit_partial_image(const struct orlop_driver *driver,
                                          const char *id,
                                          const char *parent,
                                          const char *target,
                                          uint32_t keeps_mode,
                                          int32_t dump_fd,
                                          struct orlop_error **error);

// Deletes the directory `target` of a partial pull with all that lies beside it; one that is committed or gone is fine.
//
// Ownership: everything stays the caller's.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for a directory that orlop_driver_begin_partial has not made; ORLOP_ERR_BUSY for one that another
// process fills.
int32_t orlop_driver_discard_partial(const struct orlop_driver *driver,
                                     const char *target,
                                     struct orlop_error **error);

// The directory with a layer's own files, as the bytes of an absolute path: where a partial pull finds those that it need not fetch.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CORRUPT for a damaged layer; ORLOP_ERR_NOT_SUPPORTED for vfs.
int32_t orlop_driver_content_path(const struct orlop_driver *driver,
                                  const char *id,
                                  struct orlop_buf *path,
                                  struct orlop_error **error);

// Unpacks the uncompressed tar that `tar_fd` gives, to its end, upon the present content of a layer. *bytes, unless `bytes` is NULL,
// is then the sum of the sizes of its files.
//
// What was unpacked before a failure stays, also when the operation is called off: the layer had content that could not be set
// aside. orlop_driver_stage leaves nothing.
//
// The progress has one item, "layer" and the id; its total is known for a file.
//
// Ownership: the descriptor stays the caller's.
// Threads: any, under the caller's lock.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_INVALID_ARCHIVE for a malformed tar; ORLOP_ERR_CANCELLED; ORLOP_ERR_INVALID_ARGUMENT
// for an owner that is not mapped.
int32_t orlop_driver_apply_diff(const struct orlop_driver *driver,
                                const char *id,
                                int32_t tar_fd,
                                const struct orlop_apply_options *options,
                                const struct orlop_operation *operation,
                                uint64_t *bytes,
                                struct orlop_error **error);

// Unpacks the uncompressed tar that `tar_fd` gives, to its end, as the content of a layer on `parent` (NULL or empty: on none) that
// orlop_driver_commit_staged puts in place. No lock is needed, and no layer is touched. *bytes as for orlop_driver_apply_diff.
//
// The progress has one item, "a new layer"; its total is known for a file.
//
// Ownership: *staged is the caller's, to be handed to orlop_driver_commit_staged or orlop_staged_free. The descriptor stays the
// caller's.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN for a parent that has vanished; else as for orlop_driver_apply_diff. Nothing is left behind.
int32_t orlop_driver_stage(const struct orlop_driver *driver,
                           const char *parent,
                           int32_t tar_fd,
                           const struct orlop_apply_options *options,
                           const struct orlop_operation *operation,
                           struct orlop_staged **staged,
                           uint64_t *bytes,
                           struct orlop_error **error);

// Makes staged content the content of the layer `id`, which was created with the same parent and is still empty.
//
// Ownership: `staged` is taken over, whatever comes of it, and must not be used or freed any more.
// Threads: any, under the caller's lock; nobody else may use `staged` any more.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for content that was staged by another driver handle; ORLOP_ERR_LAYER_UNKNOWN;
// ORLOP_ERR_DUPLICATE_ID for a layer of overlay that has content, which vfs replaces. The staged content is then gone.
int32_t orlop_driver_commit_staged(const struct orlop_driver *driver,
                                   const char *id,
                                   struct orlop_staged *staged,
                                   struct orlop_error **error);

// Deletes staged content that is not wanted; NULL is fine.
//
// Threads: any; nobody else may use the pointer any more.
void orlop_staged_free(struct orlop_staged *staged);

// Writes what a layer changes over `parent` (NULL or empty: all that it shows) to `out_fd` as an uncompressed tar with AUFS
// whiteouts (".wh.").
//
// Ownership: the descriptor stays the caller's.
// Threads: any, under the caller's lock: overlay may have to mount.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_CANCELLED; ORLOP_ERR_IO when a file cannot be read or `out_fd` fails. What was written
// until then is no whole tar.
int32_t orlop_driver_diff(const struct orlop_driver *driver,
                          const char *id,
                          const char *parent,
                          const struct orlop_diff_options *options,
                          int32_t out_fd,
                          const struct orlop_operation *operation,
                          struct orlop_error **error);

// What a layer changes over `parent` (NULL or empty: over an empty tree): for each change one byte, 'C' changed, 'A' added or 'D'
// deleted, then the path's bytes, absolute within the layer, and a NUL. The order is that of the walk.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any, under the caller's lock: overlay may have to mount.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
int32_t orlop_driver_changes(const struct orlop_driver *driver,
                             const char *id,
                             const char *parent,
                             const struct orlop_diff_options *options,
                             struct orlop_buf *changes,
                             struct orlop_error **error);

// The sum of the sizes of the files that a layer changes over `parent` (NULL or empty: of all that it shows). NULL for `bytes` is
// fine.
//
// Ownership: `bytes` is a variable of the caller's.
// Threads: any, under the caller's lock: overlay may have to mount.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
int32_t orlop_driver_diff_size(const struct orlop_driver *driver,
                               const char *id,
                               const char *parent,
                               const struct orlop_diff_options *options,
                               uint64_t *bytes,
                               struct orlop_error **error);

// The code, one of ORLOP_ERR_*; the same that the call returned. ORLOP_OK for NULL.
//
// Threads: any.
int32_t orlop_error_code(const struct orlop_error *error);

// The errno of the system call that failed, 0 where there was none or for NULL.
//
// Threads: any.
int32_t orlop_error_errno(const struct orlop_error *error);

// The whole message in one line: what was tried, on what, why it failed, what to do. NULL for NULL.
//
// Ownership: the text belongs to the error.
// Threads: any.
const char *orlop_error_message(const struct orlop_error *error);

// The file concerned, NULL where there is none.
//
// Ownership: the text belongs to the error.
// Threads: any.
const char *orlop_error_path(const struct orlop_error *error);

// The id of the layer, image or container concerned, NULL where there is none.
//
// Ownership: the text belongs to the error.
// Threads: any.
const char *orlop_error_id(const struct orlop_error *error);

// What to do about it, NULL where nothing is known. The message has it, too.
//
// Ownership: the text belongs to the error.
// Threads: any.
const char *orlop_error_advice(const struct orlop_error *error);

// Frees an error; NULL is fine.
//
// Threads: any; nobody may use the error or its texts any more.
void orlop_error_free(struct orlop_error *error);

// Sends the library's log to `function`, lines up to `level` (ORLOP_LOG_*); NULL or ORLOP_LOG_OFF silences it, as it is at
// first. It holds for the whole process.
//
// Ownership: `userdata` stays the caller's and must live until another function is set.
// Threads: any; when it returns, the former function is not called any more.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for another level.
int32_t orlop_set_log(orlop_log_fn function,
                      void *userdata,
                      uint32_t level,
                      struct orlop_error **error);

// Makes a progress for one operation.
//
// Ownership: *progress is the caller's, to be freed with orlop_progress_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_progress_new(struct orlop_progress **progress, struct orlop_error **error);

// Tells how far the operation is.
//
// Ownership: `state` is the caller's struct, its size field set.
// Threads: any, also while the operation runs.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL, or for a size of less than one field.
int32_t orlop_progress_read(const struct orlop_progress *progress,
                            struct orlop_progress_state *state,
                            struct orlop_error **error);

// Lists the operation's items as a JSON array of {"what", "total", "done", "note"}: a layer or file, its bytes where they are
// known, those worked through, and how it ended ("done", "already exists"; empty where it failed) once it has.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any, also while the operation runs.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_progress_items(const struct orlop_progress *progress,
                             struct orlop_buf *items,
                             struct orlop_error **error);

// Frees a progress; NULL is fine. An operation that has it goes on.
//
// Threads: any; nobody else may use the pointer any more.
void orlop_progress_free(struct orlop_progress *progress);

// Opens the store that `config` describes. Nothing on disk is touched; what must exist is made by the first call that writes.
//
// Ownership: *store is the caller's, to be freed with orlop_store_free; `config` may be freed at once.
// Threads: any.
// Errors: ORLOP_ERR_INCOMPLETE_OPTIONS for a missing root; ORLOP_ERR_CONFIG for a malformed option; ORLOP_ERR_NOT_SUPPORTED for a
// driver that is not served.
int32_t orlop_store_open(const struct orlop_config *config,
                         struct orlop_store **store,
                         struct orlop_error **error);

// Closes a store; NULL is fine. What is mounted stays mounted. After a fork it does nothing in the child.
//
// Threads: any; no call on the store may be running, and nobody may use the pointer any more.
void orlop_store_free(struct orlop_store *store);

// Whether a layer, image or container has that id, name or unique beginning of an id: 1 or 0.
//
// Threads: any.
// Errors: when the records cannot be read.
int32_t orlop_exists(const struct orlop_store *store, const char *id, struct orlop_error **error);

// What a store was opened with, as orlop_config_json prints it, its driver's name filled in.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_store_config(const struct orlop_store *store, struct orlop_buf *text, struct orlop_error **error);

// What the driver says of itself, as podman info prints it: [["key", "value"], ...].
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_ARGUMENT for NULL.
int32_t orlop_store_status(const struct orlop_store *store, struct orlop_buf *rows, struct orlop_error **error);

// Loads the images of a docker archive, an OCI archive (each plain or compressed) or an OCI layout directory, which its content
// tells: of `path`, with `fd` -1, or an archive from `fd`, with `path` NULL. Gives [{"id": "...", "names": [...]}, ...].
//
// Each blob is checked against its digest. Names are completed as podman load does and taken away from other images. The progress
// has one item for each layer, and one for a stream that is copied first.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; the descriptor stays the caller's.
// Threads: any; without `policy` and `accept_anything` it reads the environment, so that no other thread may call setenv meanwhile.
// Errors: ORLOP_ERR_INVALID_ARCHIVE, ORLOP_ERR_DIGEST_MISMATCH, ORLOP_ERR_POLICY_REJECTED, ORLOP_ERR_CANCELLED; ORLOP_ERR_IO for the
// file. The layers and images that the call has made are deleted again. To open a named pipe waits for its writer and cannot be
// called off: give a descriptor.
int32_t orlop_load(const struct orlop_store *store,
                   const char *path,
                   int32_t fd,
                   const struct orlop_load_options *given,
                   const struct orlop_operation *operation,
                   struct orlop_buf *loaded,
                   struct orlop_error **error);

// Saves images, given by ids or names, to `path`, at which there may be nothing with content, with `fd` -1; or an archive to `fd`,
// with `path` NULL. Those given by name are saved with it; layers that they share are written once. The progress has one item for
// each layer.
//
// Ownership: the descriptor stays the caller's.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN, ORLOP_ERR_DIGEST_MISMATCH for a layer that is no longer what it was, ORLOP_ERR_CANCELLED; ORLOP_ERR_IO
// for the file. A path is then as it was; what was written to a descriptor stays. To open a named pipe waits for its reader and
// cannot be called off: give a descriptor.
int32_t orlop_save(const struct orlop_store *store,
                   struct orlop_strings names,
                   const char *path,
                   int32_t fd,
                   const struct orlop_save_options *given,
                   const struct orlop_operation *operation,
                   struct orlop_error **error);

// Makes an image of a container's root file system as it is now, with `name` (NULL: none; completed as podman commit does, and
// taken away from other images), and gives its id. The progress has one item, which counts the bytes of the changes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN; ORLOP_ERR_INVALID_ARGUMENT for a name, a format or an instruction; ORLOP_ERR_CANCELLED.
// Nothing is left then.
int32_t orlop_commit(const struct orlop_store *store,
                     const char *container,
                     const char *name,
                     const struct orlop_commit_options *given,
                     const struct orlop_operation *operation,
                     struct orlop_buf *image,
                     struct orlop_error **error);

// Creates a container and its read-write layer, and gives its record as orlop_container does.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN, ORLOP_ERR_LAYER_UNKNOWN for an image whose layer is missing, ORLOP_ERR_DUPLICATE_ID,
// ORLOP_ERR_DUPLICATE_NAME; ORLOP_ERR_INVALID_ARGUMENT for one label without the other, and for id maps without root;
// ORLOP_ERR_NOT_SUPPORTED for id maps that the driver cannot apply. Nothing is left then, unless a copy of the image's layer for
// these id maps, which the next container uses.
int32_t orlop_create_container(const struct orlop_store *store,
                               const struct orlop_new_container *container,
                               struct orlop_buf *record,
                               struct orlop_error **error);

// An item of an image: its bytes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN, ORLOP_ERR_DATA_UNKNOWN; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have.
int32_t orlop_image_data(const struct orlop_store *store,
                         const char *id,
                         const char *key,
                         struct orlop_buf *content,
                         struct orlop_error **error);

// Stores an item of an image, in place of one that it has: `len` bytes of `content`, and the digest to record (NULL: the SHA-256).
//
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN also for one of an additional store, ORLOP_ERR_INVALID_DIGEST; ORLOP_ERR_INVALID_DATA_NAME for a key
// that no file can have.
int32_t orlop_set_image_data(const struct orlop_store *store,
                             const char *id,
                             const char *key,
                             const uint8_t *content,
                             size_t len,
                             const char *digest,
                             struct orlop_error **error);

// An item of a container: its bytes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN, ORLOP_ERR_DATA_UNKNOWN.
int32_t orlop_container_data(const struct orlop_store *store,
                             const char *id,
                             const char *key,
                             struct orlop_buf *content,
                             struct orlop_error **error);

// Stores an item of a container, in place of one that it has: `len` bytes of `content`.
//
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have.
int32_t orlop_set_container_data(const struct orlop_store *store,
                                 const char *id,
                                 const char *key,
                                 const uint8_t *content,
                                 size_t len,
                                 struct orlop_error **error);

// Writes an item of a layer to a descriptor.
//
// The progress has one item, "data item", the key in quotes, "of layer" and the id.
//
// Ownership: the descriptor stays the caller's.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN, ORLOP_ERR_DATA_UNKNOWN; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have;
// ORLOP_ERR_CANCELLED; ORLOP_ERR_IO when it cannot be written. What was written until then stays.
int32_t orlop_layer_data(const struct orlop_store *store,
                         const char *id,
                         const char *key,
                         int32_t out_fd,
                         const struct orlop_operation *operation,
                         struct orlop_error **error);

// Stores an item of a layer, in place of one that it has: what the descriptor gives until its end, which is kept in memory first.
// From then on it is not called off any more.
//
// The progress has one item as that of orlop_layer_data; its total is known for a file.
//
// Ownership: the descriptor stays the caller's.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN, also for one of an additional store; ORLOP_ERR_INVALID_DATA_NAME for a key that no file can have;
// ORLOP_ERR_CANCELLED. Nothing is changed then; of the first two, nothing has been read either.
int32_t orlop_set_layer_data(const struct orlop_store *store,
                             const char *id,
                             const char *key,
                             int32_t in_fd,
                             const struct orlop_operation *operation,
                             struct orlop_error **error);

// Deletes whatever `id` is: a container with its layer, an image's record and data alone, or a layer, without any checks.
//
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN if it is none of them, or belongs to an additional store.
int32_t orlop_delete(const struct orlop_store *store,
                     const char *id,
                     struct orlop_error **error);

// Deletes a layer that no other layer, image or container uses.
//
// Threads: any.
// Errors: ORLOP_ERR_NOT_A_LAYER, ORLOP_ERR_LAYER_HAS_CHILDREN, ORLOP_ERR_LAYER_USED_BY_IMAGE, ORLOP_ERR_LAYER_USED_BY_CONTAINER.
// Nothing is changed then.
int32_t orlop_delete_layer(const struct orlop_store *store,
                           const char *id,
                           struct orlop_error **error);

// Deletes a container, its layer and its directories.
//
// Threads: any.
// Errors: ORLOP_ERR_NOT_A_CONTAINER; ORLOP_ERR_IO when its layer cannot be unmounted or moved. Nothing is changed then.
int32_t orlop_delete_container(const struct orlop_store *store, const char *id, struct orlop_error **error);

// Deletes an image that no container uses, and the layers that nothing else needs; gives their ids, top first, as a JSON array.
// With `test` 1 nothing is deleted.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_NOT_AN_IMAGE, ORLOP_ERR_IMAGE_USED_BY_CONTAINER; ORLOP_ERR_READ_ONLY for an image of an additional store.
// Nothing is changed then.
int32_t orlop_delete_image(const struct orlop_store *store,
                           const char *id,
                           uint32_t test,
                           struct orlop_buf *layers,
                           struct orlop_error **error);

// Deletes every container, image and layer; the empty store stays.
//
// Threads: any.
// Errors: ORLOP_ERR_IO when something cannot be unmounted or removed; what is left is listed as before.
int32_t orlop_wipe(const struct orlop_store *store, struct orlop_error **error);

// Releases what the driver holds on the machine, such as the mount of its directory on itself, if no layer is mounted; the
// handle stays usable. With `force` 1 mounted layers are unmounted first.
//
// Threads: any.
// Errors: ORLOP_ERR_LAYER_USED_BY_CONTAINER if layers were mounted, even if `force` has unmounted them, as in Go: the message has
// the ids of all of them, orlop_error_id is the first. ORLOP_ERR_IO if one cannot be unmounted; the others are. The driver is then
// left as it is.
int32_t orlop_shutdown(const struct orlop_store *store,
                       uint32_t force,
                       struct orlop_error **error);

// Writes the tar of what a layer or container has over `reference` (NULL: over its parent, and then the very bytes that once came
// in, where that is recorded), compressed as ORLOP_COMPRESSION_* says. *bytes are those of the uncompressed tar.
//
// The progress has one item, "layer" and the id, which counts the bytes that are written to the descriptor.
//
// Ownership: the descriptor stays the caller's.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_NOT_SUPPORTED for bzip2 and xz; ORLOP_ERR_CORRUPT when the files no longer give the tar
// that came in; ORLOP_ERR_CANCELLED; ORLOP_ERR_IO with EPIPE when nobody reads any more. What was written until then stays.
int32_t orlop_export(const struct orlop_store *store,
                     const char *id,
                     const char *reference,
                     int32_t compression,
                     int32_t out_fd,
                     const struct orlop_operation *operation,
                     uint64_t *bytes,
                     struct orlop_error **error);

// What a layer or container changes over `reference` (NULL: its parent): for each path a byte 'C' (modified), 'A' (added) or
// 'D' (deleted), the path, absolute in the layer, and a NUL byte.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
int32_t orlop_changes(const struct orlop_store *store,
                      const char *id,
                      const char *reference,
                      struct orlop_buf *changes,
                      struct orlop_error **error);

// An estimate of the bytes that a layer or container changes over `reference` (NULL: its parent).
//
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when content cannot be read.
int32_t orlop_diff_size(const struct orlop_store *store,
                        const char *id,
                        const char *reference,
                        uint64_t *bytes,
                        struct orlop_error **error);

// Creates an image of layers that are there, and gives its record as orlop_image does.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_DUPLICATE_ID, ORLOP_ERR_DUPLICATE_NAME, ORLOP_ERR_LAYER_UNKNOWN, ORLOP_ERR_INVALID_DIGEST. Nothing is left
// then.
int32_t orlop_create_image(const struct orlop_store *store,
                           const struct orlop_new_image *image,
                           struct orlop_buf *record,
                           struct orlop_error **error);

// Creates a layer without content of its own, and gives its record as orlop_layer does.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_DUPLICATE_ID, ORLOP_ERR_DUPLICATE_NAME, ORLOP_ERR_LAYER_UNKNOWN for the parent,
// ORLOP_ERR_PARENT_IS_CONTAINER; ORLOP_ERR_NOT_SUPPORTED for id maps that the driver cannot apply. Nothing is left then.
int32_t orlop_create_layer(const struct orlop_store *store,
                           const struct orlop_new_layer *layer,
                           struct orlop_buf *record,
                           struct orlop_error **error);

// Creates a layer from a tar stream, compressed or not, and gives its record as orlop_layer does. The stream is read to its end.
//
// The progress has one item, "layer" and the id where one is given; its total is known for a file.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; the descriptor stays the caller's.
// Threads: any.
// Errors: as for orlop_create_layer; ORLOP_ERR_INVALID_ARCHIVE, ORLOP_ERR_DIGEST_MISMATCH, ORLOP_ERR_CANCELLED. Nothing is left
// then.
int32_t orlop_import_layer(const struct orlop_store *store,
                           const struct orlop_new_layer *layer,
                           int32_t fd,
                           const struct orlop_operation *operation,
                           struct orlop_buf *record,
                           struct orlop_error **error);

// Unpacks a tar stream, compressed or not, over the content of a layer or container, and records its digests and sizes. The layers
// are locked meanwhile: the stream must not come from a call on the same store. *bytes are those of the content.
//
// Ownership: the descriptor stays the caller's.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN, also for one of an additional store; ORLOP_ERR_INVALID_ARCHIVE and ORLOP_ERR_CANCELLED, after
// which the record is as it was, and what was unpacked is there: it lies among content that was there before.
int32_t orlop_apply_diff(const struct orlop_store *store,
                         const char *id,
                         int32_t fd,
                         const struct orlop_operation *operation,
                         uint64_t *bytes,
                         struct orlop_error **error);

// The layers as a JSON array, those of additional stores last. An object has the fields of layers.json, byte for byte as Go
// writes them; behind them "mountpoint" (bytes that are not UTF-8 become U+FFFD), "mount-count" and "read-only": true, where they
// are not empty, 0 or false.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: when a record file cannot be read (ORLOP_ERR_IO) or parsed (ORLOP_ERR_CORRUPT).
int32_t orlop_layers(const struct orlop_store *store,
                     struct orlop_buf *records,
                     struct orlop_error **error);

// The images as a JSON array, those of additional stores last. An object has the fields of images.json, byte for byte as Go
// writes them; behind them "read-only": true where it belongs to an additional store.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: as for orlop_layers.
int32_t orlop_images(const struct orlop_store *store,
                     struct orlop_buf *records,
                     struct orlop_error **error);

// The containers as a JSON array of objects with the fields of containers.json, byte for byte as Go writes them.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: as for orlop_layers.
int32_t orlop_containers(const struct orlop_store *store, struct orlop_buf *records, struct orlop_error **error);

// A layer by id, name or unique beginning of an id, as an object of orlop_layers.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; as for orlop_layers.
int32_t orlop_layer(const struct orlop_store *store,
                    const char *id,
                    struct orlop_buf *record,
                    struct orlop_error **error);

// An image by id, name or unique beginning of an id, as an object of orlop_images.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN; as for orlop_layers.
int32_t orlop_image(const struct orlop_store *store,
                    const char *id,
                    struct orlop_buf *record,
                    struct orlop_error **error);

// A container by id, name, id of its layer or unique beginning of an id, as an object of orlop_containers.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN; as for orlop_layers.
int32_t orlop_container(const struct orlop_store *store,
                        const char *id,
                        struct orlop_buf *record,
                        struct orlop_error **error);

// What an id or name is, as {"kind": "layer", "image" or "container", "record": {...}}: looked for among the layers, then the
// images, then the containers. The record is as from orlop_layers, orlop_images or orlop_containers.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_NOT_FOUND; as for orlop_layers.
int32_t orlop_lookup(const struct orlop_store *store,
                     const char *id,
                     struct orlop_buf *found,
                     struct orlop_error **error);

// The layers whose uncompressed tar has that digest, as orlop_layers prints them; [] for none.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_DIGEST; as for orlop_layers.
int32_t orlop_layers_by_diff_digest(const struct orlop_store *store,
                                    const char *digest,
                                    struct orlop_buf *records,
                                    struct orlop_error **error);

// The layers whose blob, as it came, has that digest, as orlop_layers prints them; [] for none.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_DIGEST; as for orlop_layers.
int32_t orlop_layers_by_compressed_digest(const struct orlop_store *store,
                                          const char *digest,
                                          struct orlop_buf *records,
                                          struct orlop_error **error);

// The images with that digest, be it their own or that of one of their manifests, as orlop_images prints them; [] for none.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_INVALID_DIGEST; as for orlop_layers.
int32_t orlop_images_by_digest(const struct orlop_store *store,
                               const char *digest,
                               struct orlop_buf *records,
                               struct orlop_error **error);

// The images with the top layer of that id, mapped ones included, as orlop_images prints them; [] for none.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: as for orlop_layers.
int32_t orlop_images_by_top_layer(const struct orlop_store *store,
                                  const char *layer,
                                  struct orlop_buf *records,
                                  struct orlop_error **error);

// Takes images over from docker into the store: the same ids, the same diff digests, and what a loading of the same images would
// record. Gives 1 if every image that was asked for is in the store (or with a dry run could be) and nothing went wrong afterwards,
// else 0: an image that cannot be taken over keeps no other from it, and the report says why.
//
// The report is {"images": [{"id", "names" (in the store), "names-left-out" (those that another image of the store has), "container"
// (the name of the one that the image was made of), "layers": [{"id", "diff-digest", "outcome" ("present", "planned", "moved",
// "reflinked" or "copied"), "bytes"}], "moved", "kept" (why docker keeps it, where it was to be moved), "error"}], "finished"
// ({"images", "layers"}: which images, and how many layers, an earlier move had begun to delete from docker and this one has),
// "unfinished" (what went wrong when docker was to forget the images)}; what does not apply is left out.
//
// Layers that are there are not made again, so that a second call goes on where one that has ended early stopped. Docker may run,
// unless images are to be moved; it must not delete them meanwhile. The progress has one item for each layer.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN for an image that docker does not have; ORLOP_ERR_BUSY for a daemon that works where images are to be
// moved from; ORLOP_ERR_NOT_SUPPORTED for a store whose layers have another form; nothing is changed then. ORLOP_ERR_CANCELLED: the
// images that have been taken over stay, in docker, too.
int32_t orlop_migrate_docker(const struct orlop_store *store,
                             const struct orlop_docker *docker,
                             const struct orlop_migrate_docker_options *given,
                             const struct orlop_operation *operation,
                             struct orlop_buf *report,
                             struct orlop_error **error);

// Turns a store in the layout of 2016's overlay driver (a whole tree for each layer) into today's, without a copy of any file; ids and
// records stay. The old layout is kept beside as <driver's home>.legacy, unless it is to be removed. A store of today's layout stays
// as it is. Free the store afterwards and open it anew: its driver is that of the layout that it was opened with, and refuses to go on
// (ORLOP_ERR_BUSY).
//
// The report is {"image-layers", "container-layers", "verified" (layers whose tar is the one on record), "linked-files", "whiteouts",
// "removed" (whether an old layout was)}. A process that is killed on the way leaves the store as it was, or migrated; the next call
// does what is left to do.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_BUSY while a layer is mounted or another process works on the store; ORLOP_ERR_NOT_SUPPORTED for other drivers, a
// separate image store, a store with id maps or with layers of both layouts, and for anybody but root; ORLOP_ERR_CORRUPT for a damaged
// layer; ORLOP_ERR_DIGEST_MISMATCH for one whose files are not those of its tar. The store is then as it was.
int32_t orlop_migrate_legacy(const struct orlop_store *store,
                             const struct orlop_migrate_legacy_options *given,
                             struct orlop_buf *report,
                             struct orlop_error **error);

// Mounts a layer, or a container's layer with the container's label, options and volatility; gives the path, any bytes. What is
// mounted is counted once more. The mount outlives the process.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; each mount is given back with orlop_unmount.
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_READ_ONLY for a layer of an additional store; ORLOP_ERR_MAX_DEPTH; ORLOP_ERR_IO with what
// the kernel says.
int32_t orlop_mount(const struct orlop_store *store,
                    const char *id,
                    const struct orlop_mount_request *request,
                    struct orlop_buf *path,
                    struct orlop_error **error);

// Mounts an image's top layer, read-only; gives the path, any bytes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; each mount is given back with orlop_unmount_image.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN; as for orlop_mount.
int32_t orlop_mount_image(const struct orlop_store *store,
                          const char *id,
                          const struct orlop_mount_request *request,
                          struct orlop_buf *path,
                          struct orlop_error **error);

// Gives one mount of a layer or container back, with `force` 1 all of them: 1 if it is still mounted, else 0. What is not mounted
// stays so.
//
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN; ORLOP_ERR_IO when the kernel refuses.
int32_t orlop_unmount(const struct orlop_store *store,
                      const char *id,
                      uint32_t force,
                      struct orlop_error **error);

// As orlop_unmount, of an image's top layer.
//
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN; as for orlop_unmount.
int32_t orlop_unmount_image(const struct orlop_store *store,
                            const char *id,
                            uint32_t force,
                            struct orlop_error **error);

// How many mounts of a layer or container have been asked for and not given back.
//
// Threads: any.
// Errors: ORLOP_ERR_LAYER_UNKNOWN.
int32_t orlop_mounted(const struct orlop_store *store, const char *id, int64_t *count, struct orlop_error **error);

// Gives a layer, image or container these names in place of its own; another one of its kind loses them.
//
// Threads: any.
// Errors: ORLOP_ERR_NOT_FOUND; ORLOP_ERR_READ_ONLY for a layer of an additional store. An image of one is copied into this store.
int32_t orlop_set_names(const struct orlop_store *store,
                        const char *id,
                        struct orlop_strings names,
                        struct orlop_error **error);

// Puts names in front of those that a layer, image or container has; another one of its kind loses them.
//
// Threads: any.
// Errors: as for orlop_set_names.
int32_t orlop_add_names(const struct orlop_store *store,
                        const char *id,
                        struct orlop_strings names,
                        struct orlop_error **error);

// Takes names away from a layer, image or container; those it does not have are ignored.
//
// Threads: any.
// Errors: as for orlop_set_names.
int32_t orlop_remove_names(const struct orlop_store *store,
                           const char *id,
                           struct orlop_strings names,
                           struct orlop_error **error);

// Replaces the metadata of a layer, image or container: any text.
//
// Threads: any.
// Errors: ORLOP_ERR_NOT_FOUND; ORLOP_ERR_READ_ONLY for what belongs to an additional store.
int32_t orlop_set_metadata(const struct orlop_store *store,
                           const char *id,
                           const char *metadata,
                           struct orlop_error **error);

// Bytes of an image: the tars of its layers and its big data.
//
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN; ORLOP_ERR_LAYER_UNKNOWN for a layer that is missing; ORLOP_ERR_SIZE_UNKNOWN.
int32_t orlop_image_size(const struct orlop_store *store, const char *id, int64_t *bytes, struct orlop_error **error);

// Bytes of a container: what its layer changes, its big data and its directories.
//
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN, ORLOP_ERR_LAYER_UNKNOWN.
int32_t orlop_container_size(const struct orlop_store *store,
                             const char *id,
                             int64_t *bytes,
                             struct orlop_error **error);

// A directory for the caller's files of an image, made if it is not there; the path, any bytes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN.
int32_t orlop_image_dir(const struct orlop_store *store,
                        const char *id,
                        struct orlop_buf *path,
                        struct orlop_error **error);

// As orlop_image_dir, in the run root: gone after a reboot.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_IMAGE_UNKNOWN.
int32_t orlop_image_run_dir(const struct orlop_store *store,
                            const char *id,
                            struct orlop_buf *path,
                            struct orlop_error **error);

// A directory for the caller's files of a container, made if it is not there; the path, any bytes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN.
int32_t orlop_container_dir(const struct orlop_store *store,
                            const char *id,
                            struct orlop_buf *path,
                            struct orlop_error **error);

// As orlop_container_dir, in the run root: gone after a reboot.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CONTAINER_UNKNOWN.
int32_t orlop_container_run_dir(const struct orlop_store *store,
                                const char *id,
                                struct orlop_buf *path,
                                struct orlop_error **error);

// Checks a thin.json, which lists the layers of a thin image, and gives it as it is to be written: {"version", "min_version", "origin",
// "layers": [{"digest" (hexadecimal digits of a sha256), "url" (cvmfs://REPOSITORY/FOLDER)}] (base first), "comment"}; what is empty is
// left out, and so are keys that are not known.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: ORLOP_ERR_CORRUPT for what is no such document, for digests and addresses that are none, and for more layers than can be
// mounted; ORLOP_ERR_NOT_SUPPORTED if it is for readers of a later format.
int32_t orlop_thin_json(const uint8_t *document,
                        size_t len,
                        struct orlop_buf *checked,
                        struct orlop_error **error);

// Makes the tar of a thin image's one layer: the thin.json of `document`, checked as by orlop_thin_json, and nothing else. Equal
// documents give equal bytes.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free.
// Threads: any.
// Errors: as for orlop_thin_json.
int32_t orlop_thin_archive(const uint8_t *document,
                           size_t len,
                           struct orlop_buf *archive,
                           struct orlop_error **error);

// Has the layers of `image`, an id or a name, published by `upload`, and makes a thin image of them, with the same configuration.
// Layers that are thin already are taken over as they are; the image stays. Gives {"id", "names"}. The progress has two items for each
// layer that is sent: its packing and its sending.
//
// Ownership: the buffer is the caller's, to be freed with orlop_buf_free; what `upload` leads to must live as long as the call.
// Threads: any.
// Errors: ORLOP_ERR_NOT_SUPPORTED if the store is not of the dialect "cvmfs"; ORLOP_ERR_IMAGE_UNKNOWN; ORLOP_ERR_IO if a layer is not
// published, with the errno of a function of `upload`; ORLOP_ERR_CANCELLED, once the function that runs has returned. The store is as
// before then. Layers that have been published stay so.
int32_t orlop_make_thin(const struct orlop_store *store,
                        const char *image,
                        const struct orlop_layer_upload *upload,
                        const struct orlop_make_thin_options *given,
                        const struct orlop_operation *operation,
                        struct orlop_buf *made,
                        struct orlop_error **error);

// The library's version, as "0.1.0".
//
// Ownership: the text is the library's and never changes.
// Threads: any.
const char *orlop_version(void);

// The commit that the library was built from, 12 hexadecimal digits, or "unknown".
//
// Ownership: the text is the library's and never changes.
// Threads: any.
const char *orlop_version_commit(void);

// 1 if the library has the feature of that name, else 0. Features: "overlay" and "vfs" (the drivers).
//
// Threads: any.
int32_t orlop_has(const char *feature);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ORLOP_H */
