// The shape rules of forward ops (conv and pool sizes are in ir/window.c, gradients in
// ir/shapes_grad.c) and the entry that runs them. A rule is found by its name in ops.def.
#include "ir/shapes.h"

#include "ir/codec.h"
#include "ir/rule.h"

#include <inttypes.h>
#include <string.h>

#define MAX_BYTES (INT64_C(1) << 62)

static ShapeRule *const shape_rule[N_OPS] = {
#define OP(ID, name, in_min, in_max, out, shape, ...) [OP_##ID] = shape_##shape,
#include "ir/ops.def"
};

static bool sizes_fit(const Rule *r, Type t)
{
    for (int i = 0; i < t.shape.rank; i++)
        if (t.shape.dim[i] <= 0)
            return rule_wrong(r, NO_INPUT, "the result %s has a dimension of %" PRId64,
                              type_text(t).s, t.shape.dim[i]);
    int64_t count = shape_count(t.shape);
    if (count < 0 || count > MAX_BYTES / dtype_bytes(t.dtype))
        return rule_wrong(r, NO_INPUT, "the result %s has more bytes than can be counted",
                          type_text(t).s);
    return true;
}

// Rules give outputs the type of an input; in bf16 the table knows better.
static void settle_bf16(const Rule *r)
{
    for (int i = 0; i < op_info[r->n->op].outputs && rule_is_bf16(r); i++) {
        BF16Form form = op_bf16_output(r->n->op, i);
        if (form != FORM_ANY && dtype_is_float(r->out[i].dtype))
            r->out[i].dtype = form == FORM_BF16 ? BF16 : F32;
    }
}

static bool run(const Rule *r)
{
    memset(r->out, 0, sizeof *r->out * MAX_OUTPUTS);
    if (!rule_prepared(r) || !shape_rule[r->n->op](r))
        return false;
    settle_bf16(r);
    for (int i = 0; i < op_info[r->n->op].outputs; i++)
        if (!sizes_fit(r, r->out[i]))
            return false;
    return true;
}

bool shapes_infer(const Node *n, Type out[MAX_OUTPUTS])
{
    return run(&(Rule){n, out, NULL});
}

bool shapes_check(const Node *n, Type out[MAX_OUTPUTS], Text *why)
{
    return run(&(Rule){n, out, why});
}

bool shape_ATTRS(const Rule *r)
{
    const Attr *shape = node_attr(r->n, A_SHAPE);
    r->out[0] = type_make(dtype_parse(node_string(r->n, A_DTYPE)), shape->n, shape->ints);
    return true;
}

bool shape_CAST(const Rule *r)
{
    DType to = dtype_parse(node_string(r->n, A_DTYPE));
    if (!dtype_is_float(to))
        return rule_wrong(r, NO_INPUT, "it makes f32 or bf16, not %s", dtype_name(to));
    r->out[0] = (Type){to, rule_in(r, 0).shape};
    return true;
}

bool shape_RESULT(const Rule *r)
{
    const Node *of = r->n->inputs[0];
    int64_t index = node_int(r->n, A_INDEX);
    if (index >= op_info[of->op].outputs) // so `of` is no result itself
        return rule_wrong(r, 0, "%s has no output %" PRId64, op_info[of->op].name, index);
    Type types[MAX_OUTPUTS];
    if (!run(&(Rule){of, types, r->why}))
        return false;
    r->out[0] = types[index];
    return true;
}

bool shape_LINEAR(const Rule *r)
{
    Shape x = rule_in(r, 0).shape, w = rule_in(r, 1).shape;
    if (!rule_want_rank(r, 1, "weight", 2))
        return false;
    if (x.rank < 1 || x.dim[x.rank - 1] != w.dim[1])
        return rule_wrong(r, 0,
                          "the input is %s, but the weight %s wants %" PRId64
                          " features in its last dimension",
                          rule_show(r, 0).s, rule_show(r, 1).s, w.dim[1]);
    if (r->n->n_inputs > 2 && !rule_want_shape(r, 2, "bias", (Shape){1, {w.dim[0]}}))
        return false;
    r->out[0] = rule_in(r, 0);
    r->out[0].shape.dim[x.rank - 1] = w.dim[0];
    return true;
}

