// A profiled graph as a problem for the planner, and its answer as stages of the graph's nodes.
#ifndef STAGECC_DRIVER_GRAPH_PROBLEM_H
#define STAGECC_DRIVER_GRAPH_PROBLEM_H

#include "driver/driver.h"
#include "passes/planner/planner.h"

typedef struct GraphProblem {
    Profile *profile;
    Problem problem;
    int *node_of; // [profile nodes] in the problem; -1: it reads data and is not planned
    Machines *machines;
    const char **devices; // [machines] names; NULL: they have none
    CostOptions cost;
} GraphProblem;

// NULL: errors were reported.
GraphProblem *graph_problem(Arena *a, Profile *p, const Args *args);
CostOptions cost_options(const Args *args);
// The answer as plan.json has it; also writes the stages into the profile. driver/graph_file.c
Plan *graph_plan(Arena *a, const Args *args, const GraphProblem *g, const PlanResult *r);
// [profile nodes] stage of each. What reads data stands with its first user.
int *graph_stages(Arena *a, const GraphProblem *g, const PlanResult *r);

#endif
