// Whether a bottleneck of T seconds can be reached, over a family of cuts and a set of moves.
#ifndef STAGECC_PASSES_PLANNER_SWEEP_H
#define STAGECC_PASSES_PLANNER_SWEEP_H

#include "passes/planner/cuts.h"
#include "passes/planner/moves.h"

typedef struct Step { // a stage: the nodes of `end` that `begin` lacks
    int begin, end;
    const Move *move;
} Step;

typedef struct Steps { // first stage first
    Step *items;
    int n;
    double time_s; // of the slowest stage, as the conditions of the moves have it
} Steps;

typedef struct Front Front;

typedef struct Sweep {
    Arena *arena;
    const Cuts *cuts;
    const Moves *moves;
    int goal;              // the configuration that a plan must end in; -1: any
    bool truncated;        // out: a probe that failed may have overlooked a plan
    uint8_t *reached;      // [configs][cuts] of this probe
    int *least;            // [cuts] Moves.nested: the first configuration that reached the cut
    int *lowest, *highest; // [configs] cuts that were reached, at most between
    void *low;             // [cuts], what the lanes inherited
    Front *fronts;         // [cuts] of moves with several conditions
    double t;
} Sweep;

Sweep *sweep_new(Arena *a, const Cuts *cuts, const Moves *moves, int goal);
// A plan with no stage slower than t seconds; false: there is none. `tidy`: of many, one that moves few
// bytes. The steps live in the arena.
bool sweep_probe(Sweep *s, double t, bool tidy, Steps *out);
// Seconds of a stage as the conditions have it; infinite: its memory or a condition fails.
double step_seconds(const Cuts *c, const Step *s);

#endif
