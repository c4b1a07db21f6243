// Writing code: templates with named holes, and what emitters ask about nodes.
#include "codegen/names.h"
#include "codegen/pieces.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Hole {
    const char *name, *text;
} Hole;

enum { MAX_HOLES = 40 };

static const char *hole_text(Emit *e, EmitKind kind, va_list *ap)
{
    switch (kind) {
    case EMIT_VALUE: {
        const Node *n = va_arg(*ap, const Node *);
        return n ? emit_value(e, n) : "NULL";
    }
    case EMIT_INT: return arena_printf(e->scratch, "%lld", (long long)va_arg(*ap, int64_t));
    case EMIT_REAL: return emit_real(e, va_arg(*ap, double));
    case EMIT_TEXT: return va_arg(*ap, const char *);
    }
    BUG("codegen", "a hole of kind %d", (int)kind);
}

// One `$name` of the template, which is moved behind it.
static const char *fill(const Hole *holes, int n, const char **at, const char *format)
{
    const char *begin = *at, *end = begin;
    while (isalnum((unsigned char)*end) || *end == '_')
        end++;
    *at = end;
    for (int i = 0; i < n; i++)
        if (strlen(holes[i].name) == (size_t)(end - begin) &&
            !strncmp(holes[i].name, begin, (size_t)(end - begin)))
            return holes[i].text;
    BUG("codegen", "nothing is bound to `%.*s` of: %s", (int)(end - begin), begin, format);
}

static bool at_line_start(const Text *t)
{
    return !t->length || t->data[t->length - 1] == '\n';
}

static void write_template(Emit *e, const char *format, const Hole *holes, int n)
{
    for (const char *at = format; *at;) {
        if (at_line_start(e->out) && *at != '\n' && *at != '#')
            text_printf(e->out, "%*s", e->indent, "");
        if (at[0] == '$' && at[1] != '$') {
            at++;
            text_puts(e->out, fill(holes, n, &at, format));
            continue;
        }
        at += *at == '$';
        text_append(e->out, at++, 1);
    }
}

// The bindings of a template; how many.
static int bind(Emit *e, Hole holes[MAX_HOLES], const char *format, va_list *ap)
{
    int n = 0;
    for (const char *name; (name = va_arg(*ap, const char *));) {
        CHECK(n < MAX_HOLES, "codegen", "too many holes in: %s", format);
        EmitKind kind = va_arg(*ap, EmitKind);
        holes[n++] = (Hole){name, hole_text(e, kind, ap)};
    }
    return n;
}

void emit(Emit *e, const char *format, ...)
{
    Hole holes[MAX_HOLES];
    va_list ap;
    va_start(ap, format);
    int n = bind(e, holes, format, &ap);
    va_end(ap);
    write_template(e, format, holes, n);
}

const char *emit_text(Emit *e, const char *format, ...)
{
    Hole holes[MAX_HOLES];
    Text text = {0};
    Emit into = *e;
    va_list ap;
    va_start(ap, format);
    int n = bind(e, holes, format, &ap);
    va_end(ap);
    into.out = &text;
    into.indent = 0;
    write_template(&into, format, holes, n);
    const char *kept = arena_strdup(e->scratch, text.data ? text.data : "");
    text_release(&text);
    return kept;
}

// Values
// ----------------------------------------------------------------------------------------------

const Node *emit_root(const Node *n)
{
    while (node_is(n, 'V'))
        n = n->inputs[0];
    return n;
}

const Node *emit_with_head(const Emit *e, const Node *n)
{
    if (!e->backend->heads || !node_is(n, 'H') || n->group < 0)
        return NULL;
    int i = n->id + 1;
    while (i < e->graph->nodes.n && node_is(e->graph->nodes.items[i], 'L'))
        i++;
    const Node *next = i < e->graph->nodes.n ? e->graph->nodes.items[i] : NULL;
    bool mate = next && next->group == n->group && next->inputs[0] == n;
    return mate && e->backend->heads(n, next, emit_stored(e, n)) ? next : NULL;
}

bool emit_is_number(const Node *n)
{
    n = emit_root(n);
    return (n->op == OP_CONSTANT || n->op == OP_SHARE) && shape_count(n->shape) == 1;
}

const char *emit_number(Emit *e, const Node *n)
{
    n = emit_root(n);
    if (!emit_is_number(n))
        return NULL;
    if (n->op == OP_CONSTANT)
        return emit_real(e, node_real(n, A_VALUE));
    if (e->backend->number)
        return NULL;
    return n->dtype == F64 ? "rt_share(s, mb)" : "(float)rt_share(s, mb)";
}

bool emit_stored(const Emit *e, const Node *n)
{
    n = emit_root(n);
    return emit_is_number(n) || e->stage->places[n->id].kind != PLACE_NONE;
}

