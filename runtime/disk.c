#include "runtime/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void rt__path_join(char path[RT__PATH], const char *dir, const char *name)
{
    int n = snprintf(path, RT__PATH, "%s/%s", dir, name);
    if (n >= RT__PATH)
        path[RT__PATH - 1] = 0;
}

static int failed(const char *path, const char *what, rt__why *why)
{
    return rt__because(why, RT__ENVIRONMENT, "%s: %s: %s", path, what, strerror(errno));
}

bool rt__write_all(int fd, const void *bytes, uint64_t n)
{
    const uint8_t *at = bytes;
    while (n > 0) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        at += done;
        n -= (uint64_t)done;
    }
    return true;
}

int rt__file_save(const char *path, const char *text, rt__why *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return failed(path, "cannot be written", why);
    int status = 0;
    if (!rt__write_all(fd, text, strlen(text)))
        status = failed(path, "write", why);
    else if (fsync(fd) != 0)
        status = failed(path, "fsync", why);
    if (close(fd) != 0 && status == 0)
        status = failed(path, "close", why);
    if (status)
        unlink(path);
    return status;
}

// Directories
// ---------------------------------------------------------------------------------------------

int rt__dir_sync(const char *path, rt__why *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(path, "cannot be opened", why);
    int status = fsync(fd) == 0 ? 0 : failed(path, "fsync", why);
    close(fd);
    return status;
}

// The entry of a new directory is on the disk once its parent is.
static int make_one(const char *path, rt__why *why)
{
    if (mkdir(path, 0777) != 0)
        return errno == EEXIST ? 0 : failed(path, "cannot be made", why);
    char parent[RT__PATH];
    const char *slash = strrchr(path, '/');
    if (!slash)
        return rt__dir_sync(".", why);
    snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return rt__dir_sync(parent, why);
}

int rt__dir_make(const char *path, rt__why *why)
{
    char part[RT__PATH];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return rt__because(why, RT__ENVIRONMENT, "%.100s…: the path is too long", path);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        part[i] = 0;
        int status = make_one(part, why);
        if (status)
            return status;
        part[i] = path[i];
    }
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return rt__because(why, RT__ENVIRONMENT, "%s: is no directory", path);
    return 0;
}

void rt__dir_empty(const char *path, bool (*keep)(const char *name, void *user), void *user)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (!keep || !keep(entry->d_name, user))
            unlinkat(dirfd(dir), entry->d_name, 0); // refuses "." and ".." by itself
    closedir(dir);
}

void rt__dir_remove(const char *path)
{
    rt__dir_empty(path, NULL, NULL);
    rmdir(path);
}

// Both names change places in one go where the file system can do that, so that at every moment a
// complete directory bears the name; else the old one steps aside first.
int rt__dir_replace(const char *from, const char *to, rt__why *why)
{
    char old[RT__PATH];
    if (rename(from, to) == 0)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return failed(to, "cannot be renamed to", why);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) {
        rt__dir_remove(from);
        return 0;
    }
    snprintf(old, sizeof old, "%s.old", from);
    if (rename(to, old) != 0 || rename(from, to) != 0)
        return failed(to, "cannot be renamed to", why);
    rt__dir_remove(old);
    return 0;
}
