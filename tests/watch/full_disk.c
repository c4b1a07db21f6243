// Loaded into programs under test (LD_PRELOAD): a disk that is full. Writing to files whose path holds
// $FULL_DISK fails with ENOSPC after $FULL_DISK_BYTES bytes in all.
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_size_t written;

static int is_on_the_full_disk(int fd)
{
    char link[64], path[4096];
    const char *part = getenv("FULL_DISK");
    if (!part)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return strstr(path, part) != NULL;
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next)
        next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (is_on_the_full_disk(fd)) {
        const char *limit = getenv("FULL_DISK_BYTES");
        if (atomic_fetch_add(&written, n) + n > (limit ? strtoul(limit, NULL, 10) : 0)) {
            errno = ENOSPC;
            return -1;
        }
    }
    return next(fd, bytes, n);
}
