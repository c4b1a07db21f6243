// What all layers share: the layer itself, its nodes and parameters.
#include "frontend/clang/layers.h"

#include "base/text.h"

#include <string.h>

bool tensor_of(const BuiltinCall *c, Value v, TensorRecord *t)
{
    if (!v.bits) {
        complain(c->m, c->at, "%s: a tensor is NULL", c->builtin->kind);
        return false;
    }
    uint64_t i = v.bits & ~POINTER_TENSOR;
    if (!(v.bits & POINTER_TENSOR) || i >= (uint64_t)c->m->tensors.n) {
        complain(c->m, c->at, "%s: this is no tensor", c->builtin->kind);
        return false;
    }
    *t = c->m->tensors.items[i];
    return true;
}

static bool find_options(Build *b)
{
    const BuiltinCall *c = b->call;
    if (c->n && c->args[c->n - 1].type->kind == C_RECORD)
        b->options = &c->args[c->n - 1];
    if (!option_given(b, "stagecc_by_name"))
        return true;
    complain(b->m, b->at, "%s: options are given by name, as in .name = \"stem\"",
             c->builtin->kind);
    return false;
}

static bool make_layer(Build *b, const char *name)
{
    Machine *m = b->m;
    if (b->g->layers.n >= MAX_LAYERS) {
        give_up(m, b->at, "the model has more than %d layers", MAX_LAYERS);
        return false;
    }
    if (name ? !layers_claim(m, b->at, name) : false)
        return false;
    if (!name)
        name = layers_name(m, b->call->builtin->stem, b->call->hint);
    b->layer = graph_layer(b->g, name, b->call->builtin->kind, b->at->spot.loc,
                           layers_call(m, m->frame));
    return true;
}

static void begin(Build *b, const BuiltinCall *call)
{
    *b = (Build){.m = call->m, .g = call->m->graph, .at = call->at, .call = call};
}

bool build_begin(Build *b, const BuiltinCall *call)
{
    begin(b, call);
    if (!find_options(b))
        return false;
    return make_layer(b, option_string(b, "name"));
}

bool build_begin_named(Build *b, const BuiltinCall *call, const char *name)
{
    begin(b, call);
    return find_options(b) && make_layer(b, name);
}

bool build_tensor(Build *b, int i, TensorRecord *t)
{
    return tensor_of(b->call, b->call->args[i], t);
}

Node *build_node(Build *b, Op op, Node *const *inputs, int n, const Attr *attrs, int n_attrs)
{
    if (b->at->complained) // an earlier turn of the same loop has said it
        return NULL;
    const char *name = b->layer->name;
    if (b->suffix)
        name = arena_printf(b->g->arena, "%s.%s", name, b->suffix);
    b->suffix = NULL;
    Node *node = graph_add(b->g, op, b->layer, b->at->spot.loc, name,
                           (NodeArgs){inputs, n, attrs, n_attrs});
    if (node->dtype != DTYPE_ERROR)
        return node;
    b->at->complained = true;
    explain(b->m, b->at);
    b->m->stop |= diag_errors() >= MAX_ERRORS;
    return NULL;
}

Value build_result(Build *b, Node *n, bool sample)
{
    if (!n)
        return POISON;
    uint64_t i = (uint64_t)b->m->tensors.n;
    vec_push(b->m->arena, &b->m->tensors, ((TensorRecord){n, sample}));
    return (Value){.type = b->at->type, .bits = POINTER_TENSOR | i};
}

const char *build_type(Build *b, const TensorRecord *t)
{
    return arena_printf(b->m->arena, "%s%s", dtype_name(t->node->dtype),
                        shape_text(b->m->arena, t->node->shape));
}

Value build_wrong(Build *b, const TensorRecord *t, const char *format, ...)
{
    if (b->at->complained || b->m->stop)
        return POISON;
    va_list ap;
    va_start(ap, format);
    const char *message = arena_vprintf(b->m->arena, format, ap);
    va_end(ap);
    b->at->complained = true;
    error_at(b->at->spot.loc, "%s: %s", b->call->builtin->kind, message);
    if (t)
        note_at(t->node->loc, "this tensor was made here, %s", build_type(b, t));
    explain(b->m, b->at);
    b->m->stop |= diag_errors() >= MAX_ERRORS;
    return POISON;
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
        attr_string(A_DTYPE, dtype_name(b->m->options->real)),
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
        attr_string(A_DTYPE, dtype_name(b->m->options->real)),
        attr_string(A_INIT, "constant"),
        attr_real(A_GAIN, value),
    };
    b->suffix = suffix;
    return build_node(b, OP_BUFFER, NULL, 0, attrs, 4);
}
