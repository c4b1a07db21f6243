// A picture of a plan of a profiled graph: stages as coloured frames, the slowest one in red with what
// limits it; layers sized by their time; bytes on the arrows that cross.
//
// Graphviz takes minutes for thousands of boxes, and nobody can read them: above MOST_BOXES layers,
// runs of layers of one stage are one box; above MOST_FRAMES stages, a stage is one; above MOST_BOXES
// stages, so are runs of stages. Runs are of units, whose order is topological, so arrows between runs
// go one way only.
#include "driver/plan_report.h"

#include "ir/dot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BOXES = 400, MOST_FRAMES = 48, MOST_DESCRIPTION = 34 };

typedef struct Box {
    int first_unit, last_unit;   // both inclusive
    int first_stage, last_stage; // likewise
    double seconds, bytes;       // of a micro-batch; parameters
} Box;

typedef struct Arrow {
    int from, to; // boxes
    int node;     // whose tensor it is
} Arrow;

typedef struct Picture {
    Arena arena;
    const Plan *plan;
    const Profile *profile;
    VEC(Box) boxes;
    VEC(Arrow) arrows;
    int *box_of_unit, *unit_of_node;
    int slowest; // stage
    double longest_s;
    bool frames; // around the boxes of a stage
    Text *out;
} Picture;

// It computes and sends nothing: a stage that needs the data reads it itself.
static bool reads_data(const Picture *d, int node)
{
    return str_starts(d->profile->nodes.items[node].description, "Input");
}

static void push_box(Picture *d, int first_unit, int last_unit, int first_stage, int last_stage)
{
    Box b = {first_unit, last_unit, first_stage, last_stage, 0, 0};
    for (int u = first_unit; u <= last_unit; u++) {
        const PlanUnit *unit = &d->plan->units[u];
        if (!reads_data(d, unit->node))
            b.seconds += unit->forward_s + unit->backward_s;
        b.bytes += (double)unit->parameter_bytes;
        d->box_of_unit[u] = d->boxes.n;
    }
    d->longest_s = fmax(d->longest_s, b.seconds);
    vec_push(&d->arena, &d->boxes, b);
}

static void make_boxes(Picture *d)
{
    const Plan *p = d->plan;
    d->frames = p->n_stages <= MOST_FRAMES;
    int run = p->n_units <= MOST_BOXES ? 1 : p->n_units / (MOST_BOXES - MOST_FRAMES) + 1;
    int stages = (p->n_stages + MOST_BOXES - 1) / MOST_BOXES;
    for (int s = 0; s < p->n_stages; s += d->frames ? 1 : stages) {
        int last = d->frames ? s : s + stages - 1;
        last = last < p->n_stages ? last : p->n_stages - 1;
        int first_unit = p->stages[s].first_unit, end = p->stages[last].last_unit;
        int step = d->frames ? run : end - first_unit + 1;
        for (int u = first_unit; u <= end; u += step)
            push_box(d, u, u + step - 1 < end ? u + step - 1 : end, s, last);
    }
}

static int by_ends(const void *x, const void *y)
{
    const Arrow *a = x, *b = y;
    return a->from != b->from ? (a->from > b->from) - (a->from < b->from)
           : a->to != b->to   ? (a->to > b->to) - (a->to < b->to)
                              : (a->node > b->node) - (a->node < b->node);
}

static void make_arrows(Picture *d)
{
    for (int e = 0; e < d->profile->edges.n; e++) {
        const ProfileEdge *edge = &d->profile->edges.items[e];
        Arrow a = {d->box_of_unit[d->unit_of_node[edge->from]],
                   d->box_of_unit[d->unit_of_node[edge->to]], edge->from};
        if (a.from != a.to)
            vec_push(&d->arena, &d->arrows, a);
    }
    if (d->arrows.n)
        qsort(d->arrows.items, (size_t)d->arrows.n, sizeof *d->arrows.items, by_ends);
}

