// One process that trains as an asynchronous pipeline does, without any pipeline: a program of one stage
// whose schedule is synchronous. Before each micro-batch every parameter is set to the version that
// theory says it sees, for forward and backward alike; before each update to the newest one.
//
// stale.h has enum { PER_STEP, DRAIN, VERSIONS } (micro-batches a step; drains are at its multiples;
// versions to keep) and `lags`: parameters by name, and how many micro-batches ago their weights were made.
#define main generated_main
#include "stage0.c"
#undef main

#include "stale.h"

#include <stdlib.h>
#include <string.h>

enum { N_TENSORS = sizeof tensors / sizeof *tensors, N_LAGS = sizeof lags / sizeof *lags };

static char *history[N_TENSORS][VERSIONS]; // by updates modulo VERSIONS
static int64_t saved;                      // updates that are in it, plus one

static int64_t updates(const rt_stage *s) // done so far, over all runs
{
    return rt_step(s) - 1;
}

static void save(rt_stage *s, int64_t version)
{
    for (int t = 0; t < N_TENSORS; t++) {
        char **at = &history[t][version % VERSIONS];
        if (tensors[t].role != RT_PARAM)
            continue;
        *at = *at ? *at : malloc((size_t)tensors[t].bytes);
        memcpy(*at, rt_persistent(s, tensors[t].offset), (size_t)tensors[t].bytes);
    }
    saved = version + 1;
}

static void restore(rt_stage *s, int t, int64_t version)
{
    memcpy(rt_persistent(s, tensors[t].offset), history[t][version % VERSIONS],
           (size_t)tensors[t].bytes);
}

static int lag_of(const char *name)
{
    for (int i = 0; i < N_LAGS; i++)
        if (!strcmp(lags[i].name, name))
            return lags[i].micro_batches;
    abort();
}

static void stale_forward(rt_stage *s, int mb)
{
    int64_t now = updates(s), drained = now / DRAIN * DRAIN;
    int64_t i = (now - drained) * PER_STEP + mb;
    if (!saved)
        save(s, now);
    for (int t = 0; t < N_TENSORS; t++)
        if (tensors[t].role == RT_PARAM) {
            int lag = lag_of(tensors[t].name);
            restore(s, t, drained + (i > lag ? (i - lag) / PER_STEP : 0));
        }
    forward(s, mb);
}

static void stale_update(rt_stage *s)
{
    for (int t = 0; t < N_TENSORS; t++)
        if (tensors[t].role == RT_PARAM)
            restore(s, t, updates(s));
    update(s);
    save(s, updates(s) + 1);
}

int main(int argc, char **argv)
{
    static rt_program stale;
    stale = program;
    stale.forward = stale_forward;
    stale.update = stale_update;
    return rt_main(argc, argv, &stale);
}
