// The program's table of library kernels: which rows it has, and which of them a node calls.
#ifndef STAGECC_CODEGEN_C_KERNELS_H
#define STAGECC_CODEGEN_C_KERNELS_H

#include "base/vec.h"
#include "codegen/codegen.h"

// One row of rt_program.kernels (runtime/kernels/dnnl.h). Everything follows from the node's shapes,
// attributes and layouts.
typedef struct KernelRow {
    const char *key;           // all that decides the kernel; unique, no quotes
    const char *name;          // of its index in the program: CONV2D_64X56X56_64_3X3
    const char *row;           // the initialiser
    VEC(const Node *) weights; // parameters that the library copies for it once a step
} KernelRow;

// false: the node calls no library kernel.
bool kernel_row(Arena *a, const Graph *g, const Node *n, KernelRow *row);
const char *kernel_key(Arena *a, const Graph *g, const Node *n); // NULL likewise

void kernels_write(Emit *e); // all of the stage's, once each; sets e->user
int kernels_count(const Emit *e);
int kernels_find(Emit *e, const Node *n);         // its index; -1: none
const char *kernels_name(Emit *e, const Node *n); // as an expression
// The same kernel, but that it adds to what is there; linear_grad_weight only.
const char *kernels_adding(Emit *e, const Node *n);
#endif
