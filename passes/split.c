// Schedules that split backward run the gradients of weights when others do not wait for them (ZB-H1:
// plan/schedules/zb_h1.c). Such a node is read by nothing but such nodes of its own unit, down to the
// `accumulate`; what another unit reads is a gradient of an activation on its way to earlier layers,
// wherever the cuts fall, so that a cut changes nothing. A group is one loop and moves as a whole or
// not at all. What the norms give for their weights beside another gradient is accumulated where it is
// made: nothing is kept for it.
#include "passes/pass.h"
#include "passes/values.h"
#include "plan/schedule.h"

typedef struct Splitter {
    Graph *g;
    bool *weight; // by id: runs in the pass of the weights
    bool *read;   // by id: somebody outside of its group reads it
    bool *needed; // by id: and is no such node, or runs in another unit
} Splitter;

static bool transparent(const Node *n)
{
    return node_is(n, 'V') || n->op == OP_RESULT;
}

static bool runs(const Node *n)
{
    return !node_is(n, 'L') && !node_is(n, 'V');
}

static bool all_for_weights(const Splitter *s, Node *const *nodes, int n)
{
    bool read = false, needed = false;
    for (int i = 0; i < n; i++) {
        read |= runs(nodes[i]) && s->read[nodes[i]->id];
        needed |= runs(nodes[i]) && s->needed[nodes[i]->id];
    }
    return read && !needed;
}

// What n says of its inputs. Accumulating is no need: it goes where the gradient is made.
static void look_at_inputs(Splitter *s, const Node *n)
{
    for (int i = 0; i < n->n_inputs; i++) {
        const Node *input = n->inputs[i];
        if (n->group >= 0 && input->group == n->group)
            continue;
        bool apart = value_unit(n) != value_unit(value_root(n->inputs[i]));
        bool needs = transparent(n) ? s->needed[n->id]
                                    : apart || !(s->weight[n->id] || n->op == OP_ACCUMULATE);
        s->needed[input->id] |= needs;
        s->read[input->id] |= !transparent(n) || s->read[n->id];
    }
}

// From the last node to the first, so that all readers of a node have been seen.
static void find(Splitter *s)
{
    Node **nodes = s->g->nodes.items;
    for (int end = s->g->nodes.n, begin; end > 0; end = begin) {
        const Node *last = nodes[end - 1];
        begin = end - 1;
        for (int i = begin; last->group >= 0 && i-- > 0;) {
            if (nodes[i]->group == last->group)
                begin = i;
            else if (!node_is(nodes[i], 'L')) // which may lie between
                break;
        }
        bool all = all_for_weights(s, nodes + begin, end - begin);
        for (int i = end; i-- > begin;)
            s->weight[i] = all && runs(nodes[i]) && nodes[i]->phase == PHASE_BACKWARD;
        for (int i = end; i-- > begin;)
            look_at_inputs(s, nodes[i]);
    }
    for (int i = 0; i < s->g->nodes.n; i++) {
        const Node *n = nodes[i];
        if (n->phase == PHASE_BACKWARD && (n->op == OP_ACCUMULATE || transparent(n)))
            s->weight[i] = s->weight[n->inputs[n->op == OP_ACCUMULATE]->id];
    }
}

// Behind all that is backward, before the updates.
static void move(Splitter *s, Arena *scratch)
{
    Graph *g = s->g;
    int n = g->nodes.n, at = 0, updates = 0;
    Node **old = arena_copy(scratch, g->nodes.items, sizeof(Node *) * (size_t)n);
    while (updates < n && old[updates]->phase != PHASE_UPDATE)
        updates++;
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < updates; i++) {
            if (s->weight[i] != late)
                continue;
            g->nodes.items[at++] = old[i];
            if (late)
                old[i]->phase = PHASE_BACKWARD_WEIGHT;
        }
    graph_renumber(g);
}

void pass_split(Compile *c)
{
    Graph *g = c->graph;
    int n = g->nodes.n;
    for (int i = 0; i < n; i++) // of a printed graph
        if (g->nodes.items[i]->phase == PHASE_BACKWARD_WEIGHT)
            g->nodes.items[i]->phase = PHASE_BACKWARD;
    if (!schedule_splits(c->options))
        return;
    Splitter s = {g, arena_array(c->scratch, bool, n), arena_array(c->scratch, bool, n),
                  arena_array(c->scratch, bool, n)};
    find(&s);
    move(&s, c->scratch);
}
