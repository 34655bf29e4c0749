/* Preloaded into nginx: segments of the spool cannot be written while the file NO_WRITE is there, and not
 * be synced while NO_SYNC is. (nginx gives its workers no environment.) */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd, const char* flag) {
    char link[32];
    char path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(link, path, sizeof(path) - 1);
    path[size < 0 ? 0 : size] = '\0';
    if (strstr(path, ".jsonl") == NULL || access(flag, F_OK) != 0) {
        return 0;
    }
    errno = EIO;
    return 1;
}

ssize_t write(int fd, const void* bytes, size_t size) {
    return fails(fd, NO_WRITE) ? -1 : (ssize_t)syscall(SYS_write, fd, bytes, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    return fails(fd, NO_WRITE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t size) {
    return fallocate(fd, mode, offset, size);
}

int fdatasync(int fd) {
    return fails(fd, NO_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
