// Recurrence and attention: layers of several nodes.
#include "frontend/layers/layers.h"

#include <math.h>

// An LSTM of one layer (Hochreiter and Schmidhuber 1997). Names, order of gates, both biases and their
// initial values are PyTorch's.
typedef struct Lstm {
    Build *b;
    Tensor x;
    int64_t hidden;
    bool reverse;
    Node *lengths, *state; // state: before the first step; both NULL: none
} Lstm;

static Init within(int64_t hidden)
{
    return (Init){"uniform", 1 / sqrt((double)hidden), false};
}

static Node *parameter(const Lstm *l, const char *name, const char *way, Shape shape)
{
    bool bias = name[0] == 'b';
    Init init = option_init(l->b, bias ? "bias_init" : "init", within(l->hidden));
    return build_parameter(l->b, arena_printf(l->b->g->arena, "%s_l0%s", name, way), shape,
                           init);
}

static Node *node(const Lstm *l, const char *name, const char *way, Op op, Node *const *inputs,
                  int n)
{
    l->b->suffix = arena_printf(l->b->g->arena, "%s%s", name, way);
    return build_node(l->b, op, inputs, n, NULL, 0);
}

// The input's part of all gates, [N,T,4 hidden].
static Node *gates(const Lstm *l, const char *way)
{
    Shape x = l->x.node->shape;
    Node *bias[2], *in[3] = {l->x.node, parameter(l, "weight_ih", way,
                                                  (Shape){2, {4 * l->hidden, x.dim[2]}})};
    int n = 2;
    if (option_int(l->b, "bias", true)) {
        bias[0] = parameter(l, "bias_ih", way, (Shape){1, {4 * l->hidden}});
        bias[1] = parameter(l, "bias_hh", way, (Shape){1, {4 * l->hidden}});
        in[n++] = bias[0] && bias[1] ? node(l, "bias", way, OP_ADD, bias, 2) : NULL;
    }
    return in[1] && in[n - 1] ? node(l, "gates", way, OP_LINEAR, in, n) : NULL;
}

static Node *zeros(const Lstm *l, const char *way)
{
    Attr attrs[] = {attr_shape((Shape){0}),
                    attr_string(A_DTYPE, dtype_name(l->b->call->draft->options->real)),
                    attr_real(A_VALUE, 0)};
    l->b->suffix = arena_printf(l->b->g->arena, "zeros%s", way);
    return build_node(l->b, OP_CONSTANT, NULL, 0, attrs, 3);
}

// h beside c, [N,T,2 hidden]; way ends the names, "_reverse" for the second of two.
static Node *states(const Lstm *l, const char *way)
{
    Attr reverse = attr_int(A_REVERSE, l->reverse);
    Node *in[4] = {gates(l, way)};
    in[1] =
        in[0] ? parameter(l, "weight_hh", way, (Shape){2, {4 * l->hidden, l->hidden}}) : NULL;
    in[2] = in[1] && !l->state ? zeros(l, way) : l->state;
    in[3] = l->lengths;
    l->b->suffix = arena_printf(l->b->g->arena, "states%s", way);
    return in[1] && in[2] ? build_node(l->b, OP_LSTM, in, l->lengths ? 4 : 3, &reverse, 1)
                          : NULL;
}

// h alone.
static Node *outputs(const Lstm *l, const char *way)
{
    Node *s = states(l, way);
    Attr attrs[] = {attr_int(A_AXIS, 2), attr_int(A_BEGIN, 0), attr_int(A_LENGTH, l->hidden)};
    l->b->suffix = arena_printf(l->b->g->arena, "h%s", way);
    return s ? build_node(l->b, OP_SLICE, &s, 1, attrs, 3) : NULL;
}

static bool lstm_begin(Lstm *l, Build *b, const LayerCall *c)
{
    Tensor lengths = {0}, state = {0};
    *l = (Lstm){.b = b, .hidden = c->args[1].i};
    if (!build_begin(b, c) || !build_tensor(b, 0, &l->x))
        return false;
    if (l->hidden < 1 || l->hidden > INT32_MAX) {
        build_wrong(b, NULL, "%lld features: one is the least", (long long)l->hidden);
        return false;
    }
    if (l->x.node->shape.rank != 3) {
        build_wrong(b, &l->x, "the input must be [N,T,features], but it is %s",
                    build_type(b, &l->x));
        return false;
    }
    option_tensor(b, "lengths", &lengths);
    option_tensor(b, "state", &state);
    l->reverse = option_int(b, "reverse", 0) != 0;
    l->lengths = lengths.node;
    l->state = state.node;
    return true;
}

