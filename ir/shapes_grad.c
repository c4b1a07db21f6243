// The shape rules of gradient ops. Where the result's shape is an attribute, the forward rule
// run on it must give the gradient that came in.
#include "ir/rule.h"

#include <inttypes.h>

static bool rank_is(const Rule *r, const char *what, Shape s, int rank)
{
    if (s.rank == rank)
        return true;
    return rule_wrong(r, NO_INPUT, "%s must have %d dimensions, not %d", what, rank, s.rank);
}

// Every dimension of `small` is 1 or that of `large`, aligned at the end.
static bool broadcasts(Shape small, Shape large)
{
    if (small.rank > large.rank)
        return false;
    for (int i = 1; i <= small.rank; i++) {
        int64_t d = small.dim[small.rank - i];
        if (d != 1 && d != large.dim[large.rank - i])
            return false;
    }
    return true;
}

static bool embedding_grad_fits(const Rule *r, Shape table)
{
    Shape like = rule_in(r, 0).shape;
    if (!rank_is(r, "shape", table, 2))
        return false;
    if (like.rank == MAX_RANK)
        return rule_wrong(r, 0, "%s has too many dimensions", rule_show(r, 0).s);
    like.dim[like.rank++] = table.dim[1];
    return rule_want_shape(r, 1, "gradient", like);
}

// Does a result of this shape go with the inputs?
static bool grad_fits(const Rule *r, Shape s)
{
    Shape first = rule_in(r, 0).shape, y = {0};
    switch ((int)r->n->op) {   // the ops of rule ATTR_SHAPE
    case OP_CONV2D_GRAD_INPUT: // dy, w -> dx
        return rank_is(r, "shape", s, 4) && rule_want_rank(r, 1, "weight", 4) &&
               rule_conv(r, s, rule_in(r, 1).shape, &y) && rule_want_shape(r, 0, "gradient", y);
    case OP_CONV2D_GRAD_WEIGHT: // x, dy -> dw
        return rank_is(r, "shape", s, 4) && rule_want_rank(r, 0, "input", 4) &&
               rule_conv(r, first, s, &y) && rule_want_shape(r, 1, "gradient", y);
    case OP_MAX_POOL2D_GRAD:
        return rank_is(r, "shape", s, 4) && rule_pool(r, s, &y) &&
               rule_want_shape(r, 0, "gradient", y) && rule_want_shape(r, 1, "argmax", y);
    case OP_AVG_POOL2D_GRAD:
        return rank_is(r, "shape", s, 4) && rule_pool(r, s, &y) &&
               rule_want_shape(r, 0, "gradient", y);
    case OP_GLOBAL_AVG_POOL_GRAD:
        return rank_is(r, "shape", s, 4) &&
               rule_want_shape(r, 0, "gradient", (Shape){4, {s.dim[0], s.dim[1], 1, 1}});
    case OP_EMBEDDING_GRAD: return embedding_grad_fits(r, s);
    case OP_SUM_TO:
        return broadcasts(s, first) || rule_wrong(r, 0, "%s cannot be summed to %s",
                                                  rule_show(r, 0).s, type_text(r->out[0]).s);
    }
    BUG("shapes", "%s has rule ATTR_SHAPE, but grad_fits does not know it",
        op_info[r->n->op].name);
}

static bool positive(Shape s)
{
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] <= 0)
            return false;
    return shape_count(s) > 0;
}

bool shape_ATTR_SHAPE(const Rule *r)
{
    const Attr *shape = node_attr(r->n, A_SHAPE);
    int like = r->n->op == OP_EMBEDDING_GRAD ? 1 : 0; // input 0 is the ids
    r->out[0] = type_make(rule_in(r, like).dtype, shape->n, shape->ints);
    if (!positive(r->out[0].shape))
        return rule_wrong(r, NO_INPUT, "shape %s is not possible", type_text(r->out[0]).s);
    return grad_fits(r, r->out[0].shape);
}

bool shape_LINEAR_GRAD_X(const Rule *r)
{
    Type dy = rule_in(r, 0);
    Shape w = rule_in(r, 1).shape;
    int last = dy.shape.rank - 1;
    if (!rule_want_rank(r, 1, "weight", 2))
        return false;
    if (last < 0 || dy.shape.dim[last] != w.dim[0])
        return rule_wrong(r, 0,
                          "the gradient is %s, but the weight %s gives %" PRId64 " features",
                          rule_show(r, 0).s, rule_show(r, 1).s, w.dim[0]);
    r->out[0] = dy;
    r->out[0].shape.dim[last] = w.dim[1];
    return true;
}

