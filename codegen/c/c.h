// Emitters of the c backend. Heavy ops call oneDNN (library.c); everything else is generated loops
// (loops.c) or calls of hand-written kernels, runtime/kernels/c_*.h (normal.c, pool.c, shape.c, update.c).
#ifndef STAGECC_CODEGEN_C_H
#define STAGECC_CODEGEN_C_H

#include "codegen/codegen.h"

#define EMITTER(ID, name) EmitNode c_emit_##name;
#include "codegen/emitters.def"

void c_emit_group(Emit *e, Node *const *nodes, int n); // loops.c

// library.c: what the library's kernels need before all functions, in the program's constant, and
// which of them a node calls (Backend.kernel_key).
void c_library_prologue(Emit *e);
void c_library_fields(Emit *e);
const char *c_kernel_key(Arena *a, const Graph *g, const Node *n);

const char *
c_form(const Node *n); // of a kernel for such elements: "" or "_bf16" behind its name
int64_t c_elements(const Node *n);
int64_t c_last(const Node *n); // size of the last dimension
#endif
