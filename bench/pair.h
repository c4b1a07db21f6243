// Two stages and an edge each way, for programs that measure messages.
#ifndef STAGECC_BENCH_PAIR_H
#define STAGECC_BENCH_PAIR_H

#include "runtime/rt.h"

static const int pair_consumer[] = {1, 0};
static rt_edge pair_edges[2];

static inline void pair_init(int64_t bytes, int slots)
{
    static const char *const names[] = {"there", "back"};
    for (int i = 0; i < 2; i++)
        pair_edges[i] = (rt_edge){.name = names[i],
                                  .producer = i,
                                  .consumers = &pair_consumer[i],
                                  .n_consumers = 1,
                                  .bytes = bytes,
                                  .slots = slots,
                                  .stride = 1,
                                  .per_step = 1};
}

static inline rt_program pair_program(int stage)
{
    return (rt_program){.abi = RT_ABI,
                        .plan_hash = "pair",
                        .stage = stage,
                        .n_stages = 2,
                        .edges = pair_edges,
                        .n_edges = 2,
                        .in_flight = 1};
}

#endif
