// The fast backend for CPUs: oneDNN for convolutions and matrix products, generated loops for the rest. It
// computes in float, from tensors of float or bf16.
#include "codegen/c/c.h"
#include "codegen/chain.h"
#include "codegen/kernels.h"

static EmitNode *const emitters[N_OPS] = {
#define EMITTER(ID, name) [OP_##ID] = c_emit_##name,
#include "codegen/emitters.def"
};

static void prologue(Emit *e)
{
    emit(e, "#define C_THREADS $threads\n#include <stagecc/c.h>\n", "threads", EMIT_INT,
         e->plan->options.threads, NULL);
    c_library_prologue(e);
}

const Backend backend_c = {
    .name = "c",
    .extension = ".c",
    .libraries = "-lstagecc-rt-dnnl -lstagecc-rt -ldnnl -ljansson -lpthread -lm",
    .libraries_openmp = true,
    .images = IMAGES_BLOCKED,
    .fuse = true,
    .bf16 = true,
    .flags = "-fno-math-errno -fno-trapping-math -mprefer-vector-width=512",
    .emit = emitters,
    .also_reads = chain_also_reads,
    .emit_group = c_emit_group,
    .prologue = prologue,
    .program_fields = c_library_fields,
    .weight_kernel = kernels_weight,
    .kernel_key = c_kernel_key,
};

const char *c_form(const Node *n)
{
    return n->dtype == BF16 ? "_bf16" : "";
}

int64_t c_elements(const Node *n)
{
    return shape_count(n->shape);
}

int64_t c_last(const Node *n)
{
    return n->shape.rank ? n->shape.dim[n->shape.rank - 1] : 1;
}
