// Layer norm, softmax, losses, running statistics: calls of <stagecc/c_norm.h> and <stagecc/c_loss.h>.
// Batch norm itself is a loop (norm_loops.c).
#include "codegen/c/c.h"

static const char *rows(Emit *e, const Node *n)
{
    return arena_printf(e->scratch, "%lld, %lld", (long long)(c_elements(n) / c_last(n)),
                        (long long)c_last(n));
}

void c_emit_running_update(Emit *e, const Node *n)
{
    emit(e, "c_running_update($rm, $rv, $mean, $var, $c, $momentum, $count);\n", "rm",
         EMIT_VALUE, n->inputs[0], "rv", EMIT_VALUE, n->inputs[1], "mean", EMIT_VALUE,
         n->inputs[2], "var", EMIT_VALUE, n->inputs[3], "c", EMIT_INT, c_elements(n->inputs[0]),
         "momentum", EMIT_TEXT, emit_double(e, node_real(n, A_MOMENTUM)), "count", EMIT_TEXT,
         emit_count(e, n), NULL);
}

void c_emit_layer_norm(Emit *e, const Node *n)
{
    emit(e, "c_layer_norm$form($y, $mean, $rstd, $x, $gamma, $beta, $rows, $eps);\n", "form",
         EMIT_TEXT, c_form(n), "y", EMIT_VALUE, n, "mean", EMIT_VALUE, emit_output(e, n, 1),
         "rstd", EMIT_VALUE, emit_output(e, n, 2), "x", EMIT_VALUE, n->inputs[0], "gamma",
         EMIT_VALUE, n->inputs[1], "beta", EMIT_VALUE, n->inputs[2], "rows", EMIT_TEXT,
         rows(e, n), "eps", EMIT_TEXT, emit_double(e, node_real(n, A_EPS)), NULL);
}

void c_emit_layer_norm_grad(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0], *dy = n->inputs[1], *mean = n->inputs[3],
               *rstd = n->inputs[4];
    const Node *dgamma = emit_output(e, n, 1), *dbeta = emit_output(e, n, 2);
    if (dgamma || dbeta)
        emit(e,
             "c_layer_norm_grad_params$form($dgamma, $dbeta, $dy, $x, $mean, $rstd, $rows);\n",
             "form", EMIT_TEXT, c_form(x), "dgamma", EMIT_VALUE, dgamma, "dbeta", EMIT_VALUE,
             dbeta, "dy", EMIT_VALUE, dy, "x", EMIT_VALUE, x, "mean", EMIT_VALUE, mean, "rstd",
             EMIT_VALUE, rstd, "rows", EMIT_TEXT, rows(e, n), NULL);
    if (emit_output(e, n, 0))
        emit(e, "c_layer_norm_grad$form($dx, $dy, $x, $gamma, $mean, $rstd, $rows);\n", "form",
             EMIT_TEXT, c_form(x), "dx", EMIT_VALUE, n, "dy", EMIT_VALUE, dy, "x", EMIT_VALUE,
             x, "gamma", EMIT_VALUE, n->inputs[2], "mean", EMIT_VALUE, mean, "rstd", EMIT_VALUE,
             rstd, "rows", EMIT_TEXT, rows(e, n), NULL);
}

void c_emit_l2_normalize(Emit *e, const Node *n)
{
    emit(e, "c_l2_normalize($y, $factor, $x, $rows, $eps);\n", "y", EMIT_VALUE, n, "factor",
         EMIT_VALUE, emit_output(e, n, 1), "x", EMIT_VALUE, n->inputs[0], "rows", EMIT_TEXT,
         rows(e, n), "eps", EMIT_TEXT, emit_double(e, node_real(n, A_EPS)), NULL);
}

void c_emit_l2_normalize_grad(Emit *e, const Node *n)
{
    emit(e, "c_l2_normalize_grad($dx, $dy, $y, $factor, $rows, $eps);\n", "dx", EMIT_VALUE, n,
         "dy", EMIT_VALUE, n->inputs[0], "y", EMIT_VALUE, n->inputs[1], "factor", EMIT_VALUE,
         n->inputs[2], "rows", EMIT_TEXT, rows(e, n), "eps", EMIT_TEXT,
         emit_double(e, node_real(n, A_EPS)), NULL);
}

