// Batch norm, layer norm, softmax, losses.
#include "codegen/ref/ref.h"

// [n, c, pixels] of an image, or of anything with its channels in dimension 1.
static const char *planes(Emit *e, Shape s)
{
    return arena_printf(e->scratch, "%lld, %lld, %lld", (long long)s.dim[0],
                        (long long)s.dim[1], (long long)shape_product(s, 2, s.rank));
}

static const char *rows(Emit *e, const Node *n)
{
    return arena_printf(e->scratch, "%lld, %lld", (long long)(ref_elements(n) / ref_last(n)),
                        (long long)ref_last(n));
}

// eps stays a double whatever the tensors are.
static const char *real64(Emit *e, const Node *n, AttrKey key)
{
    return emit_double(e, node_real(n, key));
}

// How a call that takes sums over all replicas' micro-batches begins.
static const char *of_round(const Node *n)
{
    return node_int(n, A_REPLICAS) > 1 ? "_round(s, mb, " : "(";
}

void ref_emit_batch_norm(Emit *e, const Node *n)
{
    emit(e, "ref_batch_norm$round$y, $mean, $var, $x, $gamma, $beta, $planes, $eps);\n",
         "round", EMIT_TEXT, of_round(n), "y", EMIT_VALUE, n, "mean", EMIT_VALUE,
         emit_output(e, n, 1), "var", EMIT_VALUE, emit_output(e, n, 2), "x", EMIT_VALUE,
         n->inputs[0], "gamma", EMIT_VALUE, n->inputs[1], "beta", EMIT_VALUE, n->inputs[2],
         "planes", EMIT_TEXT, planes(e, n->shape), "eps", EMIT_TEXT, real64(e, n, A_EPS), NULL);
}

void ref_emit_batch_norm_infer(Emit *e, const Node *n)
{
    emit(e, "ref_batch_norm_infer($y, $x, $gamma, $beta, $mean, $var, $planes, $eps);\n", "y",
         EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "gamma", EMIT_VALUE, n->inputs[1],
         "beta", EMIT_VALUE, n->inputs[2], "mean", EMIT_VALUE, n->inputs[3], "var", EMIT_VALUE,
         n->inputs[4], "planes", EMIT_TEXT, planes(e, n->shape), "eps", EMIT_TEXT,
         real64(e, n, A_EPS), NULL);
}

void ref_emit_batch_norm_grad(Emit *e, const Node *n)
{
    emit(
        e,
        "ref_batch_norm_grad$round$dx, $dgamma, $dbeta, $x, $dy, $gamma, $mean, $var, $planes, "
        "$eps);\n",
        "round", EMIT_TEXT, of_round(n), "dx", EMIT_VALUE, emit_output(e, n, 0), "dgamma",
        EMIT_VALUE, emit_output(e, n, 1), "dbeta", EMIT_VALUE, emit_output(e, n, 2), "x",
        EMIT_VALUE, n->inputs[0], "dy", EMIT_VALUE, n->inputs[1], "gamma", EMIT_VALUE,
        n->inputs[2], "mean", EMIT_VALUE, n->inputs[3], "var", EMIT_VALUE, n->inputs[4],
        "planes", EMIT_TEXT, planes(e, n->shape), "eps", EMIT_TEXT, real64(e, n, A_EPS), NULL);
}

void ref_emit_running_update(Emit *e, const Node *n)
{
    emit(e, "ref_running_update($rm, $rv, $mean, $var, $c, $momentum, $count);\n", "rm",
         EMIT_VALUE, n->inputs[0], "rv", EMIT_VALUE, n->inputs[1], "mean", EMIT_VALUE,
         n->inputs[2], "var", EMIT_VALUE, n->inputs[3], "c", EMIT_INT,
         ref_elements(n->inputs[0]), "momentum", EMIT_TEXT, real64(e, n, A_MOMENTUM), "count",
         EMIT_TEXT, emit_count(e, n), NULL);
}

