// Stages that compute values of their forward again in backward, as Options.recompute says: never; always,
// so that a micro-batch in flight keeps only what the stage received; or auto, as little as it takes to fit.
// A plan that was made before says it itself.
//
// It is done in the graph alone. What is computed again is copied into backward, in front of the first node
// that needs it (passes/again.c), and backward reads the copies. Everything behind this pass, from edges
// and places to the generated code, works as ever. Bits stay: a copy has the same op, inputs and layout,
// dropout draws by counter, and effects are not copied, so running statistics are updated once.
#include "ir/codec.h"
#include "passes/again.h"
#include "passes/planner/planner.h"
#include "passes/ranges.h"
#include "passes/schedule.h"
#include "passes/transfer.h"

#include <string.h>

typedef struct Copier {
    Graph *g;
    const Again *a;
    const bool *again;
    Phase phase;      // that needs the copies
    Node **twin;      // by id of a forward node: its copy in that phase
    bool *dropped;    // by id of a view of backward: one of a copy has taken its place
    NodeList pending; // copies that stand in front of the next node of backward
    int n_groups;
} Copier;

// Copies
// -----------------------------------------------------------------------------------------

static Node *settle(Copier *k, Node *copy, const Node *n)
{
    copy->unit = n->unit;
    copy->layout = n->layout;
    copy->bytes = n->bytes;
    k->twin[n->id] = copy;
    vec_push(k->g->arena, &k->pending, copy);
    return copy;
}

static Node *copy_node(Copier *k, Node *n, Node *const *inputs)
{
    const char *name = arena_printf(k->g->arena, "%s.again", n->name);
    Node *forward = n->phase == PHASE_FORWARD ? n : n->forward; // a view may be of backward
    k->dropped[n->id] = n->phase != PHASE_FORWARD;
    Node *copy = graph_derive(k->g, n->op, k->phase, forward, name,
                              (NodeArgs){inputs, n->n_inputs, n->attrs, n->n_attrs});
    return settle(k, copy, n);
}

// What backward reads for a value of forward: itself, or its copy. Those of views and of further outputs
// are made when they are asked for.
static Node *in_backward(Copier *k, Node *n)
{
    if (!again_made(k->a, k->again, value_root(n)))
        return n;
    if (k->twin[n->id])
        return k->twin[n->id];
    if (n->op ==
        OP_RESULT) // its node was copied, even if that has another output which backward has anyhow
        return settle(
            k, graph_result(k->g, k->twin[n->inputs[0]->id], (int)node_int(n, A_INDEX)), n);
    Node *source = in_backward(k, n->inputs[0]);
    return copy_node(k, n, &source);
}

// Views must not come to lie between the nodes of a group.
static void copy_inputs(Copier *k, const AgainStep *steps, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < steps[i].node->n_inputs; j++) {
            Node *input = steps[i].node->inputs[j], *root = value_root(input);
            if (again_made(k->a, k->again, root) && k->twin[again_node(root)->id])
                in_backward(k, input);
        }
}

static void copy_group(Copier *k, const AgainStep *steps, int n)
{
    int group = n > 1 ? k->n_groups++ : -1;
    for (int i = 0; i < n; i++) {
        Node *old = steps[i].node;
        Node **inputs = arena_array(k->g->arena, Node *, old->n_inputs);
        for (int j = 0; j < old->n_inputs; j++)
            inputs[j] = in_backward(k, old->inputs[j]);
        copy_node(k, old, inputs)->group = group;
    }
}

static void rewire(Copier *k, const AgainStep *steps, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < steps[i].node->n_inputs; j++)
            steps[i].node->inputs[j] = in_backward(k, steps[i].node->inputs[j]);
}

// before[id]: the copies that stand in front of a node of backward.
static void copy_phase(Copier *k, const AgainSteps *steps, NodeList *before)
{
    for (int i = 0, end; i < steps->n; i = end) {
        const AgainStep *item = &steps->items[i];
        for (end = i; end < steps->n && steps->items[end].moment == item->moment;)
            end++;
        copy_inputs(k, item, end - i);
        if (item->again) {
            copy_group(k, item, end - i);
            continue;
        }
        rewire(k, item, end - i);
        before[item->node->id] = k->pending;
        k->pending = (NodeList){0};
    }
}

