// A call of a layer, as the evaluator has it, becomes a LayerCall (frontend/layers/layers.h). Options
// are the fields of the struct behind the other arguments; a field is given when its bytes were
// written, since what an initialiser leaves out is marked (IMPLICIT). Fields with a number (dim0, tensor3)
// are what users write in order, so they are arguments.
#include "frontend/clang/layers.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

typedef struct Reading {
    const BuiltinCall *c;
    const char *name; // that the model chose; NULL: none
    Arg args[64], options[32];
    int n, n_options;
} Reading;

const char *call_type(const BuiltinCall *c, const Tensor *t)
{
    return arena_printf(c->m->arena, "%s%s", dtype_name(t->node->dtype),
                        shape_text(c->m->arena, t->node->shape));
}

// Behind an error that was reported at the call.
static void said(void *user)
{
    const BuiltinCall *c = user;
    c->at->complained = true;
    explain(c->m, c->at);
    c->m->stop |= diag_errors() >= MAX_ERRORS || c->m->draft.graph->layers.n >= MAX_LAYERS;
}

Value call_wrong(const BuiltinCall *c, const Tensor *t, const char *format, ...)
{
    if (c->at->complained || c->m->stop)
        return POISON;
    va_list ap;
    va_start(ap, format);
    const char *message = arena_vprintf(c->m->arena, format, ap);
    va_end(ap);
    error_at(c->at->spot.loc, "%s: %s", c->builtin->kind, message);
    if (t)
        note_at(t->node->loc, "this tensor was made here, %s", call_type(c, t));
    said((void *)(uintptr_t)c);
    return POISON;
}

bool tensor_of(const BuiltinCall *c, Value v, Tensor *t)
{
    uint64_t i = v.bits & ~POINTER_TENSOR;
    bool is_tensor = v.bits & POINTER_TENSOR && i < (uint64_t)c->m->tensors.n;
    if (is_tensor)
        *t = c->m->tensors.items[i];
    else
        call_wrong(c, NULL, v.bits ? "this is no tensor" : "a tensor is NULL");
    return is_tensor;
}

static bool given(const Value *record, const Field *f)
{
    return memchr(record->shadow + f->offset, SET, (size_t)f->type->size) != NULL;
}

static Value field_value(const BuiltinCall *c, const Value *record, const Field *f)
{
    return load_bytes(c->m, c->at, record->data + f->offset, record->shadow + f->offset,
                      f->type);
}

// `.init = normal(0.02)`. false: nothing was chosen.
static bool read_init(const BuiltinCall *c, const Value *record, Init *init)
{
    static const char *const rules[] = {
        NULL,     "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal",
        "normal", "uniform",         "constant"};
    uint64_t rule = 0;
    *init = (Init){.gain = NAN};
    for (int i = 0; i < record->type->n_fields; i++) {
        const Field *f = &record->type->fields[i];
        if (!given(record, f))
            continue;
        Value v = field_value(c, record, f);
        if (!strcmp(f->name, "rule"))
            rule = v.bits;
        else if (!strcmp(f->name, "gain"))
            init->gain = v.real;
        else
            init->fan_out = v.bits != 0;
    }
    if (!rule || rule >= sizeof rules / sizeof *rules)
        return false;
    init->rule = rules[rule];
    if (isnan(init->gain))
        init->gain = strstr(init->rule, "kaiming") ? sqrt(2) : 1;
    return true;
}

// false: it was reported. *empty: an option with nothing in it (`.weight = NULL`).
static bool read_value(const BuiltinCall *c, Value v, Arg *arg, bool *empty)
{
    *empty = false;
    if (!v.type)
        return false;
    if (v.type->kind == C_RECORD) {
        arg->kind = ARG_INIT;
        *empty = !read_init(c, &v, &arg->init);
    } else if (v.type->is_tensor) {
        arg->kind = ARG_TENSOR;
        *empty = arg->name && !v.bits;
        return *empty || tensor_of(c, v, &arg->tensor);
    } else if (v.type->kind == C_POINTER) {
        arg->kind = ARG_STRING;
        *empty = arg->name && !v.bits;
        if (!v.bits && !*empty)
            return call_wrong(c, NULL, "the name is NULL").type;
        arg->s = *empty ? NULL : string_at(c->m, c->at, v.bits);
        return *empty || arg->s;
    } else if (v.type->kind == C_REAL) {
        *arg = (Arg){arg->name, ARG_REAL, {.real = v.real}};
    } else {
        *arg = (Arg){arg->name, ARG_INT, {.i = (int64_t)v.bits}};
    }
    return true;
}

