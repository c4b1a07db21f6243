// A script as a C model: one statement a layer, called like it, with the shape of the result and what the
// profile says of the node. Compiled, it makes the same graph.
#include "frontend/profile/import.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COMMENT_COLUMN = 88 };

typedef struct Emitter {
    Text *out;
    Arena arena;
    const char **variable; // by layer
} Emitter;

// "node12" as it is: no word of C or of the language ends so.
static bool is_safe(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    return !strncmp(name, stem, n) && name[n] &&
           strspn(name + n, "0123456789") == strlen(name + n);
}

static const char *variable_of(Emitter *e, const Line *l, int number)
{
    static const char *const ours[] = {"auxiliary_loss", "auxiliary_part", "total_loss"};
    const char *name = l->result.node->layer->name;
    bool safe = is_safe(name, "node") ||
                (!l->node && (!strcmp(name, "label") || !strcmp(name, "main_loss")));
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        safe |= !l->node && is_safe(name, ours[i]);
    if (safe)
        return name;
    char *wish = arena_printf(&e->arena, "%s_%d", name, number);
    for (char *c = wish; *c; c++)
        if (*c == '.')
            *c = '_';
    return wish;
}

static void put_real(Text *out, double v)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    text_printf(out, strpbrk(text, ".en") ? "%s" : "%s.0", text);
}

static void put_value(Emitter *e, const Line *l, const Arg *a)
{
    switch (a->kind) {
    case ARG_INT: text_printf(e->out, "%" PRId64, a->i); break;
    case ARG_BOOL: text_puts(e->out, a->i ? "true" : "false"); break;
    case ARG_TYPE: text_puts(e->out, a->i == LAYER_I32 ? "I32" : "F32"); break;
    case ARG_REAL: put_real(e->out, a->real); break;
    case ARG_STRING: text_printf(e->out, "\"%s\"", l->result.node->layer->name); break;
    case ARG_TENSOR: text_puts(e->out, e->variable[a->tensor.node->layer->id]); break;
    case ARG_INIT: BUG("frontend", "a profile chooses no initial values");
    }
}

// More operands than concat() takes.
static void put_list(Emitter *e, const Line *l)
{
    text_puts(e->out, "(Tensor[]){");
    for (int i = 0; i < l->args.n; i++) {
        text_puts(e->out, i ? ", " : "");
        put_value(e, l, &l->args.items[i]);
    }
    text_printf(e->out, "}, %d", l->args.n);
}

static void put_call(Emitter *e, const Line *l)
{
    const Layer *layer = l->result.node->layer;
    bool list = !strcmp(l->call.kind->kind, "concat_list");
    bool named = l->args.n && l->args.items[0].kind == ARG_STRING;
    text_printf(e->out, "%s(", l->call.kind->kind);
    if (list)
        put_list(e, l);
    for (int i = 0; !list && i < l->args.n; i++) {
        text_puts(e->out, i ? ", " : "");
        put_value(e, l, &l->args.items[i]);
    }
    for (int i = 0; i < l->options.n; i++) {
        text_printf(e->out, ", .%s = ", l->options.items[i].name);
        put_value(e, l, &l->options.items[i]);
    }
    if (!named && strcmp(e->variable[layer->id], layer->name) != 0)
        text_printf(e->out, ", .name = \"%s\"", layer->name);
    text_puts(e->out, ");");
}

// Of one sample, as shapes are written in the language.
static void put_shape(Text *out, Shape s, bool sample)
{
    text_puts(out, "[");
    for (int i = sample; i < s.rank; i++)
        text_printf(out, i > sample ? ",%" PRId64 : "%" PRId64, s.dim[i]);
    text_puts(out, "]");
}

// A comment ends with its line, and neither a backslash nor a trigraph may go on behind it.
static void put_comment(Text *out, const char *text)
{
    for (; *text; text++)
        text_printf(out, "%c", *text == '\\' || *text == '?' ? '.' : *text);
}

static void put_line(Emitter *e, const Line *l)
{
    size_t begin = e->out->length;
    text_printf(e->out, "    Tensor %s = ", e->variable[l->result.node->layer->id]);
    put_call(e, l);
    size_t width = e->out->length - begin;
    text_printf(e->out, "%*s// ", width < COMMENT_COLUMN ? COMMENT_COLUMN - (int)width : 1, "");
    put_shape(e->out, l->result.node->shape, l->result.sample);
    if (l->node) {
        bool called = strcmp(l->node->id, l->result.node->layer->name) != 0;
        text_puts(e->out, " ");
        put_comment(e->out, called ? l->node->id : "");
        text_puts(e->out, called ? ": " : "");
        put_comment(e->out, l->node->description);
    }
    text_puts(e->out, "\n");
}

static void put_stage(Emitter *e, int stage, int before)
{
    if (stage >= 0 && stage != before)
        text_printf(e->out, "%s    // stage %d\n", before >= 0 ? "\n" : "", stage);
}

void script_print(Text *out, const Script *s, const char *command)
{
    Emitter e = {.out = out};
    const Graph *g = s->graph;
    e.variable = arena_array(&e.arena, const char *, g->layers.n + 1);
    text_printf(out, "// %s: a profiled graph as a model.\n//   ", g->name);
    put_comment(out, command);
    text_puts(
        out,
        "\n// Every statement is a node of the profile: the shape of its result, without the batch, and "
        "its description.\n#include <stagecc/model.h>\n\n");
    for (int i = 0; i < g->train.n; i++)
        text_printf(out, "TRAIN(.%s = %s);\n\n", g->train.items[i].name,
                    g->train.items[i].value);
    text_printf(out, "MODEL(%s)\n{\n", g->name);
    int stage = -1;
    for (int i = 0; i < s->lines.n; i++) {
        const Line *l = s->lines.items[i];
        const Layer *layer = l->result.node->layer;
        e.variable[layer->id] = variable_of(&e, l, i);
        put_stage(&e, layer->stage, stage);
        stage = layer->stage >= 0 ? layer->stage : stage;
        put_line(&e, l);
    }
    if (s->sinks > 1)
        text_printf(out, "    output(%s);\n", e.variable[g->output->layer->id]);
    text_printf(out, "    loss(%s);\n}\n", e.variable[g->loss->layer->id]);
    arena_release(&e.arena);
}
