// Chains as loops over the elements of tensors. Element i of a tensor with memory is NAME[i].
#ifndef STAGECC_CODEGEN_C_LOOP_H
#define STAGECC_CODEGEN_C_LOOP_H

#include "codegen/c/c.h"
#include "codegen/chain.h"

// For forms: an element of n, at i if it has the members' shape, else at `outside`.
const char *loop_load(const Chain *chain, const Node *n, const char *outside);
const char *loop_place(const Chain *chain, const Node *n); // "conv1[i]"
const char *loop_stored(Emit *e, const Node *n, const char *value);
// Keys of the members' dropouts, if any, as an array q in front of the loops.
void loop_keys(const Chain *chain);
// "#pragma omp parallel for ..." where the stage has several threads and that many elements pay.
bool loop_parallel(const Emit *e, int64_t elements);
void loop_pragma(Emit *e, bool parallel, bool simd);
// "for (int64_t i = 0; i < end; i += step)" with whatever follows.
void loop_for(Emit *e, const char *i, int64_t end, int64_t step, const char *follows);

// Groups with batch_norm, batch_norm_infer or batch_norm_grad, alone or with others (norm_loops.c).
void loop_norm(Chain *chain);

#endif
