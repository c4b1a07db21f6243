// Generated loops over the elements of tensors: members of a fusion group, or one element-wise node,
// as one body. Values that a later member reads are variables v1, v2 ...; element i of a tensor with
// memory is NAME[i].
#ifndef STAGECC_CODEGEN_C_LOOP_H
#define STAGECC_CODEGEN_C_LOOP_H

#include "codegen/c/c.h"

enum { LOOP_MAX = 16 }; // members of a group, at most (passes/fuse.c)

typedef struct Loop {
    Emit *e;
    const Node *const *nodes;
    int n;
    bool in_variable[LOOP_MAX];   // computed in the body that is being written
    int streamed;                 // the member that is written to t[l] instead; -1: none
    const char *channel;          // what k.mean and so on are indexed by, in loops with a norm
    const Node *known, *known_by; // a relu whose sign is that of the norm of known_by's x; NULL
    const char *(*outside)(struct Loop *l,
                           const Node *n); // an element of another shape's tensor
    void *user;
} Loop;

int loop_member(const Loop *l, const Node *n); // -1: none
// Lines that compute members `begin` .. `end`-1 and store those that have memory, at e->indent.
void loop_body(Loop *l, int begin, int end);
// "conv1[i]", "v3", "0.5f": element i of a value.
const char *loop_value(Loop *l, const Node *n);
// A float as n's tensor holds it: "rt_to_bf16(v3)".
const char *loop_stored(Emit *e, const Node *n, const char *value);
// Keys of the members' dropouts, if any, as an array q in front of the loops.
void loop_keys(Loop *l);
// "#pragma omp parallel for ..." where the stage has several threads and that many elements pay.
bool loop_parallel(const Emit *e, int64_t elements);
void loop_pragma(Emit *e, bool parallel, bool simd);
// "for (int64_t i = 0; i < end; i += step)" with whatever follows.
void loop_for(Emit *e, const char *i, int64_t end, int64_t step, const char *follows);

// Groups with batch_norm, batch_norm_infer or batch_norm_grad, alone or with others (norm_loops.c).
void loop_norm(Loop *l, int norm);

#endif