bool shape_MATMUL(const Rule *r)
{
    Shape a = rule_in(r, 0).shape, b = rule_in(r, 1).shape;
    int rank = a.rank;
    if (rank < 2 || b.rank != rank)
        return rule_wrong(r, 1, "%s and %s must have the same number of dimensions, 2 or more",
                          rule_show(r, 0).s, rule_show(r, 1).s);
    for (int i = 0; i < rank - 2; i++)
        if (a.dim[i] != b.dim[i])
            return rule_wrong(r, 1, "%s and %s differ in dimension %d", rule_show(r, 0).s,
                              rule_show(r, 1).s, i);
    bool ta = node_int(r->n, A_TRANSPOSE_A), tb = node_int(r->n, A_TRANSPOSE_B);
    int64_t inner_a = a.dim[rank - 1 - ta], inner_b = b.dim[rank - 2 + tb];
    if (inner_a != inner_b)
        return rule_wrong(r, 1, "%s%s times %s%s: %" PRId64 " columns meet %" PRId64 " rows",
                          rule_show(r, 0).s, ta ? " transposed" : "", rule_show(r, 1).s,
                          tb ? " transposed" : "", inner_a, inner_b);
    r->out[0] = rule_in(r, 0);
    r->out[0].shape.dim[rank - 2] = a.dim[rank - 2 + ta];
    r->out[0].shape.dim[rank - 1] = b.dim[rank - 1 - tb];
    return true;
}

bool shape_EMBEDDING(const Rule *r)
{
    Shape ids = rule_in(r, 0).shape;
    if (!rule_want_rank(r, 1, "table", 2))
        return false;
    if (ids.rank == MAX_RANK)
        return rule_wrong(r, 0, "the result of %s would have more than %d dimensions",
                          rule_show(r, 0).s, MAX_RANK);
    r->out[0] = (Type){rule_in(r, 1).dtype, ids};
    r->out[0].shape.dim[r->out[0].shape.rank++] = rule_in(r, 1).shape.dim[1];
    return true;
}

bool shape_LSTM(const Rule *r)
{
    Type g = rule_in(r, 0);
    if (!rule_want_rank(r, 0, "tensor of gates", 3))
        return false;
    int64_t n = g.shape.dim[0], t = g.shape.dim[1], h = g.shape.dim[2] / 4;
    if (g.shape.dim[2] % 4)
        return rule_wrong(r, 0, "%s are no four gates: %" PRId64 " is no multiple of 4",
                          rule_show(r, 0).s, g.shape.dim[2]);
    if (!rule_want_shape(r, 1, "weight", (Shape){2, {4 * h, h}}) ||
        !rule_want_state(r, 2, n, h))
        return false;
    if (r->n->n_inputs > 3 && !rule_want_shape(r, 3, "tensor of lengths", (Shape){1, {n}}))
        return false;
    r->out[0] = type_make(g.dtype, 3, (int64_t[]){n, t, 2 * h});
    r->out[1] = g;
    return true;
}

bool shape_ADDITIVE_SCORE(const Rule *r)
{
    Type q = rule_in(r, 0);
    if (!rule_want_rank(r, 0, "query", 3) || !rule_want_rank(r, 1, "key", 3))
        return false;
    Shape k = rule_in(r, 1).shape, like = {3, {q.shape.dim[0], k.dim[1], q.shape.dim[2]}};
    if (!rule_want_shape(r, 1, "key", like) ||
        !rule_want_shape(r, 2, "weight", (Shape){1, {q.shape.dim[2]}}))
        return false;
    r->out[0] = type_make(q.dtype, 3, (int64_t[]){q.shape.dim[0], q.shape.dim[1], k.dim[1]});
    return true;
}

