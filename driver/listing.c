// The model's source with costs: stage, time, parameters and activations of the layers that each line
// makes. A line in a loop, or in a function that is called often, makes many: their sums, and the range
// of their stages. A line that calls such a function counts its layers, too: in brackets, since they are
// also where they are made.
#include "driver/plan_report.h"

#include <stdlib.h>
#include <string.h>

typedef struct Sum {
    int layers, first_stage, last_stage;
    double seconds, parameter_bytes, activation_bytes;
} Sum;

typedef struct Line {
    Sum made, called; // by the line itself; through functions that it calls
} Line;

typedef struct Listing {
    const Job *job;
    Arena arena;
    Line *lines; // from 1
    int n;
    Sum elsewhere; // in other files, or nowhere
    Sum *layer;
    Text *out;
} Listing;

static void add(Sum *to, const Sum *s)
{
    if (!s->layers)
        return;
    bool first = !to->layers;
    to->first_stage =
        first || s->first_stage < to->first_stage ? s->first_stage : to->first_stage;
    to->last_stage = first || s->last_stage > to->last_stage ? s->last_stage : to->last_stage;
    to->layers += s->layers;
    to->seconds += s->seconds;
    to->parameter_bytes += s->parameter_bytes;
    to->activation_bytes += s->activation_bytes;
}

// Nodes that compute say in which stages a layer is.
static void add_node(Listing *l, const Node *n)
{
    Sum *s = &l->layer[n->layer->id];
    const Plan *p = &l->job->plan;
    if (n->op == OP_PARAM)
        s->parameter_bytes += (double)n->bytes;
    if (n->phase != PHASE_FORWARD || node_is(n, 'L') || node_is(n, 'V') || n->unit < 0 ||
        n->unit >= p->n_units)
        return;
    int stage = plan_stage_of_unit(p, n->unit);
    bool first = !s->layers;
    s->layers = 1;
    s->first_stage = first || stage < s->first_stage ? stage : s->first_stage;
    s->last_stage = first || stage > s->last_stage ? stage : s->last_stage;
    s->activation_bytes += (double)n->bytes;
}

static Line *line_at(const Listing *l, Loc loc)
{
    bool here = loc.file && !strcmp(loc.file, l->job->args->operand);
    return here && loc.line >= 1 && loc.line <= l->n ? &l->lines[loc.line] : NULL;
}

static void add_layers(Listing *l)
{
    const Graph *g = l->job->graph;
    l->layer = arena_array(&l->arena, Sum, g->layers.n + 1);
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->layer)
            add_node(l, g->nodes.items[i]);
    for (int i = 0; i < g->layers.n; i++) {
        const Layer *layer = g->layers.items[i];
        Line *line = line_at(l, layer->loc);
        l->layer[i].seconds = l->job->compile.layer_s ? l->job->compile.layer_s[i] : 0;
        add(line ? &line->made : &l->elsewhere, &l->layer[i]);
        const Line *before = line;
        for (const Call *c = layer->caller; c; c = c->caller) {
            line = line_at(l, c->loc);
            if (line && line != before)
                add(&line->called, &l->layer[i]);
            before = line;
        }
    }
}

static void put_sum(Text *out, const Sum *s, bool called)
{
    char stage[32] = "", t[40] = "", b[2][32] = {"", ""}, value[32];
    if (s->layers) {
        snprintf(stage, sizeof stage, s->first_stage == s->last_stage ? "%d" : "%d-%d",
                 s->first_stage, s->last_stage);
        snprintf(t, sizeof t, called ? "(%s)" : "%s", human_seconds(value, s->seconds));
        human_bytes(b[0], plan_bytes(s->parameter_bytes));
        human_bytes(b[1], plan_bytes(s->activation_bytes));
    }
    text_printf(out, "%7s %11s %11s %11s", stage, t, b[0], b[1]);
}

static void put_lines(Listing *l, const char *text)
{
    text_printf(l->out, "%7s %11s %11s %11s  %s, a micro-batch\n", "stage", "time", "params",
                "activations", l->job->args->operand);
    for (int i = 1; i <= l->n; i++) {
        int length = (int)strcspn(text, "\n");
        const Line *line = &l->lines[i];
        Sum all = line->made;
        add(&all, &line->called);
        put_sum(l->out, &all, line->called.layers > 0);
        text_printf(l->out, " %5d  %.*s\n", i, length, text);
        text += length + (text[length] == '\n');
    }
    if (l->elsewhere.layers) {
        put_sum(l->out, &l->elsewhere, false);
        text_puts(l->out, "        in other files\n");
    }
}

void listing(Text *out, const Job *j)
{
    Listing l = {.job = j, .out = out};
    char *text = file_read(j->args->operand, NULL);
    if (!text)
        return;
    for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
        l.n++;
    l.lines = arena_array(&l.arena, Line, l.n + 1);
    add_layers(&l);
    put_lines(&l, text);
    arena_release(&l.arena);
    free(text);
}