void ref_emit_layer_norm(Emit *e, const Node *n)
{
    emit(e, "ref_layer_norm($y, $mean, $rstd, $x, $gamma, $beta, $rows, $eps);\n", "y",
         EMIT_VALUE, n, "mean", EMIT_VALUE, emit_output(e, n, 1), "rstd", EMIT_VALUE,
         emit_output(e, n, 2), "x", EMIT_VALUE, n->inputs[0], "gamma", EMIT_VALUE, n->inputs[1],
         "beta", EMIT_VALUE, n->inputs[2], "rows", EMIT_TEXT, rows(e, n), "eps", EMIT_TEXT,
         real64(e, n, A_EPS), NULL);
}

void ref_emit_layer_norm_grad(Emit *e, const Node *n)
{
    emit(e,
         "ref_layer_norm_grad($dx, $dgamma, $dbeta, $x, $dy, $gamma, $mean, $rstd, $rows);\n",
         "dx", EMIT_VALUE, emit_output(e, n, 0), "dgamma", EMIT_VALUE, emit_output(e, n, 1),
         "dbeta", EMIT_VALUE, emit_output(e, n, 2), "x", EMIT_VALUE, n->inputs[0], "dy",
         EMIT_VALUE, n->inputs[1], "gamma", EMIT_VALUE, n->inputs[2], "mean", EMIT_VALUE,
         n->inputs[3], "rstd", EMIT_VALUE, n->inputs[4], "rows", EMIT_TEXT, rows(e, n), NULL);
}

void ref_emit_l2_normalize(Emit *e, const Node *n)
{
    emit(e, "ref_l2_normalize($y, $factor, $x, $rows, $eps);\n", "y", EMIT_VALUE, n, "factor",
         EMIT_VALUE, emit_output(e, n, 1), "x", EMIT_VALUE, n->inputs[0], "rows", EMIT_TEXT,
         rows(e, n), "eps", EMIT_TEXT, real64(e, n, A_EPS), NULL);
}

void ref_emit_l2_normalize_grad(Emit *e, const Node *n)
{
    emit(e, "ref_l2_normalize_grad($dx, $dy, $y, $factor, $rows, $eps);\n", "dx", EMIT_VALUE, n,
         "dy", EMIT_VALUE, n->inputs[0], "y", EMIT_VALUE, n->inputs[1], "factor", EMIT_VALUE,
         n->inputs[2], "rows", EMIT_TEXT, rows(e, n), "eps", EMIT_TEXT, real64(e, n, A_EPS),
         NULL);
}

void ref_emit_softmax(Emit *e, const Node *n)
{
    int rank = n->shape.rank;
    int64_t causal = node_int(n, A_CAUSAL) && rank > 1 ? n->shape.dim[rank - 2] : 0;
    emit(e, "ref_softmax($y, $x, $lengths, $each, $rows, $causal);\n", "y", EMIT_VALUE, n, "x",
         EMIT_VALUE, n->inputs[0], "lengths", EMIT_VALUE, n->n_inputs > 1 ? n->inputs[1] : NULL,
         "each", EMIT_INT, shape_product(n->shape, 1, rank - 1), "rows", EMIT_TEXT, rows(e, n),
         "causal", EMIT_INT, causal, NULL);
}

static const char *heads(Emit *e, const Node *n, const Node *q)
{
    int64_t heads = node_int(n, A_HEADS);
    double rate = node_real(n, A_RATE);
    const char *dropout =
        rate > 0 ? arena_printf(e->scratch, ", .rate = %s, .key = rt_random_key(s, %s, mb)",
                                emit_real(e, rate), emit_stream(e, n))
                 : "";
    return arena_printf(
        e->scratch,
        "&(const ref_heads){.n = %lld, .heads = %lld, .t = %lld, .size = %lld, .scale = "
        "%s%s%s}",
        (long long)q->shape.dim[0], (long long)heads, (long long)q->shape.dim[1],
        (long long)(q->shape.dim[2] / heads), real64(e, n, A_VALUE),
        node_int(n, A_CAUSAL) ? ", .causal = 1" : "", dropout);
}

void ref_emit_attention(Emit *e, const Node *n)
{
    emit(e, "ref_attention($o, $lse, $q, $k, $v, $heads);\n", "o", EMIT_VALUE, n, "lse",
         EMIT_VALUE, emit_output(e, n, 1), "q", EMIT_VALUE, n->inputs[0], "k", EMIT_VALUE,
         n->inputs[1], "v", EMIT_VALUE, n->inputs[2], "heads", EMIT_TEXT,
         heads(e, n, n->inputs[0]), NULL);
}

