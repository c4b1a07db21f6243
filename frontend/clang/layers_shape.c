// Where tensors come from, layers that move elements, questions about shapes, and what the model is
// for. Dimensions count the batch as number 0; shapes are written without it.
#include "frontend/clang/layers.h"

#include <string.h>

static const char *name_argument(const BuiltinCall *c)
{
    if (c->args[0].bits)
        return string_at(c->m, c->at, c->args[0].bits);
    complain(c->m, c->at, "%s: the name is NULL", c->builtin->kind);
    return NULL;
}

static Value leaf(const BuiltinCall *c, const char *role)
{
    enum { TYPE_F32 = 1, TYPE_I32 };
    Build b;
    const char *name = name_argument(c);
    if (!name || !build_begin_named(&b, c, name))
        return POISON;
    Shape shape = {1, {c->m->options->micro_batch}};
    int64_t dims[MAX_RANK];
    int n = option_dims(&b, dims);
    if (n + 1 > MAX_RANK)
        return build_wrong(&b, NULL, "a tensor has at most %d dimensions, the batch included",
                           MAX_RANK);
    for (int i = 0; i < n; i++) {
        if (dims[i] <= 0)
            return build_wrong(&b, NULL, "dimension %d is %lld", i + 1, (long long)dims[i]);
        shape.dim[shape.rank++] = dims[i];
    }
    uint64_t type = c->args[1].bits;
    if (type != TYPE_F32 && type != TYPE_I32)
        return build_wrong(&b, NULL, "the element type must be F32 or I32");
    Attr attrs[] = {
        attr_shape(shape),
        attr_string(A_DTYPE, type == TYPE_I32 ? "i32" : dtype_name(c->m->options->real)),
        attr_string(A_ROLE, role)};
    return build_result(&b, build_node(&b, OP_INPUT, NULL, 0, attrs, 3), true);
}

Value layer_input(const BuiltinCall *c)
{
    return leaf(c, "sample");
}

Value layer_target(const BuiltinCall *c)
{
    return leaf(c, "target");
}

Value layer_parameter(const BuiltinCall *c)
{
    Build b;
    const char *name = name_argument(c);
    if (!name || !build_begin_named(&b, c, name))
        return POISON;
    Shape shape = {0};
    shape.rank = option_dims(&b, shape.dim);
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] <= 0)
            return build_wrong(&b, NULL, "dimension %d is %lld", i, (long long)shape.dim[i]);
    Init init = option_init(&b, "init", (Init){"normal", 1, false});
    return build_result(&b, build_parameter(&b, NULL, shape, init), false);
}

// A dimension that counts from the end where it is negative; the batch is none to work on.
static bool axis_of(Build *b, const TensorRecord *t, int64_t *axis)
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

static Value join(Build *b, const TensorRecord *t, int n)
{
    Node *inputs[64];
    bool sample = false;
    int64_t axis = option_int(b, "axis", 1);
    for (int i = 0; i < n; i++) {
        inputs[i] = t[i].node;
        sample |= t[i].sample;
    }
    if (!axis_of(b, &t[0], &axis))
        return POISON;
    Attr attr = attr_int(A_AXIS, axis);
    return build_result(b, build_node(b, OP_CONCAT, inputs, n, &attr, 1), sample);
}

Value layer_concat(const BuiltinCall *c)
{
    enum { MOST = 16 };
    Build b;
    Value v[MOST];
    TensorRecord t[MOST];
    if (!build_begin(&b, c))
        return POISON;
    int n = option_values(&b, "tensor", v, MOST);
    if (n < 1)
        return build_wrong(&b, NULL, "there is no tensor to join");
    for (int i = 0; i < n; i++)
        if (!tensor_of(c, v[i], &t[i]))
            return POISON;
    return join(&b, t, n);
}

Value layer_concat_list(const BuiltinCall *c)
{
    enum { MOST = 64 };
    Build b;
    TensorRecord t[MOST];
    int64_t n = (int64_t)c->args[1].bits;
    if (!build_begin(&b, c))
        return POISON;
    if (n < 1 || n > MOST)
        return build_wrong(&b, NULL, "%lld tensors: it takes 1 to %d", (long long)n, MOST);
    const CType *tensor = c->args[0].type->of;
    for (int i = 0; i < (int)n; i++) {
        uint64_t at = c->args[0].bits;
        if (!pointer_move(c->m, c->at, &at, i * tensor->size))
            return POISON;
        Value v = load(c->m, c->at, at, tensor);
        if (!v.type || !tensor_of(c, v, &t[i]))
            return POISON;
    }
    return join(&b, t, (int)n);
}

