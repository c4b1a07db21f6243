// Smaller cores: nodes that lie side by side become one, so that fewer cuts are left to look at.
#ifndef STAGECC_PASSES_PLANNER_COARSE_H
#define STAGECC_PASSES_PLANNER_COARSE_H

#include "passes/planner/core.h"

// Node v joins its only user, or the only node that it uses, as long as what has come together in it takes at most
// grain[v] seconds. users_first: which of the two is tried first.
Core *core_coarse(Arena *a, const Core *c, const double *grain, bool users_first);

#endif
