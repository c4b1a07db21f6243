// Where the narrow cuts of a graph lie, for graphs with more cuts than one can list: which of those that no more
// than so many bytes cross take how many seconds, and how many parameters they hold.
#ifndef STAGECC_PASSES_PLANNER_NARROW_H
#define STAGECC_PASSES_PLANNER_NARROW_H

#include "passes/planner/core.h"

// Cuts of about the same seconds (Core.least) and bytes; least_s > most_s: there are none.
typedef struct Spot {
    double least_s, most_s;
    double least_parameters, most_parameters;
} Spot;

typedef struct Narrow {
    double bytes;    // that a unit of width stands for
    int n_widths, n; // widths 0 .. n_widths, positions 0 .. n - 1
    Spot *spots;     // [(n_widths + 1) * n] a cut of width w has at least w * bytes crossing
} Narrow;

// `positions` of equal seconds; widths up to `most_bytes` in `n_widths` steps. NULL: there is too much to look at.
Narrow *narrow_cuts(Arena *a, const Core *c, int positions, double most_bytes, int n_widths);
void spot_join(Spot *s, const Spot *more);
Spot spot_empty(void);

#endif
