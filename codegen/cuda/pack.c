#include "codegen/cuda/pack.h"

#include <string.h>

static Pack *pack_of(const Chain *c)
{
    return (Pack *)(uintptr_t)c->user;
}

// Tensors
// ----------------------------------------------------------------------------------------------

// Neighbours of a tensor that repeats lie side by side, or are one.
static PackTensor repeating(const Chain *c, const Pack *p, const Node *n)
{
    Emit *e = c->e;
    PackTensor t = {.node = n, .pack = true};
    if (!p->row) {
        t.at = nest_index(e, &p->nest, n->shape);
        t.pack = strstr(t.at, nest_letter(&p->nest, p->nest.n - 1));
        return t;
    }
    int64_t count = shape_count(n->shape);
    bool rows = c->nodes[0]->shape.rank != 4 && count % p->row == 0;
    CHECK(rows || count == 1, "codegen", "%s beside a norm", n->name);
    t.pack = count > 1;
    t.at = t.pack ? arena_printf(e->scratch, "i %% %lld", (long long)count) : "0";
    return t;
}

static PackTensor *input(const Chain *c, const Node *n)
{
    Pack *p = pack_of(c);
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i].node == n) {
            p->in[i].here = true;
            return &p->in[i];
        }
    PackTensor t = shape_equal(n->shape, c->nodes[0]->shape)
                       ? (PackTensor){.node = n, .at = "i", .pack = true}
                       : repeating(c, p, n);
    CHECK(p->n_in < 3 * CHAIN_MAX, "codegen", "a kernel of %d tensors", p->n_in);
    t.name = arena_printf(c->e->scratch, "x%d", p->n_in + 1);
    t.here = true;
    p->in[p->n_in] = t;
    return &p->in[p->n_in++];
}

const char *pack_input(const Chain *c, const Node *n)
{
    return input(c, n)->name;
}

static const char *load(const Chain *c, const Node *n)
{
    const PackTensor *t = input(c, n);
    return arena_printf(c->e->scratch, t->pack ? "%s_pack[p]" : "%s_all", t->name);
}

static const char *place(const Chain *c, const Node *n)
{
    Pack *p = pack_of(c);
    const char *name = arena_printf(c->e->scratch, "y%d", p->n_out + 1);
    p->out[p->n_out++] =
        (PackTensor){.node = n, .name = name, .at = "i", .pack = true, .here = true};
    return arena_printf(c->e->scratch, "%s_pack[p]", name);
}

// Packs are rounded when they are stored.
static const char *stored(Emit *e, const Node *n, const char *value)
{
    (void)e;
    (void)n;
    return value;
}

const Form pack_form = {"c", "i + p", load, place, stored};

void pack_find_inputs(const Chain *c)
{
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->nodes[i]->n_inputs; k++) {
            const Node *x = c->nodes[i]->inputs[k];
            if (chain_member(c, x) < 0 && !emit_number(c->e, x))
                input(c, x);
        }
}

void pack_next(Pack *p)
{
    for (int i = 0; i < p->n_in; i++)
        p->in[i].here = false;
    for (int i = 0; i < p->n_out; i++)
        p->out[i].here = false;
}

// Code
// ----------------------------------------------------------------------------------------------

const char *pack_look(Chain *c, int indent, void (*look)(Chain *c))
{
    Text body = {0}, *out = c->e->out;
    int kept = c->e->indent;
    c->e->out = &body;
    c->e->indent = indent;
    look(c);
    c->e->out = out;
    c->e->indent = kept;
    const char *text = arena_strdup(c->e->scratch, body.data ? body.data : "");
    text_release(&body);
    return text;
}

#define LINE(e, text, ...)                                                                     \
    (text) = line(e, text, indent, arena_printf((e)->scratch, __VA_ARGS__))
static const char *line(Emit *e, const char *text, int indent, const char *more)
{
    return arena_printf(e->scratch, "%s%*s%s\n", text, indent, "", more);
}

// "float x1_pack[4], y1_pack[4];"
static const char *declared(const Chain *c)
{
    const Pack *p = pack_of(c);
    const char *names = "";
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i].here && p->in[i].pack)
            names =
                arena_printf(c->e->scratch, "%s, %s_pack[%s]", names, p->in[i].name, p->width);
    for (int i = 0; i < p->n_out; i++)
        if (p->out[i].here)
            names =
                arena_printf(c->e->scratch, "%s, %s_pack[%s]", names, p->out[i].name, p->width);
    CHECK(*names, "codegen", "a kernel of %s has no tensors", c->nodes[0]->name);
    return arena_printf(c->e->scratch, "float %s;", names + 2);
}

