#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

_Thread_local orlop_error *failure;
const char *folder;
const char *driver_name;

void fail(const char *file, int line, const char *format, ...) {
    const char *name = strrchr(file, '/');
    fprintf(stderr, "%s:%d: ", name ? name + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(1);
}

int32_t check_ok(int32_t code, const char *call, const char *file, int line) {
    if (code < 0) {
        const char *message = orlop_error_message(failure);
        fail(file, line, "%s: %d %s: %s", call, code, orlop_code_name(code), message ? message : "no error object");
    }
    if (failure != NULL) {
        fail(file, line, "%s: %d, and yet an error object: %s", call, code, orlop_error_message(failure));
    }
    return code;
}

void check_fails(int32_t wanted, const char *name, int32_t code, const char *call, const char *file, int line) {
    const char *message = orlop_error_message(failure);
    if (code != wanted) {
        fail(file, line, "%s: %d, not %s: %s", call, code, name, message ? message : "no error object");
    }
    if (failure == NULL || orlop_error_code(failure) != code) {
        fail(file, line, "%s: the error object says %d, not %d", call, orlop_error_code(failure), code);
    }
    if (message == NULL || *message == '\0' || strchr(message, '\n') != NULL) {
        fail(file, line, "%s: not one line of message: %s", call, message ? message : "NULL");
    }
    if (strcmp(orlop_code_name(code), name) != 0) {
        fail(file, line, "%s: %s is called %s", call, name, orlop_code_name(code));
    }
    orlop_error_free(failure);
    failure = NULL;
}

static void check_text(const orlop_buf *buf, const char *file, int line) {
    if (buf->data == NULL) {
        fail(file, line, "the buffer is empty");
    }
    if (buf->data[buf->len] != '\0') {
        fail(file, line, "no NUL behind the buffer");
    }
}

void check_has(const orlop_buf *buf, bool wanted, const char *part, const char *file, int line) {
    check_text(buf, file, line);
    if ((strstr((const char *)buf->data, part) != NULL) != wanted) {
        fail(file, line, "%s %s in: %s", wanted ? "no" : "still", part, (const char *)buf->data);
    }
}

void check_is(const orlop_buf *buf, const char *text, const char *file, int line) {
    check_text(buf, file, line);
    if (buf->len != strlen(text) || memcmp(buf->data, text, buf->len) != 0) {
        fail(file, line, "not %s but %s", text, (const char *)buf->data);
    }
}

const char *in_folder(const char *format, ...) {
    static char texts[256][512];
    static size_t next;
    CHECK(next < sizeof texts / sizeof *texts);
    char *text = texts[next++];
    int length = snprintf(text, sizeof *texts, "%s/", folder);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, sizeof *texts - (size_t)length, format, arguments);
    va_end(arguments);
    return text;
}

void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    CHECK_ERRNO(file != NULL);
    CHECK_ERRNO(fputs(text, file) >= 0 && fclose(file) == 0);
}

char *read_file(const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    }
    size_t size = 1 << 20;
    char *text = malloc(size);
    CHECK(text != NULL);
    size_t length = fread(text, 1, size - 1, file);
    text[length] = '\0';
    fclose(file);
    return text;
}

bool is_there(const char *path) {
    struct stat stat;
    return lstat(path, &stat) == 0;
}
