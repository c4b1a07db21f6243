// Nested loops over the elements of a chain. Inputs that repeat along some dimensions have strides of 0
// there; neighbouring dimensions that all inputs walk alike are merged, which mostly leaves one loop, or two.
#ifndef STAGECC_CODEGEN_NEST_H
#define STAGECC_CODEGEN_NEST_H

#include "codegen/chain.h"

typedef struct Nest { // merged dimensions of the members' shape as it lies, outermost first
    Shape shape;      // the members'
    bool channels_last;
    int n; // at least 1
    int64_t dim[MAX_RANK];
    int source[MAX_RANK]; // the last of the dimensions that it was merged from
} Nest;

// Of tensors in a kernel's layout: one dimension of all elements in memory, padding included.
Nest nest_of(const Chain *c);
// The loop variable of dimension d: "i" if there is but one.
const char *nest_letter(const Nest *nest, int d);
// "r * 5 + j": where a tensor of shape x, aligned at the end of the members' shape, is read.
const char *nest_index(Emit *e, const Nest *nest, Shape x);

#endif
