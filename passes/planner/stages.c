// The steps of a search as stages: which nodes, which machines.
#include "passes/planner/search.h"

static void add_members(const Core *c, int node, StageChoice *s)
{
    for (int k = c->members.first[node]; k < c->members.first[node + 1]; k++)
        s->nodes[s->n_nodes++] = c->members.items[k];
}

static void list_nodes(Arena *a, const Cuts *c, const Step *step, StageChoice *s)
{
    int n = 0;
    for (int i = 0; !c->order && i < c->core->n; i++)
        if (cut_holds(c, step->end, i) && !cut_holds(c, step->begin, i))
            for (int k = c->core->members.first[i]; k < c->core->members.first[i + 1]; k++)
                n++;
    for (int i = step->begin; c->order && i < step->end; i++)
        n += c->core->members.first[c->order[i] + 1] - c->core->members.first[c->order[i]];
    s->nodes = arena_array(a, int, n + 1);
    for (int i = 0; !c->order && i < c->core->n; i++)
        if (cut_holds(c, step->end, i) && !cut_holds(c, step->begin, i))
            add_members(c->core, i, s);
    for (int i = step->begin; c->order && i < step->end; i++)
        add_members(c->core, c->order[i], s);
}

// Machines of the types that the move says, the last ones first.
static void list_machines(Arena *a, const Machines *machines, const Move *m, bool *taken,
                          StageChoice *s)
{
    s->replicas = m->replicas;
    s->machines = arena_array(a, int, m->replicas);
    if (m->first >= 0) {
        for (int i = 0; i < m->replicas; i++)
            s->machines[i] = m->first + i;
        return;
    }
    int n = 0;
    for (int t = 0; t < machines->n_types; t++)
        for (int d = machines->n - 1, left = m->take[t]; left; d--)
            if (machines->type[d] == t && !taken[d]) {
                taken[d] = true;
                s->machines[n++] = d;
                left--;
            }
}

StageChoice *stages_of(Arena *a, const Machines *m, const Found *found)
{
    const Steps *steps = &found->steps;
    bool *taken = arena_array(a, bool, m->n + 1);
    StageChoice *stages = arena_array(a, StageChoice, steps->n);
    for (int i = steps->n - 1; i >= 0; i--) {
        list_nodes(a, found->cuts, &steps->items[i], &stages[i]);
        list_machines(a, m, steps->items[i].move, taken, &stages[i]);
        stages[i].recompute = steps->items[i].move->recompute;
    }
    return stages;
}

int machines_of_stages(const StageChoice *stages, int n)
{
    int machines = 0;
    for (int i = 0; i < n; i++)
        machines += stages[i].replicas;
    return machines;
}
