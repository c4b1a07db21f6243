// Loaded into programs under test (LD_PRELOAD): a stage that is killed in the middle of a run. The
// process ends by SIGKILL as soon as it has reported $KILL_AT, a part of a line to the launcher
// (runtime/report.c), so always at the same place in its program.
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Only stage programs that a launcher has started have the variable.
static int reports_to(int fd)
{
    const char *number = getenv("STAGECC_REPORT_FD");
    return number && *number && atoi(number) == fd;
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next)
        next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    ssize_t done = next(fd, bytes, n);
    const char *at = getenv("KILL_AT");
    if (at && reports_to(fd) && memmem(bytes, n, at, strlen(at)))
        raise(SIGKILL);
    return done;
}
