// The printer of the text form (docs/ir.md has the grammar). Calls come first, numbered as they
// are met, so that layers made through the same call still share it after reading; then layers,
// nodes.
#include "ir/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef VEC(const Call *) Calls;

static bool is_word(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && *s != '.')
            return false;
    return true;
}

static void put_string(Text *out, const char *s)
{
    text_puts(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            text_printf(out, "\\%c", *s);
        else if ((unsigned char)*s < ' ' || *s == 0x7f)
            text_printf(out, "\\x%02x", (unsigned char)*s);
        else
            text_append(out, s, 1);
    }
    text_puts(out, "\"");
}

static void put_symbol(Text *out, const char *s)
{
    if (is_word(s))
        text_puts(out, s);
    else
        put_string(out, s);
}

static void put_loc(Text *out, Loc loc)
{
    if (!loc.file) {
        text_puts(out, " @?");
        return;
    }
    text_puts(out, " @");
    bool plain = *loc.file && *loc.file != '?' && *loc.file != '"';
    for (const char *c = loc.file; *c; c++)
        plain = plain && (unsigned char)*c > ' ' && *c != 0x7f;
    if (plain)
        text_puts(out, loc.file);
    else
        put_string(out, loc.file);
    text_printf(out, ":%d:%d", loc.line, loc.col);
}

// The fewest digits that read back to the same bits.
static void put_real(Text *out, double v)
{
    if (v != v) {
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        text_printf(out, "nan.%016" PRIx64, bits);
        return;
    }
    char s[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        if (strtod(s, NULL) == v) // of zeros, printf keeps the sign
            break;
    }
    text_puts(out, s);
}

static void put_ints(Text *out, int n, const int64_t *v)
{
    text_puts(out, "[");
    for (int i = 0; i < n; i++)
        text_printf(out, i ? ",%" PRId64 : "%" PRId64, v[i]);
    text_puts(out, "]");
}

static void put_attrs(Text *out, const Node *n)
{
    for (int i = 0; i < n->n_attrs; i++) {
        const Attr *a = &n->attrs[i];
        text_printf(out, "%s%s=", i ? ", " : " {", attr_info[a->key].name);
        switch (a->kind) {
        case ATTR_INT: text_printf(out, "%" PRId64, a->i); break;
        case ATTR_REAL: put_real(out, a->r); break;
        case ATTR_INTS: put_ints(out, a->n, a->ints); break;
        case ATTR_STRING: put_string(out, a->s); break;
        }
    }
    if (n->n_attrs)
        text_puts(out, "}");
}

// Without the place that it comes from.
static void put_node(Text *out, const Node *n)
{
    put_symbol(out, n->name);
    text_printf(out, " = %s", op_info[n->op].name);
    for (int i = 0; i < n->n_inputs; i++) {
        text_puts(out, " ");
        put_symbol(out, n->inputs[i]->name);
    }
    put_attrs(out, n);
    if (n->dtype != DTYPE_ERROR) {
        text_printf(out, " : %s", dtype_name(n->dtype));
        put_ints(out, n->shape.rank, n->shape.dim);
    }
    if (n->phase != PHASE_FORWARD)
        text_printf(out, " %s", phase_name[n->phase]);
    if (n->layer) {
        text_puts(out, " of ");
        put_symbol(out, n->layer->name);
    }
    if (n->forward) {
        text_puts(out, " from ");
        put_symbol(out, n->forward->name);
    }
    if (n->group >= 0)
        text_printf(out, " group %d", n->group);
    if (n->unit >= 0)
        text_printf(out, " unit %d", n->unit);
    if (n->layout != LAYOUT_PLAIN)
        text_printf(out, " layout %s", layout_name[n->layout]);
    if (n->bytes)
        text_printf(out, " bytes %" PRId64, n->bytes);
}

static int call_number(const Calls *calls, const Call *call)
{
    int i =
        calls->n - 1; // equal or neighbouring layers share calls: look at the last ones first
    while (i >= 0 && calls->items[i] != call)
        i--;
    return i;
}

// Prints the calls of a chain that are new, outermost first.
static void put_calls(Text *out, Arena *scratch, Calls *known, const Call *innermost)
{
    Calls fresh = {0};
    for (const Call *c = innermost; c && call_number(known, c) < 0; c = c->caller)
        vec_push(scratch, &fresh, c);
    while (fresh.n-- > 0) {
        const Call *c = fresh.items[fresh.n];
        text_printf(out, "call %d ", known->n);
        put_symbol(out, c->function);
        if (c->caller)
            text_printf(out, " in %d", call_number(known, c->caller));
        put_loc(out, c->loc);
        text_puts(out, "\n");
        vec_push(scratch, known, c);
    }
}

static void put_layers(Text *out, const Graph *g)
{
    Arena scratch = {0};
    Calls calls = {0};
    for (int i = 0; i < g->layers.n; i++) {
        const Layer *l = g->layers.items[i];
        put_calls(out, &scratch, &calls, l->caller);
        text_puts(out, "layer ");
        put_symbol(out, l->name);
        text_puts(out, " ");
        put_symbol(out, l->kind);
        if (l->caller)
            text_printf(out, " in %d", call_number(&calls, l->caller));
        if (l->stage >= 0)
            text_printf(out, " stage %d", l->stage);
        put_loc(out, l->loc);
        text_puts(out, "\n");
    }
    arena_release(&scratch);
}

static void put_results(Text *out, const Graph *g)
{
    if (g->loss) {
        text_puts(out, "loss ");
        put_symbol(out, g->loss->name);
        text_puts(out, "\n");
    }
    if (g->output) {
        text_puts(out, "output ");
        put_symbol(out, g->output->name);
        text_puts(out, "\n");
    }
}

void ir_print(Text *out, const Graph *g)
{
    text_puts(out, "graph ");
    put_symbol(out, g->name);
    text_printf(out, " micro_batch %" PRId64 " block %d", g->micro_batch, g->block);
    if (g->file) {
        text_puts(out, " file ");
        put_string(out, g->file);
    }
    text_puts(out, "\n");
    for (int i = 0; i < g->train.n; i++) {
        const TrainSetting *t = &g->train.items[i];
        text_puts(out, "train ");
        put_string(out, t->name);
        text_puts(out, " ");
        put_string(out, t->value);
        put_loc(out, t->loc);
        text_puts(out, "\n");
    }
    put_layers(out, g);
    for (int i = 0; i < g->nodes.n; i++) {
        put_node(out, g->nodes.items[i]);
        put_loc(out, g->nodes.items[i]->loc);
        text_puts(out, "\n");
    }
    put_results(out, g);
}

uint64_t ir_hash(const Graph *g)
{
    Text t = {0};
    text_printf(&t, "%s %" PRId64 " %d\n", g->name, g->micro_batch, g->block);
    for (int i = 0; i < g->layers.n; i++)
        text_printf(&t, "%s %s\n", g->layers.items[i]->name, g->layers.items[i]->kind);
    for (int i = 0; i < g->nodes.n; i++) {
        put_node(&t, g->nodes.items[i]);
        text_puts(&t, "\n");
    }
    put_results(&t, g);
    uint64_t hash = str_hash(t.data, t.length);
    text_release(&t);
    return hash;
}
