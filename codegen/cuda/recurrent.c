// LSTM and additive attention: calls of <stagecc/cu_lstm.cuh>, whose steps ask the library for a product each, and of
// <stagecc/cu_attention_additive.cuh>.
#include "codegen/cuda/cuda.h"

// The state before the first step; zeros are NULL.
static const Node *first_state(const Node *s0)
{
    return s0->shape.rank ? s0 : NULL;
}

typedef struct Sizes {
    int64_t n, t, h;
} Sizes;

// gates: [N,T,4H]
static Sizes sizes_of(Shape gates)
{
    return (Sizes){gates.dim[0], gates.dim[1], gates.dim[2] / 4};
}

static Function lstm_new(Emit *e, const Node *n, Sizes z)
{
    return function_new(e, op_info[n->op].name,
                        arena_printf(e->scratch, "%lldx%lldx%lld", (long long)z.n,
                                     (long long)z.t, (long long)z.h));
}

// With what the library does at a step, of a function's last argument.
static void lstm_end(Function *f, const Node *n, Sizes z, const char *product)
{
    Arena *a = f->e->scratch;
    function_pass(f, arena_printf(a, "{%lld, %lld, %s}", (long long)z.n, (long long)z.t,
                                  node_int(n, A_REVERSE) ? "true" : "false"));
    function_pass(f, product);
    function_end(f, arena_printf(a, "cu_%s<%lld>", op_info[n->op].name, (long long)z.h));
}

void cuda_emit_lstm(Emit *e, const Node *n)
{
    const Node *gates = emit_output(e, n, 1);
    Sizes z = sizes_of(n->inputs[0]->shape);
    long long h = (long long)z.h;
    Function f = lstm_new(e, n, z);
    function_out(&f, "y", n);
    function_out(&f, "gates", gates);
    if (gates)
        function_pass(&f, "NULL");
    else
        function_room(
            &f, "float",
            arena_printf(e->scratch, "%lld * (int64_t)sizeof(float)", (long long)z.n * 4 * h));
    function_in(&f, "g", n->inputs[0]);
    function_in(&f, "s0", first_state(n->inputs[2]));
    function_in(&f, "lengths", n->n_inputs > 3 ? n->inputs[3] : NULL);
    function_captured(&f, "w", n->inputs[1]);
    lstm_end(
        &f, n, z,
        arena_printf(e->scratch,
                     "[=](cu_lstm_out sums, cu_lstm_in before, cu_lstm_in input) {\n"
                     "        cu_step_product<%lld, %lld>(s, sums, before, input, w, true, "
                     "%lld);\n    }",
                     4 * h, h, (long long)z.n));
}

void cuda_emit_lstm_grad(Emit *e, const Node *n)
{
    Sizes z = sizes_of(n->shape);
    long long h = (long long)z.h;
    Function f = lstm_new(e, n, z);
    function_out(&f, "dg", n);
    function_out(&f, "ds0", emit_output(e, n, 1));
    function_out(&f, "h", emit_output(e, n, 2));
    function_in(&f, "dy", n->inputs[0]);
    function_in(&f, "gates", n->inputs[1]);
    function_in(&f, "y", n->inputs[2]);
    function_in(&f, "s0", first_state(n->inputs[4]));
    function_in(&f, "lengths", n->n_inputs > 5 ? n->inputs[5] : NULL);
    function_captured(&f, "w", n->inputs[3]);
    lstm_end(&f, n, z,
             arena_printf(e->scratch,
                          "[=](cu_lstm_out back, cu_lstm_in da) {\n"
                          "        cu_step_product<%lld, %lld>(s, back, da, "
                          "cu_lstm_in{back.at, back.apart}, w, false, %lld);\n    }",
                          h, 4 * h, (long long)z.n));
}

// Additive attention
// ----------------------------------------------------------------------------------------------

// "12, 7, 64": queries, keys and features.
static const char *score_sizes(Emit *e, const Node *q, const Node *k, const char *between)
{
    return arena_printf(e->scratch, "%lld%s%lld%s%lld", (long long)q->shape.dim[1], between,
                        (long long)k->shape.dim[1], between, (long long)q->shape.dim[2]);
}

static Function score_new(Emit *e, const Node *n, const Node *q, const Node *k)
{
    return function_new(e, op_info[n->op].name,
                        arena_printf(e->scratch, "%lldx%s", (long long)q->shape.dim[0],
                                     score_sizes(e, q, k, "x")));
}

static void score_end(Function *f, const Node *n, const Node *q, const Node *k)
{
    function_pass_int(f, q->shape.dim[0]);
    function_end(f, arena_printf(f->e->scratch, "cu_%s<%s>", op_info[n->op].name,
                                 score_sizes(f->e, q, k, ", ")));
}

void cuda_emit_additive_score(Emit *e, const Node *n)
{
    const Node *q = n->inputs[0], *k = n->inputs[1];
    Function f = score_new(e, n, q, k);
    function_out(&f, "y", n);
    function_in(&f, "q", q);
    function_in(&f, "k", k);
    function_in(&f, "v", n->inputs[2]);
    score_end(&f, n, q, k);
}

void cuda_emit_additive_score_grad(Emit *e, const Node *n)
{
    const Node *q = n->inputs[1], *k = n->inputs[2];
    int64_t scores = q->shape.dim[0] * q->shape.dim[1] * k->shape.dim[1];
    Function f = score_new(e, n, q, k);
    function_out(&f, "dq", emit_output(e, n, 0));
    function_out(&f, "dk", emit_output(e, n, 1));
    function_out(&f, "dv", emit_output(e, n, 2));
    function_room(&f, "double",
                  arena_printf(e->scratch, "cu_columns<float, %lld>::part_bytes(%lld)",
                               (long long)q->shape.dim[2], (long long)scores));
    function_in(&f, "dy", n->inputs[0]);
    function_in(&f, "q", q);
    function_in(&f, "k", k);
    function_in(&f, "v", n->inputs[3]);
    score_end(&f, n, q, k);
}
