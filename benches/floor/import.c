/*
 * A layer in: read and digest | decompress | digest | write the files, a thread for each; the two in the middle only where
 * the archive is compressed. Prints the digests, of the archive as it comes and of the plain one, so that they are not
 * computed in vain. It knows the archives of the comparison and no others: files and folders with short names.
 */
#define _GNU_SOURCE
#include "floor.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { BLOCK = 512 };
static const unsigned char GZIP[] = {0x1f, 0x8b}, ZSTD[] = {0x28, 0xb5, 0x2f, 0xfd};

struct pipeline {
    const char *archive;
    int fd;
    struct ring packed, plain;
    struct ring *first; /* where the archive goes as it comes */
};

static void malformed(const char *what) {
    errno = EBADMSG;
    die(what);
}

static void print_digest(const char *label, EVP_MD_CTX *hash) {
    unsigned char digest[32];
    char text[65];
    if (!EVP_DigestFinal_ex(hash, digest, NULL)) malformed("digest");
    for (int n = 0; n < 32; n++) sprintf(text + 2 * n, "%02x", digest[n]);
    printf("%s %s\n", label, text);
}

static EVP_MD_CTX *new_hash(void) {
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (hash == NULL || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)) malformed("sha256");
    return hash;
}

static size_t fill(int fd, unsigned char *buffer) {
    size_t length = 0;
    ssize_t got;
    while (length < SLOT && (got = read(fd, buffer + length, SLOT - length)) != 0) {
        if (got < 0) die("read");
        length += got;
    }
    return length;
}

static void *read_stage(void *argument) {
    struct pipeline *line = argument;
    EVP_MD_CTX *hash = new_hash();
    size_t length;
    do {
        unsigned char *buffer = ring_room(line->first);
        length = fill(line->fd, buffer);
        EVP_DigestUpdate(hash, buffer, length);
        ring_put(line->first, length);
    } while (length > 0);
    print_digest("archive", hash);
    return NULL;
}

static void *gunzip_stage(void *argument) {
    struct pipeline *line = argument;
    z_stream stream = {0};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) malformed("inflateInit2");
    int state = Z_OK, held = 0;
    while (state != Z_STREAM_END) {
        stream.next_out = ring_room(&line->plain);
        stream.avail_out = SLOT;
        while (stream.avail_out > 0 && state != Z_STREAM_END) {
            if (stream.avail_in == 0) {
                if (held) ring_done(&line->packed, 0);
                stream.avail_in = ring_get(&line->packed, 0, &stream.next_in);
                held = 1;
                if (stream.avail_in == 0) malformed("truncated gzip");
            }
            state = inflate(&stream, Z_NO_FLUSH);
            if (state != Z_OK && state != Z_STREAM_END) malformed("inflate");
        }
        ring_put(&line->plain, SLOT - stream.avail_out);
    }
    ring_done(&line->packed, 0);
    ring_room(&line->plain);
    ring_put(&line->plain, 0);
    return NULL;
}

static void *unzstd_stage(void *argument) {
    struct pipeline *line = argument;
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {NULL, 0, 0};
    int held = 0;
    size_t state = 1;
    while (state != 0) {
        ZSTD_outBuffer out = {ring_room(&line->plain), SLOT, 0};
        while (out.pos < out.size && state != 0) {
            if (in.pos == in.size) {
                unsigned char *data;
                if (held) ring_done(&line->packed, 0);
                in = (ZSTD_inBuffer){NULL, ring_get(&line->packed, 0, &data), 0};
                in.src = data;
                held = 1;
                if (in.size == 0) malformed("truncated zstd");
            }
            state = ZSTD_decompressStream(stream, &out, &in);
            if (ZSTD_isError(state)) malformed("zstd");
        }
        ring_put(&line->plain, out.pos);
    }
    ring_done(&line->packed, 0);
    ring_room(&line->plain);
    ring_put(&line->plain, 0);
    return NULL;
}

static void *digest_stage(void *argument) {
    struct pipeline *line = argument;
    EVP_MD_CTX *hash = new_hash();
    unsigned char *data;
    size_t length;
    while ((length = ring_get(&line->plain, 1, &data)) > 0) {
        EVP_DigestUpdate(hash, data, length);
        ring_done(&line->plain, 1);
    }
    print_digest("plain", hash);
    return NULL;
}

/* Where the files go: one folder is kept open, the one of the last file. */
struct target {
    int root, folder, file;
    char path[101];       /* of the folder that is open */
    struct dated {
        char path[101];
        time_t time;
    } *folders;           /* their times are set when nothing is written to them any more */
    size_t count, room;
};