bool shape_ATTENTION(const Rule *r)
{
    if (!rule_want_heads(r, 0))
        return false;
    Type q = rule_in(r, 0);
    r->out[0] = q;
    r->out[1] = type_make(q.dtype, 3,
                          (int64_t[]){q.shape.dim[0], node_int(r->n, A_HEADS), q.shape.dim[1]});
    return true;
}

bool shape_L2_NORMALIZE(const Rule *r)
{
    Type x = rule_in(r, 0);
    if (x.shape.rank < 1)
        return rule_wrong(r, 0, "the input must be [...,C], but it is %s", rule_show(r, 0).s);
    r->out[0] = x;
    r->out[1] = type_make(x.dtype, x.shape.rank - 1, x.shape.dim);
    return true;
}

// Inputs from..to of a normalisation are vectors with one element a channel.
static bool want_channels(const Rule *r, int from, int to, int64_t channels)
{
    static const char *const role[] = {"input", "gamma", "beta", "mean", "variance"};
    for (int i = from; i <= to; i++)
        if (!rule_want_shape(r, i, role[i], (Shape){1, {channels}}))
            return false;
    return true;
}

bool shape_BATCH_NORM(const Rule *r)
{
    Type x = rule_in(r, 0);
    if (x.shape.rank < 2)
        return rule_wrong(r, 0, "the input must be [N,C,...], but it is %s", rule_show(r, 0).s);
    if (!want_channels(r, 1, 2, x.shape.dim[1]))
        return false;
    if (shape_count(x.shape) == x.shape.dim[1]) // as PyTorch: there is no unbiased variance
        return rule_wrong(r, 0, "more than one value a channel is needed, but the input is %s",
                          rule_show(r, 0).s);
    r->out[0] = x;
    r->out[1] = r->out[2] = type_vector(x.dtype, x.shape.dim[1]);
    return true;
}

bool shape_LAYER_NORM(const Rule *r)
{
    Type x = rule_in(r, 0);
    if (x.shape.rank < 1)
        return rule_wrong(r, 0, "the input must be [...,C], but it is %s", rule_show(r, 0).s);
    if (!want_channels(r, 1, 2, x.shape.dim[x.shape.rank - 1]))
        return false;
    r->out[0] = x;
    r->out[1] = r->out[2] = type_make(x.dtype, x.shape.rank - 1, x.shape.dim);
    return true;
}

bool shape_BROADCAST(const Rule *r)
{
    Shape a = rule_in(r, 0).shape, b = rule_in(r, 1).shape;
    bool fits = b.rank <= a.rank;
    for (int i = 1; fits && i <= b.rank; i++) {
        int64_t d = b.dim[b.rank - i];
        fits = d == 1 || d == a.dim[a.rank - i];
    }
    if (!fits)
        return rule_wrong(r, 1,
                          "%s does not broadcast to %s: aligned at the end, every dimension "
                          "must be equal or 1",
                          rule_show(r, 1).s, rule_show(r, 0).s);
    r->out[0] = rule_in(r, 0);
    return true;
}

bool shape_CONCAT(const Rule *r)
{
    if (!rule_want_axis(r, 0))
        return false;
    Type y = rule_in(r, 0);
    int axis = (int)node_int(r->n, A_AXIS);
    for (int i = 1; i < r->n->n_inputs; i++) {
        Shape x = rule_in(r, i).shape, like = y.shape;
        bool fits = x.rank == like.rank;
        for (int d = 0; fits && d < x.rank; d++)
            fits = d == axis || x.dim[d] == like.dim[d];
        if (!fits)
            return rule_wrong(r, i,
                              "%s does not join %s along axis %d: all other dimensions must "
                              "be equal",
                              rule_show(r, i).s, rule_show(r, 0).s, axis);
        if (__builtin_add_overflow(y.shape.dim[axis], x.dim[axis], &y.shape.dim[axis]))
            return rule_wrong(r, i, "axis %d gets too long", axis);
    }
    r->out[0] = y;
    return true;
}

