// Each replica gives its sums to every other one that has a micro-batch of the round, then adds all up in
// ascending order of replicas, so all get the same bits. Forward and backward run in one order in all of
// them, so the messages between two need no number but the next; whoever has no micro-batch of a round,
// the last of a step, neither sends nor is sent any.
#include "runtime/round.h"

#include "runtime/loop.h"
#include "runtime/transport.h"

#include <stdlib.h>
#include <string.h>

int rt__round_open(rt_stage *s)
{
    int64_t n = s->program->sums;
    if (!n)
        return 0;
    s->sums = calloc(2 * (size_t)n, sizeof *s->sums); // this replica's; those of all
    return s->sums ? 0 : rt_fail(s, RT_E_MEMORY, "no memory for %lld sums", (long long)n);
}

void rt__round_close(rt_stage *s)
{
    free(s->sums);
    s->sums = NULL;
}

double *rt_sums(rt_stage *s)
{
    return s->sums;
}

int64_t rt_round(const rt_stage *s, int mb)
{
    int first = mb / s->replicas * s->replicas;
    int64_t left = rt__stream_micro_batches(s) - first;
    return left < s->replicas ? left : s->replicas;
}

// The edges of a replica to the others come in ascending order.
static int edge_between(const rt_stage *s, int from, int to)
{
    return s->program->sums_edge + from * (s->replicas - 1) + to - (to > from);
}

static int give(rt_stage *s, int to, const double *sums, int64_t n)
{
    int edge = edge_between(s, s->replica, to);
    int error = rt__acquire(s, edge, 0);
    if (error)
        return error;
    memcpy(rt__slot(s, edge, 0), sums, (size_t)n * sizeof *sums);
    return rt__send(s, edge, 0);
}

static int add(rt_stage *s, int from, double *all, int64_t n)
{
    int edge = edge_between(s, from, s->replica);
    int error = rt__recv(s, edge, 0);
    if (error)
        return error;
    const double *sums = rt__slot(s, edge, 0);
    for (int64_t i = 0; i < n; i++)
        all[i] += sums[i];
    return rt__release(s, edge, 0);
}

void rt_add_round(rt_stage *s, int mb, double *sums, int64_t n)
{
    double *all = s->sums + s->program->sums;
    int round = (int)rt_round(s, mb), error = (int)s->error;
    for (int r = 0; r < round && !error; r++)
        if (r != s->replica)
            error = give(s, r, sums, n);
    memset(all, 0, (size_t)n * sizeof *all);
    for (int r = 0; r < round && !error; r++)
        if (r != s->replica)
            error = add(s, r, all, n);
        else
            for (int64_t i = 0; i < n; i++)
                all[i] += sums[i];
    memcpy(sums, all, (size_t)n * sizeof *sums);
}