static void put_in_order(Copier *k, Arena *scratch, int n_old, const NodeList *before)
{
    Graph *g = k->g;
    Node **old = arena_copy(scratch, g->nodes.items, sizeof(Node *) * (size_t)n_old);
    g->nodes.n = 0;
    for (int i = 0; i < n_old; i++) {
        for (int j = 0; j < before[i].n; j++)
            vec_push(g->arena, &g->nodes, before[i].items[j]);
        if (!k->dropped[i])
            vec_push(g->arena, &g->nodes, old[i]);
    }
    graph_renumber(g);
}

static int count_groups(const Graph *g)
{
    int most = -1;
    for (int i = 0; i < g->nodes.n; i++)
        most = g->nodes.items[i]->group > most ? g->nodes.items[i]->group : most;
    return most + 1;
}

static void copy_all(Compile *c, Again *stages, const AgainChoice *choices)
{
    int n = c->graph->nodes.n;
    NodeList *before = arena_array(c->scratch, NodeList, n);
    Copier k = {.g = c->graph,
                .dropped = arena_array(c->scratch, bool, n),
                .n_groups = count_groups(c->graph)};
    for (int s = 0; s < c->plan->n_stages; s++) {
        if (!c->plan->stages[s].recompute)
            continue;
        k.a = &stages[s];
        k.again = choices[s].again;
        for (k.phase = PHASE_BACKWARD; k.phase < PHASE_UPDATE; k.phase++) {
            AgainSteps steps = again_steps(&stages[s], k.again, k.phase);
            k.twin = arena_array(c->scratch, Node *, n);
            copy_phase(&k, &steps, before);
        }
    }
    put_in_order(&k, c->scratch, n, before);
}

// What a stage shall compute again
// ------------------------------------------------------------------------------------------

static int in_flight(const Compile *c, const PlanStage *s)
{
    ScheduleAt at = schedule_at(c->plan, &c->plan->ranks[s->first_rank]);
    return schedule_in_flight(&c->plan->options, at);
}

typedef struct Wanted { // to know what is needed to fit
    // As if backward read again whatever forward has read: edges will not be larger.
    Plan *edges;
    Ranges ranges;
    bool fits; // all of it without computing anything again
} Wanted;

static Plan *with_edges(Compile *c, bool read_again)
{
    Plan *p = arena_copy(c->scratch, c->plan, sizeof *p);
    p->stages = arena_copy(c->scratch, p->stages, sizeof *p->stages * (size_t)p->n_stages);
    p->ranks = arena_copy(c->scratch, p->ranks, sizeof *p->ranks * (size_t)p->n_ranks);
    rt_opcode last = schedule_last_pass(&p->options);
    edges_find(c, p);
    for (int e = 0; e < p->n_edges; e++) // the pass `transfer` will encode them
        if (p->edges[e].node >= 0)
            p->edges[e].bytes =
                transfer_bytes(c->options, c->graph->nodes.items[p->edges[e].node]);
    for (int e = 0; e < p->n_edges; e++)
        for (int r = 0; r < p->n_ranks; r++) {
            bool forward = p->edges[e].touch[r] & UINT32_C(1) << RT_FORWARD;
            uint32_t backward = UINT32_C(1) << RT_BACKWARD | UINT32_C(1) << last;
            p->edges[e].touch[r] |= forward && read_again ? backward : 0;
        }
    schedule_write(c->scratch, c->scratch, p);
    for (int s = 0; s < p->n_stages; s++)
        plan_count_edges(p, &p->stages[s], memory_device_of(c, &p->stages[s]) != NULL);
    return p;
}

// Every stage as it is: what one computes again changes the edges of its neighbours, and codecs come later.
static bool fits_as_it_is(const Compile *c, const Plan *plain)
{
    bool fits = !codec_find(c->options->transfer);
    for (int i = 0; i < plain->n_stages; i++) {
        const PlanStage *s = &plain->stages[i];
        int64_t limit = memory_limit_of(c, s);
        fits &= !limit || plan_stage_bytes(s) <= limit;
    }
    return fits;
}

// All but slots and scratch.
static int64_t rest_of(Compile *c, const Plan *edges, Ranges *ranges, PlanStage *s)
{
    const Range *r = range_of(ranges, s->first_unit, s->last_unit);
    int64_t older = r->parameters * (edges->stages[s->id].versions - 1);
    return r->persistent + older + r->decoded + edges->stages[s->id].edge_bytes +
           edges->stages[s->id].twin_bytes + memory_library_bytes(c, s, r->parameters + older);
}

