// Attention as one op. Where nothing is dropped inside, a library's kernel does it, if there is one: a row of the program's
// table, which is settled when the program starts. Else <stagecc/cu_flash.cuh> does, with the random numbers that dropout
// has as an op.
#include "codegen/cuda/cuda.h"

#include "codegen/kernels.h"

typedef struct Heads {
    long long n, heads, t, size;
} Heads;

static Heads heads_of(const Node *n)
{
    const int64_t *q = n->inputs[n->op == OP_ATTENTION_GRAD]->shape.dim;
    int64_t heads = node_int(n, A_HEADS);
    return (Heads){q[0], heads, q[1], q[2] / heads};
}

static bool drops(const Node *n)
{
    return node_real(n, A_RATE) > 0;
}

static Function own_new(Emit *e, const Node *n)
{
    Heads z = heads_of(n);
    return function_new(
        e, op_info[n->op].name,
        arena_printf(e->scratch, "%lldx%lldx%lldx%lld", z.n, z.heads, z.t, z.size));
}

static void own_end(Function *f, const Node *n)
{
    Emit *e = f->e;
    Heads z = heads_of(n);
    const char *dropout = "0, 0, NULL";
    if (drops(n)) {
        function_captured_argument(f, "const rt_now *", "now", "rt_cuda_now(s, mb)");
        function_captured_argument(f, "int64_t ", "stream", emit_stream(e, n));
        dropout =
            arena_printf(e->scratch, "%s, stream, now", emit_real(e, node_real(n, A_RATE)));
    }
    function_pass(f, arena_printf(e->scratch, "{%lld, %lld, %s, %s}", z.n, z.heads,
                                  emit_real(e, node_real(n, A_VALUE)), dropout));
    function_end(f, arena_printf(e->scratch, "cu_%s<%lld, %lld, %s, %s>", op_info[n->op].name,
                                 z.t, z.size, node_int(n, A_CAUSAL) ? "true" : "false",
                                 drops(n) ? "true" : "false"));
}

// Floats of every row of scores, for the time being.
static const char *row_bytes(Emit *e, const Node *n)
{
    Heads z = heads_of(n);
    return arena_printf(e->scratch, "%lld * (int64_t)sizeof(float)", z.n * z.heads * z.t);
}

static void own_forward(Emit *e, const Node *n)
{
    const Node *lse = emit_output(e, n, 1);
    Function f = own_new(e, n);
    function_out(&f, "o", n);
    if (lse)
        function_out(&f, "lse", lse);
    else
        function_room(&f, "float", row_bytes(e, n));
    function_in(&f, "q", n->inputs[0]);
    function_in(&f, "k", n->inputs[1]);
    function_in(&f, "v", n->inputs[2]);
    own_end(&f, n);
}

void cuda_emit_attention(Emit *e, const Node *n)
{
    const Node *lse = emit_output(e, n, 1);
    if (drops(n)) {
        own_forward(e, n);
        return;
    }
    emit(e, "if (!rt_attention(s, $kernel, $q, $k, $v, $o, $lse))\n", "kernel", EMIT_TEXT,
         kernels_name(e, n), "q", EMIT_VALUE, n->inputs[0], "k", EMIT_VALUE, n->inputs[1], "v",
         EMIT_VALUE, n->inputs[2], "o", EMIT_VALUE, n, "lse", EMIT_TEXT,
         lse ? emit_value(e, lse) : "rt_cuda_room(s)", NULL);
    e->indent += 4;
    own_forward(e, n);
    e->indent -= 4;
}

static void own_grad(Emit *e, const Node *n)
{
    Function f = own_new(e, n);
    function_out(&f, "dq", emit_output(e, n, 0));
    function_out(&f, "dk", emit_output(e, n, 1));
    function_out(&f, "dv", emit_output(e, n, 2));
    function_room(&f, "float", row_bytes(e, n));
    function_in(&f, "dy", n->inputs[0]);
    function_in(&f, "q", n->inputs[1]);
    function_in(&f, "k", n->inputs[2]);
    function_in(&f, "v", n->inputs[3]);
    function_in(&f, "o", n->inputs[4]);
    function_in(&f, "lse", n->inputs[5]);
    own_end(&f, n);
}

// The library makes all three gradients.
void cuda_emit_attention_grad(Emit *e, const Node *n)
{
    const Node *dk = emit_output(e, n, 1), *dv = emit_output(e, n, 2);
    if (drops(n) || !emit_output(e, n, 0) || !dk || !dv) {
        own_grad(e, n);
        return;
    }
    emit(e,
         "if (!rt_attention_grad(s, $kernel, &(const rt_attention_tensors){$dy, $q, $k, $v, "
         "$o, $lse, $dq, $dk, $dv}))\n",
         "kernel", EMIT_TEXT, kernels_name(e, n), "dy", EMIT_VALUE, n->inputs[0], "q",
         EMIT_VALUE, n->inputs[1], "k", EMIT_VALUE, n->inputs[2], "v", EMIT_VALUE, n->inputs[3],
         "o", EMIT_VALUE, n->inputs[4], "lse", EMIT_VALUE, n->inputs[5], "dq", EMIT_VALUE, n,
         "dk", EMIT_VALUE, dk, "dv", EMIT_VALUE, dv, NULL);
    e->indent += 4;
    own_grad(e, n);
    e->indent -= 4;
}
