// What the links between machines cost the stages on them (docs/planner.md), for the search.
#ifndef STAGECC_PASSES_PLANNER_LINKS_H
#define STAGECC_PASSES_PLANNER_LINKS_H

#include "passes/planner/planner.h"

// What a stage pays at a boundary in one direction: seconds a micro-batch for every byte, and beside them.
typedef struct Transfer {
    double per_byte, fixed;
} Transfer;

// The stage on the machines first .. end - 1 at its boundary with the one on a .. b - 1, either in front or behind.
Transfer links_between(const Machines *m, int first, int end, int a, int b);
// Of r machines, wherever they and their partners are, at most.
Transfer links_anywhere(const Machines *m, int r);
// The slowest link, and the largest latency, on the ring of first .. end - 1; of any ring.
MachineLevel links_ring(const Machines *m, int first, int end);
MachineLevel links_slowest(const Machines *m);

#endif
