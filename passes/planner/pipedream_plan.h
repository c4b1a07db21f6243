// The best plan under PipeDream's cost model: by its recurrence where that has few cuts to look at, else by our own
// search under its formulas, which answers where the reference runs out of memory.
#ifndef STAGECC_PASSES_PLANNER_PIPEDREAM_PLAN_H
#define STAGECC_PASSES_PLANNER_PIPEDREAM_PLAN_H

#include "passes/planner/planner.h"

PlanResult *pipedream_plan(Arena *a, const Problem *p, const Machines *m, const CostOptions *o);

#endif
