// Whether a bottleneck of T seconds can be reached on very many machines that are all alike.
#ifndef STAGECC_PASSES_PLANNER_COUNT_H
#define STAGECC_PASSES_PLANNER_COUNT_H

#include "passes/planner/sweep.h"

typedef struct Count Count;
// Machines of one type, links of one level, cost model stagecc.
// `sparse`: of many cuts in order not all numbers of replicas are tried, which is much faster; what fails may be
// possible then (count_sparse).
Count *count_new(Arena *a, const Cuts *cuts, const Machines *m, const CostOptions *o,
                 bool sparse);
// Whether probes of an order are nearly linear: nothing depends on the machines behind a stage.
bool count_slides(const Machines *m, const CostOptions *o);
bool count_sparse(const Count *c);
bool count_probe(Count *c, double t, Steps *out); // as sweep_probe

#endif
