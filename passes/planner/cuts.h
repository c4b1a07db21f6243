// Cuts: sets of nodes that hold everything their members need (ideals, lower sets). A stage boundary
// is a cut, a stage the difference of two. A family of cuts is all of them, or those of one order.
#ifndef STAGECC_PASSES_PLANNER_CUTS_H
#define STAGECC_PASSES_PLANNER_CUTS_H

#include "passes/planner/core.h"

typedef struct Cuts {
    const Core *core;
    int n;    // by number of nodes: cut 0 is empty, cut n - 1 holds all
    bool all; // every cut of the graph is here
    // Sums over the nodes of a cut.
    double *compute[MAX_PROFILES], *forward[MAX_PROFILES], *parameters, *activations;
    double *least; // seconds on the profile where each node takes least
    double *bytes; // [n] of tensors that cross: made within, used outside, once each
    // Of a cut: the cuts of the family with the fewest nodes more. A cut is within another where a chain of
    // these leads there.
    Lists above;
    // Either bit sets of `words` words each, or an order of which cut i holds the first i nodes.
    uint64_t *sets;
    int words;
    int *order;
} Cuts;

// Every cut; NULL: there are more than `limit`.
Cuts *cuts_all(Arena *a, const Core *c, int limit);
// The cuts of one topological order: order[c->n], which is kept.
Cuts *cuts_of_order(Arena *a, const Core *c, int *order);
// Every cut, where the graph is one path; NULL: it is not.
Cuts *cuts_of_path(Arena *a, const Core *c);
bool cut_holds(const Cuts *c, int cut, int node); // O(n) for an order
bool cut_within(const Cuts *c, int inner, int outer);

#endif
