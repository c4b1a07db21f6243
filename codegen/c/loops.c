// Element-wise ops and fusion groups as generated loops: one loop nest for each, in which what lives
// inside the group is a local variable and only what has memory is stored. The body is written in
// scalars; `omp simd` states that elements are independent, and compilers make vectors of it.
#include "codegen/c/loop.h"

#include "codegen/nest.h"

const char *loop_load(const Chain *chain, const Node *n, const char *outside)
{
    const char *at = shape_count(n->shape) == 1                      ? "0"
                     : shape_equal(n->shape, chain->nodes[0]->shape) ? "i"
                                                                     : outside;
    const char *place = arena_printf(chain->e->scratch, "%s[%s]", emit_value(chain->e, n), at);
    return n->dtype == BF16 ? arena_printf(chain->e->scratch, "rt_to_float(%s)", place) : place;
}

const char *loop_place(const Chain *chain, const Node *n)
{
    return arena_printf(chain->e->scratch, "%s[i]", emit_value(chain->e, n));
}

const char *loop_stored(Emit *e, const Node *n, const char *value)
{
    return n->dtype == BF16 ? arena_printf(e->scratch, "rt_to_bf16(%s)", value) : value;
}

void loop_keys(const Chain *chain)
{
    const char *keys = "";
    for (int i = 0; i < chain->n; i++)
        if (chain->nodes[i]->op == OP_DROPOUT)
            keys = arena_printf(chain->e->scratch, "%s%srt_random_key(s, %s, mb)", keys,
                                *keys ? ", " : "", emit_stream(chain->e, chain->nodes[i]));
    if (*keys)
        emit(chain->e, "const uint64_t q[] = {$keys};\n", "keys", EMIT_TEXT, keys, NULL);
}

bool loop_parallel(const Emit *e, int64_t elements)
{
    return e->plan->options.threads > 1 && elements >= 16384;
}

void loop_pragma(Emit *e, bool parallel, bool simd)
{
    if (parallel)
        emit(e, "#pragma omp parallel for$simd num_threads($threads) schedule(static)\n",
             "simd", EMIT_TEXT, simd ? " simd" : "", "threads", EMIT_INT,
             (int64_t)e->plan->options.threads, NULL);
    else if (simd)
        emit(e, "#pragma omp simd\n", NULL);
}

void loop_for(Emit *e, const char *i, int64_t end, int64_t step, const char *follows)
{
    const char *next = step == 1 ? arena_printf(e->scratch, "%s++", i)
                                 : arena_printf(e->scratch, "%s += %lld", i, (long long)step);
    emit(e, "for (int64_t $i = 0; $i < $end; $next)$follows\n", "i", EMIT_TEXT, i, "end",
         EMIT_INT, end, "next", EMIT_TEXT, next, "follows", EMIT_TEXT, follows, NULL);
}

// Nests
// ----------------------------------------------------------------------------------------------

static const char *load(const Chain *chain, const Node *n)
{
    return loop_load(chain, n, nest_index(chain->e, chain->user, n->shape));
}

static const Form form = {"c", "i", load, loop_place, loop_stored};

static void open_nest(Emit *e, const Nest *nest, int64_t elements, const char *brace)
{
    bool parallel = loop_parallel(e, elements);
    for (int d = 0; d < nest->n; d++) {
        bool innermost = d == nest->n - 1;
        loop_pragma(e, parallel && d == 0, innermost);
        loop_for(e, nest_letter(nest, d), nest->dim[d], 1, innermost ? brace : "");
        e->indent += 4;
    }
    if (nest->n > 1)
        emit(e, "const int64_t i = $at;\n", "at", EMIT_TEXT, nest_index(e, nest, nest->shape),
             NULL);
}

static void emit_loop(Emit *e, const Node *const *nodes, int n)
{
    Chain chain = chain_of(e, &form, nodes, n);
    if (chain.norm >= 0) {
        loop_norm(&chain);
        return;
    }
    Nest nest = nest_of(&chain);
    int indent = e->indent;
    bool statement = n == 1 && nest.n == 1;
    chain.user = &nest;
    loop_keys(&chain);
    open_nest(e, &nest, emit_elements(nodes[0]), statement ? "" : " {");
    chain_body(&chain, 0, n);
    e->indent -= 4;
    if (!statement)
        emit(e, "}\n", NULL);
    e->indent = indent;
}

void c_emit_group(Emit *e, Node *const *nodes, int n)
{
    emit_loop(e, (const Node *const *)nodes, n);
}

#define LOOP(name)                                                                             \
    void c_emit_##name(Emit *e, const Node *n)                                                 \
    {                                                                                          \
        emit_loop(e, &n, 1);                                                                   \
    }
LOOP(relu)
LOOP(relu6)
LOOP(gelu)
LOOP(gelu_tanh)
LOOP(sigmoid)
LOOP(tanh)
LOOP(add)
LOOP(mul)
LOOP(scale)
LOOP(cast)
LOOP(dropout)
LOOP(relu_grad)
LOOP(relu6_grad)
LOOP(gelu_grad)
LOOP(gelu_tanh_grad)
LOOP(sigmoid_grad)
LOOP(tanh_grad)
LOOP(batch_norm)
LOOP(batch_norm_infer)
LOOP(batch_norm_grad)
