#include "control/worker/files.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 4096 };
#define SECOND_NS INT64_C(1000000000)
#define AGAIN_NS (2 * SECOND_NS)     // a request of which nothing came
#define PATIENCE_NS (30 * SECOND_NS) // without anything

static void object_path(const Files *f, const uint8_t *hash, const char *suffix,
                        char path[PATH])
{
    char hex[SHA256_HEX + 1];
    sha256_text(hash, hex);
    snprintf(path, PATH, "%s/objects/%s%s", f->dir, hex, suffix);
}

static void cannot(Files *f, const char *what, const char *name)
{
    snprintf(f->why, sizeof f->why, "cannot %s %.120s: %s", what, name, strerror(errno));
}

static bool make_folder(const char *dir, const char *name)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return !dir_make(path) && !chmod(path, 0700); // nobody else's
}

bool files_init(Files *f, const char *dir)
{
    *f = (Files){.fd = -1, .lock = -1};
    if (dir_make(dir) || !make_folder(dir, "objects") || !make_folder(dir, "plans"))
        return false;
    f->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock < 0 || flock(f->lock, LOCK_EX | LOCK_NB))
        return false;
    f->dir = realpath(dir, NULL); // programs are started elsewhere
    return f->dir;
}

static void drop(Files *f)
{
    char path[PATH];
    if (f->fd < 0)
        return;
    close(f->fd);
    f->fd = -1;
    object_path(f, f->hash, ".part", path);
    unlink(path);
}

void files_release(Files *f)
{
    drop(f);
    free(f->items);
    free(f->plan);
    free(f->dir);
    if (f->lock >= 0)
        close(f->lock);
    *f = (Files){.fd = -1, .lock = -1};
}

// An epoch
// ---------------------------------------------------------------------------------------

static File *named(const Files *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->items[i].name, name))
            return &f->items[i];
    return NULL;
}

static bool expected(const Files *f, const uint8_t *hash)
{
    for (int i = 0; i < f->n; i++)
        if (!memcmp(f->items[i].hash, hash, SHA256_BYTES))
            return true;
    return false;
}

bool files_expect(Files *f, const File *files, int n)
{
    char path[PATH], hex[SHA256_HEX + 1];
    free(f->items);
    free(f->plan);
    f->plan = NULL;
    f->items = calloc((size_t)n + 1, sizeof *files);
    f->n = f->items ? n : 0;
    if (f->n)
        memcpy(f->items, files, (size_t)n * sizeof *files);
    *f->why = 0;
    if (!expected(f, f->hash))
        drop(f);
    const File *plan = named(f, "plan.json");
    if (!plan) {
        snprintf(f->why, sizeof f->why, "the epoch has no plan.json");
        return false;
    }
    sha256_text(plan->hash, hex);
    snprintf(path, sizeof path, "%s/plans/%s", f->dir, hex);
    f->plan = strdup(path);
    if (dir_make(path))
        cannot(f, "make", path);
    return !*f->why;
}

// Under its name in the plan's folder. The store may be of an older build.
static bool show(Files *f, const File *file)
{
    char path[PATH], aside[PATH], object[PATH];
    object_path(f, file->hash, "", object);
    snprintf(path, sizeof path, "%s/%s", f->plan, file->name);
    snprintf(aside, sizeof aside, "%s/.%s", f->plan, file->name);
    unlink(aside);
    // rename does nothing where both are the same file.
    bool done = !link(object, aside) && !rename(aside, path);
    unlink(aside);
    if (done)
        return true;
    cannot(f, "link", path);
    return false;
}

// A crash may have left anything in it.
static bool in_store(const Files *f, const File *file)
{
    char path[PATH];
    uint8_t hash[SHA256_BYTES];
    struct stat st;
    object_path(f, file->hash, "", path);
    return !stat(path, &st) && (uint64_t)st.st_size == file->bytes && sha256_file(path, hash) &&
           !memcmp(hash, file->hash, sizeof hash);
}

