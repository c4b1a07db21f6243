// The problem as the search sees it: nodes that share a stage are one node, nodes are numbered in a
// topological order, edges and users are arrays.
#ifndef STAGECC_PASSES_PLANNER_CORE_H
#define STAGECC_PASSES_PLANNER_CORE_H

#include "base/vec.h"
#include "passes/planner/planner.h"

// Lists in one array: those of i are items[first[i]] .. items[first[i + 1] - 1].
typedef struct Lists {
    int *first, *items;
} Lists;

typedef struct Core {
    const Problem *problem;
    int n, n_profiles;
    double *compute[MAX_PROFILES], *forward[MAX_PROFILES]; // [n] seconds of one micro-batch
    double *least;                    // [n] seconds on the profile where the node takes least
    double *parameters, *activations; // [n] bytes
    int n_tensors;                    // those that leave their node
    int *producer;                    // [n_tensors]
    double *bytes;                    // [n_tensors]
    Lists users;                      // of a tensor: nodes
    Lists makes, reads;               // of a node: tensors
    Lists before, after;              // of a node: nodes
    int *core_of;                     // [problem->n]
    Lists members;                    // of a node: nodes of the problem
} Core;

Core core_of(Arena *a, const Problem *p); // p has passed problem_check

#endif
