// Layers with parameters.
#include "frontend/layers/layers.h"

#include <math.h>

// PyTorch's kaiming_uniform(a = sqrt(5)): uniform within 1/sqrt(fan in).
static Init usual_weight(void)
{
    return (Init){"kaiming_uniform", sqrt(1.0 / 3), false};
}

static Init usual_bias(int64_t fan_in)
{
    return (Init){"uniform", fan_in > 0 ? 1 / sqrt((double)fan_in) : 0, false};
}

// The layer's own weight, or the parameter that `.weight` brings.
static Node *weight_of(Build *b, Shape shape, Init fallback)
{
    Tensor own;
    if (!option_given(b, "weight"))
        return build_parameter(b, "weight", shape, option_init(b, "init", fallback));
    if (!option_tensor(b, "weight", &own))
        return NULL;
    if (own.node->op == OP_PARAM && shape_equal(own.node->shape, shape))
        return own.node;
    build_wrong(b, &own, ".weight must be a parameter of shape %s, but it is %s",
                shape_text(b->g->arena, shape), build_type(b, &own));
    return NULL;
}

static bool bias_of(Build *b, int64_t n, int64_t fan_in, Node *inputs[3], int *n_inputs)
{
    if (!option_int(b, "bias", true))
        return true;
    Init init = option_init(b, "bias_init", usual_bias(fan_in));
    inputs[2] = build_parameter(b, "bias", (Shape){1, {n}}, init);
    *n_inputs = 3;
    return inputs[2] != NULL;
}

static bool positive(Build *b, const char *what, int64_t n)
{
    if (n > 0)
        return true;
    build_wrong(b, NULL, "%lld %s: one is the least", (long long)n, what);
    return false;
}

// Above, left, below, right.
static bool option_padding(const Build *b, int64_t out[4])
{
    static const int64_t zero[] = {0, 0};
    return option_pair(b, "padding", zero, 0, out) &&
           option_pair(b, "padding_end", out, 0, out + 2);
}

Tensor layer_conv2d(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t kernel[2], stride[2], padding[4], dilation[2], k = c->args[1].i;
    static const int64_t one[] = {1, 1};
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    if (x.node->shape.rank != 4)
        return build_wrong(&b, &x, "the input must be [N,C,H,W], but it is %s",
                           build_type(&b, &x));
    if (!positive(&b, "channels", k) || !option_pair(&b, "kernel", NULL, 1, kernel) ||
        !option_pair(&b, "stride", one, 1, stride) || !option_padding(&b, padding) ||
        !option_pair(&b, "dilation", one, 1, dilation))
        return NO_TENSOR;
    int64_t groups = option_int(&b, "groups", 1), in = x.node->shape.dim[1];
    if (!positive(&b, "groups", groups))
        return NO_TENSOR;
    if (in % groups || k % groups)
        return build_wrong(
            &b, &x,
            "groups = %lld must divide the channels of the input (%lld) and of the result (%lld)",
            (long long)groups, (long long)in, (long long)k);
    Shape shape = {4, {k, in / groups, kernel[0], kernel[1]}};
    Node *inputs[3] = {x.node, weight_of(&b, shape, usual_weight())};
    int n = 2;
    if (!inputs[1] || !bias_of(&b, k, in / groups * kernel[0] * kernel[1], inputs, &n))
        return NO_TENSOR;
    Attr attrs[] = {attr_ints(A_STRIDE, 2, stride), attr_ints(A_PADDING, 4, padding),
                    attr_ints(A_DILATION, 2, dilation), attr_int(A_GROUPS, groups)};
    return build_result(build_node(&b, OP_CONV2D, inputs, n, attrs, 4), x.sample);
}

Tensor layer_linear(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t out = c->args[1].i;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x) || !positive(&b, "features", out))
        return NO_TENSOR;
    if (x.node->shape.rank < 1)
        return build_wrong(&b, &x, "the input must be [...,features], but it is %s",
                           build_type(&b, &x));
    int64_t in = x.node->shape.dim[x.node->shape.rank - 1];
    Node *inputs[3] = {x.node, weight_of(&b, (Shape){2, {out, in}}, usual_weight())};
    int n = 2;
    if (!inputs[1] || !bias_of(&b, out, in, inputs, &n))
        return NO_TENSOR;
    return build_result(build_node(&b, OP_LINEAR, inputs, n, NULL, 0), x.sample);
}