// What lies behind a sample's length is zero.
static Tensor lstm_result(const Lstm *l, Node *y)
{
    Node *in[] = {y, l->lengths};
    Attr axis = attr_int(A_AXIS, 1);
    if (y && l->lengths)
        y = build_node(l->b, OP_MASK, in, 2, &axis, 1);
    return build_result(y, l->x.sample);
}

Tensor layer_lstm(const LayerCall *c)
{
    Build b;
    Lstm l;
    if (!lstm_begin(&l, &b, c))
        return NO_TENSOR;
    if (!option_int(&b, "bidirectional", 0))
        return lstm_result(&l, outputs(&l, ""));
    if (l.reverse || l.state)
        return build_wrong(&b, NULL,
                           "it goes both ways: .reverse and .state are for one, and two lstm() "
                           "with a concat() are the same");
    Attr axis = attr_int(A_AXIS, 2);
    Node *both[2] = {outputs(&l, "")};
    l.reverse = true;
    both[1] = both[0] ? outputs(&l, "_reverse") : NULL;
    b.suffix = "both";
    return lstm_result(&l, both[1] ? build_node(&b, OP_CONCAT, both, 2, &axis, 1) : NULL);
}

Tensor layer_lstm_states(const LayerCall *c)
{
    Build b;
    Lstm l;
    if (!lstm_begin(&l, &b, c))
        return NO_TENSOR;
    return build_result(states(&l, ""), l.x.sample);
}

// Additive attention
// -------------------------------------------------------------------------------------------

static Node *projected(Build *b, const Tensor *x, const char *name, int64_t units, Node *bias)
{
    int64_t features = x->node->shape.dim[x->node->shape.rank - 1];
    Node *in[] = {x->node,
                  build_parameter(b, arena_printf(b->g->arena, "%s.weight", name),
                                  (Shape){2, {units, features}},
                                  option_init(b, "init", within(features))),
                  bias};
    b->suffix = name;
    return in[1] ? build_node(b, OP_LINEAR, in, bias ? 3 : 2, NULL, 0) : NULL;
}

// v, and with .normalize v / |v| times a number that is trained.
static Node *score_weight(Build *b, int64_t units)
{
    Node *v = build_parameter(b, "linear_att", (Shape){1, {units}}, within(units));
    if (!v || !option_int(b, "normalize", 0))
        return v;
    Attr eps = attr_real(A_EPS, 1e-12);
    b->suffix = "direction";
    Node *in[] = {build_node(b, OP_L2_NORMALIZE, &v, 1, &eps, 1),
                  build_parameter(b, "normalize_scalar", (Shape){1, {1}},
                                  (Init){"constant", 1 / sqrt((double)units), false})};
    b->suffix = "scaled";
    return in[0] && in[1] ? build_node(b, OP_MUL, in, 2, NULL, 0) : NULL;
}

// Bahdanau, Cho and Bengio 2015; names and the normalised form are those of GNMT.
Tensor layer_additive_scores(const LayerCall *c)
{
    Build b;
    Tensor query, key;
    int64_t units = c->args[2].i;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &query) || !build_tensor(&b, 1, &key))
        return NO_TENSOR;
    if (units < 1 || units > INT32_MAX)
        return build_wrong(&b, NULL, "%lld units: one is the least", (long long)units);
    if (query.node->shape.rank != 3 || key.node->shape.rank != 3)
        return build_wrong(&b, query.node->shape.rank != 3 ? &query : &key,
                           "queries and keys must be [N,T,features], but they are %s and %s",
                           build_type(&b, &query), build_type(&b, &key));
    Node *bias = NULL;
    if (option_int(&b, "normalize", 0) &&
        !(bias = build_parameter(&b, "normalize_bias", (Shape){1, {units}},
                                 (Init){"constant", 0, false})))
        return NO_TENSOR;
    Node *in[3] = {projected(&b, &query, "linear_q", units, bias)};
    in[1] = in[0] ? projected(&b, &key, "linear_k", units, NULL) : NULL;
    in[2] = in[1] ? score_weight(&b, units) : NULL;
    return build_result(in[2] ? build_node(&b, OP_ADDITIVE_SCORE, in, 3, NULL, 0) : NULL,
                        query.sample);
}
