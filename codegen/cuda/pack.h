// What generated kernels around a chain have in common. A thread takes a pack of neighbours, which it reads and writes at
// once; what lives inside the chain is a variable, and only what has memory is stored. Names do not tell whose
// tensors they are, so that equal layers share a kernel: x1, x2 are read, y1, y2 written.
#ifndef STAGECC_CODEGEN_CUDA_PACK_H
#define STAGECC_CODEGEN_CUDA_PACK_H

#include "codegen/chain.h"
#include "codegen/cuda/cuda.h"
#include "codegen/nest.h"

typedef struct PackTensor {
    const Node *node;
    const char *name;
    const char *at; // the pack's place; that of the element
    bool pack;      //   which all of a pack read
    bool here;      // the kernel that is being written has it
} PackTensor;

typedef struct Pack { // Chain.user, with pack_form
    Nest nest;
    int64_t
        row; // of chains with a norm, where the nest does not count: what packs do not cross; else 0
    const char *width; // elements of a pack: "4", "N"
    PackTensor in[3 * CHAIN_MAX], out[CHAIN_MAX];
    int n_in, n_out;
} Pack;

extern const Form pack_form; // element i + p

// The name of an input, which then is one of the next kernel, too.
const char *pack_input(const Chain *c, const Node *n);
// Inputs in the order of the members, not in that in which their text is put together.
void pack_find_inputs(const Chain *c);
// What `look` writes for an element of the pack, at that indent.
const char *pack_look(Chain *c, int indent, void (*look)(Chain *c));

// Lines of code, at an indent.
const char *pack_loads(const Chain *c, int indent);
const char *pack_loop(const Chain *c, int indent, const char *body);
const char *pack_stores(const Chain *c, int indent);
const char *pack_keys(const Chain *c, int indent); // "" where nothing is drawn

// ", float *y1, const float *x1", and what keys are drawn from: parameters of the kernel, and what is passed for them.
const char *pack_parameters(const Chain *c);
const char *pack_passed(const Chain *c);
// All of them as arguments of a function.
void pack_arguments(const Chain *c, Function *f);
// The next kernel may have other tensors.
void pack_next(Pack *p);

// "relu", "mul_tanh_scale"; of more than three members the first and the last: "mul_4_sigmoid".
const char *pack_ops(const Chain *c);
#endif