static bool add_argument(Reading *r, Value v)
{
    bool empty;
    Arg arg = {0};
    if (!read_value(r->c, v, &arg, &empty))
        return false;
    if (arg.kind == ARG_STRING)
        r->name = arg.s;
    CHECK(r->n < (int)(sizeof r->args / sizeof *r->args), "frontend", "too many arguments");
    r->args[r->n++] = arg;
    return true;
}

static bool add_option(Reading *r, const Field *f, Value v)
{
    bool empty;
    Arg arg = {.name = f->name};
    if (!read_value(r->c, v, &arg, &empty))
        return false;
    if (empty)
        return true;
    if (!strcmp(f->name, "name")) {
        r->name = arg.s;
        return true;
    }
    CHECK(r->n_options < (int)(sizeof r->options / sizeof *r->options), "frontend",
          "too many options");
    r->options[r->n_options++] = arg;
    return true;
}

static bool read_record(Reading *r, const Value *record)
{
    bool open = true; // numbered fields end with the first that was not given
    for (int i = 0; i < record->type->n_fields; i++) {
        const Field *f = &record->type->fields[i];
        bool numbered = *f->name && isdigit((unsigned char)f->name[strlen(f->name) - 1]);
        if (!given(record, f)) {
            open &= !numbered;
            continue;
        }
        if (!strcmp(f->name, "stagecc_by_name"))
            return call_wrong(r->c, NULL, "options are given by name, as in .name = \"stem\"")
                .type;
        Value v = field_value(r->c, record, f);
        if (numbered ? open && !add_argument(r, v) : !add_option(r, f, v))
            return false;
    }
    return true;
}

static bool read_call(Reading *r)
{
    const BuiltinCall *c = r->c;
    for (int i = 0; i < c->n; i++) {
        const Value *v = &c->args[i];
        if (!v->type || (v->type->kind == C_RECORD ? !read_record(r, v) : !add_argument(r, *v)))
            return false;
    }
    return !r->name || layers_claim(c->m, c->at, r->name);
}

static Value make(Reading *r)
{
    const BuiltinCall *c = r->c;
    Machine *m = c->m;
    const char *name = r->name ? r->name : layers_name(m, c->builtin->stem, c->hint);
    LayerCall call = {&m->draft,
                      layer_kind(c->builtin->kind),
                      name,
                      c->at->spot.loc,
                      layers_call(m, m->frame),
                      r->args,
                      r->options,
                      r->n,
                      r->n_options,
                      said,
                      (void *)(uintptr_t)c};
    Tensor t = layer_make(&call);
    if (!t.node)
        return POISON;
    vec_push(m->arena, &m->tensors, t);
    return (Value){.type = c->at->type, .bits = POINTER_TENSOR | (uint64_t)(m->tensors.n - 1)};
}

static Value run_layer(const BuiltinCall *c)
{
    Reading r = {.c = c};
    if (c->at->complained || !read_call(&r)) // an earlier turn of the same loop has said it
        return POISON;
    return make(&r);
}

// concat_list(tensors, n): the array's elements are the arguments.
static Value run_list(const BuiltinCall *c)
{
    enum { MOST = sizeof((Reading){0}.args) / sizeof(Arg) };
    Value tensors[MOST + 1];
    int64_t n = (int64_t)c->args[1].bits;
    const CType *tensor = c->args[0].type->of;
    if (n < 1 || n > MOST)
        return call_wrong(c, NULL, "%lld tensors: it takes 1 to %d", (long long)n, MOST);
    for (int i = 0; i < (int)n; i++) {
        uint64_t at = c->args[0].bits;
        if (!pointer_move(c->m, c->at, &at, i * tensor->size))
            return POISON;
        tensors[i] = load(c->m, c->at, at, tensor);
    }
    tensors[n] = c->args[2]; // the options
    BuiltinCall all = *c;
    all.args = tensors;
    all.n = (int)n + 1;
    return run_layer(&all);
}

static const Builtin table[] = {
#define LAYER(kind, stem, run) {"stagecc_" #kind, run_layer, #kind, #stem, {NULL}},
#include "frontend/layers/layers.def"
};

const Builtin *layer_find(const char *name)
{
    static const Builtin list = {
        "stagecc_concat_list", run_list, "concat_list", "concat", {NULL}};
    if (!strcmp(name, list.name))
        return &list;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return question_find(name);
}