static void put_cut_off(Text *out, const char *text, size_t most)
{
    size_t n = strlen(text);
    char kept[128];
    bool cut = n > most;
    for (n = cut ? most - 3 : n;
         cut && n > 0 && (text[n] & 0xc0) == 0x80;) // within a character
        n--;
    snprintf(kept, sizeof kept, "%.*s%s", (int)n, text, cut ? "..." : "");
    dot_escaped(out, kept);
}

static void put_box_words(Picture *d, const Box *b)
{
    const PlanUnit *first = &d->plan->units[b->first_unit],
                   *last = &d->plan->units[b->last_unit];
    char text[32];
    int n = b->last_unit - b->first_unit + 1;
    dot_escaped(d->out, first->name);
    if (n == 1) {
        text_puts(d->out, "\\n");
        put_cut_off(d->out, d->profile->nodes.items[first->node].description, MOST_DESCRIPTION);
    } else {
        text_puts(d->out, " .. ");
        dot_escaped(d->out, last->name);
        text_printf(d->out, "\\n%d layers", n);
    }
    if (b->seconds > 0)
        text_printf(d->out, "\\n%s", human_seconds(text, b->seconds));
    if (b->bytes > 0)
        text_printf(d->out, "\\n%s", human_bytes(text, plan_bytes(b->bytes)));
}

static void put_stage_words(Picture *d, const PlanStage *s)
{
    char t[6][32], bytes[2][32];
    text_printf(d->out, "stage %d", s->id);
    if (s->replicas > 1)
        text_printf(d->out, ", %d replicas", s->replicas);
    text_puts(d->out, s->replicas > 1 ? " on machines " : " on machine ");
    dot_escaped(d->out, devices_text(&d->arena, d->plan, s));
    text_printf(d->out, "\\n%s: forward %s, backward %s, sync %s, in %s, out %s",
                human_seconds(t[0], plan_stage_seconds(s)), human_seconds(t[1], s->forward_s),
                human_seconds(t[2], s->backward_s), human_seconds(t[3], s->sync_s),
                human_seconds(t[4], s->receive_s), human_seconds(t[5], s->send_s));
    text_printf(d->out, "\\nmemory %s, parameters %s",
                human_bytes(bytes[0], plan_stage_bytes(s)),
                human_bytes(bytes[1], s->parameter_bytes));
    if (s->id == d->slowest)
        text_printf(d->out, "\\nthe slowest stage: %s", stage_limit(s));
}

// Area by time; the words need some room of their own.
static void put_box(Picture *d, int i)
{
    const Box *b = &d->boxes.items[i];
    double share = d->longest_s > 0 ? sqrt(b->seconds / d->longest_s) : 0;
    bool slowest = !d->frames && b->first_stage <= d->slowest && d->slowest <= b->last_stage;
    text_printf(d->out, "        n%d [label=\"", i);
    if (!d->frames && b->first_stage == b->last_stage) {
        put_stage_words(d, &d->plan->stages[b->first_stage]);
        text_puts(d->out, "\\n");
    } else if (!d->frames) {
        text_printf(d->out, "stages %d-%d\\n", b->first_stage, b->last_stage);
        if (slowest)
            text_printf(d->out, "stage %d is the slowest: %s\\n", d->slowest,
                        stage_limit(&d->plan->stages[d->slowest]));
    }
    put_box_words(d, b);
    text_printf(d->out, "\", width=%.2f, height=%.2f, fontsize=%.0f", 0.4 + 2.2 * share,
                0.2 + 1.3 * share, 9 + 9 * share);
    if (!d->frames)
        text_printf(d->out, ", fillcolor=\"%s\"", dot_stage_colour(b->first_stage));
    if (slowest)
        text_puts(d->out, ", color=red, penwidth=5");
    if (b->first_unit == b->last_unit) {
        const ProfileNode *n = &d->profile->nodes.items[d->plan->units[b->first_unit].node];
        text_puts(d->out, ", tooltip=\"");
        dot_escaped(d->out, n->description);
        text_puts(d->out, "\\n");
        dot_escaped(d->out, n->fields);
        text_puts(d->out, "\"");
    }
    text_puts(d->out, "];\n");
}

