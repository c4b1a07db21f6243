// Families of cuts for a graph that has too many: all cuts of a smaller graph, in which nodes that lie side by side
// are one (coarse.h). Some are equally coarse everywhere; the others are fine where a known plan has its boundaries,
// and the coarser the farther from them: a large neighbourhood of that plan.
#ifndef STAGECC_PASSES_PLANNER_NEIGHBOURS_H
#define STAGECC_PASSES_PLANNER_NEIGHBOURS_H

#include "passes/planner/sweep.h"

enum { N_NEIGHBOUR_KINDS = 12 };

typedef struct Neighbours {
    const Core *core;
    int limit;                        // of cuts in a family
    int count;                        // of families so far
    double work;                      // so far, as of a probe: cuts times moves
    double factor[N_NEIGHBOUR_KINDS]; // of grains, as it fitted last
    Arena arena, spare;               // the last family lives in `arena`
} Neighbours;

void neighbours_init(Neighbours *n, const Core *c, int limit);
void neighbours_release(Neighbours *n);
// The next family; `plan` is one along the order of `chain`. NULL: the graph cannot be made as small. What was
// returned before is gone, and so is all that lives in n->arena.
Cuts *neighbours_next(Neighbours *n, const Cuts *chain, const Steps *plan);
// The plan of a family as one along an order of the graph itself.
Cuts *neighbours_chain(Arena *a, const Core *c, const Cuts *family, Steps *plan);

#endif
