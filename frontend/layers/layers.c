// The table of layers, and those that are one node without parameters.
#include "frontend/layers/layers.h"

#include <string.h>

static Tensor one_node(const LayerCall *c, Op op, int n_inputs, const Attr *attrs, int n_attrs)
{
    Build b;
    Tensor t[2];
    Node *inputs[2];
    bool sample = false;
    if (!build_begin(&b, c))
        return NO_TENSOR;
    for (int i = 0; i < n_inputs; i++) {
        if (!build_tensor(&b, i, &t[i]))
            return NO_TENSOR;
        inputs[i] = t[i].node;
        sample |= t[i].sample;
    }
    return build_result(build_node(&b, op, inputs, n_inputs, attrs, n_attrs), sample);
}

Tensor layer_unary(const LayerCall *c)
{
    return one_node(c, op_find(c->kind->kind), 1, NULL, 0);
}

Tensor layer_gelu(const LayerCall *c)
{
    Build b = {.call = c};
    return one_node(c, option_int(&b, "tanh_form", 0) ? OP_GELU_TANH : OP_GELU, 1, NULL, 0);
}

Tensor layer_softmax(const LayerCall *c)
{
    Build b;
    Tensor x, lengths;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    bool some = option_tensor(&b, "lengths", &lengths);
    Node *inputs[] = {x.node, some ? lengths.node : NULL};
    Attr causal = attr_int(A_CAUSAL, option_int(&b, "causal", 0));
    return build_result(build_node(&b, OP_SOFTMAX, inputs, some ? 2 : 1, &causal, 1), x.sample);
}

Tensor layer_dropout(const LayerCall *c)
{
    Attr attrs[] = {attr_real(A_RATE, c->args[1].real),
                    attr_int(A_STREAM, c->draft->dropouts++)};
    return one_node(c, OP_DROPOUT, 1, attrs, 2);
}

Tensor layer_scale(const LayerCall *c)
{
    Attr value = attr_real(A_VALUE, c->args[1].real);
    return one_node(c, OP_SCALE, 1, &value, 1);
}

// Both orders are the same, and the graph wants the larger tensor first.
Tensor layer_symmetric(const LayerCall *c)
{
    Shape x = c->args[0].tensor.node->shape, y = c->args[1].tensor.node->shape;
    bool swap = y.rank > x.rank || (y.rank == x.rank && shape_count(y) > shape_count(x));
    Arg args[2] = {c->args[swap], c->args[!swap]};
    LayerCall call = *c;
    call.args = args;
    return one_node(&call, op_find(c->kind->kind), 2, NULL, 0);
}

Tensor layer_matmul(const LayerCall *c)
{
    Build b = {.call = c};
    Attr attrs[] = {attr_int(A_TRANSPOSE_A, option_int(&b, "transpose_a", 0)),
                    attr_int(A_TRANSPOSE_B, option_int(&b, "transpose_b", 0))};
    return one_node(c, OP_MATMUL, 2, attrs, 2);
}

// Losses are scalars, with no batch any more.
Tensor layer_cross_entropy(const LayerCall *c)
{
    Build b = {.call = c};
    Attr smoothing = attr_real(A_SMOOTHING, option_real(&b, "smoothing", 0));
    int given = option_given(&b, "smoothing");
    return (Tensor){one_node(c, OP_CROSS_ENTROPY, 2, &smoothing, given).node, false};
}

Tensor layer_mse(const LayerCall *c)
{
    return (Tensor){one_node(c, OP_MSE, 2, NULL, 0).node, false};
}

static const LayerKind table[] = {
#define LAYER(kind, stem, run) {#kind, #stem, layer_##run},
#include "frontend/layers/layers.def"
};

const LayerKind *layer_kind(const char *kind)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].kind, kind))
            return &table[i];
    return NULL;
}

Tensor layer_make(const LayerCall *c)
{
    return c->kind->run(c);
}
