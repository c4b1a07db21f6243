// A lower bound of the bottleneck that knows where cuts are narrow, for graphs with more cuts than one can look at.
#ifndef STAGECC_PASSES_PLANNER_BOUND_H
#define STAGECC_PASSES_PLANNER_BOUND_H

#include "passes/planner/core.h"

// Seconds between `low`, which is a bound already, and `high`: no plan is faster on these machines, which have one level.
// `low` where they are unlike or many, or where there is too much to look at.
double bound_of_width(Arena *a, const Core *c, const Machines *m, const CostOptions *o,
                      double low, double high);

#endif