bool shape_SLICE(const Rule *r)
{
    if (!rule_want_axis(r, 0))
        return false;
    int64_t axis = node_int(r->n, A_AXIS), begin = node_int(r->n, A_BEGIN),
            length = node_int(r->n, A_LENGTH), size = rule_in(r, 0).shape.dim[axis];
    if (length > size - begin)
        return rule_wrong(r, 0,
                          "%" PRId64 " elements from %" PRId64 " on reach beyond axis %" PRId64
                          " of %s",
                          length, begin, axis, rule_show(r, 0).s);
    r->out[0] = rule_in(r, 0);
    r->out[0].shape.dim[axis] = length;
    return true;
}

bool shape_PAD(const Rule *r)
{
    if (!rule_want_axis(r, 0))
        return false;
    int64_t axis = node_int(r->n, A_AXIS), begin = node_int(r->n, A_BEGIN),
            length = node_int(r->n, A_LENGTH), size = rule_in(r, 0).shape.dim[axis];
    if (begin > length || size > length - begin)
        return rule_wrong(r, 0,
                          "%s does not fit into %" PRId64 " elements of axis %" PRId64
                          " from %" PRId64 " on",
                          rule_show(r, 0).s, length, axis, begin);
    r->out[0] = rule_in(r, 0);
    r->out[0].shape.dim[axis] = length;
    return true;
}

bool shape_RESHAPE(const Rule *r)
{
    const Attr *want = node_attr(r->n, A_SHAPE);
    Type y = type_make(rule_in(r, 0).dtype, want->n, want->ints);
    int64_t count = shape_count(rule_in(r, 0).shape);
    int open = -1;
    for (int i = 0; i < want->n; i++) {
        if (want->ints[i] == -1 && open < 0)
            y.shape.dim[open = i] = 1;
        else if (want->ints[i] <= 0)
            return rule_wrong(r, NO_INPUT,
                              "dimension %d is %" PRId64 ": one may be -1, the others "
                              "must be positive",
                              i, want->ints[i]);
    }
    int64_t known = shape_count(y.shape);
    if (open >= 0 && known > 0 && count % known == 0)
        y.shape.dim[open] = count / known;
    if (shape_count(y.shape) != count)
        return rule_wrong(r, 0, "%s has %" PRId64 " elements, which do not make %s",
                          rule_show(r, 0).s, count,
                          type_text(type_make(y.dtype, want->n, want->ints)).s);
    r->out[0] = y;
    return true;
}

bool shape_ENCODED(const Rule *r)
{
    const Codec *codec = codec_find(node_string(r->n, A_CODEC));
    r->out[0] = type_vector(U8, codec_bytes(codec, shape_count(rule_in(r, 0).shape)));
    return true;
}

bool shape_DECODED(const Rule *r)
{
    const Codec *codec = codec_find(node_string(r->n, A_CODEC));
    const Attr *want = node_attr(r->n, A_SHAPE);
    Type y = type_make(dtype_parse(node_string(r->n, A_DTYPE)), want->n, want->ints);
    if (!dtype_is_float(y.dtype))
        return rule_wrong(r, NO_INPUT, "the result must be floating-point, but it is %s",
                          type_text(y).s);
    if (!sizes_fit(r, y))
        return false;
    int64_t bytes = codec_bytes(codec, shape_count(y.shape));
    r->out[0] = y;
    if (rule_in(r, 0).dtype != U8)
        return rule_wrong(r, 0, "the message must be u8, but it is %s", rule_show(r, 0).s);
    return rule_want_shape(r, 0, "message", (Shape){1, {bytes}});
}