bool shape_LINEAR_GRAD_W(const Rule *r)
{
    Type x = rule_in(r, 0);
    Shape like = x.shape, dy = rule_in(r, 1).shape;
    int last = x.shape.rank - 1;
    if (last < 0 || dy.rank != like.rank)
        return rule_wrong(r, 1, "the gradient %s and the input %s must have as many dimensions",
                          rule_show(r, 1).s, rule_show(r, 0).s);
    like.dim[last] = dy.dim[last];
    if (!rule_want_shape(r, 1, "gradient", like))
        return false;
    r->out[0] = type_make(x.dtype, 2, (int64_t[]){dy.dim[last], x.shape.dim[last]});
    return true;
}

bool shape_BIAS_GRAD(const Rule *r)
{
    if (!rule_want_axis(r, 0))
        return false;
    r->out[0] =
        type_vector(rule_in(r, 0).dtype, rule_in(r, 0).shape.dim[node_int(r->n, A_AXIS)]);
    return true;
}

// x, dy, gamma, mean, variance or 1/deviation -> dx, dgamma, dbeta
bool shape_NORM_GRAD(const Rule *r)
{
    Type x = rule_in(r, 0);
    int rank = x.shape.rank;
    bool batch = r->n->op == OP_BATCH_NORM_GRAD;
    if (rank < (batch ? 2 : 1))
        return rule_wrong(r, 0, "the input has too few dimensions, it is %s",
                          rule_show(r, 0).s);
    Type gamma = type_vector(x.dtype, x.shape.dim[batch ? 1 : rank - 1]);
    Type row = batch ? gamma : type_make(x.dtype, rank - 1, x.shape.dim);
    if (!rule_want_shape(r, 1, "gradient", x.shape) ||
        !rule_want_shape(r, 2, "gamma", gamma.shape) ||
        !rule_want_shape(r, 3, "mean", row.shape) ||
        !rule_want_shape(r, 4, batch ? "variance" : "rstd", row.shape))
        return false;
    r->out[0] = x;
    r->out[1] = r->out[2] = gamma;
    return true;
}

bool shape_LSTM_GRAD(const Rule *r)
{
    Type gates = rule_in(r, 1);
    if (!rule_want_rank(r, 1, "tensor of gates", 3))
        return false;
    int64_t n = gates.shape.dim[0], t = gates.shape.dim[1], h = gates.shape.dim[2] / 4;
    Shape y = {3, {n, t, 2 * h}};
    if (!rule_want_shape(r, 0, "gradient", y) || !rule_want_shape(r, 2, "state", y) ||
        !rule_want_shape(r, 3, "weight", (Shape){2, {4 * h, h}}) ||
        !rule_want_state(r, 4, n, h))
        return false;
    if (r->n->n_inputs > 5 && !rule_want_shape(r, 5, "tensor of lengths", (Shape){1, {n}}))
        return false;
    r->out[0] = gates;
    r->out[1] = type_make(gates.dtype, 2, (int64_t[]){n, 2 * h});
    r->out[2] = type_make(gates.dtype, 3, (int64_t[]){n, t, h});
    return true;
}

bool shape_ADDITIVE_GRAD(const Rule *r)
{
    if (!rule_want_rank(r, 1, "query", 3) || !rule_want_rank(r, 2, "key", 3))
        return false;
    Type q = rule_in(r, 1), k = rule_in(r, 2), v = rule_in(r, 3);
    int64_t n = q.shape.dim[0], h = q.shape.dim[2];
    if (!rule_want_shape(r, 0, "gradient", (Shape){3, {n, q.shape.dim[1], k.shape.dim[1]}}) ||
        !rule_want_shape(r, 2, "key", (Shape){3, {n, k.shape.dim[1], h}}) ||
        !rule_want_shape(r, 3, "weight", (Shape){1, {h}}))
        return false;
    r->out[0] = q;
    r->out[1] = k;
    r->out[2] = v;
    return true;
}

// dy, q, k, v, y, lse -> dq, dk, dv
bool shape_ATTENTION_GRAD(const Rule *r)
{
    if (!rule_want_heads(r, 1))
        return false;
    Type q = rule_in(r, 1);
    Shape lse = {3, {q.shape.dim[0], node_int(r->n, A_HEADS), q.shape.dim[1]}};
    r->out[0] = r->out[1] = r->out[2] = q;
    return rule_want_shape(r, 0, "gradient", q.shape) &&
           rule_want_shape(r, 4, "result", q.shape) && rule_want_shape(r, 5, "lse", lse);
}

bool shape_L2_NORM_GRAD(const Rule *r)
{
    Type y = rule_in(r, 1);
    if (y.shape.rank < 1)
        return rule_wrong(r, 1, "the result must be [...,C], but it is %s", rule_show(r, 1).s);
    Shape rows = y.shape;
    rows.rank--;
    r->out[0] = y;
    return rule_want_shape(r, 0, "gradient", y.shape) && rule_want_shape(r, 2, "factor", rows);
}
