// From nodes to boxes: a layer is drawn where it has a forward node that computes, is an input
// or a view. Its arrows are those inputs of its nodes that other layers made; results of a node
// count as the node. Inputs that no layer made are boxes of their own.
#include "ir/dot.h"

#include <stdio.h>
#include <string.h>

typedef struct Box {
    const Layer *layer; // NULL: an input
    const Node *last;   // its last forward node, whose type is shown
    int stage;
} Box;

typedef struct Dot {
    const Graph *g;
    const DotOptions *o;
    Arena arena;
    VEC(Box) boxes;
    int *box_of_layer; // [layers]; -1: none
    int *box_of_node;  // [next_id]; -1: none
    Text *out;
} Dot;

static const char *const stage_colour[] = {"#cfe2f3", "#fce5cd", "#d9ead3", "#f4cccc",
                                           "#d9d2e9", "#fff2cc", "#d0e0e3", "#ead1dc"};
enum { N_COLOURS = sizeof stage_colour / sizeof *stage_colour };

const char *dot_stage_colour(int stage)
{
    return stage_colour[stage % N_COLOURS];
}

void dot_escaped(Text *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            text_puts(out, "\\");
        text_append(out, s, 1);
    }
}

// The node whose memory is meant.
static const Node *made_by(const Node *n)
{
    return n->op == OP_RESULT ? n->inputs[0] : n;
}

// Views have no unit of their own: they are where their input is.
static int stage_of(const Dot *d, const Node *n)
{
    n = made_by(n);
    while (n->unit < 0 && node_is(n, 'V'))
        n = made_by(n->inputs[0]);
    if (!d->o->stage_of_unit || n->unit < 0 || n->unit >= d->o->n_units)
        return -1;
    return d->o->stage_of_unit[n->unit];
}

static bool is_drawn(const Node *n)
{
    return n->phase == PHASE_FORWARD && (!node_is(n, 'L') || n->op == OP_INPUT) &&
           n->op != OP_RUNNING_UPDATE;
}

// The box of a layer, or of a node that belongs to none; made when it is first asked for.
static int box_of(Dot *d, const Node *n)
{
    int box = n->layer ? d->box_of_layer[n->layer->id] : -1;
    if (box >= 0)
        return box;
    vec_push(&d->arena, &d->boxes, ((Box){n->layer, n, -1}));
    box = d->boxes.n - 1;
    if (n->layer)
        d->box_of_layer[n->layer->id] = box;
    return box;
}

static void collect(Dot *d)
{
    const Graph *g = d->g;
    d->box_of_layer = arena_array(&d->arena, int, g->layers.n);
    d->box_of_node = arena_array(&d->arena, int, g->next_id);
    memset(d->box_of_layer, -1, sizeof(int) * (size_t)g->layers.n);
    memset(d->box_of_node, -1, sizeof(int) * (size_t)g->next_id);
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (!is_drawn(n))
            continue;
        int box = box_of(d, n);
        d->boxes.items[box].last = n;
        d->boxes.items[box].stage = stage_of(d, n);
        d->box_of_node[n->id] = box;
    }
}

static void put_box(Dot *d, int i, const char *indent)
{
    const Box *b = &d->boxes.items[i];
    const char *kind = b->layer ? b->layer->kind : op_info[b->last->op].name;
    text_printf(d->out, "%sn%d [label=\"", indent, i);
    dot_escaped(d->out, b->layer ? b->layer->name : b->last->name);
    text_puts(d->out, "\\n");
    dot_escaped(d->out, kind);
    text_printf(d->out, "  %s%s", dtype_name(b->last->dtype),
                shape_text(&d->arena, b->last->shape));
    double seconds = b->layer && d->o->layer_s ? d->o->layer_s[b->layer->id] : -1;
    if (seconds >= 0)
        text_printf(d->out, "\\n%.4g ms", seconds * 1e3);
    text_puts(d->out, "\"");
    if (b->last->op == OP_INPUT)
        text_puts(d->out, ", shape=ellipse");
    if (b->last->loc.file) {
        text_puts(d->out, ", tooltip=\"");
        dot_escaped(d->out, b->last->loc.file);
        text_printf(d->out, ":%d\"", b->last->loc.line);
    }
    text_puts(d->out, "];\n");
}

static void put_frame(Dot *d, int stage)
{
    bool slowest = d->o->stage_words && stage == d->o->slowest;
    text_printf(d->out, "    subgraph cluster_stage%d {\n        label=\"stage %d", stage,
                stage);
    if (d->o->stage_words)
        dot_escaped(d->out, d->o->stage_words[stage]);
    text_printf(d->out, "\"; style=\"rounded,filled\"; color=\"%s\";%s\n",
                slowest ? "red" : dot_stage_colour(stage), slowest ? " penwidth=5;" : "");
    if (slowest)
        text_printf(d->out, "        fillcolor=\"%s\";\n", dot_stage_colour(stage));
}

static void put_boxes(Dot *d)
{
    int stages = 0;
    for (int i = 0; i < d->boxes.n; i++)
        if (d->boxes.items[i].stage >= stages)
            stages = d->boxes.items[i].stage + 1;
    for (int s = 0; s < stages; s++) {
        put_frame(d, s);
        for (int i = 0; i < d->boxes.n; i++)
            if (d->boxes.items[i].stage == s)
                put_box(d, i, "        ");
        text_puts(d->out, "    }\n");
    }
    for (int i = 0; i < d->boxes.n; i++)
        if (d->boxes.items[i].stage < 0)
            put_box(d, i, "    ");
}

static void put_arrow(Dot *d, int from, int to, const Node *tensor)
{
    int a = d->boxes.items[from].stage, b = d->boxes.items[to].stage;
    text_printf(d->out, "    n%d -> n%d", from, to);
    if (a >= 0 && b >= 0 && a != b) {
        char size[32];
        int64_t bytes = tensor->bytes ? tensor->bytes : node_logical_bytes(tensor);
        text_printf(d->out, " [label=\"%s\", penwidth=2]", human_bytes(size, bytes));
    }
    text_puts(d->out, ";\n");
}

static void put_arrows(Dot *d)
{
    const Node **drawn =
        arena_array(&d->arena, const Node *, d->g->next_id); // last user's node
    int *drawn_to = arena_array(&d->arena, int, d->g->next_id);
    for (int i = 0; i < d->g->nodes.n; i++) {
        const Node *n = d->g->nodes.items[i];
        int to = d->box_of_node[n->id];
        for (int k = 0; to >= 0 && k < n->n_inputs; k++) {
            const Node *input = n->inputs[k], *maker = made_by(input);
            int from = d->box_of_node[maker->id];
            if (from < 0 || from == to ||
                (drawn[maker->id] == input && drawn_to[maker->id] == to))
                continue; // a parameter; the same layer; the same arrow again
            drawn[maker->id] = input;
            drawn_to[maker->id] = to;
            put_arrow(d, from, to, input);
        }
    }
}

void dot_print(Text *out, const Graph *g, const DotOptions *o)
{
    static const DotOptions none = {0};
    Dot d = {.g = g, .o = o ? o : &none, .out = out};
    collect(&d);
    text_printf(out,
                "digraph \"%s\" {\n"
                "    node [shape=box, style=\"rounded,filled\", fillcolor=white, "
                "fontname=\"Helvetica\", fontsize=11];\n"
                "    edge [fontname=\"Helvetica\", fontsize=10];\n",
                g->name);
    put_boxes(&d);
    put_arrows(&d);
    text_puts(out, "}\n");
    arena_release(&d.arena);
}
