// What gradient rules share. A rule looks at one forward node, whose gradient has arrived, and gives
// each input that wants one its contribution. Private to passes/autodiff.c and passes/gradients.c.
#ifndef STAGECC_PASSES_GRADIENTS_H
#define STAGECC_PASSES_GRADIENTS_H

#include "passes/pass.h"

typedef struct Gradient {
    Graph *g;
    Node *node;   // the forward node
    Node *dy;     // the gradient of its output 0
    bool *active; // by id of the forward nodes: floating-point, and a parameter is behind it
    Node **sum;   // by id: the gradient so far
    Node *(*results)[MAX_OUTPUTS]; // by id: outputs 1 .. of the forward nodes, NULL where none
} Gradient;

typedef void GradientRule(Gradient *d);
// gradient_<RULE> for every name in the gradient column of ir/ops.def.
#define OP(ID, name, low, high, outputs, shape, gradient, ...) GradientRule gradient_##gradient;
#include "ir/ops.def"

// Input i wants a contribution.
bool gradient_wanted(const Gradient *d, int i);
// Adds a contribution to the gradient of input i.
void gradient_give(Gradient *d, int i, Node *contribution);

enum { GRADIENT_INPUTS = 6 };

typedef struct GradientNode {
    Op op;
    int of; // the input whose gradient it is (or helps to make), which gives it its name
    Node *inputs[GRADIENT_INPUTS]; // up to the first NULL
    const Attr *attrs;
    int n_attrs;
} GradientNode;
// A backward node that derives from the forward node.
Node *gradient_node(Gradient *d, const GradientNode *what);
// Output i > 0 of the forward node.
Node *gradient_output(Gradient *d, int i);

#endif