bool files_have(Files *f, const char *name)
{
    File *file = named(f, name);
    if (!file || *f->why) {
        if (!*f->why)
            snprintf(f->why, sizeof f->why, "the epoch has no %s", name);
        return false;
    }
    if (!file->needed)
        file->here = in_store(f, file) && show(f, file);
    file->needed = true;
    return file->here;
}

// What comes
// ---------------------------------------------------------------------------------------

static const File *next(const Files *f)
{
    for (int i = 0; i < f->n; i++)
        if (f->items[i].needed && !f->items[i].here)
            return &f->items[i];
    return NULL;
}

static bool begin(Files *f, const File *file, int64_t now_ns)
{
    char path[PATH];
    memcpy(f->hash, file->hash, sizeof f->hash);
    object_path(f, f->hash, ".part", path);
    f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (f->fd < 0)
        cannot(f, "write", path);
    f->bytes = file->bytes;
    f->got = 0;
    f->begun_ns = f->moved_ns = now_ns;
    f->asked_ns = 0;
    sha256_init(&f->sum);
    return f->fd >= 0;
}

bool files_want(Files *f, int64_t now_ns, Want *want)
{
    const File *file = f->fd < 0 ? next(f) : NULL;
    if (*f->why || (f->fd < 0 && (!file || !begin(f, file, now_ns))))
        return false;
    if (now_ns - f->moved_ns > PATIENCE_NS) {
        snprintf(f->why, sizeof f->why,
                 "the master has sent nothing of a file for %d s, %" PRIu64 " of its %" PRIu64
                 " bytes are here",
                 (int)(PATIENCE_NS / SECOND_NS), f->got, f->bytes);
        drop(f);
        return false;
    }
    if (f->asked_ns && now_ns - f->asked_ns < AGAIN_NS)
        return false;
    f->asked_ns = now_ns;
    *want = (Want){.from = f->got};
    memcpy(want->hash, f->hash, sizeof want->hash);
    return true;
}

// It is whole: is it what it is called?
static void finish(Files *f)
{
    char path[PATH], part[PATH];
    uint8_t hash[SHA256_BYTES];
    sha256_end(&f->sum, hash);
    object_path(f, f->hash, ".part", part);
    object_path(f, f->hash, "", path);
    if (memcmp(hash, f->hash, sizeof hash) != 0) {
        snprintf(f->why, sizeof f->why, "a file that the master sent is not what it said");
        drop(f);
        return;
    }
    bool executable = !fchmod(f->fd, 0700); // not before
    bool closed = !close(f->fd) && executable;
    f->fd = -1;
    if (!closed || rename(part, path)) {
        cannot(f, "write", path);
        unlink(part);
        return;
    }
    for (int i = 0; i < f->n; i++)
        if (f->items[i].needed && !memcmp(f->items[i].hash, f->hash, sizeof hash))
            f->items[i].here = show(f, &f->items[i]);
}

static bool write_whole(int fd, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = write(fd, bytes + at, n - at);
        if (put < 0 && errno != EINTR)
            return false;
        at += put > 0 ? (size_t)put : 0;
    }
    return true;
}

void files_take(Files *f, const Message *m, int64_t now_ns)
{
    const Piece *p = &m->piece;
    if (f->fd < 0 || memcmp(p->hash, f->hash, sizeof f->hash) != 0 || p->from != f->got ||
        !f->asked_ns)
        return;
    if (p->whole != f->bytes || (!m->rest_bytes && f->bytes)) {
        snprintf(f->why, sizeof f->why, "a file that the master sent has another size");
        drop(f);
        return;
    }
    if (!write_whole(f->fd, m->rest, m->rest_bytes)) {
        cannot(f, "write below", f->dir);
        drop(f);
        return;
    }
    sha256_add(&f->sum, m->rest, m->rest_bytes);
    f->got += m->rest_bytes;
    f->moved_ns = now_ns;
    f->asked_ns = 0;
    if (f->got == f->bytes)
        finish(f);
}