static void set_time(int fd, const char *path, time_t time) {
    struct timespec times[2] = {{.tv_sec = time}, {.tv_sec = time}};
    if (path != NULL ? utimensat(fd, path, times, 0) < 0 : futimens(fd, times) < 0) die("utimensat");
}

static void add_folder(struct target *to, const char *path, mode_t mode, time_t time) {
    if (mkdirat(to->root, path, mode) < 0) die(path);
    if (to->count == to->room) {
        to->room = to->room * 2 + 64;
        to->folders = realloc(to->folders, to->room * sizeof *to->folders);
        if (to->folders == NULL) die("realloc");
    }
    struct dated *kept = &to->folders[to->count++];
    snprintf(kept->path, sizeof kept->path, "%s", path);
    kept->time = time;
}

static int open_file(struct target *to, const char *path, mode_t mode) {
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? slash - path : 0;
    if (to->folder < 0 || strlen(to->path) != length || memcmp(to->path, path, length) != 0) {
        if (to->folder >= 0) close(to->folder);
        memcpy(to->path, path, length);
        to->path[length] = 0;
        to->folder = openat(to->root, length > 0 ? to->path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (to->folder < 0) die(to->path);
    }
    const char *name = slash != NULL ? slash + 1 : path;
    int fd = openat(to->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) die(path);
    return fd;
}

static unsigned long field(const unsigned char *header, int offset, int length) {
    char text[13] = {0};
    memcpy(text, header + offset, length);
    return strtoul(text, NULL, 8);
}

/* Begins what the header tells of; the size of its content. */
static size_t begin(struct target *to, const unsigned char *header, time_t *time) {
    char path[101] = {0};
    memcpy(path, header, 100);
    mode_t mode = field(header, 100, 8) & 07777;
    *time = field(header, 136, 12);
    if (header[156] == '5') {
        size_t end = strlen(path);
        if (end > 0 && path[end - 1] == '/') path[end - 1] = 0;
        add_folder(to, path, mode, *time);
        return 0;
    }
    if (header[156] != '0' && header[156] != 0) malformed("an entry that the floor does not know");
    to->file = open_file(to, path, mode);
    uid_t uid = field(header, 108, 8);
    gid_t gid = field(header, 116, 8);
    if ((uid != geteuid() || gid != getegid()) && fchown(to->file, uid, gid) < 0) die(path);
    return field(header, 124, 12);
}

static void write_stage(struct ring *plain, int root) {
    struct target to = {.root = root, .folder = -1, .file = -1};
    size_t left = 0, padding = 0, length;
    time_t time = 0;
    unsigned char *data;
    while ((length = ring_get(plain, 0, &data)) > 0) {
        for (size_t at = 0; at < length;) {
            size_t take;
            if (left > 0) {
                take = left < length - at ? left : length - at;
                write_all(to.file, data + at, take);
                left -= take;
            } else if (padding > 0) {
                take = padding; /* never beyond the buffer: both are whole blocks */
                padding = 0;
            } else {
                take = BLOCK;
                if (data[at] != 0) {
                    left = begin(&to, data + at, &time);
                    padding = (BLOCK - left % BLOCK) % BLOCK;
                }
            }
            at += take;
            if (left == 0 && to.file >= 0) {
                set_time(to.file, NULL, time);
                close(to.file);
                to.file = -1;
            }
        }
        ring_done(plain, 0);
    }
    while (to.count > 0) {
        to.count--;
        set_time(root, to.folders[to.count].path, to.folders[to.count].time);
    }
}

void import(const char *archive, const char *folder) {
    static struct pipeline line;
    line = (struct pipeline){.archive = archive, .fd = open(archive, O_RDONLY | O_CLOEXEC)};
    if (line.fd < 0) die(archive);
    int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) die(folder);
    unsigned char magic[4] = {0};
    if (pread(line.fd, magic, sizeof magic, 0) < 0) die(archive);
    void *(*decode)(void *) = memcmp(magic, GZIP, sizeof GZIP) == 0   ? gunzip_stage
                              : memcmp(magic, ZSTD, sizeof ZSTD) == 0 ? unzstd_stage
                                                                      : NULL;
    pthread_t threads[3];
    int count = 0;
    ring_init(&line.plain, decode != NULL ? 2 : 1);
    line.first = &line.plain;
    if (decode != NULL) {
        ring_init(&line.packed, 1);
        line.first = &line.packed;
        if (pthread_create(&threads[count++], NULL, decode, &line) != 0) die("pthread_create");
        if (pthread_create(&threads[count++], NULL, digest_stage, &line) != 0) die("pthread_create");
    }
    if (pthread_create(&threads[count++], NULL, read_stage, &line) != 0) die("pthread_create");
    write_stage(&line.plain, root);
    while (count > 0) pthread_join(threads[--count], NULL);
    close(line.fd);
    close(root);
}
