// Topological orders of a graph that has too many cuts to look at all: each is a chain of cuts.
#ifndef STAGECC_PASSES_PLANNER_ORDERS_H
#define STAGECC_PASSES_PLANNER_ORDERS_H

#include "passes/planner/core.h"

typedef enum OrderRule {
    ORDER_NARROW,  // what makes the fewest bytes cross next
    ORDER_DEPTH,   // what became ready last goes first: branches one after another
    ORDER_BREADTH, // what became ready first goes first: branches side by side
    ORDER_RANDOM,  // by random priorities of the nodes
    N_ORDER_RULES
} OrderRule;

// order[c->n], by `rule`; from the last node to the first when `backward`. The seed decides the random one.
int *order_of(Arena *a, const Core *c, OrderRule rule, bool backward, uint64_t seed);

#endif
