// The program's table of library kernels (rt_program.kernels): which rows it has, and which of them a
// node calls. Sizes, names and keys are the same for every library; what a library says of layouts is
// the backend's.
#ifndef STAGECC_CODEGEN_KERNELS_H
#define STAGECC_CODEGEN_KERNELS_H

#include "codegen/codegen.h"

// What of a row is the backend's own: how its library wants images and weights to lie.
typedef struct KernelWords {
    const char *key;    // behind the sizes in the key: ", blocked to blocked 16"; "": nothing
    const char *row;    // behind those of rt_conv or rt_product: ", .block = 16"; "": nothing
    bool copies_weight; // a weight that is a parameter is copied once a step, in layout or type
} KernelWords;
// Asked for convolutions, products and their gradients only. Texts live in the arena, or longer.
typedef KernelWords KernelWordsOf(Arena *a, const Graph *g, const Node *n);

// For Backend.kernel_key.
const char *kernel_key(Arena *a, const Graph *g, const Node *n, KernelWordsOf *words_of);

// For a backend's prologue, behind its headers: all kernels of the stage, once each; sets e->library,
// which the functions below need.
void kernels_write(Emit *e, KernelWordsOf *words_of);
void kernels_fields(Emit *e); // for Backend.program_fields: .kernels and .n_kernels
int kernels_count(Emit *e);   // 0: there is no table
int kernels_weight(Emit *e, const Node *param);   // for Backend.weight_kernel
const char *kernels_name(Emit *e, const Node *n); // its index as an expression
// The same kernel, but that it adds to what is there; linear_grad_weight only, where a step has more
// than one micro-batch.
const char *kernels_adding(Emit *e, const Node *n);

// The images and the weight of a convolution or of one of its gradients.
typedef struct Conv {
    const Node *x, *w, *y;
} Conv;
Conv conv_of(const Node *n);
#endif