Value layer_slice(const BuiltinCall *c)
{
    Build b;
    TensorRecord x;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return POISON;
    int64_t axis = option_int(&b, "axis", 1);
    if (!axis_of(&b, &x, &axis))
        return POISON;
    Attr attrs[] = {attr_int(A_AXIS, axis), attr_int(A_BEGIN, (int64_t)c->args[1].bits),
                    attr_int(A_LENGTH, (int64_t)c->args[2].bits)};
    return build_result(&b, build_node(&b, OP_SLICE, &x.node, 1, attrs, 3), x.sample);
}

static Value reshape_to(Build *b, const TensorRecord *x, const int64_t *dims, int n)
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
    return build_result(b, build_node(b, OP_RESHAPE, &x->node, 1, &attr, 1), x->sample);
}

Value layer_reshape(const BuiltinCall *c)
{
    Build b;
    TensorRecord x;
    int64_t dims[MAX_RANK];
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return POISON;
    return reshape_to(&b, &x, dims, option_dims(&b, dims));
}

Value layer_flatten(const BuiltinCall *c)
{
    Build b;
    TensorRecord x;
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return POISON;
    return reshape_to(&b, &x, (int64_t[]){-1}, 1);
}

Value layer_transpose(const BuiltinCall *c)
{
    Build b;
    TensorRecord x;
    int64_t perm[MAX_RANK];
    if (!build_begin(&b, c) || !build_tensor(&b, 0, &x))
        return POISON;
    int n = option_dims(&b, perm);
    if (x.sample && n > 0 && perm[0] != 0)
        return build_wrong(&b, NULL, "dimension 0 is the batch and stays in front");
    if (n != x.node->shape.rank)
        return build_wrong(&b, &x, "%d dimensions are named, but %s has %d", n,
                           build_type(&b, &x), x.node->shape.rank);
    Attr attr = attr_ints(A_PERM, n, perm);
    return build_result(&b, build_node(&b, OP_TRANSPOSE, &x.node, 1, &attr, 1), x.sample);
}

// ---- what the model is for

static Value nothing(const BuiltinCall *c)
{
    return (Value){.type = c->at->type};
}

Value layer_loss(const BuiltinCall *c)
{
    Build b = {.m = c->m, .g = c->m->graph, .at = c->at, .call = c};
    TensorRecord x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    if (x.node->shape.rank)
        return build_wrong(&b, &x, "the loss must be one number, but it is %s",
                           build_type(&b, &x));
    if (c->m->loss_made.file) {
        build_wrong(&b, NULL, "the model has a loss already; add() joins several");
        note_at(c->m->loss_made, "it was given here");
        return POISON;
    }
    c->m->loss_made = c->at->spot.loc;
    c->m->graph->loss = x.node;
    return nothing(c);
}

Value layer_output(const BuiltinCall *c)
{
    Build b = {.m = c->m, .g = c->m->graph, .at = c->at, .call = c};
    TensorRecord x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    if (c->m->output_made.file) {
        build_wrong(&b, NULL, "the model has an output already");
        note_at(c->m->output_made, "it was given here");
        return POISON;
    }
    c->m->output_made = c->at->spot.loc;
    c->m->graph->output = x.node;
    return nothing(c);
}

// ---- questions

static Value dimension(const BuiltinCall *c, int64_t i, int least_rank)
{
    Build b = {.m = c->m, .g = c->m->graph, .at = c->at, .call = c};
    TensorRecord x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    int64_t rank = x.node->shape.rank, at = i < 0 ? i + rank : i;
    if (rank < least_rank)
        return build_wrong(&b, &x, "%d dimensions are needed, but it is %s", least_rank,
                           build_type(&b, &x));
    if (at < 0 || at >= rank)
        return build_wrong(&b, &x, "%s has no dimension %lld", build_type(&b, &x),
                           (long long)i);
    if (at == 0 && x.sample)
        return build_wrong(&b, NULL,
                           "dimension 0 is the batch, which is chosen when compiling");
    return value_integer(c->at->type, (uint64_t)x.node->shape.dim[at]);
}

Value query_dim(const BuiltinCall *c)
{
    return dimension(c, (int64_t)c->args[1].bits, 1);
}

Value query_channels(const BuiltinCall *c)
{
    return dimension(c, 1, 2);
}

Value query_height(const BuiltinCall *c)
{
    return dimension(c, 2, 4);
}

Value query_width(const BuiltinCall *c)
{
    return dimension(c, 3, 4);
}

Value query_features(const BuiltinCall *c)
{
    return dimension(c, -1, 1);
}

Value query_rank(const BuiltinCall *c)
{
    TensorRecord x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    return value_integer(c->at->type, (uint64_t)x.node->shape.rank);
}