int64_t emit_elements(const Node *n)
{
    return n->layout == LAYOUT_KERNEL ? n->bytes / dtype_bytes(n->dtype)
                                      : shape_count(n->shape);
}

// Every stage that holds a parameter updates it.
bool emit_here(const Emit *e, const Node *n)
{
    if (n->phase == PHASE_UPDATE && n->forward && n->forward->op == OP_PARAM)
        return emit_stored(e, n->forward);
    while (n->op == OP_RESULT)
        n = n->inputs[0];
    return n->unit >= e->stage->first_unit && n->unit <= e->stage->last_unit;
}

const char *emit_value(Emit *e, const Node *n)
{
    n = emit_root(n);
    if (emit_is_number(n))
        return e->backend->number ? e->backend->number(e, n)
                                  : arena_printf(e->scratch, "(const %s[]){%s}",
                                                 emit_ctype(n->dtype), emit_number(e, n));
    CHECK(e->routine, "codegen", "%s is asked for outside of all routines", n->name);
    CHECK(emit_stored(e, n), "codegen", "%s has no memory in stage %d", n->name, e->stage->id);
    return routine_local(e->routine, n);
}

// Results are made at once behind their node, or where somebody first asked for them.
const Node *emit_output(Emit *e, const Node *n, int i)
{
    if (i == 0)
        return emit_stored(e, n) ? n : NULL;
    for (int k = n->id + 1; k < e->graph->nodes.n; k++) {
        const Node *r = e->graph->nodes.items[k];
        if (r->op == OP_RESULT && r->inputs[0] == n && node_int(r, A_INDEX) == i)
            return emit_stored(e, r) ? r : NULL;
    }
    return NULL;
}

const char *emit_place_in_step(Emit *e)
{
    const char *place = "mb";
    if (plan_stream_steps(e->plan, false) > 1)
        place = arena_printf(e->scratch, "mb %% %d", (int)e->plan->options.micro_batches);
    if (e->stage->replicas > 1)
        place = arena_printf(e->scratch, "%s / %d", place, e->stage->replicas);
    return place;
}

const char *emit_is_first(Emit *e)
{
    bool every = plan_stream_steps(e->plan, false) > 1 &&
                 e->plan->options.micro_batches == e->stage->replicas;
    return every ? "1" : arena_printf(e->scratch, "%s == 0", emit_place_in_step(e));
}

const char *emit_count(Emit *e, const Node *n)
{
    const char *round = node_int(n, A_REPLICAS) > 1 ? " * rt_round(s, mb)" : "";
    return arena_printf(e->scratch, "%lld%s", (long long)node_int(n, A_COUNT), round);
}

const char *emit_stream(Emit *e, const Node *n)
{
    return routine_stream(e->routine, n);
}

// Literals
// ----------------------------------------------------------------------------------------------

DType emit_real_dtype(const Graph *g)
{
    if (g->loss)
        return g->loss->dtype;
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->op == OP_PARAM)
            return g->nodes.items[i]->dtype;
    return F32;
}

const char *emit_ctype(DType t)
{
    switch (t) {
    case F32: return "float";
    case F64: return "double";
    case I32: return "int32_t";
    case U8: return "uint8_t";
    case BF16: return "rt_bf16";
    case DTYPE_ERROR:
    case N_DTYPES: break;
    }
    BUG("codegen", "a value of dtype %d", (int)t);
}

// The fewest digits that read back to the same bits.
static const char *literal(Arena *a, double v, bool single)
{
    const char *suffix = single ? "f" : "";
    double want = single ? (double)(float)v : v;
    if (isnan(want))
        return arena_printf(a, "__builtin_nan%s(\"\")", suffix);
    if (isinf(want))
        return arena_printf(a, "%s__builtin_inf%s()", want < 0 ? "-" : "", suffix);
    char digits[40];
    for (int n = 1; n <= 17; n++) {
        snprintf(digits, sizeof digits, "%.*g", n, want);
        double back = single ? (double)strtof(digits, NULL) : strtod(digits, NULL);
        if (back == want)
            break;
    }
    return arena_printf(a, "%s%s%s", digits, strpbrk(digits, ".e") ? "" : ".0", suffix);
}

const char *emit_real(Emit *e, double v)
{
    return literal(e->scratch, v, emit_real_dtype(e->graph) == F32);
}

const char *emit_double(Emit *e, double v)
{
    return literal(e->scratch, v, false);
}

const char *emit_string(Emit *e, const char *s)
{
    return name_string(e->scratch, s);
}

const char *emit_comment(Emit *e, const char *s)
{
    return name_comment(e->scratch, s);
}
