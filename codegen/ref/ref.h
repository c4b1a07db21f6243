// Emitters of the ref backend: each writes one call of a function of <stagecc/ref.h>.
#ifndef STAGECC_CODEGEN_REF_H
#define STAGECC_CODEGEN_REF_H

#include "codegen/codegen.h"

#define EMITTER(ID, name) EmitNode ref_emit_##name;
#define EMITTER_A(ID, name) EMITTER(ID, name)
#include "codegen/emitters.def"

int64_t ref_elements(const Node *n);
int64_t ref_last(const Node *n); // size of the last dimension
#endif