// The nodes that the stage of an older plan names; that names none means all.
static AgainChoice as_planned(Again *a, Arena *arena, const PlanStage *s)
{
    AgainChoice choice = again_whole(a, arena);
    const NodeList *forward = &a->nodes[PHASE_FORWARD];
    if (!s->n_again)
        return choice;
    for (int i = 0; i < forward->n; i++) {
        const Node *n = forward->items[i];
        bool named = false;
        for (int k = 0; k < s->n_again && !named; k++)
            named = !strcmp(s->again[k], n->name);
        choice.again[n->id] &= named;
    }
    again_close(a, choice.again);
    choice.cost = again_cost(a, choice.again, true);
    return choice;
}

static void does_not_fit(Compile *c, const PlanStage *s, int64_t need, int64_t limit)
{
    char b[2][32];
    error_at(
        (Loc){c->graph->file ? c->graph->file : c->plan->source, 0, 0},
        "stage %d needs %s even if it computes again what helps, and %s are allowed; try more "
        "stages or smaller micro-batches",
        s->id, human_bytes(b[0], need), human_bytes(b[1], limit));
    c->no_plan = true;
}

// As little as it takes to fit.
static AgainChoice as_needed(Compile *c, Again *a, Wanted *w, PlanStage *s)
{
    AgainChoice choice = {0};
    int64_t limit = memory_limit_of(c, s);
    if (!limit || w->fits)
        return choice;
    int64_t rest = rest_of(c, w->edges, &w->ranges, s);
    if (!again_choose(a, c->scratch, limit - rest, &choice))
        does_not_fit(c, s, rest + again_bytes(a, choice.cost), limit);
    return choice;
}

static AgainChoice choose(Compile *c, Again *a, Wanted *w, PlanStage *s)
{
    const PlanStage *planned = c->again ? &c->again->stages[s->id] : NULL;
    if (planned && !planned->recompute)
        return (AgainChoice){0};
    if (planned)
        return as_planned(a, c->scratch, planned);
    if (!strcmp(c->options->recompute, "always"))
        return again_whole(a, c->scratch);
    return as_needed(c, a, w, s);
}

// What that does to the predictions.
static void tell_plan(Compile *c, Again *a, const AgainChoice *choice, PlanStage *s)
{
    const NodeList *forward = &a->nodes[PHASE_FORWARD];
    const bool *none = arena_array(c->scratch, bool, c->graph->nodes.n);
    const Machines *m = c->machines;
    double speed = m ? m->types[m->type[s->devices[0]]].speed : 1;
    s->again = arena_array(c->perm, const char *, forward->n);
    for (int i = 0; i < forward->n && choice->again; i++)
        if (choice->again[forward->items[i]->id])
            s->again[s->n_again++] = forward->items[i]->name;
    s->recompute = s->n_again > 0;
    if (!s->recompute)
        return;
    s->again_s = choice->cost.seconds / speed;
    s->again_least_s = choice->exact ? s->again_s : choice->least_s / speed;
    s->again_bytes = again_bytes(a, again_cost(a, none, true)) - again_bytes(a, choice->cost);
    s->backward_s += s->again_s;
    s->weight_s += choice->cost.of_phase[PHASE_BACKWARD_WEIGHT] / speed;
    s->compute_s += s->compute_s > 0 ? s->again_s / s->replicas : 0;
    s->time_s += s->time_s > 0 ? s->again_s / s->replicas : 0;
}

void pass_recompute(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p || !p->n_stages || !strcmp(c->options->recompute, "never"))
        return;
    graph_renumber(c->graph);
    Values values = values_of(c->scratch, c->graph);
    Plan *plain = with_edges(c, false); // as it would be if nothing were computed again
    memory_place(c, plain);
    Wanted wanted = {with_edges(c, true), ranges_of(c), fits_as_it_is(c, plain)};
    Again *stages = arena_array(c->scratch, Again, p->n_stages);
    AgainChoice *choices = arena_array(c->scratch, AgainChoice, p->n_stages);
    for (int i = 0; i < p->n_stages; i++) {
        PlanStage *s = &p->stages[i];
        stages[i] = again_of(c->scratch, c, &values, s, in_flight(c, s));
        choices[i] = choose(c, &stages[i], &wanted, s);
        tell_plan(c, &stages[i], &choices[i], s);
    }
    if (c->no_plan)
        memory_note_largest(c, -1);
    else
        copy_all(c, stages, choices);
    for (int i = 0; i < p->n_stages; i++)
        again_release(&stages[i]);
}
