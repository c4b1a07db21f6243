// The backend for CUDA devices: libraries for matrix products, own kernels for the rest (runtime/cuda, docs/cuda.md),
// which are a stage's second source. Tensors are float or bf16, in the device's memory; kernels compute in float.
// Without a device the same sources make programs that run on this processor.
#include "codegen/cuda/cuda.h"
#include "codegen/kernel_text.h"
#include "codegen/kernels.h"

#include <string.h>

static EmitNode *const emitters[N_OPS] = {
#define EMITTER(ID, name) [OP_##ID] = cuda_emit_##name,
#define EMITTER_A(ID, name) EMITTER(ID, name)
#include "codegen/emitters.def"
};

// What tensor cores and registers hold (<stagecc/cu_flash.cuh>).
static bool fits_cores(int64_t features)
{
    return features % 16 == 0 && features <= 128;
}

static bool attention(const Options *o, int64_t features)
{
    return !strcmp(o->dtype, "bf16") && fits_cores(features);
}

static const char *lacks(const Node *n)
{
    if ((n->op == OP_ATTENTION || n->op == OP_ATTENTION_GRAD) &&
        (n->dtype != BF16 || !fits_cores(cuda_last(n) / node_int(n, A_HEADS))))
        return "its attention is in bf16, and of heads of 16, 32, ... or 128 features";
    return NULL;
}

static void prologue(Emit *e)
{
    emit(e, "#include <stagecc/cuda.h>\n", NULL);
    cuda_library_prologue(e);
}

static const char *number(Emit *e, const Node *n)
{
    if (n->op == OP_SHARE)
        return "&rt_cuda_now(s, mb)->share";
    const char *type = emit_ctype(n->dtype);
    return arena_printf(e->scratch, "rt_cuda_bytes(s, (const %s[]){%s}, sizeof(%s))", type,
                        emit_number(e, n), type);
}

static bool is_new_room(const KernelTexts *t, int i)
{
    const char *room = t->items.items[i].room;
    for (int k = 0; k < i && room; k++)
        if (t->items.items[k].room && !strcmp(t->items.items[k].room, room))
            return false;
    return room;
}

// As much as the function that needs most.
static void write_room(Emit *e)
{
    const KernelTexts *t = e->kernels;
    text_puts(e->out, "\nextern \"C\" const int64_t cu_room = cu_largest({0");
    for (int i = 0; i < t->items.n; i++)
        if (is_new_room(t, i))
            text_printf(e->out, ",\n    %s", t->items.items[i].room);
    text_puts(e->out, "});\nCU_CARD_KERNELS\n");
}

static void kernel_source(Emit *e)
{
    static const char *const headers[] = {"attention_additive",
                                          "elementwise",
                                          "embedding",
                                          "flash",
                                          "l2_normalize",
                                          "layer_norm",
                                          "loss",
                                          "norm_group",
                                          "pool",
                                          "recurrent",
                                          "shape",
                                          "softmax",
                                          "sums",
                                          "transfer"};
    text_puts(e->out, "#include <stagecc/cu_stage.cuh>\n");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        text_printf(e->out, "#include <stagecc/cu_%s.cuh>\n", headers[i]);
    kernel_texts_write(e);
    write_room(e);
}

// Of a list like "sm_80,sm_90".
static const char *gencode(Arena *a, const char *architectures)
{
    const char *flags = "";
    for (const char *at = architectures; *at;) {
        int n = (int)strcspn(at, ",");
        const char *number = at + strlen("sm_");
        int digits = n - (int)strlen("sm_");
        flags = arena_printf(a, "%s -gencode arch=compute_%.*s,code=%.*s", flags, digits,
                             number, n, at);
        at += n + (at[n] == ',');
    }
    return flags;
}

// The same text for a device and for this processor; no contraction in either (docs/cuda.md).
static KernelCompiler kernel_compiler(Arena *a, const Plan *p, const CodegenPaths *paths)
{
    const char *architectures = paths->architectures ? paths->architectures : "sm_80,sm_90";
    (void)p;
    if (paths->emulated)
        return (KernelCompiler){
            .name = "cxx",
            .what = "the C++ compiler",
            .tool = paths->cxx ? paths->cxx : "c++",
            .flags = "-std=gnu++17 -O1 -ffp-contract=off -march=x86-64-v3 -fno-exceptions "
                     "-fno-threadsafe-statics -Wall -Wextra -x c++",
            .libraries = "-lstagecc-rt-emulated -lstagecc-rt -ljansson -lpthread -lm"};
    return (KernelCompiler){
        .name = "nvcc",
        .what = "the CUDA compiler",
        .tool = paths->nvcc ? paths->nvcc : "nvcc",
        .flags = arena_printf(a,
                              "-std=c++17 -O3 -fmad=false -Xcompiler "
                              "-fno-exceptions,-fno-threadsafe-statics --threads 2%s",
                              gencode(a, architectures)),
        .libraries = "-lstagecc-rt-cuda -lstagecc-rt -lcudart_static -ldl -lrt -lpthread "
                     "-ljansson -lm",
        .lib_dir = paths->cuda_lib_dir};
}

const Backend backend_cuda = {
    .name = "cuda",
    .extension = ".c",
    .images = IMAGES_CHANNELS_LAST,
    .fuse = true,
    .attention = attention,
    .pitch = true,
    .bf16 = true,
    .tf32 = true,
    .isa = "avx2",
    .emit = emitters,
    .also_reads = chain_also_reads,
    .heads = cuda_heads,
    .emit_group = cuda_emit_group,
    .prologue = prologue,
    .program_fields = cuda_library_fields,
    .weight_kernel = kernels_weight,
    .lacks = lacks,
    .speed = &cuda_speed,
    .device = &cuda_memory,
    .number = number,
    .emit_updates = cuda_emit_updates,
    .kernel_extension = ".cu",
    .kernel_source = kernel_source,
    .kernel_compiler = kernel_compiler,
};
