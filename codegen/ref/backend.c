// The reference backend: naive portable C in float or double, no library. It is the oracle of the
// tests, and what a new backend is cloned from.
#include "codegen/ref/ref.h"

static EmitNode *const emitters[N_OPS] = {
#define EMITTER(ID, name) [OP_##ID] = ref_emit_##name,
#define EMITTER_A(ID, name) EMITTER(ID, name)
#include "codegen/emitters.def"
};

static void prologue(Emit *e)
{
    emit(e, "#define REAL $real\n#include <stagecc/ref.h>\n", "real", EMIT_TEXT,
         emit_ctype(emit_real_dtype(e->graph)), NULL);
}

const Backend backend_ref = {
    .name = "ref",
    .extension = ".c",
    .doubles = true,
    .libraries = "-lstagecc-rt -ljansson -lpthread -lm",
    .emit = emitters,
    .prologue = prologue,
};

int64_t ref_elements(const Node *n)
{
    return shape_count(n->shape);
}

int64_t ref_last(const Node *n)
{
    return n->shape.rank ? n->shape.dim[n->shape.rank - 1] : 1;
}