void ref_emit_attention_grad(Emit *e, const Node *n)
{
    emit(e,
         "ref_attention_grad($dq, $dk, $dv, &(const ref_head_tensors){$dy, $q, $k, $v, $o, "
         "$lse}, $heads);\n",
         "dq", EMIT_VALUE, emit_output(e, n, 0), "dk", EMIT_VALUE, emit_output(e, n, 1), "dv",
         EMIT_VALUE, emit_output(e, n, 2), "dy", EMIT_VALUE, n->inputs[0], "q", EMIT_VALUE,
         n->inputs[1], "k", EMIT_VALUE, n->inputs[2], "v", EMIT_VALUE, n->inputs[3], "o",
         EMIT_VALUE, n->inputs[4], "lse", EMIT_VALUE, n->inputs[5], "heads", EMIT_TEXT,
         heads(e, n, n->inputs[1]), NULL);
}

void ref_emit_mask(Emit *e, const Node *n)
{
    Shape s = n->shape;
    int axis = (int)node_int(n, A_AXIS);
    emit(e, "ref_mask($y, $x, $lengths, $n, $before, $length, $after);\n", "y", EMIT_VALUE, n,
         "x", EMIT_VALUE, n->inputs[0], "lengths", EMIT_VALUE, n->inputs[1], "n", EMIT_INT,
         s.dim[0], "before", EMIT_INT, shape_product(s, 1, axis), "length", EMIT_INT,
         s.dim[axis], "after", EMIT_INT, shape_product(s, axis + 1, s.rank), NULL);
}

void ref_emit_softmax_grad(Emit *e, const Node *n)
{
    emit(e, "ref_softmax_grad($dx, $dy, $y, $rows);\n", "dx", EMIT_VALUE, n, "dy", EMIT_VALUE,
         n->inputs[0], "y", EMIT_VALUE, n->inputs[1], "rows", EMIT_TEXT, rows(e, n), NULL);
}

void ref_emit_cross_entropy(Emit *e, const Node *n)
{
    emit(e, "ref_cross_entropy($loss, $lse, $logits, $labels, $rows, $smoothing);\n", "loss",
         EMIT_VALUE, n, "lse", EMIT_VALUE, emit_output(e, n, 1), "logits", EMIT_VALUE,
         n->inputs[0], "labels", EMIT_VALUE, n->inputs[1], "rows", EMIT_TEXT,
         rows(e, n->inputs[0]), "smoothing", EMIT_TEXT,
         emit_double(e, node_real(n, A_SMOOTHING)), NULL);
}

void ref_emit_cross_entropy_grad(Emit *e, const Node *n)
{
    emit(
        e,
        "ref_cross_entropy_grad($dlogits, $logits, $labels, $lse, $dloss, $rows, $smoothing);\n",
        "dlogits", EMIT_VALUE, n, "logits", EMIT_VALUE, n->inputs[0], "labels", EMIT_VALUE,
        n->inputs[1], "lse", EMIT_VALUE, n->inputs[2], "dloss", EMIT_VALUE, n->inputs[3],
        "rows", EMIT_TEXT, rows(e, n), "smoothing", EMIT_TEXT,
        emit_double(e, node_real(n, A_SMOOTHING)), NULL);
}

void ref_emit_mse(Emit *e, const Node *n)
{
    emit(e, "ref_mse($loss, $x, $t, $n);\n", "loss", EMIT_VALUE, n, "x", EMIT_VALUE,
         n->inputs[0], "t", EMIT_VALUE, n->inputs[1], "n", EMIT_INT, ref_elements(n->inputs[0]),
         NULL);
}

void ref_emit_mse_grad(Emit *e, const Node *n)
{
    emit(e, "ref_mse_grad($dx, $x, $t, $dloss, $n);\n", "dx", EMIT_VALUE, n, "x", EMIT_VALUE,
         n->inputs[0], "t", EMIT_VALUE, n->inputs[1], "dloss", EMIT_VALUE, n->inputs[2], "n",
         EMIT_INT, ref_elements(n), NULL);
}