static void put_frames(Picture *d)
{
    for (int i = 0; i < d->boxes.n;) {
        int s = d->boxes.items[i].first_stage;
        bool slowest = s == d->slowest;
        if (d->frames) {
            text_printf(d->out, "    subgraph cluster_stage%d {\n        label=\"", s);
            put_stage_words(d, &d->plan->stages[s]);
            text_printf(d->out,
                        "\"; labeljust=l; fontsize=%d; style=\"rounded,filled\"; "
                        "fillcolor=\"%s\"; color=\"%s\"; penwidth=%d;\n",
                        slowest ? 18 : 15, dot_stage_colour(s), slowest ? "red" : "#888888",
                        slowest ? 6 : 1);
        }
        for (; i < d->boxes.n && d->boxes.items[i].first_stage == s; i++)
            put_box(d, i);
        if (d->frames)
            text_puts(d->out, "    }\n");
    }
}

// Of the arrows first .. end - 1, which are one in the picture.
static double crossing_bytes(const Picture *d, int first, int end)
{
    double bytes = 0;
    for (int i = first; i < end; i++) {
        int node = d->arrows.items[i].node;
        bool again = i > first && d->arrows.items[i - 1].node == node;
        if (!again && !reads_data(d, node))
            bytes += d->profile->nodes.items[node].activation_bytes;
    }
    return bytes;
}

static void put_arrows(Picture *d)
{
    for (int i = 0, end; i < d->arrows.n; i = end) {
        const Arrow *a = &d->arrows.items[i];
        char size[32];
        for (end = i + 1; end < d->arrows.n && d->arrows.items[end].from == a->from &&
                          d->arrows.items[end].to == a->to;)
            end++;
        double bytes = crossing_bytes(d, i, end);
        text_printf(d->out, "    n%d -> n%d", a->from, a->to);
        if (d->boxes.items[a->from].first_stage == d->boxes.items[a->to].first_stage)
            text_puts(d->out, ";\n");
        else if (bytes == 0)
            text_puts(d->out, " [style=dashed, color=\"#cc5500\"];\n");
        else
            text_printf(d->out, " [label=\"%s\", penwidth=3, color=\"#cc5500\"];\n",
                        human_bytes(size, plan_bytes(bytes)));
    }
}

static void put_title(Picture *d)
{
    const Plan *p = d->plan;
    char t[2][32];
    const char *slash = strrchr(p->model, '/');
    text_puts(d->out, "    label=\"");
    dot_escaped(d->out, slash ? slash + 1 : p->model);
    text_printf(d->out, ": a micro-batch every %s on %d machines",
                human_seconds(t[0], plan_pipeline_seconds(p)), p->machines_used);
    if (p->single_s > 0)
        text_printf(d->out, ", on one %s", human_seconds(t[1], p->single_s));
    text_puts(d->out, "\"; labelloc=t; fontsize=20; fontname=\"Helvetica\";\n");
}

void plan_picture(Text *out, const Plan *p, const Profile *profile)
{
    Picture d = {.plan = p, .profile = profile, .out = out, .slowest = plan_bottleneck(p)};
    d.box_of_unit = arena_array(&d.arena, int, p->n_units + 1);
    d.unit_of_node = arena_array(&d.arena, int, profile->nodes.n + 1);
    for (int u = 0; u < p->n_units; u++)
        d.unit_of_node[p->units[u].node] = u;
    make_boxes(&d);
    make_arrows(&d);
    text_puts(out, "digraph plan {\n"
                   "    node [shape=box, style=\"rounded,filled\", fillcolor=white, "
                   "fontname=\"Helvetica\", margin=\"0.08,0.04\"];\n"
                   "    edge [fontname=\"Helvetica\", fontsize=12];\n"
                   "    nodesep=0.15; ranksep=0.3;\n");
    put_title(&d);
    put_frames(&d);
    put_arrows(&d);
    text_puts(out, "}\n");
    arena_release(&d.arena);
}
