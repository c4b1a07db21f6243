#include "runtime/links/links.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_S = 60 }; // whatever happens, the program ends by then

void links_fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

double links_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

Figure figure_of(double *samples, int n)
{
    qsort(samples, (size_t)n, sizeof *samples, compare);
    double median = (samples[(n - 1) / 2] + samples[n / 2]) / 2;
    double low = samples[n / 10], high = samples[n - 1 - n / 10];
    return (Figure){median, median > 0 ? (high - low) / median : 0};
}

void links_print(Figure latency, double bytes, Figure seconds)
{
    printf("{\"latency_s\": %.4g, \"latency_spread\": %.3g, \"bytes_per_s\": %.4g, "
           "\"bandwidth_spread\": %.3g}\n",
           latency.median, latency.spread, bytes / seconds.median, seconds.spread);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    signal(SIGPIPE, SIG_IGN);
    alarm(LONGEST_S);
    if (!strcmp(mode, "host") && argc == 2)
        links_host();
    else if (!strcmp(mode, "memory") && argc == 4)
        links_memory(atoi(argv[2]), atoi(argv[3]));
    else if (!strcmp(mode, "listen") && argc == 3)
        links_listen(argv[2]);
    else if (!strcmp(mode, "connect") && argc == 5)
        links_connect(argv[2], argv[3], argv[4]);
    else
        links_fail("usage: stagecc-links host | memory PAIRS SPIN | listen TOKEN | "
                   "connect TOKEN ADDRESS PORT");
    return 0;
}
