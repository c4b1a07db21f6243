// Heavy ops: convolutions and products as calls of library kernels, which have the same names and
// arguments whatever the library is. For backends that write the table of codegen/kernels.h.
#ifndef STAGECC_CODEGEN_HEAVY_H
#define STAGECC_CODEGEN_HEAVY_H

#include "codegen/codegen.h"

#define HEAVY_OPS(X)                                                                           \
    X(conv2d)                                                                                  \
    X(conv2d_grad_input)                                                                       \
    X(conv2d_grad_weight)                                                                      \
    X(linear)                                                                                  \
    X(linear_grad_input)                                                                       \
    X(linear_grad_weight)                                                                      \
    X(matmul)
#define DECLARE(name) EmitNode emit_##name;
HEAVY_OPS(DECLARE)
#undef DECLARE

// How much of a gradient's accumulation the call that makes it does: nothing, the step's first
// micro-batch, all. Products and embedding_grad can add to what is there, convolutions cannot.
typedef enum GradSum { GRAD_SUM_NOTHING, GRAD_SUM_FIRST, GRAD_SUM_ALL } GradSum;
GradSum emit_grad_sum(const Emit *e, const Node *grad);
// The accumulator that a gradient is for and nobody else; NULL: it is read otherwise too.
const Node *emit_destination(const Emit *e, const Node *grad);

#endif
