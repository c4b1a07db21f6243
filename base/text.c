#include "base/text.h"

#include "base/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void reserve(Text *t, size_t more)
{
    if (t->length + more + 1 <= t->capacity)
        return;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < t->length + more + 1)
        capacity *= 2;
    t->data = realloc(t->data, capacity);
    if (!t->data)
        fatal("out of memory (%zu bytes)", capacity);
    t->capacity = capacity;
}

void text_append(Text *t, const char *bytes, size_t n)
{
    reserve(t, n);
    memcpy(t->data + t->length, bytes, n);
    t->length += n;
    t->data[t->length] = 0;
}

void text_puts(Text *t, const char *s)
{
    text_append(t, s, strlen(s));
}

void text_vprintf(Text *t, const char *format, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    reserve(t, (size_t)n);
    vsnprintf(t->data + t->length, (size_t)n + 1, format, ap);
    t->length += (size_t)n;
}

void text_printf(Text *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    text_vprintf(t, format, ap);
    va_end(ap);
}

void text_put_word(Text *t, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=./:,@%^";
    if (*word && strspn(word, plain) == strlen(word)) {
        text_puts(t, word);
        return;
    }
    text_puts(t, "'");
    for (; *word; word++)
        text_printf(t, *word == '\'' ? "'\\''" : "%c", *word);
    text_puts(t, "'");
}

void text_release(Text *t)
{
    free(t->data);
    *t = (Text){0};
}

static int read_all(int fd, char *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, data + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got ? errno : EIO;
            return -1;
        }
        done += (size_t)got;
    }
    return 0;
}

char *file_read(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is refused, not waited for
    if (fd < 0)
        return NULL;
    struct stat st;
    char *data = NULL;
    if (fstat(fd, &st))
        goto close_fd;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        goto close_fd;
    }
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        fatal("out of memory reading %s (%lld bytes)", path, (long long)st.st_size);
    if (read_all(fd, data, (size_t)st.st_size)) {
        free(data);
        data = NULL;
        goto close_fd;
    }
    data[st.st_size] = 0;
    if (size)
        *size = (size_t)st.st_size;
close_fd:;
    int saved = errno;
    close(fd);
    errno = saved;
    return data;
}

static int write_all(int fd, const char *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, bytes + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        done += (size_t)put;
    }
    return 0;
}

static int write_in_place(const char *path, const char *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int failed = write_all(fd, bytes, n), saved = errno;
    if (close(fd) && !failed)
        return -1;
    errno = saved;
    return failed;
}

static int replace_file(const char *path, const char *bytes, size_t n)
{
    Text temporary = {0};
    text_printf(&temporary, "%s.%d.tmp", path, (int)getpid());
    int fd = open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int failed = fd < 0;
    if (!failed) {
        failed = write_all(fd, bytes, n) != 0;
        failed |= close(fd) != 0;
        failed = failed || rename(temporary.data, path) != 0;
        int saved = errno;
        if (failed)
            unlink(temporary.data);
        errno = saved;
    }
    int saved = errno;
    text_release(&temporary);
    errno = saved;
    return failed ? -1 : 0;
}

int file_write(const char *path, const char *bytes, size_t n)
{
    struct stat st;
    char *target = realpath(path, NULL);
    bool special = target && !stat(target, &st) && !S_ISREG(st.st_mode);
    int failed = special ? write_in_place(target, bytes, n)
                         : replace_file(target ? target : path, bytes, n);
    int saved = errno;
    free(target);
    errno = saved;
    return failed;
}

int file_sync_entry(const char *path)
{
    const char *slash = strrchr(path, '/');
    Text dir = {0};
    text_append(&dir, slash ? path : ".", slash && slash > path ? (size_t)(slash - path) : 1);
    int fd = open(dir.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd), saved = errno;
    if (fd >= 0)
        close(fd);
    text_release(&dir);
    errno = saved;
    return failed ? -1 : 0;
}

int dir_make(const char *path)
{
    if (!*path) {
        errno = ENOENT;
        return -1;
    }
    Text t = {0};
    text_puts(&t, path);
    int failed = 0;
    for (char *p = t.data + 1; !failed && *p; p++)
        if (*p == '/') {
            *p = 0;
            failed = mkdir(t.data, 0777) && errno != EEXIST;
            *p = '/';
        }
    if (!failed && mkdir(t.data, 0777)) {
        struct stat st;
        failed = errno != EEXIST || stat(t.data, &st) || !S_ISDIR(st.st_mode);
    }
    int saved = errno;
    text_release(&t);
    errno = saved;
    return failed ? -1 : 0;
}

bool str_starts(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && !memcmp(s + n - m, suffix, m);
}

int str_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    int row[LONGEST + 1];
    size_t n = strlen(b);
    if (strlen(a) > LONGEST || n > LONGEST)
        return LONGEST;
    for (size_t j = 0; j <= n; j++)
        row[j] = (int)j;
    for (int i = 1; a[i - 1]; i++) {
        int corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            int change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            int drop = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            row[j] = change < drop ? change : drop;
        }
    }
    return row[n];
}

const char *str_nearest(const char *name, const char *const *names, int n)
{
    const char *best = NULL;
    int closest = 4;
    for (int i = 0; i < n; i++) {
        int distance = str_distance(name, names[i]);
        if (distance < closest && distance < (int)strlen(names[i])) {
            closest = distance;
            best = names[i];
        }
    }
    return best;
}

uint64_t str_hash(const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return h;
}

char *human_bytes(char *out, int64_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    int u = 0;
    while (v >= 1024 && u < 5) {
        v /= 1024;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return out;
}
