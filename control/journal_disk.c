// The disk of this machine, as a journal uses it.
#include "control/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int disk_open(void *user, const char *path)
{
    (void)user;
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || (!fstat(fd, &st) && S_ISREG(st.st_mode) && !flock(fd, LOCK_EX | LOCK_NB)))
        return fd;
    int error = S_ISREG(st.st_mode) ? errno : ESPIPE; // of pipes and terminals
    close(fd);
    errno = error;
    return -1;
}

static int64_t disk_size(void *user, int file)
{
    (void)user;
    return lseek(file, 0, SEEK_END);
}

static ssize_t disk_pread(void *user, int file, void *data, size_t n, int64_t at)
{
    (void)user;
    return pread(file, data, n, at);
}

static ssize_t disk_pwrite(void *user, int file, const void *data, size_t n, int64_t at)
{
    (void)user;
    return pwrite(file, data, n, at);
}

static int disk_fdatasync(void *user, int file)
{
    (void)user;
    return fdatasync(file);
}

static int disk_ftruncate(void *user, int file, int64_t size)
{
    (void)user;
    return ftruncate(file, size);
}

static int disk_sync_entry(void *user, const char *path)
{
    (void)user;
    return file_sync_entry(path);
}

static void disk_close(void *user, int file)
{
    (void)user;
    close(file);
}

// "1: FLOCK  ADVISORY  WRITE 4711 fe:01:131081 0 EOF" (proc_locks(5)).
static long disk_holder(void *user, const char *path)
{
    (void)user;
    struct stat st;
    FILE *locks = stat(path, &st) ? NULL : fopen("/proc/locks", "re");
    char line[256];
    long pid, holder = 0;
    unsigned major_id, minor_id;
    unsigned long inode;
    while (locks && fgets(line, sizeof line, locks))
        if (sscanf(line, "%*d: FLOCK %*s WRITE %ld %x:%x:%lu", &pid, &major_id, &minor_id,
                   &inode) == 4 &&
            inode == st.st_ino && makedev(major_id, minor_id) == st.st_dev && pid > 0)
            holder = pid;
    if (locks)
        fclose(locks);
    return holder;
}

const JournalDisk journal_disk = {.open = disk_open,
                                  .size = disk_size,
                                  .pread = disk_pread,
                                  .pwrite = disk_pwrite,
                                  .fdatasync = disk_fdatasync,
                                  .ftruncate = disk_ftruncate,
                                  .sync_entry = disk_sync_entry,
                                  .close = disk_close,
                                  .holder = disk_holder};
