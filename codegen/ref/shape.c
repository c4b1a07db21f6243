// Element-wise ops, broadcasting, and what only moves elements.
#include "codegen/ref/ref.h"

static void unary(Emit *e, const Node *n)
{
    emit(e, "ref_$op($y, $x, $n);\n", "op", EMIT_TEXT, op_info[n->op].name, "y", EMIT_VALUE, n,
         "x", EMIT_VALUE, n->inputs[0], "n", EMIT_INT, ref_elements(n), NULL);
}

static void binary(Emit *e, const Node *n)
{
    emit(e, "ref_$op($y, $a, $b, $n);\n", "op", EMIT_TEXT, op_info[n->op].name, "y", EMIT_VALUE,
         n, "a", EMIT_VALUE, n->inputs[0], "b", EMIT_VALUE, n->inputs[1], "n", EMIT_INT,
         ref_elements(n), NULL);
}

#define ELEMENTWISE(name, form)                                                                \
    void ref_emit_##name(Emit *e, const Node *n)                                               \
    {                                                                                          \
        form(e, n);                                                                            \
    }
ELEMENTWISE(relu, unary)
ELEMENTWISE(relu6, unary)
ELEMENTWISE(gelu, unary)
ELEMENTWISE(gelu_tanh, unary)
ELEMENTWISE(sigmoid, unary)
ELEMENTWISE(tanh, unary)
ELEMENTWISE(cast, unary)
ELEMENTWISE(relu_grad, binary)
ELEMENTWISE(relu6_grad, binary)
ELEMENTWISE(gelu_grad, binary)
ELEMENTWISE(gelu_tanh_grad, binary)
ELEMENTWISE(sigmoid_grad, binary)
ELEMENTWISE(tanh_grad, binary)

void ref_emit_scale(Emit *e, const Node *n)
{
    emit(e, "ref_scale($y, $x, $value, $n);\n", "y", EMIT_VALUE, n, "x", EMIT_VALUE,
         n->inputs[0], "value", EMIT_REAL, node_real(n, A_VALUE), "n", EMIT_INT,
         ref_elements(n), NULL);
}

void ref_emit_dropout(Emit *e, const Node *n)
{
    emit(e, "ref_dropout($y, $x, $rate, rt_random_key(s, $stream, mb), $n);\n", "y", EMIT_VALUE,
         n, "x", EMIT_VALUE, n->inputs[0], "rate", EMIT_REAL, node_real(n, A_RATE), "stream",
         EMIT_TEXT, emit_stream(e, n), "n", EMIT_INT, ref_elements(n), NULL);
}

// Walks
// ----------------------------------------------------------------------------------------------

typedef struct Strides {
    int64_t at[MAX_RANK];
} Strides;

static Strides strides_of(Shape s)
{
    Strides st;
    int64_t step = 1;
    for (int d = s.rank - 1; d >= 0; d--) {
        st.at[d] = step;
        step *= s.dim[d];
    }
    return st;
}

// Strides of s along the dimensions of y, 0 where it repeats; trailing dimensions align.
static Strides repeated(Shape s, Shape y)
{
    Strides own = strides_of(s), st = {{0}};
    for (int d = 0; d < s.rank; d++)
        if (s.dim[d] > 1)
            st.at[d + y.rank - s.rank] = own.at[d];
    return st;
}

static const char *numbers(Emit *e, const int64_t *v, int n)
{
    const char *text = "";
    for (int i = 0; i < n; i++)
        text = arena_printf(e->scratch, "%s%s%lld", text, i ? ", " : "", (long long)v[i]);
    return n ? text : "0";
}

static const char *walk(Emit *e, Shape s, const Strides *a, const Strides *b)
{
    const char *second =
        b ? arena_printf(e->scratch, ", .b = {%s}", numbers(e, b->at, s.rank)) : "";
    return arena_printf(e->scratch, "&(const ref_walk){%d, {%s}, .a = {%s}%s}", s.rank,
                        numbers(e, s.dim, s.rank), numbers(e, a->at, s.rank), second);
}

static void broadcast(Emit *e, const Node *n)
{
    const Node *a = n->inputs[0], *b = n->inputs[1];
    if (shape_equal(a->shape, n->shape) && shape_equal(b->shape, n->shape)) {
        binary(e, n);
        return;
    }
    Strides sa = repeated(a->shape, n->shape), sb = repeated(b->shape, n->shape);
    emit(e, "ref_$op($y, $a, $b, $walk);\n", "op", EMIT_TEXT,
         arena_printf(e->scratch, "%s_broadcast", op_info[n->op].name), "y", EMIT_VALUE, n, "a",
         EMIT_VALUE, a, "b", EMIT_VALUE, b, "walk", EMIT_TEXT, walk(e, n->shape, &sa, &sb),
         NULL);
}
ELEMENTWISE(add, broadcast)
ELEMENTWISE(mul, broadcast)