bool shape_TRANSPOSE(const Rule *r)
{
    const Attr *perm = node_attr(r->n, A_PERM);
    Type x = rule_in(r, 0), y = x;
    int seen = 0;
    for (int i = 0; i < perm->n; i++)
        seen |= 1 << perm->ints[i];
    if (perm->n != x.shape.rank || seen != (1 << perm->n) - 1)
        return rule_wrong(r, 0, "perm is not a permutation of the dimensions of %s",
                          rule_show(r, 0).s);
    for (int i = 0; i < perm->n; i++)
        y.shape.dim[i] = x.shape.dim[perm->ints[i]];
    r->out[0] = y;
    return true;
}

bool shape_CROSS_ENTROPY(const Rule *r)
{
    Type x = rule_in(r, 0);
    if (x.shape.rank < 1)
        return rule_wrong(r, 0, "the logits must be [...,classes], but they are %s",
                          rule_show(r, 0).s);
    Type lse = type_make(x.dtype, x.shape.rank - 1, x.shape.dim);
    if (!rule_want_shape(r, 1, "tensor of labels", lse.shape))
        return false;
    r->out[0] = type_scalar(x.dtype);
    r->out[1] = lse;
    return true;
}

bool shape_SCALAR(const Rule *r)
{
    if (!rule_want_shape(r, 1, "target", rule_in(r, 0).shape))
        return false;
    r->out[0] = type_scalar(rule_in(r, 0).dtype);
    return true;
}

// Softmax and mask, which may know how long each sample is.
static bool masked_fits(const Rule *r, Shape x)
{
    bool lengths = r->n->n_inputs > 1, mask = r->n->op == OP_MASK;
    int64_t axis = mask ? node_int(r->n, A_AXIS) : x.rank - 1;
    if (!mask && x.rank < 1 + (int)node_int(r->n, A_CAUSAL))
        return rule_wrong(r, 0, "the input has too few dimensions, it is %s",
                          rule_show(r, 0).s);
    if (lengths && (axis < 1 || axis >= x.rank))
        return rule_wrong(r, 0, "samples of %s have no lengths along axis %" PRId64,
                          rule_show(r, 0).s, axis);
    return !lengths || rule_want_shape(r, 1, "tensor of lengths", (Shape){1, {x.dim[0]}});
}

// Ops of rule SAME whose further inputs are not simply like the first.
static bool same_exception(const Rule *r, bool *known)
{
    Shape x = rule_in(r, 0).shape, rows = x;
    rows.rank -= rows.rank > 0;
    *known = true;
    if (r->n->op == OP_BATCH_NORM_INFER)
        return x.rank >= 2 ? want_channels(r, 1, 4, x.dim[1])
                           : rule_wrong(r, 0, "the input must be [N,C,...], but it is %s",
                                        rule_show(r, 0).s);
    if (r->n->op == OP_CROSS_ENTROPY_GRAD)
        return rule_want_shape(r, 1, "tensor of labels", rows) &&
               rule_want_shape(r, 2, "lse", rows) &&
               rule_want_rank(r, 3, "gradient of the loss", 0);
    if (r->n->op == OP_MSE_GRAD)
        return rule_want_shape(r, 1, "target", x) &&
               rule_want_rank(r, 2, "gradient of the loss", 0);
    if (r->n->op == OP_SOFTMAX || r->n->op == OP_MASK)
        return masked_fits(r, x);
    *known = false;
    return true;
}

bool shape_SAME(const Rule *r)
{
    bool known;
    if (!same_exception(r, &known))
        return false;
    for (int i = 1; !known && i < r->n->n_inputs; i++)
        if (!shape_equal(rule_in(r, i).shape, rule_in(r, 0).shape))
            return rule_wrong(r, i, "inputs differ in shape: %s and %s", rule_show(r, 0).s,
                              rule_show(r, i).s);
    if (r->n->op == OP_DROPOUT && !rule_want_rate(r))
        return false;
    r->out[0] = rule_in(r, 0);
    return true;
}
