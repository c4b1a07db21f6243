#include "runtime/data_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_open(rt__file *file, int fd, rt__why *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return rt__because(why, RT__ENVIRONMENT, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return rt__because(why, RT__INPUT, "%s: not a regular file", file->path);
    file->size = (uint64_t)st.st_size;
    if (file->size == 0)
        return 0;
    void *map = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return rt__because(why, RT__ENVIRONMENT, "%s: %s", file->path, strerror(errno));
    file->bytes = map;
    return 0;
}

int rt__file_map(rt__file *file, const char *path, rt__why *why)
{
    *file = (rt__file){.path = strdup(path)};
    if (!file->path)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is refused, not waited for
    int status;
    if (fd < 0) {
        int missing = errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EISDIR;
        status = rt__because(why, missing ? RT__INPUT : RT__ENVIRONMENT, "%s: %s", path,
                             strerror(errno));
    } else {
        status = map_open(file, fd, why);
        close(fd);
    }
    if (status)
        rt__file_unmap(file);
    return status;
}

void rt__file_unmap(rt__file *file)
{
    if (file->bytes)
        munmap((void *)(uintptr_t)file->bytes, (size_t)file->size);
    free(file->path);
    *file = (rt__file){0};
}