// The dimensions of x fall into those that y keeps and those that are summed up.
void ref_emit_sum_to(Emit *e, const Node *n)
{
    Shape x = n->inputs[0]->shape, kept = {0}, summed = {0};
    Strides from = strides_of(x), sk = {{0}}, ss = {{0}};
    for (int d = 0; d < x.rank; d++) {
        int own = d - (x.rank - n->shape.rank);
        bool keep = own >= 0 && n->shape.dim[own] == x.dim[d];
        if (keep) {
            sk.at[kept.rank] = from.at[d];
            kept.dim[kept.rank++] = x.dim[d];
        } else {
            ss.at[summed.rank] = from.at[d];
            summed.dim[summed.rank++] = x.dim[d];
        }
    }
    emit(e, "ref_sum_to($y, $x, $kept, $summed);\n", "y", EMIT_VALUE, n, "x", EMIT_VALUE,
         n->inputs[0], "kept", EMIT_TEXT, walk(e, kept, &sk, NULL), "summed", EMIT_TEXT,
         walk(e, summed, &ss, NULL), NULL);
}

void ref_emit_transpose(Emit *e, const Node *n)
{
    const int64_t *perm = node_ints(n, A_PERM);
    Strides from = strides_of(n->inputs[0]->shape), st = {{0}};
    for (int d = 0; d < n->shape.rank; d++)
        st.at[d] = from.at[perm[d]];
    emit(e, "ref_transpose($y, $x, $walk);\n", "y", EMIT_VALUE, n, "x", EMIT_VALUE,
         n->inputs[0], "walk", EMIT_TEXT, walk(e, n->shape, &st, NULL), NULL);
}

// Copies
// ----------------------------------------------------------------------------------------------

typedef struct Rows { // of a tensor cut at `axis`: what one row before the axis holds
    int64_t count, length, inner;
} Rows;

static Rows rows_of(const Node *n, int axis)
{
    int64_t inner = shape_product(n->shape, axis + 1, n->shape.rank);
    return (Rows){shape_product(n->shape, 0, axis), n->shape.dim[axis] * inner, inner};
}

static void copy_rows(Emit *e, const Node *y, int64_t y_at, const Node *x, int64_t x_at,
                      int64_t length)
{
    int axis = (int)node_int(y, A_AXIS);
    Rows to = rows_of(y, axis), from = rows_of(x, axis);
    emit(e, "ref_copy_rows($y + $y_at, $y_row, $x + $x_at, $x_row, $rows, $length);\n", "y",
         EMIT_VALUE, y, "y_at", EMIT_INT, y_at * to.inner, "y_row", EMIT_INT, to.length, "x",
         EMIT_VALUE, x, "x_at", EMIT_INT, x_at * to.inner, "x_row", EMIT_INT, from.length,
         "rows", EMIT_INT, to.count, "length", EMIT_INT, length * to.inner, NULL);
}

void ref_emit_concat(Emit *e, const Node *n)
{
    int64_t at = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        int64_t length = n->inputs[i]->shape.dim[node_int(n, A_AXIS)];
        copy_rows(e, n, at, n->inputs[i], 0, length);
        at += length;
    }
}

void ref_emit_slice(Emit *e, const Node *n)
{
    copy_rows(e, n, 0, n->inputs[0], node_int(n, A_BEGIN), node_int(n, A_LENGTH));
}

void ref_emit_pad(Emit *e, const Node *n)
{
    emit(e, "ref_zero($y, $n);\n", "y", EMIT_VALUE, n, "n", EMIT_INT, ref_elements(n), NULL);
    copy_rows(e, n, node_int(n, A_BEGIN), n->inputs[0], 0,
              n->inputs[0]->shape.dim[node_int(n, A_AXIS)]);
}

void ref_emit_encode(Emit *e, const Node *n)
{
    emit(e, "ref_encode_$codec($message, $x, $n);\n", "codec", EMIT_TEXT,
         node_string(n, A_CODEC), "message", EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "n",
         EMIT_INT, ref_elements(n->inputs[0]), NULL);
}

void ref_emit_decode(Emit *e, const Node *n)
{
    emit(e, "ref_decode_$codec($x, $message, $n);\n", "codec", EMIT_TEXT,
         node_string(n, A_CODEC), "x", EMIT_VALUE, n, "message", EMIT_VALUE, n->inputs[0], "n",
         EMIT_INT, ref_elements(n), NULL);
}

// Channels last is one block of all channels.
void ref_emit_reorder(Emit *e, const Node *n)
{
    Shape s = n->shape;
    bool to = n->layout != LAYOUT_PLAIN;
    Layout blocks = to ? n->layout : n->inputs[0]->layout;
    int64_t block = blocks == LAYOUT_CHANNELS_LAST ? s.dim[1] : e->graph->block;
    emit(e, "ref_reorder($y, $x, $n, $c, $pixels, $block, $to);\n", "y", EMIT_VALUE, n, "x",
         EMIT_VALUE, n->inputs[0], "n", EMIT_INT, s.dim[0], "c", EMIT_INT, s.dim[1], "pixels",
         EMIT_INT, shape_product(s, 2, s.rank), "block", EMIT_INT, block, "to", EMIT_INT,
         (int64_t)to, NULL);
}
