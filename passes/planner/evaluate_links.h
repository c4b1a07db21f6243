// What passes over the links between machines, from the definitions alone (docs/planner.md): for evaluate.c.
#ifndef STAGECC_PASSES_PLANNER_EVALUATE_LINKS_H
#define STAGECC_PASSES_PLANNER_EVALUATE_LINKS_H

#include "passes/planner/planner.h"

typedef struct Traffic Traffic;

Traffic *traffic_new(Arena *a, const Machines *m);
// Seconds that a byte of every micro-batch keeps the busiest link of stage s at the boundary with `other`, on
// average; the largest latency on the way.
double traffic_busiest(Traffic *t, const StageChoice *s, const StageChoice *other,
                       double *latency);
// Seconds for a byte at the slowest link of the ring of all replicas, and the largest latency there.
double traffic_ring(Traffic *t, const StageChoice *s, double *latency);

#endif
