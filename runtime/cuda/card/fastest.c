#include "runtime/cuda/card/fastest.h"

#include "runtime/cuda/card/card.h"

#include <stdlib.h>

#include <stagecc/cu_card.h>

enum { ROUNDS = 5, CALLS = 4 }; // of a round

// What the candidate has done wrong; NULL: nothing. Whatever else went wrong stays.
static const char *fault_of(rt_stage *s)
{
    if (s->error != RT_E_KERNEL)
        return NULL;
    s->error = 0;
    return s->message;
}

static void clear(rt_stage *s, void *at, size_t n)
{
    rt__card_check(s, cudaMemsetAsync(at, 0, n, rt__card_of(s)->work), "clear memory");
}

static void run_afresh(rt_stage *s, const rt__race *r)
{
    clear(s, r->results, (size_t)r->bytes);
    r->run(r->of);
}

static const char *compare_runs(rt_stage *s, const rt__race *r)
{
    cudaStream_t stream = rt__card_of(s)->work;
    int32_t differ = 0;
    run_afresh(s, r);
    rt__card_check(s,
                   cudaMemcpyAsync(r->again, r->results, (size_t)r->bytes,
                                   cudaMemcpyDeviceToDevice, stream),
                   "copy");
    run_afresh(s, r);
    clear(s, r->differ, sizeof differ);
    rt_card_kernels.compare(stream, r->differ, (uint32_t *)(void *)r->results,
                            (uint32_t *)(void *)r->again, r->bytes / 4);
    rt__card_check(
        s, cudaMemcpyAsync(&differ, r->differ, sizeof differ, cudaMemcpyDeviceToHost, stream),
        "copy");
    rt__card_check(s, cudaStreamSynchronize(stream), "go on");
    const char *fault = fault_of(s);
    return fault ? fault : differ ? "it gave other bits in its second run" : NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// What one round is: programs run such graphs, too, and the host's time for a call is none of it.
static const char *capture(rt_stage *s, const rt__race *r, cudaGraphExec_t *ready)
{
    cudaStream_t stream = rt__card_of(s)->work;
    cudaGraph_t graph = NULL;
    if (rt__card_check(s, cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                       "begin a graph"))
        return NULL;
    for (int i = 0; i < CALLS; i++)
        r->run(r->of);
    cudaError_t status = cudaStreamEndCapture(stream, &graph);
    if (!status)
        status = cudaGraphInstantiate(ready, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    if (status)
        (void)cudaGetLastError();
    const char *fault = fault_of(s);
    return fault ? fault : status ? "it cannot be part of a CUDA graph" : NULL;
}

static double seconds_of_round(rt_stage *s, cudaGraphExec_t round, cudaEvent_t ends[2])
{
    cudaStream_t stream = rt__card_of(s)->work;
    float ms = 0;
    rt__card_record(s, ends[0], stream);
    rt__card_check(s, cudaGraphLaunch(round, stream), "launch a graph");
    rt__card_record(s, ends[1], stream);
    rt__card_check(s, cudaEventSynchronize(ends[1]), "go on");
    if (!s->error)
        rt__card_check(s, cudaEventElapsedTime(&ms, ends[0], ends[1]), "tell the time");
    return (double)ms * 1e-3 / CALLS;
}

// The median of rounds behind one that warms up.
static const char *time_rounds(rt_stage *s, const rt__race *r, cudaEvent_t ends[2],
                               double *seconds)
{
    double rounds[ROUNDS] = {0};
    cudaGraphExec_t round = NULL;
    const char *fault = capture(s, r, &round);
    for (int i = -1; i < ROUNDS && !fault && !s->error; i++) {
        double own = seconds_of_round(s, round, ends);
        if (i >= 0)
            rounds[i] = own;
    }
    if (round)
        cudaGraphExecDestroy(round);
    qsort(rounds, ROUNDS, sizeof *rounds, by_size);
    *seconds = rounds[ROUNDS / 2];
    return fault;
}

static int race(rt_stage *s, const rt__race *r, cudaEvent_t ends[2], double *seconds)
{
    int best = -1;
    for (int i = 0; i < r->n && !s->error; i++) {
        double own = 0;
        if (!r->take(r->of, i))
            continue;
        const char *fault = compare_runs(s, r);
        if (!fault && !s->error)
            fault = time_rounds(s, r, ends, &own);
        if (fault) {
            r->refused(r->of, i, fault);
        } else if (best < 0 || own < *seconds) {
            best = i;
            *seconds = own;
        }
    }
    return s->error ? -1 : best;
}

int rt__fastest(rt_stage *s, const rt__race *r, double *seconds)
{
    cudaEvent_t ends[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++)
        rt__card_check(s, cudaEventCreateWithFlags(&ends[i], cudaEventDefault),
                       "make an event");
    int best = s->error ? -1 : race(s, r, ends, seconds);
    for (int i = 0; i < 2; i++)
        if (ends[i])
            cudaEventDestroy(ends[i]);
    return best;
}
