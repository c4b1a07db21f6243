// Parameters that several stages use: tied weights. Each of these stages holds such a parameter, all its accumulators and its state,
// and runs its update nodes. A use's gradients are accumulated where the use runs; at the end of a step they go to the
// others (SHARE_PUT, SHARE_GET), which add the uses up in the same order, so all compute the same update.
#ifndef STAGECC_PASSES_TIED_H
#define STAGECC_PASSES_TIED_H

#include "passes/schedule.h"
#include "passes/values.h"

// The parameter that an accumulator, state or an update node is of; a parameter itself; NULL: none.
const Node *tied_owner(const Node *n);
// Has the stage n's value or runs n: node_stage, or any of the stages that use n's parameter.
bool tied_in(const Plan *p, const Values *v, const Node *n, int stage);
// Fills p->shares and appends their edges.
void tied_find(Compile *c, const Values *v, Plan *p, EdgeList *edges);

#endif
