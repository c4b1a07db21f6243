// What moves elements or sums them up, by dimensions: how far apart their elements lie in both tensors,
// neighbours merged where both allow. How such a walk becomes loops or threads is the backend's; nested
// loops are written here.
#ifndef STAGECC_CODEGEN_WALK_H
#define STAGECC_CODEGEN_WALK_H

#include "codegen/codegen.h"

typedef struct Walk { // outermost dimension first; steps in elements
    int rank;
    int64_t dim[MAX_RANK], y[MAX_RANK], x[MAX_RANK];
} Walk;

// Adds a dimension inside those before, or merges it with the last, if both tensors allow.
void walk_add(Walk *w, int64_t dim, int64_t y, int64_t x);
Walk walk_without(const Walk *w, int a, int b); // two of its dimensions
// The dimension along which elements lie side by side, step being w->y or w->x; -1: none.
int walk_inner(const Walk *w, const int64_t *step);

Walk walk_transpose(const Node *n); // of at least one dimension
// The dimensions of a sum_to's input as [summed, kept, summed]; false: they do not fall into such parts.
bool walk_sum_parts(const Node *n, int64_t part[3]);
// Any sum_to: the dimensions that y has, and those that are summed up, where its steps are 0.
void walk_sum(const Node *n, Walk *kept, Walk *summed);

// A tensor cut at `axis`: what one row before the axis holds.
typedef struct Rows {
    int64_t count, length, inner;
} Rows;
Rows rows_of(Shape s, Layout layout,
             int axis); // layout: of the image that it is or is a part of

// Loops over w, whose variables are letters from number `first` on; closing takes the indent back.
void walk_open(Emit *e, const Walk *w, int first);
void walk_close(Emit *e, const Walk *w);
// An address in them: "y + a * 64 + b * 8" from "y".
const char *walk_at(Emit *e, const char *text, const Walk *w, const int64_t *step, int first);

#endif
