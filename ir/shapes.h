// Shape rules: from the types of a node's inputs and its attributes to the types of its outputs.
#ifndef STAGECC_IR_SHAPES_H
#define STAGECC_IR_SHAPES_H

#include "base/text.h"
#include "ir/graph.h"

typedef struct Type {
    DType dtype;
    Shape shape;
} Type;

// Types of all outputs (op_info[n->op].outputs of them). false: the error was reported at n->loc,
// naming what the inputs are and where they were made.
bool shapes_infer(const Node *n, Type out[MAX_OUTPUTS]);
// The same without a diagnostic: what is wrong is appended to `why`, as one line without its end.
bool shapes_check(const Node *n, Type out[MAX_OUTPUTS], Text *why);

#endif
