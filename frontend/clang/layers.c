// The table of layers, and those that are one node without parameters.
#include "frontend/clang/layers.h"

#include <string.h>

static Value one_node(const BuiltinCall *c, Op op, int n_inputs, const Attr *attrs, int n_attrs)
{
    Build b;
    TensorRecord t[2];
    Node *inputs[2];
    bool sample = false;
    if (!build_begin(&b, c))
        return POISON;
    for (int i = 0; i < n_inputs; i++) {
        if (!build_tensor(&b, i, &t[i]))
            return POISON;
        inputs[i] = t[i].node;
        sample |= t[i].sample;
    }
    return build_result(&b, build_node(&b, op, inputs, n_inputs, attrs, n_attrs), sample);
}

static Value layer_unary(const BuiltinCall *c)
{
    return one_node(c, op_find(c->builtin->kind), 1, NULL, 0);
}

static Value layer_gelu(const BuiltinCall *c)
{
    Build b = {.m = c->m, .at = c->at, .call = c, .options = &c->args[c->n - 1]};
    return one_node(c, option_int(&b, "tanh_form", 0) ? OP_GELU_TANH : OP_GELU, 1, NULL, 0);
}

static Value layer_softmax(const BuiltinCall *c)
{
    Build b = {.m = c->m, .at = c->at, .call = c, .options = &c->args[c->n - 1]};
    Attr causal = attr_int(A_CAUSAL, option_int(&b, "causal", 0));
    return one_node(c, OP_SOFTMAX, 1, &causal, 1);
}

static Value layer_dropout(const BuiltinCall *c)
{
    Attr attrs[] = {attr_real(A_RATE, c->args[1].real), attr_int(A_STREAM, c->m->dropouts++)};
    return one_node(c, OP_DROPOUT, 1, attrs, 2);
}

static Value layer_scale(const BuiltinCall *c)
{
    Attr value = attr_real(A_VALUE, c->args[1].real);
    return one_node(c, OP_SCALE, 1, &value, 1);
}

// Both orders are the same, and the graph wants the larger tensor first.
static Value layer_symmetric(const BuiltinCall *c)
{
    TensorRecord a, b;
    if (!tensor_of(c, c->args[0], &a) || !tensor_of(c, c->args[1], &b))
        return POISON;
    Shape x = a.node->shape, y = b.node->shape;
    bool swap = y.rank > x.rank || (y.rank == x.rank && shape_count(y) > shape_count(x));
    Value args[3] = {c->args[swap], c->args[!swap], c->args[c->n - 1]};
    BuiltinCall call = *c;
    call.args = args;
    return one_node(&call, op_find(c->builtin->kind), 2, NULL, 0);
}

static Value layer_matmul(const BuiltinCall *c)
{
    Build b = {.m = c->m, .at = c->at, .call = c, .options = &c->args[c->n - 1]};
    Attr attrs[] = {attr_int(A_TRANSPOSE_A, option_int(&b, "transpose_a", 0)),
                    attr_int(A_TRANSPOSE_B, option_int(&b, "transpose_b", 0))};
    return one_node(c, OP_MATMUL, 2, attrs, 2);
}

static Value layer_mean_loss(const BuiltinCall *c) // a scalar, no batch any more
{
    Value v = one_node(c, op_find(c->builtin->kind), 2, NULL, 0);
    if (v.type)
        c->m->tensors.items[v.bits & ~POINTER_TENSOR].sample = false;
    return v;
}

#define LAYER(kind, stem, run)                                                                 \
    {                                                                                          \
        "stagecc_" #kind, run, #kind, #stem,                                                   \
        {                                                                                      \
            NULL                                                                               \
        }                                                                                      \
    }
#define QUERY(kind)                                                                            \
    {                                                                                          \
#kind, query_##kind, #kind, #kind,                                                     \
        {                                                                                      \
            NULL                                                                               \
        }                                                                                      \
    }
static const Builtin table[] = {
    LAYER(input, input, layer_input),
    LAYER(target, target, layer_target),
    LAYER(parameter, parameter, layer_parameter),
    LAYER(conv2d, conv, layer_conv2d),
    LAYER(linear, linear, layer_linear),
    LAYER(matmul, matmul, layer_matmul),
    LAYER(embedding, embedding, layer_embedding),
    LAYER(batch_norm, batch_norm, layer_batch_norm),
    LAYER(layer_norm, layer_norm, layer_layer_norm),
    LAYER(max_pool2d, max_pool, layer_max_pool2d),
    LAYER(avg_pool2d, avg_pool, layer_avg_pool2d),
    LAYER(global_avg_pool, global_avg_pool, layer_unary),
    LAYER(relu, relu, layer_unary),
    LAYER(gelu, gelu, layer_gelu),
    LAYER(sigmoid, sigmoid, layer_unary),
    LAYER(tanh, tanh, layer_unary),
    LAYER(softmax, softmax, layer_softmax),
    LAYER(dropout, dropout, layer_dropout),
    LAYER(add, add, layer_symmetric),
    LAYER(mul, mul, layer_symmetric),
    LAYER(scale, scale, layer_scale),
    LAYER(concat, concat, layer_concat),
    LAYER(concat_list, concat, layer_concat_list),
    LAYER(slice, slice, layer_slice),
    LAYER(flatten, flatten, layer_flatten),
    LAYER(reshape, reshape, layer_reshape),
    LAYER(transpose, transpose, layer_transpose),
    LAYER(cross_entropy, cross_entropy, layer_mean_loss),
    LAYER(mse, mse, layer_mean_loss),
    LAYER(loss, loss, layer_loss),
    LAYER(output, output, layer_output),
    QUERY(dim),
    QUERY(rank),
    QUERY(channels),
    QUERY(height),
    QUERY(width),
    QUERY(features),
};

const Builtin *layer_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
