// Emitters of the cuda backend. Heavy ops call libraries (library.c); everything else is a function of the second source,
// which launches kernels: generated ones for element-wise ops (chains.c), those of runtime/cuda/*.cuh for the rest. The
// first source calls such a function with tensors, and every size is a constant in it.
#ifndef STAGECC_CODEGEN_CUDA_H
#define STAGECC_CODEGEN_CUDA_H

#include "codegen/chain.h"

#define EMITTER(ID, name) EmitNode cuda_emit_##name;
#define EMITTER_A(ID, name) EMITTER(ID, name)
#include "codegen/emitters.def"

// chains.c
void cuda_emit_group(Emit *e, Node *const *nodes, int n);
// norms.c: chains with a norm.
void cuda_emit_norm(Chain *c);
// update.c
void cuda_emit_updates(Emit *e, Node *const *nodes, int n);

// library.c: what is before all functions, and in the program's constant.
void cuda_library_prologue(Emit *e);
void cuda_library_fields(Emit *e);
// For Backend.heads.
bool cuda_heads(const Node *n, const Node *next, bool kept);

// memory.c: what is known of a device without one.
extern const DeviceSpeed cuda_speed;
extern const DeviceMemory cuda_memory;

// function.c: functions of the second source
// ----------------------------------------------------------------------------------------------

// One that is being made, together with its call. Its arguments are added in the order in which what it calls wants
// them, behind the stream.
typedef struct Function {
    Emit *e;
    const char *stem;
    const char *head, *call, *pass; // ", float *y"; ", fc1"; ", y"
    const char *room;               // bytes for the time being; NULL: none
    const char *before;             // in front of it: types, kernels
} Function;

// Called after the op and its sizes: "cu_softmax_32x5".
Function function_new(Emit *e, const char *op, const char *sizes);
// "const float *x" and so on. A NULL node is NULL there.
void function_in(Function *f, const char *name, const Node *n);
void function_out(Function *f, const char *name, const Node *n);
// One that is not passed on: a lambda that is has it.
void function_captured(Function *f, const char *name, const Node *n);
// "bool first", from the expression where it is called.
void function_argument(Function *f, const char *declared, const char *name, const char *value);
// Likewise one that is not passed on.
void function_captured_argument(Function *f, const char *declared, const char *name,
                                const char *value);
void function_pass(Function *f, const char *text);   // an argument as it is
void function_pass_int(Function *f, int64_t number); // likewise
// Memory for the time being, in so many bytes: an expression of the second source.
void function_room(Function *f, const char *type, const char *bytes);
// "cu_softmax<float, 5>(cu_stream(s), x, 32);" is its body, `what` being before the parenthesis; writes the call.
void function_end(Function *f, const char *what);
// Likewise with a body of any lines.
void function_end_with(Function *f, const char *body);

const char *cuda_type(const Node *n); // of its elements: "rt_bf16"
int64_t cuda_elements(const Node *n);
int64_t cuda_last(const Node *n); // size of the last dimension
int64_t cuda_rows(const Node *n); // of so many elements
#endif
