// Files for tests: a folder of the test's own in memory (/dev/shm), removed with all that is in it.
#ifndef STAGECC_TESTS_FILES_H
#define STAGECC_TESTS_FILES_H

#include "runtime/plain.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_PATH = 512 };
static char files_dir[FILES_PATH];

static inline int files_begin(void **state)
{
    (void)state;
    snprintf(files_dir, sizeof files_dir, "/dev/shm/stagecc-test-XXXXXX");
    return mkdtemp(files_dir) ? 0 : -1;
}

static inline int files_delete_one(const char *path, const struct stat *st, int type,
                                   struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void files_delete(const char *path)
{
    nftw(path, files_delete_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int files_end(void **state)
{
    (void)state;
    files_delete(files_dir);
    return 0;
}

// Path of a file of the folder; good until the fourth call after this one.
static inline const char *files_path(const char *name)
{
    static char path[4][2 * FILES_PATH];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", files_dir, name);
    return to;
}

static inline const char *files_write(const char *name, const void *bytes, size_t n)
{
    const char *path = files_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        abort();
    return path;
}

// The whole file, malloc'd.
static inline uint8_t *files_read(const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) != 0)
        abort();
    *n = (size_t)st.st_size;
    uint8_t *bytes = malloc(*n + 1);
    if (fread(bytes, 1, *n, f) != *n)
        abort();
    bytes[*n] = 0;
    fclose(f);
    return bytes;
}

static inline bool files_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

// Entries of a directory but for "." and "..".
static inline int files_count(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return n;
}

// `text` with every occurrence of the test's folder as "DIR".
static inline const char *files_neutral(const char *text)
{
    static char neutral[2048];
    size_t used = 0, n = strlen(files_dir);
    while (*text && used < sizeof neutral - 4) {
        if (strncmp(text, files_dir, n) == 0) {
            memcpy(neutral + used, "DIR", 3);
            used += 3;
            text += n;
        } else {
            neutral[used++] = *text++;
        }
    }
    neutral[used] = 0;
    return neutral;
}

#endif
