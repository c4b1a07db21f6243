// The best plan over the cuts of a graph and a set of moves, by whatever method the number of cuts allows.
#ifndef STAGECC_PASSES_PLANNER_SEARCH_H
#define STAGECC_PASSES_PLANNER_SEARCH_H

#include "passes/planner/sweep.h"

typedef struct Search {
    Arena *arena;
    const Core *core;
    // NULL: there are too many; machines are alike, and counting them is enough (count.h).
    Moves *moves;
    const Machines *machines; // NULL: of another cost model, known by its moves alone
    const CostOptions *options;
    int goal;          // as in Sweep
    Cuts *cuts;        // every cut, where they are known already; NULL: they are looked for
    double bound;      // seconds: no plan is faster
    int most_cuts;     // of a family that is looked at; 0: as many as there is time for
    bool orders_alone; // where there are more: no families near the best plan
    // The cost model's own view of the bytes that cross a cut; NULL: cuts have what is true.
    void (*measure)(void *user, Cuts *cuts);
    void *user;
} Search;

typedef struct Found {
    Cuts *cuts;
    Steps steps;
    bool proven; // no plan of these moves is faster, whatever the cuts
    const char *method;
} Found;

bool search_plan(const Search *q, Found *found); // false: there is no plan, or none was found

// passes/planner/stages.c: the stages of what was found, with their nodes and machines alone.
StageChoice *stages_of(Arena *a, const Machines *m, const Found *found);
int machines_of_stages(const StageChoice *stages, int n);

#endif