const char *pack_loads(const Chain *c, int indent)
{
    const Pack *p = pack_of(c);
    Emit *e = c->e;
    const char *text = "";
    LINE(e, text, "%s", declared(c));
    for (int i = 0; i < p->n_in; i++) {
        const PackTensor *t = &p->in[i];
        if (!t->here)
            continue;
        if (t->pack)
            LINE(e, text, "cu_load<%s>(%s_pack, %s + %s);", p->width, t->name, t->name, t->at);
        else
            LINE(e, text, "const float %s_all = cu_to_float(%s[%s]);", t->name, t->name, t->at);
    }
    return text;
}

const char *pack_loop(const Chain *c, int indent, const char *body)
{
    Emit *e = c->e;
    bool one = !strchr(strchr(body, '\n') + 1, '\n'); // line
    const char *text = "";
    LINE(e, text, "CU_UNROLL");
    LINE(e, text, "for (int p = 0; p < %s; p++)%s", pack_of(c)->width, one ? "" : " {");
    text = arena_printf(e->scratch, "%s%s", text, body);
    if (!one)
        LINE(e, text, "}");
    return text;
}

const char *pack_stores(const Chain *c, int indent)
{
    const Pack *p = pack_of(c);
    const char *text = "";
    for (int i = 0; i < p->n_out; i++)
        if (p->out[i].here)
            LINE(c->e, text, "cu_store<%s>(%s + i, %s_pack);", p->width, p->out[i].name,
                 p->out[i].name);
    return text;
}

// Keys
// ----------------------------------------------------------------------------------------------

static int count_dropouts(const Chain *c)
{
    int n = 0;
    for (int i = 0; i < c->n; i++)
        n += c->nodes[i]->op == OP_DROPOUT;
    return n;
}

// `each` of number 1, 2, ..., one a dropout, behind each other.
static const char *numbered(const Chain *c, const char *each)
{
    const char *text = "";
    for (int i = 1; i <= count_dropouts(c); i++)
        text = arena_printf(c->e->scratch, "%s, %s%d", text, each, i);
    return text;
}

const char *pack_keys(const Chain *c, int indent)
{
    const char *keys = "";
    for (int i = 1; i <= count_dropouts(c); i++)
        keys = arena_printf(c->e->scratch, "%s%scu_random_key(now, stream%d)", keys,
                            i > 1 ? ", " : "", i);
    return *keys ? line(c->e, "", indent,
                        arena_printf(c->e->scratch, "const uint64_t q[] = {%s};", keys))
                 : "";
}

// Parameters
// ----------------------------------------------------------------------------------------------

const char *pack_parameters(const Chain *c)
{
    const Pack *p = pack_of(c);
    Arena *a = c->e->scratch;
    const char *text = "";
    for (int i = 0; i < p->n_out; i++)
        if (p->out[i].here)
            text =
                arena_printf(a, "%s, %s *%s", text, cuda_type(p->out[i].node), p->out[i].name);
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i].here)
            text = arena_printf(a, "%s, const %s *%s", text, cuda_type(p->in[i].node),
                                p->in[i].name);
    return count_dropouts(c)
               ? arena_printf(a, "%s, const rt_now *now%s", text, numbered(c, "int64_t stream"))
               : text;
}

const char *pack_passed(const Chain *c)
{
    const Pack *p = pack_of(c);
    Arena *a = c->e->scratch;
    const char *text = "";
    for (int i = 0; i < p->n_out; i++)
        if (p->out[i].here)
            text = arena_printf(a, "%s, %s", text, p->out[i].name);
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i].here)
            text = arena_printf(a, "%s, %s", text, p->in[i].name);
    return count_dropouts(c) ? arena_printf(a, "%s, now%s", text, numbered(c, "stream")) : text;
}

void pack_arguments(const Chain *c, Function *f)
{
    const Pack *p = pack_of(c);
    for (int i = 0; i < p->n_out; i++)
        function_out(f, p->out[i].name, p->out[i].node);
    for (int i = 0; i < p->n_in; i++)
        function_in(f, p->in[i].name, p->in[i].node);
    if (!count_dropouts(c))
        return;
    function_argument(f, "const rt_now *", "now", "rt_cuda_now(s, mb)");
    for (int i = 0, n = 0; i < c->n; i++)
        if (c->nodes[i]->op == OP_DROPOUT)
            function_argument(f, "int64_t ", arena_printf(c->e->scratch, "stream%d", ++n),
                              emit_stream(c->e, c->nodes[i]));
}

const char *pack_ops(const Chain *c)
{
    Arena *a = c->e->scratch;
    const char *text = op_info[c->nodes[0]->op].name,
               *last = op_info[c->nodes[c->n - 1]->op].name;
    if (c->n > 3)
        return arena_printf(a, "%s_%d_%s", text, c->n - 2, last);
    for (int i = 1; i < c->n; i++)
        text = arena_printf(a, "%s_%s", text, op_info[c->nodes[i]->op].name);
    return text;
}
