// Element-wise ops and fusion groups as generated kernels, one launch each. Inputs that repeat are read at their own
// places. Chains with a norm are norms.c's.
#include "codegen/cuda/pack.h"

#include <string.h>

enum { THREADS = 256 };

// Elements of 16 bytes, fewer where rows are no multiple of that.
static int width_of(const Chain *c, const Nest *nest)
{
    bool narrow = false;
    for (int i = 0; i < c->n; i++)
        narrow |= c->nodes[i]->dtype == BF16 || c->nodes[i]->inputs[0]->dtype == BF16;
    int width = narrow ? 8 : 4;
    while (width > 1 && nest->dim[nest->n - 1] % width)
        width /= 2;
    return width;
}

static bool uses_letter(const Pack *p, const char *letter)
{
    for (int i = 0; i < p->n_in; i++)
        if (strcmp(p->in[i].at, "i") != 0 && strstr(p->in[i].at, letter))
            return true;
    return false;
}

// Where the pack is along the dimensions of the nest.
static const char *letters(const Chain *c, const Pack *p)
{
    Arena *a = c->e->scratch;
    const char *text = "";
    int64_t inside = 1;
    for (int d = p->nest.n - 1; d >= 0 && p->nest.n > 1; d--) {
        const char *letter = nest_letter(&p->nest, d);
        const char *by = inside > 1 ? arena_printf(a, " / %lld", (long long)inside) : "";
        const char *of = d ? arena_printf(a, " %% %lld", (long long)p->nest.dim[d]) : "";
        if (uses_letter(p, letter))
            text = arena_printf(a, "%s    const int64_t %s = i%s%s;\n", text, letter, by, of);
        inside *= p->nest.dim[d];
    }
    return text;
}

static void all_members(Chain *c)
{
    chain_body(c, 0, c->n);
}

static const char *kernel_of(Chain *c, const Pack *p)
{
    pack_find_inputs(c);
    const char *body = pack_look(c, 8, all_members);
    return emit_text(c->e,
                     "static __global__ void __launch_bounds__($threads)\n"
                     "    @name_kernel($tensors)\n"
                     "{\n"
                     "    const int64_t i = "
                     "((int64_t)blockIdx.x * $threads + threadIdx.x) * $width;\n"
                     "    if (i >= $elements)\n"
                     "        return;\n"
                     "$letters$keys$loads$loop$stores"
                     "}\n\n",
                     "threads", EMIT_INT, (int64_t)THREADS, "tensors", EMIT_TEXT,
                     pack_parameters(c) + 2, "width", EMIT_TEXT, p->width, "elements", EMIT_INT,
                     cuda_elements(c->nodes[0]), "letters", EMIT_TEXT, letters(c, p), "keys",
                     EMIT_TEXT, pack_keys(c, 4), "loads", EMIT_TEXT, pack_loads(c, 4), "loop",
                     EMIT_TEXT, pack_loop(c, 4, body), "stores", EMIT_TEXT, pack_stores(c, 4),
                     NULL);
}

static void emit_chain(Emit *e, const Node *const *nodes, int n)
{
    Chain chain = chain_of(e, &pack_form, nodes, n);
    if (chain.norm >= 0) {
        cuda_emit_norm(&chain);
        return;
    }
    Pack pack = {.nest = nest_of(&chain)};
    int width = width_of(&chain, &pack.nest);
    int64_t elements = cuda_elements(nodes[0]);
    pack.width = arena_printf(e->scratch, "%d", width);
    chain.user = &pack;
    Function f = function_new(e, pack_ops(&chain),
                              arena_printf(e->scratch, "%lld", (long long)elements));
    f.before = kernel_of(&chain, &pack);
    pack_arguments(&chain, &f);
    function_end_with(
        &f, arena_printf(e->scratch, "    CU_LAUNCH(@name_kernel, %lld, %d, cu_stream(s)%s);\n",
                         (long long)((elements / width + THREADS - 1) / THREADS), THREADS,
                         pack_passed(&chain)));
}

// A head, and what the library computes with it, come first.
void cuda_emit_group(Emit *e, Node *const *nodes, int n)
{
    int done = 0;
    if (node_is(nodes[0], 'H')) {
        const Node *with = emit_with_head(e, nodes[0]);
        e->backend->emit[nodes[0]->op](e, nodes[0]);
        done = with && node_is(with, 'E') ? 2 : 1;
    }
    if (done < n)
        emit_chain(e, (const Node *const *)nodes + done, n - done);
}

#define CHAIN(name)                                                                            \
    void cuda_emit_##name(Emit *e, const Node *n)                                              \
    {                                                                                          \
        emit_chain(e, &n, 1);                                                                  \
    }
CHAIN(relu)
CHAIN(relu6)
CHAIN(gelu)
CHAIN(gelu_tanh)
CHAIN(sigmoid)
CHAIN(tanh)
CHAIN(add)
CHAIN(mul)
CHAIN(scale)
CHAIN(cast)
CHAIN(dropout)
CHAIN(relu_grad)
CHAIN(relu6_grad)
CHAIN(gelu_grad)
CHAIN(gelu_tanh_grad)
CHAIN(sigmoid_grad)
CHAIN(tanh_grad)
CHAIN(batch_norm)
CHAIN(batch_norm_infer)
CHAIN(batch_norm_grad)
