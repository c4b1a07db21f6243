// Convolution, pooling, matrix products, embeddings.
#include "codegen/ref/ref.h"

void ref_emit_linear(Emit *e, const Node *n)
{
    emit(e, "ref_linear($y, $x, $w, $b, $rows, $in, $out);\n", "y", EMIT_VALUE, n, "x",
         EMIT_VALUE, n->inputs[0], "w", EMIT_VALUE, n->inputs[1], "b", EMIT_VALUE,
         n->n_inputs > 2 ? n->inputs[2] : NULL, "rows", EMIT_INT, ref_elements(n) / ref_last(n),
         "in", EMIT_INT, ref_last(n->inputs[0]), "out", EMIT_INT, ref_last(n), NULL);
}

void ref_emit_linear_grad_input(Emit *e, const Node *n)
{
    const Node *dy = n->inputs[0];
    emit(e, "ref_linear_grad_input($dx, $dy, $w, $rows, $in, $out);\n", "dx", EMIT_VALUE, n,
         "dy", EMIT_VALUE, dy, "w", EMIT_VALUE, n->inputs[1], "rows", EMIT_INT,
         ref_elements(n) / ref_last(n), "in", EMIT_INT, ref_last(n), "out", EMIT_INT,
         ref_last(dy), NULL);
}

void ref_emit_linear_grad_weight(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0], *dy = n->inputs[1];
    emit(e, "ref_linear_grad_weight($dw, $x, $dy, $rows, $in, $out);\n", "dw", EMIT_VALUE, n,
         "x", EMIT_VALUE, x, "dy", EMIT_VALUE, dy, "rows", EMIT_INT,
         ref_elements(x) / ref_last(x), "in", EMIT_INT, ref_last(x), "out", EMIT_INT,
         ref_last(dy), NULL);
}

void ref_emit_matmul(Emit *e, const Node *n)
{
    const Node *a = n->inputs[0];
    int rank = n->shape.rank;
    int64_t ta = node_int(n, A_TRANSPOSE_A), k = a->shape.dim[rank - (ta ? 2 : 1)];
    emit(e, "ref_matmul($y, $a, $b, $batch, $m, $k, $n, $ta, $tb);\n", "y", EMIT_VALUE, n, "a",
         EMIT_VALUE, a, "b", EMIT_VALUE, n->inputs[1], "batch", EMIT_INT,
         shape_product(n->shape, 0, rank - 2), "m", EMIT_INT, n->shape.dim[rank - 2], "k",
         EMIT_INT, k, "n", EMIT_INT, ref_last(n), "ta", EMIT_INT, ta, "tb", EMIT_INT,
         node_int(n, A_TRANSPOSE_B), NULL);
}

void ref_emit_bias_grad(Emit *e, const Node *n)
{
    Shape s = n->inputs[0]->shape;
    int axis = (int)node_int(n, A_AXIS);
    emit(e, "ref_bias_grad($db, $dy, $before, $channels, $after);\n", "db", EMIT_VALUE, n, "dy",
         EMIT_VALUE, n->inputs[0], "before", EMIT_INT, shape_product(s, 0, axis), "channels",
         EMIT_INT, s.dim[axis], "after", EMIT_INT, shape_product(s, axis + 1, s.rank), NULL);
}

void ref_emit_embedding(Emit *e, const Node *n)
{
    const Node *table = n->inputs[1];
    emit(e, "ref_embedding($y, $ids, $table, $n, $rows, $width, $padding);\n", "y", EMIT_VALUE,
         n, "ids", EMIT_VALUE, n->inputs[0], "table", EMIT_VALUE, table, "n", EMIT_INT,
         ref_elements(n->inputs[0]), "rows", EMIT_INT, table->shape.dim[0], "width", EMIT_INT,
         table->shape.dim[1], "padding", EMIT_INT, node_int(n, A_PADDING_INDEX), NULL);
}

void ref_emit_embedding_grad(Emit *e, const Node *n)
{
    emit(e, "ref_embedding_grad($dtable, $ids, $dy, $n, $rows, $width, $padding);\n", "dtable",
         EMIT_VALUE, n, "ids", EMIT_VALUE, n->inputs[0], "dy", EMIT_VALUE, n->inputs[1], "n",
         EMIT_INT, ref_elements(n->inputs[0]), "rows", EMIT_INT, n->shape.dim[0], "width",
         EMIT_INT, n->shape.dim[1], "padding", EMIT_INT, node_int(n, A_PADDING_INDEX), NULL);
}

// Windows
// ----------------------------------------------------------------------------------------------

static const char *pair(Emit *e, const int64_t *v)
{
    return arena_printf(e->scratch, "{%lld, %lld}", v ? (long long)v[0] : 1,
                        v ? (long long)v[1] : 1);
}

