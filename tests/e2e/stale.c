// One process that trains as an asynchronous pipeline does, without any pipeline: a program of one stage
// whose schedule is synchronous. Before each micro-batch every parameter is set to the version that
// theory says it sees, for forward and backward alike; before each update to the newest one.
//
// stale.h has enum { PER_STEP, DRAIN, VERSIONS } (micro-batches a step; drains are at its multiples;
// versions to keep) and `lags`: parameters and accumulators by name, how many micro-batches ago their weights were
// made for the first of the stage's replicas (the next one's are a micro-batch older, and so on), and how many of
// these there are: their gradients add up in as many groups, which are added up in ascending order.
#define main generated_main
#include "stage0.c"
#undef main

#include "runtime/rt.h"
#include "stale.h"

#include <stdlib.h>
#include <string.h>

enum { N_TENSORS = sizeof tensors / sizeof *tensors, N_LAGS = sizeof lags / sizeof *lags };

static char *history[N_TENSORS][VERSIONS]; // by updates modulo VERSIONS
static int64_t saved;                      // updates that are in it, plus one
static float *groups[N_TENSORS][8];        // of accumulators

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

// Kernels copy the weights of a version once: these are of one that they have not seen.
static void tell_kernels(rt_stage *s)
{
    static int64_t version = 1 << 30;
    s->version = version++;
}

static int row_of(const char *name)
{
    for (int i = 0; i < N_LAGS; i++)
        if (!strcmp(lags[i].name, name))
            return i;
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
            int row = row_of(tensors[t].name);
            int lag = lags[row].micro_batches + mb % lags[row].replicas;
            restore(s, t, drained + (i > lag ? (i - lag) / PER_STEP : 0));
        }
    tell_kernels(s);
    forward(s, mb);
}

static float *sum_of(rt_stage *s, int t)
{
    return rt_persistent(s, tensors[t].offset);
}

// Adding to -0 changes no bit.
static void clear_groups(int t)
{
    size_t n = (size_t)tensors[t].bytes / sizeof(float);
    for (int r = 0; r < lags[row_of(tensors[t].name)].replicas; r++) {
        float **group = &groups[t][r];
        *group = *group ? *group : malloc(n * sizeof **group);
        for (size_t i = 0; i < n; i++)
            (*group)[i] = -0.0f;
    }
}

// Every group adds up on its own.
static void stale_backward(rt_stage *s, int mb)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int t = 0; t < N_TENSORS; t++) {
            if (tensors[t].role != RT_ACCUMULATOR)
                continue;
            if (pass == 0 && mb == 0)
                clear_groups(t);
            float *group = groups[t][mb % lags[row_of(tensors[t].name)].replicas];
            float *sum = sum_of(s, t);
            memcpy(pass ? group : sum, pass ? sum : group, (size_t)tensors[t].bytes);
        }
        tell_kernels(s);
        if (pass == 0)
            backward(s, mb);
    }
}

static void join_groups(rt_stage *s, int t)
{
    float *sum = sum_of(s, t);
    size_t n = (size_t)tensors[t].bytes / sizeof *sum;
    memcpy(sum, groups[t][0], n * sizeof *sum);
    for (int r = 1; r < lags[row_of(tensors[t].name)].replicas; r++)
        for (size_t i = 0; i < n; i++)
            sum[i] += groups[t][r][i];
}

static void stale_update(rt_stage *s)
{
    for (int t = 0; t < N_TENSORS; t++)
        if (tensors[t].role == RT_ACCUMULATOR)
            join_groups(s, t);
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
    stale.backward = stale_backward;
    stale.update = stale_update;
    return rt_main(argc, argv, &stale);
}