void c_emit_softmax(Emit *e, const Node *n)
{
    int rank = n->shape.rank;
    int64_t causal = node_int(n, A_CAUSAL) && rank > 1 ? n->shape.dim[rank - 2] : 0;
    emit(e, "c_softmax$form($y, $x, $lengths, $each, $rows, $causal);\n", "form", EMIT_TEXT,
         c_form(n), "y", EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "lengths", EMIT_VALUE,
         n->n_inputs > 1 ? n->inputs[1] : NULL, "each", EMIT_INT,
         shape_product(n->shape, 1, rank - 1), "rows", EMIT_TEXT, rows(e, n), "causal",
         EMIT_INT, causal, NULL);
}

void c_emit_mask(Emit *e, const Node *n)
{
    Shape s = n->shape;
    int axis = (int)node_int(n, A_AXIS);
    emit(e, "c_mask$form($y, $x, $lengths, $n, $before, $length, $after);\n", "form", EMIT_TEXT,
         c_form(n), "y", EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "lengths", EMIT_VALUE,
         n->inputs[1], "n", EMIT_INT, s.dim[0], "before", EMIT_INT, shape_product(s, 1, axis),
         "length", EMIT_INT, s.dim[axis], "after", EMIT_INT, shape_product(s, axis + 1, s.rank),
         NULL);
}

void c_emit_softmax_grad(Emit *e, const Node *n)
{
    emit(e, "c_softmax_grad$form($dx, $dy, $y, $rows);\n", "form", EMIT_TEXT, c_form(n), "dx",
         EMIT_VALUE, n, "dy", EMIT_VALUE, n->inputs[0], "y", EMIT_VALUE, n->inputs[1], "rows",
         EMIT_TEXT, rows(e, n), NULL);
}

void c_emit_cross_entropy(Emit *e, const Node *n)
{
    emit(e, "c_cross_entropy$form($loss, $lse, $logits, $labels, $rows, $smoothing);\n", "form",
         EMIT_TEXT, c_form(n->inputs[0]), "loss", EMIT_VALUE, n, "lse", EMIT_VALUE,
         emit_output(e, n, 1), "logits", EMIT_VALUE, n->inputs[0], "labels", EMIT_VALUE,
         n->inputs[1], "rows", EMIT_TEXT, rows(e, n->inputs[0]), "smoothing", EMIT_TEXT,
         emit_double(e, node_real(n, A_SMOOTHING)), NULL);
}

void c_emit_cross_entropy_grad(Emit *e, const Node *n)
{
    emit(
        e,
        "c_cross_entropy_grad$form($dlogits, $logits, $labels, $lse, $dloss, $rows, $smoothing);\n",
        "form", EMIT_TEXT, c_form(n), "dlogits", EMIT_VALUE, n, "logits", EMIT_VALUE,
        n->inputs[0], "labels", EMIT_VALUE, n->inputs[1], "lse", EMIT_VALUE, n->inputs[2],
        "dloss", EMIT_VALUE, n->inputs[3], "rows", EMIT_TEXT, rows(e, n), "smoothing",
        EMIT_TEXT, emit_double(e, node_real(n, A_SMOOTHING)), NULL);
}

void c_emit_mse(Emit *e, const Node *n)
{
    emit(e, "c_mse$form($loss, $x, $t, $n);\n", "form", EMIT_TEXT, c_form(n->inputs[0]), "loss",
         EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "t", EMIT_VALUE, n->inputs[1], "n",
         EMIT_INT, c_elements(n->inputs[0]), NULL);
}

void c_emit_mse_grad(Emit *e, const Node *n)
{
    emit(e, "c_mse_grad$form($dx, $x, $t, $dloss, $n);\n", "form", EMIT_TEXT, c_form(n), "dx",
         EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "t", EMIT_VALUE, n->inputs[1], "dloss",
         EMIT_VALUE, n->inputs[2], "n", EMIT_INT, c_elements(n), NULL);
}