// The sizes of a sliding window as a literal. x and y: shapes of image and result.
static const char *window(Emit *e, const Node *n, Shape x, Shape y, const int64_t *kernel)
{
    const int64_t *pad = node_ints(n, A_PADDING);
    bool average = n->op == OP_AVG_POOL2D || n->op == OP_AVG_POOL2D_GRAD;
    return arena_printf(
        e->scratch,
        "&(const ref_window){.n = %lld, .c = %lld, .h = %lld, .w = %lld, .k = %lld, .p = %lld, "
        ".q = %lld, .r = %lld, .s = %lld, .stride = %s, .dilation = %s, .top = %lld, "
        ".left = %lld, .bottom = %lld, .right = %lld, .groups = %lld%s}",
        (long long)x.dim[0], (long long)x.dim[1], (long long)x.dim[2], (long long)x.dim[3],
        (long long)y.dim[1], (long long)y.dim[2], (long long)y.dim[3], (long long)kernel[0],
        (long long)kernel[1], pair(e, node_ints(n, A_STRIDE)),
        pair(e, node_ints(n, A_DILATION)), (long long)pad[0], (long long)pad[1],
        (long long)pad[2], (long long)pad[3], (long long)node_int(n, A_GROUPS),
        average && node_int(n, A_COUNT_INCLUDE_PAD) ? ", .count_include_pad = 1" : "");
}

void ref_emit_conv2d(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0], *w = n->inputs[1];
    emit(e, "ref_conv2d($y, $x, $w, $b, $window);\n", "y", EMIT_VALUE, n, "x", EMIT_VALUE, x,
         "w", EMIT_VALUE, w, "b", EMIT_VALUE, n->n_inputs > 2 ? n->inputs[2] : NULL, "window",
         EMIT_TEXT, window(e, n, x->shape, n->shape, w->shape.dim + 2), NULL);
}

void ref_emit_conv2d_grad_input(Emit *e, const Node *n)
{
    const Node *dy = n->inputs[0], *w = n->inputs[1];
    emit(e, "ref_conv2d_grad_input($dx, $dy, $w, $window);\n", "dx", EMIT_VALUE, n, "dy",
         EMIT_VALUE, dy, "w", EMIT_VALUE, w, "window", EMIT_TEXT,
         window(e, n, n->shape, dy->shape, w->shape.dim + 2), NULL);
}

void ref_emit_conv2d_grad_weight(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0], *dy = n->inputs[1];
    emit(e, "ref_conv2d_grad_weight($dw, $x, $dy, $window);\n", "dw", EMIT_VALUE, n, "x",
         EMIT_VALUE, x, "dy", EMIT_VALUE, dy, "window", EMIT_TEXT,
         window(e, n, x->shape, dy->shape, n->shape.dim + 2), NULL);
}

void ref_emit_max_pool2d(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    emit(e, "ref_max_pool2d($y, $argmax, $x, $window);\n", "y", EMIT_VALUE, n, "argmax",
         EMIT_VALUE, emit_output(e, n, 1), "x", EMIT_VALUE, x, "window", EMIT_TEXT,
         window(e, n, x->shape, n->shape, node_ints(n, A_KERNEL)), NULL);
}

void ref_emit_max_pool2d_grad(Emit *e, const Node *n)
{
    const Node *dy = n->inputs[0];
    emit(e, "ref_max_pool2d_grad($dx, $dy, $argmax, $window);\n", "dx", EMIT_VALUE, n, "dy",
         EMIT_VALUE, dy, "argmax", EMIT_VALUE, n->inputs[1], "window", EMIT_TEXT,
         window(e, n, n->shape, dy->shape, node_ints(n, A_KERNEL)), NULL);
}

void ref_emit_avg_pool2d(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    emit(e, "ref_avg_pool2d($y, $x, $window);\n", "y", EMIT_VALUE, n, "x", EMIT_VALUE, x,
         "window", EMIT_TEXT, window(e, n, x->shape, n->shape, node_ints(n, A_KERNEL)), NULL);
}

void ref_emit_avg_pool2d_grad(Emit *e, const Node *n)
{
    const Node *dy = n->inputs[0];
    emit(e, "ref_avg_pool2d_grad($dx, $dy, $window);\n", "dx", EMIT_VALUE, n, "dy", EMIT_VALUE,
         dy, "window", EMIT_TEXT, window(e, n, n->shape, dy->shape, node_ints(n, A_KERNEL)),
         NULL);
}

static void global_pool(Emit *e, const Node *n, const char *function, Shape x)
{
    emit(e, "$f($y, $x, $planes, $pixels);\n", "f", EMIT_TEXT, function, "y", EMIT_VALUE, n,
         "x", EMIT_VALUE, n->inputs[0], "planes", EMIT_INT, x.dim[0] * x.dim[1], "pixels",
         EMIT_INT, x.dim[2] * x.dim[3], NULL);
}

void ref_emit_global_avg_pool(Emit *e, const Node *n)
{
    global_pool(e, n, "ref_global_avg_pool", n->inputs[0]->shape);
}

void ref_emit_global_avg_pool_grad(Emit *e, const Node *n)
{
    global_pool(e, n, "ref_global_avg_pool_grad", n->shape);
}