Tensor layer_embedding(const LayerCall *c)
{
    Build b;
    Tensor ids;
    int64_t entries = c->args[1].i, size = c->args[2].i;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &ids) ||
        !positive(&b, "entries", entries) || !positive(&b, "features", size))
        return NO_TENSOR;
    Node *table = weight_of(&b, (Shape){2, {entries, size}}, (Init){"normal", 1, false});
    if (!table)
        return NO_TENSOR;
    int64_t padding = option_int(&b, "padding_index", -1);
    bool some = option_given(&b, "padding_index");
    if (some && (padding < 0 || padding >= entries))
        return build_wrong(&b, NULL, ".padding_index = %lld is none of the %lld entries",
                           (long long)padding, (long long)entries);
    Node *inputs[] = {ids.node, table};
    Attr attr = attr_int(A_PADDING_INDEX, padding);
    return build_result(build_node(&b, OP_EMBEDDING, inputs, 2, &attr, some), ids.sample);
}

// Scale and shift of a normalisation, n each: inputs[1] and inputs[2].
static bool affine(Build *b, int64_t n, Node *inputs[3])
{
    Shape shape = {1, {n}};
    inputs[1] = build_parameter(b, "weight", shape,
                                option_init(b, "init", (Init){"constant", 1, false}));
    inputs[2] = build_parameter(b, "bias", shape,
                                option_init(b, "bias_init", (Init){"constant", 0, false}));
    return inputs[1] && inputs[2];
}

static bool running_statistics(Build *b, Node *norm, int64_t channels)
{
    Node *mean = build_buffer(b, "running_mean", channels, 0);
    Node *var = build_buffer(b, "running_var", channels, 1);
    if (!mean || !var)
        return false;
    Node *inputs[] = {mean, var, graph_result(b->g, norm, 1), graph_result(b->g, norm, 2)};
    Attr attrs[] = {attr_real(A_MOMENTUM, option_real(b, "momentum", 0.1)),
                    attr_int(A_COUNT, shape_count(norm->shape) / channels)};
    b->suffix = "running_update";
    return build_node(b, OP_RUNNING_UPDATE, inputs, 4, attrs, 2) != NULL;
}

Tensor layer_batch_norm(const LayerCall *c)
{
    Build b;
    Tensor x;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    if (x.node->shape.rank < 2)
        return build_wrong(&b, &x, "the input must be [N,C,...], but it is %s",
                           build_type(&b, &x));
    Node *inputs[3] = {x.node};
    int64_t channels = x.node->shape.dim[1];
    Attr eps = attr_real(A_EPS, option_real(&b, "eps", 1e-5));
    if (!affine(&b, channels, inputs))
        return NO_TENSOR;
    Node *norm = build_node(&b, OP_BATCH_NORM, inputs, 3, &eps, 1);
    if (!norm || !running_statistics(&b, norm, channels))
        return NO_TENSOR;
    return build_result(norm, x.sample);
}

Tensor layer_layer_norm(const LayerCall *c)
{
    Build b;
    Tensor x;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    if (x.node->shape.rank < 1)
        return build_wrong(&b, &x, "the input must be [...,features], but it is %s",
                           build_type(&b, &x));
    Node *inputs[3] = {x.node};
    Attr eps = attr_real(A_EPS, option_real(&b, "eps", 1e-5));
    if (!affine(&b, x.node->shape.dim[x.node->shape.rank - 1], inputs))
        return NO_TENSOR;
    return build_result(build_node(&b, OP_LAYER_NORM, inputs, 3, &eps, 1), x.sample);
}

static bool pool_windows(const Build *b, int64_t kernel[2], int64_t stride[2],
                         int64_t padding[4])
{
    return option_pair(b, "kernel", NULL, 1, kernel) &&
           option_pair(b, "stride", kernel, 1, stride) && option_padding(b, padding);
}

Tensor layer_max_pool2d(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t kernel[2], stride[2], padding[4], dilation[2];
    static const int64_t one[] = {1, 1};
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x) ||
        !pool_windows(&b, kernel, stride, padding) ||
        !option_pair(&b, "dilation", one, 1, dilation))
        return NO_TENSOR;
    Attr attrs[] = {attr_ints(A_KERNEL, 2, kernel), attr_ints(A_STRIDE, 2, stride),
                    attr_ints(A_PADDING, 4, padding), attr_ints(A_DILATION, 2, dilation),
                    attr_int(A_CEIL_MODE, option_int(&b, "ceil_mode", 0))};
    return build_result(build_node(&b, OP_MAX_POOL2D, &x.node, 1, attrs, 5), x.sample);
}

Tensor layer_avg_pool2d(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t kernel[2], stride[2], padding[4];
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x) ||
        !pool_windows(&b, kernel, stride, padding))
        return NO_TENSOR;
    Attr attrs[] = {attr_ints(A_KERNEL, 2, kernel), attr_ints(A_STRIDE, 2, stride),
                    attr_ints(A_PADDING, 4, padding),
                    attr_int(A_CEIL_MODE, option_int(&b, "ceil_mode", 0)),
                    attr_int(A_COUNT_INCLUDE_PAD, option_int(&b, "count_include_pad", 1))};
    return build_result(build_node(&b, OP_AVG_POOL2D, &x.node, 1, attrs, 5), x.sample);
}
