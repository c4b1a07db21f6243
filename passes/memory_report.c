// What people want to know of memory: all places of a stage, and what is too large.
#include "passes/schedule.h"
#include "passes/values.h"

#include <stdlib.h>

static const char *const place_name[] = {
    [PLACE_NONE] = "none", [PLACE_PERSISTENT] = "persistent",
    [PLACE_SLOT] = "slot", [PLACE_SCRATCH] = "scratch",
    [PLACE_EDGE] = "edge", [PLACE_WEIGHT] = "weight",
};

static void table_row(Text *out, const Node *n, const Place *place)
{
    Arena a = {0};
    char bytes[32];
    text_printf(out, "  %-10s ", place_name[place->kind]);
    if (place->kind == PLACE_EDGE)
        text_printf(out, "%12s", arena_printf(&a, "edge %d", place->edge));
    else
        text_printf(out, "%12lld", (long long)place->offset);
    text_printf(out, " %12s  %-8s %s %s%s", human_bytes(bytes, place->bytes),
                phase_name[n->phase], n->name, dtype_name(n->dtype), shape_text(&a, n->shape));
    if (n->loc.file)
        text_printf(out, "  %s:%d", n->loc.file, n->loc.line);
    text_puts(out, "\n");
    arena_release(&a);
}

void memory_table(Text *out, const Plan *p, const Graph *g)
{
    char total[32], persistent[32], slot[32], scratch[32], edges[32], weights[32], twins[32];
    for (int i = 0; i < p->n_stages; i++) {
        const PlanStage *s = &p->stages[i];
        text_printf(out,
                    "stage %d: %s = persistent %s + %d slots of %s + scratch %s + edges %s",
                    s->id, human_bytes(total, plan_stage_bytes(s)),
                    human_bytes(persistent, s->persistent_bytes), s->in_flight,
                    human_bytes(slot, s->slot_bytes), human_bytes(scratch, s->scratch_bytes),
                    human_bytes(edges, s->edge_bytes));
        if (s->twin_bytes)
            text_printf(out, " + their twins %s", human_bytes(twins, s->twin_bytes));
        if (s->versions > 1)
            text_printf(out, " + %d older versions of %s", s->versions - 1,
                        human_bytes(weights, s->version_bytes));
        if (s->library_bytes)
            text_printf(out, " + kernels and copies %s",
                        human_bytes(weights, s->library_bytes));
        text_puts(out, "\n");
        for (int k = 0; s->places && k < g->nodes.n && k < p->n_nodes; k++)
            if (s->places[k].kind != PLACE_NONE)
                table_row(out, g->nodes.items[k], &s->places[k]);
    }
}

StageMemory stage_memory(const PlanStage *s)
{
    return (StageMemory){.persistent = s->persistent_bytes,
                         .older_weights = plan_weight_bytes(s),
                         .slot = s->slot_bytes,
                         .in_flight = s->in_flight,
                         .scratch = s->scratch_bytes,
                         .edges = s->edge_bytes + s->twin_bytes,
                         .library = s->library_bytes};
}

int64_t stage_memory_bytes(const StageMemory *m)
{
    return m->persistent + m->older_weights + m->slot * m->in_flight + m->scratch + m->edges +
           m->library;
}

void memory_note_parts(const Compile *c, int stage, const StageMemory *m)
{
    char all[32], bytes[32];
    const struct {
        const char *what;
        int64_t bytes;
    } rows[] = {{"parameters, gradients, state", m->persistent},
                {"older weights", m->older_weights},
                {arena_printf(c->scratch, "%d micro-batch%s in flight", m->in_flight,
                              m->in_flight > 1 ? "es" : ""),
                 m->slot * m->in_flight},
                {"what one instruction needs", m->scratch},
                {"messages", m->edges},
                {m->on_device ? "workspaces, bf16 copies" : "library kernels", m->library}};
    Text table = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].bytes)
            text_printf(&table, "\n    %-28s %12s", rows[i].what,
                        human_bytes(bytes, rows[i].bytes));
    note_at((Loc){c->graph->file ? c->graph->file : c->plan->source, 0, 0},
            "stage %d holds %s:%s", stage, human_bytes(all, stage_memory_bytes(m)),
            table.data ? table.data : " nothing");
    free(table.data);
}

typedef struct Large {
    const Node *node;
    int64_t bytes; // all copies
    int copies;
} Large;

static int by_bytes(const void *x, const void *y)
{
    const Large *a = x, *b = y;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->node->id - b->node->id;
}

static int copies(const Plan *p, const PlanStage *s, const Place *place)
{
    switch (place->kind) {
    case PLACE_NONE: return 0;
    case PLACE_PERSISTENT:
    case PLACE_SCRATCH: return 1;
    case PLACE_WEIGHT: return s->versions;
    case PLACE_SLOT: return s->in_flight;
    case PLACE_EDGE:
        return p->edges[place->edge].producer == s->id ? p->edges[place->edge].slots : 0;
    }
    return 0;
}

void memory_note_largest(const Compile *c, int stage)
{
    const Graph *g = c->graph;
    const PlanStage *s = stage >= 0 ? &c->plan->stages[stage] : NULL;
    Values v = values_of(c->scratch, g);
    Large *large = arena_array(c->scratch, Large, g->nodes.n);
    int n = 0;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *node = g->nodes.items[i];
        bool stored = value_stored(node) && !value_internal(&v, node);
        int times = s ? copies(c->plan, s, &s->places[i]) : stored;
        if (times)
            large[n++] = (Large){node, times * node->bytes, times};
    }
    qsort(large, (size_t)n, sizeof *large, by_bytes);
    for (int i = 0; i < n && i < 5; i++) {
        char bytes[32];
        const char *times = large[i].copies > 1
                                ? arena_printf(c->scratch, " in %d copies", large[i].copies)
                                : "";
        note_at(large[i].node->loc, "%s, %s%s: %s%s", large[i].node->name,
                dtype_name(large[i].node->dtype), shape_text(c->scratch, large[i].node->shape),
                human_bytes(bytes, large[i].bytes), times);
    }
}
