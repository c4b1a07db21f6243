// Where tensors come from, and layers that move elements. Dimensions count the batch as number 0; shapes
// are written without it.
#include "frontend/layers/layers.h"

// Dimensions of the user's must be there.
static bool append_dims(const Build *b, int first, Shape *shape)
{
    int64_t dims[MAX_RANK];
    int n = argument_dims(b, first, dims);
    if (n < 0)
        return false;
    if (n + shape->rank > MAX_RANK) {
        build_wrong(b, NULL, "a tensor has at most %d dimensions, the batch included",
                    MAX_RANK);
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (dims[i] <= 0) {
            build_wrong(b, NULL, "dimension %d is %lld", shape->rank, (long long)dims[i]);
            return false;
        }
        shape->dim[shape->rank++] = dims[i];
    }
    return true;
}

static Tensor leaf(const LayerCall *c, const char *role)
{
    Build b;
    Shape shape = {1, {c->draft->options->micro_batch}};
    if (!build_begin(&b, c) || !append_dims(&b, 2, &shape))
        return NO_TENSOR;
    int64_t type = c->args[1].i;
    if (type != LAYER_F32 && type != LAYER_I32)
        return build_wrong(&b, NULL, "the element type must be F32 or I32");
    Attr attrs[] = {
        attr_shape(shape),
        attr_string(A_DTYPE, type == LAYER_I32 ? "i32" : dtype_name(c->draft->options->real)),
        attr_string(A_ROLE, role)};
    return build_result(build_node(&b, OP_INPUT, NULL, 0, attrs, 3), true);
}

Tensor layer_input(const LayerCall *c)
{
    return leaf(c, "sample");
}

Tensor layer_target(const LayerCall *c)
{
    return leaf(c, "target");
}

Tensor layer_parameter(const LayerCall *c)
{
    Build b;
    Shape shape = {0};
    if (!build_begin(&b, c) || !append_dims(&b, 1, &shape))
        return NO_TENSOR;
    Init init = option_init(&b, "init", (Init){"normal", 1, false});
    return build_result(build_parameter(&b, NULL, shape, init), false);
}

// A dimension that counts from the end where it is negative; the batch is none to work on.
static bool axis_of(Build *b, const Tensor *t, int64_t *axis)
{
    int64_t given = *axis;
    if (given < 0)
        *axis += t->node->shape.rank;
    if (*axis < 0 || *axis >= t->node->shape.rank) {
        build_wrong(b, t, "axis %lld is no dimension of %s", (long long)given,
                    build_type(b, t));
        return false;
    }
    if (*axis > 0 || !t->sample)
        return true;
    build_wrong(b, NULL, "axis 0 is the batch, which is chosen when compiling");
    return false;
}

Tensor layer_concat(const LayerCall *c)
{
    enum { MOST = 64 };
    Build b;
    Tensor t;
    Node *inputs[MOST];
    bool sample = false;
    if (!build_begin(&b, c))
        return NO_TENSOR;
    if (c->n < 1 || c->n > MOST)
        return build_wrong(&b, NULL, "%d tensors: it takes 1 to %d", c->n, MOST);
    for (int i = 0; i < c->n; i++) {
        if (!build_tensor(&b, i, &t))
            return NO_TENSOR;
        inputs[i] = t.node;
        sample |= t.sample;
    }
    int64_t axis = option_int(&b, "axis", 1);
    if (!axis_of(&b, &c->args[0].tensor, &axis))
        return NO_TENSOR;
    Attr attr = attr_int(A_AXIS, axis);
    return build_result(build_node(&b, OP_CONCAT, inputs, c->n, &attr, 1), sample);
}

Tensor layer_slice(const LayerCall *c)
{
    Build b;
    Tensor x;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    int64_t axis = option_int(&b, "axis", 1);
    if (!axis_of(&b, &x, &axis))
        return NO_TENSOR;
    Attr attrs[] = {attr_int(A_AXIS, axis), attr_int(A_BEGIN, c->args[1].i),
                    attr_int(A_LENGTH, c->args[2].i)};
    return build_result(build_node(&b, OP_SLICE, &x.node, 1, attrs, 3), x.sample);
}

Tensor layer_pad(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t before = c->args[1].i, after = c->args[2].i;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    int64_t axis = option_int(&b, "axis", 1);
    if (!axis_of(&b, &x, &axis))
        return NO_TENSOR;
    int64_t size = x.node->shape.dim[axis];
    if (before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX)
        return build_wrong(&b, NULL,
                           "%lld before and %lld after: zero is the least, %d the most",
                           (long long)before, (long long)after, INT32_MAX);
    Attr attrs[] = {attr_int(A_AXIS, axis), attr_int(A_BEGIN, before),
                    attr_int(A_LENGTH, before + size + after)};
    return build_result(build_node(&b, OP_PAD, &x.node, 1, attrs, 3), x.sample);
}

Tensor layer_mask(const LayerCall *c)
{
    Build b;
    Tensor x, lengths;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x) || !build_tensor(&b, 1, &lengths))
        return NO_TENSOR;
    int64_t axis = option_int(&b, "axis", 1);
    if (!axis_of(&b, &x, &axis))
        return NO_TENSOR;
    Node *inputs[] = {x.node, lengths.node};
    Attr attr = attr_int(A_AXIS, axis);
    return build_result(build_node(&b, OP_MASK, inputs, 2, &attr, 1), x.sample);
}

static Tensor reshape_to(Build *b, const Tensor *x, const int64_t *dims, int n)
{
    Shape shape = {0};
    if (n + x->sample > MAX_RANK)
        return build_wrong(b, NULL, "a tensor has at most %d dimensions, the batch included",
                           MAX_RANK);
    if (x->sample)
        shape.dim[shape.rank++] = x->node->shape.dim[0];
    for (int i = 0; i < n; i++)
        shape.dim[shape.rank++] = dims[i];
    Attr attr = attr_shape(shape);
    return build_result(build_node(b, OP_RESHAPE, &x->node, 1, &attr, 1), x->sample);
}

Tensor layer_reshape(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t dims[MAX_RANK];
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    int n = argument_dims(&b, 1, dims);
    return n < 0 ? NO_TENSOR : reshape_to(&b, &x, dims, n);
}

Tensor layer_flatten(const LayerCall *c)
{
    Build b;
    Tensor x;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    return reshape_to(&b, &x, (int64_t[]){-1}, 1);
}

Tensor layer_transpose(const LayerCall *c)
{
    Build b;
    Tensor x;
    int64_t perm[MAX_RANK];
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return NO_TENSOR;
    int n = argument_dims(&b, 1, perm);
    if (n < 0)
        return NO_TENSOR;
    if (x.sample && n > 0 && perm[0] != 0)
        return build_wrong(&b, NULL, "dimension 0 is the batch and stays in front");
    if (n != x.node->shape.rank)
        return build_wrong(&b, &x, "%d dimensions are named, but %s has %d", n,
                           build_type(&b, &x), x.node->shape.rank);
    Attr attr = attr_ints(A_PERM, n, perm);
    return build_result(build_node(&b, OP_TRANSPOSE, &x.node, 1, &attr, 1), x.sample);
}
