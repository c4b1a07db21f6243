// What a host has, and how much of it nobody uses at the moment.
#include "runtime/links/links.h"
#include "runtime/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { WATCH_US = 300 * 1000 };

// Ticks that all processors together have spent, and those of them that were idle.
static int read_ticks(double *all, double *idle)
{
    double t[8] = {0}; // user nice system idle iowait irq softirq steal
    FILE *f = fopen("/proc/stat", "r");
    int n = f ? fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", t, t + 1, t + 2, t + 3, t + 4,
                       t + 5, t + 6, t + 7)
              : 0;
    if (f)
        fclose(f);
    *all = 0;
    for (int i = 0; i < 8; i++)
        *all += t[i];
    *idle = t[3] + t[4];
    return n >= 5;
}

// Cores that were idle for a moment, at most those that this process may use.
static double free_cores(void)
{
    double all, idle, all_later, idle_later;
    int cores = rt__machine_cores();
    if (!read_ticks(&all, &idle))
        return cores;
    usleep(WATCH_US);
    if (!read_ticks(&all_later, &idle_later) || all_later <= all)
        return cores;
    double online = (double)sysconf(_SC_NPROCESSORS_ONLN);
    double unused = online * (idle_later - idle) / (all_later - all);
    return unused < cores ? unused : cores;
}

void links_host(void)
{
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    for (char *c = name; *c; c++) // as it stands in JSON
        if (*c < ' ' || *c == '"' || *c == '\\')
            *c = '?';
    printf("{\"cores\": %d, \"free_cores\": %.2f, \"memory_bytes\": %" PRIu64
           ", \"name\": \"%s\"}\n",
           rt__machine_cores(), free_cores(), rt__machine_free_bytes(), name);
}
