// Loaded into a master (LD_PRELOAD): it is killed at the $KILL_NTH call that changes its journal, counted from 1.
// $KILL_WHEN: before the call, after it, or torn: when half of it is written. One that ends otherwise leaves in $KILL_COUNT
// which calls it made: w for each write, s for each sync.
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { MOST_CALLS = 1 << 16 };
static char calls[MOST_CALLS + 1];
static long n_calls;

static int is_journal(int fd)
{
    static const char name[] = "/journal/journal";
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    size_t length = sizeof name - 1;
    return n >= (ssize_t)length && !memcmp(path + n - length, name, length);
}

// Is this the call?
static int is_due(int fd, char kind)
{
    const char *nth = getenv("KILL_NTH");
    if (!nth || !is_journal(fd) || n_calls == MOST_CALLS)
        return 0;
    calls[n_calls++] = kind;
    return n_calls == atol(nth);
}

static int when(const char *what)
{
    const char *chosen = getenv("KILL_WHEN");
    return chosen && !strcmp(chosen, what);
}

static void *next(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f)
        abort();
    return f;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))next("pwrite");
    int due = is_due(fd, 'w');
    if (due && when("before"))
        raise(SIGKILL);
    ssize_t done = real(fd, data, due && when("torn") ? n / 2 : n, at);
    if (due)
        raise(SIGKILL);
    return done;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))next("fdatasync");
    int due = is_due(fd, 's');
    if (due && when("before"))
        raise(SIGKILL);
    int done = real(fd);
    if (due)
        raise(SIGKILL);
    return done;
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("KILL_COUNT");
    FILE *f = n_calls && path ? fopen(path, "w") : NULL;
    if (f) {
        fputs(calls, f);
        fclose(f);
    }
}
