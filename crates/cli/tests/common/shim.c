/* Preloaded into the binary by tests: records what makes files durable, and lets calls fail.
 *
 * SHIM_LOG=FILE: a line `fsync PATH`, or `rename FROM TO`, for each such call.
 * SHIM_FAIL=CALL:PART:ERRNO: CALL (open, read or write) fails with ERRNO on files whose path contains PART. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void record(const char *line, size_t length) {
    const char *path = getenv("SHIM_LOG");
    if (!path) return;
    int log = REAL(open64)(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (log < 0) return;
    if (REAL(write)(log, line, length) < 0) abort();
    close(log);
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int fails(const char *call, const char *path) {
    const char *wanted = getenv("SHIM_FAIL");
    size_t length = strlen(call);
    if (!wanted || strncmp(wanted, call, length) || wanted[length] != ':') return 0;
    char part[4096];
    snprintf(part, sizeof part, "%s", wanted + length + 1);
    char *end = strrchr(part, ':');
    *end = 0;
    if (!strstr(path, part)) return 0;
    errno = atoi(end + 1);
    return 1;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return fails("open", path) ? -1 : REAL(open64)(path, flags, mode);
}

ssize_t read(int fd, void *to, size_t count) {
    char path[4096];
    return path_of(fd, path, sizeof path) && fails("read", path) ? -1 : REAL(read)(fd, to, count);
}

ssize_t write(int fd, const void *from, size_t count) {
    char path[4096];
    return path_of(fd, path, sizeof path) && fails("write", path) ? -1 : REAL(write)(fd, from, count);
}

int fsync(int fd) {
    char path[4096], line[4200];
    if (path_of(fd, path, sizeof path)) {
        record(line, snprintf(line, sizeof line, "fsync %s\n", path));
    }
    return REAL(fsync)(fd);
}

int rename(const char *from, const char *to) {
    char line[8400];
    record(line, snprintf(line, sizeof line, "rename %s %s\n", from, to));
    return REAL(rename)(from, to);
}
