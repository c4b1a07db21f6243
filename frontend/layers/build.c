// What all layers share: the layer itself, its nodes and parameters.
#include "frontend/layers/layers.h"

#include "base/text.h"

#include <stdarg.h>
#include <string.h>

bool build_tensor(Build *b, int i, Tensor *t)
{
    *t = i < b->call->n ? b->call->args[i].tensor : NO_TENSOR;
    return t->node != NULL;
}

static void said(const Build *b)
{
    if (b->call->said)
        b->call->said(b->call->user);
}

Node *build_node(Build *b, Op op, Node *const *inputs, int n, const Attr *attrs, int n_attrs)
{
    const char *name = b->layer->name;
    if (b->suffix)
        name = arena_printf(b->g->arena, "%s.%s", name, b->suffix);
    b->suffix = NULL;
    Node *node = graph_add(b->g, op, b->layer, b->call->loc, name,
                           (NodeArgs){inputs, n, attrs, n_attrs});
    if (node->dtype != DTYPE_ERROR)
        return node;
    said(b);
    return NULL;
}

Tensor build_result(Node *n, bool sample)
{
    return (Tensor){n, sample};
}

const char *build_type(const Build *b, const Tensor *t)
{
    return arena_printf(b->g->arena, "%s%s", dtype_name(t->node->dtype),
                        shape_text(b->g->arena, t->node->shape));
}

Tensor build_wrong(const Build *b, const Tensor *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const char *message = arena_vprintf(b->g->arena, format, ap);
    va_end(ap);
    error_at(b->call->loc, "%s: %s", b->call->kind->kind, message);
    if (t)
        note_at(t->node->loc, "this tensor was made here, %s", build_type(b, t));
    said(b);
    return NO_TENSOR;
}

bool build_begin(Build *b, const LayerCall *call)
{
    *b = (Build){.call = call, .g = call->draft->graph};
    if (b->g->layers.n >= MAX_LAYERS) {
        error_at(call->loc, "the model has more than %d layers", MAX_LAYERS);
        said(b);
        return false;
    }
    b->layer = graph_layer(b->g, call->name, call->kind->kind, call->loc, call->caller);
    return true;
}

// Elements behind the first two dimensions; too many to count: 0.
static int64_t receptive(Shape s)
{
    Shape rest = {0};
    for (int i = 2; i < s.rank; i++)
        rest.dim[rest.rank++] = s.dim[i];
    int64_t n = shape_count(rest);
    return n < 0 ? 0 : n;
}

// As PyTorch: dimension 0 is what leaves, dimension 1 what enters.
static void fans(Shape s, int64_t *in, int64_t *out)
{
    int64_t field = receptive(s), first = s.rank > 0 ? s.dim[0] : 1;
    if (__builtin_mul_overflow(s.rank > 1 ? s.dim[1] : first, field, in) || *in < 0)
        *in = 0;
    if (__builtin_mul_overflow(first, field, out) || *out < 0)
        *out = 0;
}

Node *build_parameter(Build *b, const char *suffix, Shape shape, Init init)
{
    int64_t in, out;
    fans(shape, &in, &out);
    if (init.fan_out)
        in = out;
    bool scaled = str_starts(init.rule, "kaiming") || str_starts(init.rule, "xavier");
    Attr attrs[] = {
        attr_shape(shape),
        attr_string(A_DTYPE, dtype_name(b->call->draft->options->real)),
        attr_string(A_INIT, init.rule),
        attr_real(A_GAIN, init.gain),
        attr_int(A_FAN_IN, in), // these two only where the rule asks for them
        attr_int(A_FAN_OUT, out),
    };
    b->suffix = suffix;
    return build_node(b, OP_PARAM, NULL, 0, attrs, scaled ? 6 : 4);
}

Node *build_buffer(Build *b, const char *suffix, int64_t n, double value)
{
    Attr attrs[] = {
        attr_shape((Shape){1, {n}}),
        attr_string(A_DTYPE, dtype_name(b->call->draft->options->real)),
        attr_string(A_INIT, "constant"),
        attr_real(A_GAIN, value),
    };
    b->suffix = suffix;
    return build_node(b, OP_BUFFER, NULL, 0, attrs, 4);
}
