// Calls of library kernels, by the rows of the program's table (codegen/kernels.h). The head of a group makes what the
// library computes with it; where that is stored beside what it is of, the call has one tensor more.
//
// Gradients of weights are as large as the weights. Where nobody but the accumulator wants one, it goes
// right there: a step's first micro-batch writes it, and products add the others. A convolution cannot
// add, so the others take the way through memory of their own.
#include "codegen/heavy.h"
#include "codegen/kernels.h"

// Sums are no tensor of their own.
static const Node *made(const Emit *e, const Node *n)
{
    const Node *with = emit_with_head(e, n);
    return with && node_is(with, 'E') ? with : n;
}

static void convolution(Emit *e, const Node *n, const char *call)
{
    emit(e, call, "kernel", EMIT_TEXT, kernels_name(e, n), "a", EMIT_VALUE, n->inputs[0], "b",
         EMIT_VALUE, n->inputs[1], "bias", EMIT_VALUE, n->n_inputs > 2 ? n->inputs[2] : NULL,
         "y", EMIT_VALUE, made(e, n), NULL);
}

void emit_conv2d(Emit *e, const Node *n)
{
    const Node *with = emit_with_head(e, n);
    convolution(e, n,
                with && with->op == OP_BATCH_NORM
                    ? "const float *sums = rt_conv2d_sums(s, $kernel, $a, $b, $y);\n"
                    : "rt_conv2d(s, $kernel, $a, $b, $bias, $y);\n");
}

void emit_conv2d_grad_input(Emit *e, const Node *n)
{
    convolution(e, n, "rt_conv2d_grad_input(s, $kernel, $a, $b, $y);\n");
}

static void product(Emit *e, const Node *n, const Node *a, const Node *b, const Node *bias)
{
    const Node *y = made(e, n);
    bool both = y != n && emit_stored(e, n);
    emit(e,
         both ? "rt_matmul_aux(s, $kernel, $a, $b, $bias, $c, $aux);\n"
              : "rt_matmul(s, $kernel, $a, $b, $bias, $c);\n",
         "kernel", EMIT_TEXT, kernels_name(e, n), "a", EMIT_VALUE, a, "b", EMIT_VALUE, b,
         "bias", EMIT_VALUE, bias, "c", EMIT_VALUE, y, "aux", EMIT_VALUE, both ? n : NULL,
         NULL);
}

void emit_linear(Emit *e, const Node *n)
{
    product(e, n, n->inputs[0], n->inputs[1], n->n_inputs > 2 ? n->inputs[2] : NULL);
}

void emit_linear_grad_input(Emit *e, const Node *n)
{
    product(e, n, n->inputs[0], n->inputs[1], NULL);
}

void emit_matmul(Emit *e, const Node *n)
{
    product(e, n, n->inputs[0], n->inputs[1], NULL);
}

// Gradients of weights
// ----------------------------------------------------------------------------------------------

static bool reads(const Node *n, const Node *value)
{
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] == value)
            return true;
    return false;
}

// Both are of one layer, so they stand in one routine however the model is cut.
const Node *emit_destination(const Emit *e, const Node *grad)
{
    const Node *sum = NULL;
    for (int i = 0; i < e->graph->nodes.n; i++) {
        const Node *n = e->graph->nodes.items[i];
        if (!reads(n, grad))
            continue;
        if (sum || n->op != OP_ACCUMULATE || n->layer != grad->layer)
            return NULL;
        sum = n->inputs[0];
    }
    return sum;
}

GradSum emit_grad_sum(const Emit *e, const Node *grad)
{
    bool adds = grad->op == OP_LINEAR_GRAD_WEIGHT || grad->op == OP_EMBEDDING_GRAD;
    if ((!adds && grad->op != OP_CONV2D_GRAD_WEIGHT) || !emit_destination(e, grad))
        return GRAD_SUM_NOTHING;
    return adds || e->plan->options.micro_batches == 1 ? GRAD_SUM_ALL : GRAD_SUM_FIRST;
}

void emit_linear_grad_weight(Emit *e, const Node *n)
{
    const Node *sum = emit_destination(e, n);
    const char *kernel = kernels_name(e, n);
    if (sum && e->plan->options.micro_batches > 1)
        kernel = arena_printf(e->scratch, "%s ? %s : %s", emit_is_first(e), kernel,
                              kernels_adding(e, n));
    emit(e, "rt_matmul(s, $kernel, $a, $b, NULL, $c);\n", "kernel", EMIT_TEXT, kernel, "a",
         EMIT_VALUE, n->inputs[1], "b", EMIT_VALUE, n->inputs[0], "c", EMIT_VALUE,
         sum ? sum : n, NULL);
}

void emit_conv2d_grad_weight(Emit *e, const Node *n)
{
    const Node *sum = emit_destination(e, n);
    const char *to = sum ? emit_value(e, sum) : emit_value(e, n);
    if (emit_grad_sum(e, n) == GRAD_SUM_FIRST)
        to = arena_printf(e->scratch, "%s ? %s : %s", emit_is_first(e), to, emit_value(e, n));
    emit(e, "rt_conv2d_grad_weight(s, $kernel, $x, $dy, $dw);\n", "kernel", EMIT_TEXT,
         kernels_name(e, n), "x", EMIT_VALUE, n->inputs[0], "dy", EMIT_VALUE, n->inputs[1],
         "dw", EMIT_TEXT, to, NULL);
}
