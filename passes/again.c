// What a stage computes again (passes/again.h). Backward reads some values of forward, which wait for it
// in the micro-batch's slot: they are saved. A node that is computed again frees all that it saved; its
// inputs must then be there: stored tensors, what lies in an edge, what is saved, or what is computed
// again itself. The order of backward stays; whatever it needs again stands right before the first node
// that reads it, whole groups at a time, so that it lives as shortly as can be.
#include "passes/again.h"

#include "passes/pack.h"
#include "passes/schedule.h"
#include "passes/transfer.h"

Node *again_node(Node *root)
{
    return root->op == OP_RESULT ? root->inputs[0] : root;
}

// The stage
// ----------------------------------------------------------------------------------------

static int stage_of(const Again *a, const Node *n)
{
    return node_stage(a->c->plan, n);
}

bool again_here(const Again *a, const Node *n)
{
    return stage_of(a, n) == a->stage;
}

static void find_nodes(Again *a, Arena *arena)
{
    const NodeList *all = &a->values->graph->nodes;
    for (int i = 0; i < all->n; i++) {
        Node *n = all->items[i];
        bool computes = !node_is(n, 'L') && !node_is(n, 'V');
        if ((computes || n->op == OP_RESULT) && again_here(a, n))
            vec_push(arena, computes ? &a->nodes[n->phase] : &a->results, n);
    }
}

static void find_readers(Again *a)
{
    const NodeList *all = &a->values->graph->nodes;
    for (int i = 0; i < all->n; i++) {
        Node **readers, *n = all->items[i];
        if (!value_stored(n) || value_persistent(n))
            continue;
        // Then others get another tensor, and this one lies where it is made.
        bool encoded =
            stage_of(a, n) == a->stage && transfer_bytes(a->c->options, n) < n->bytes;
        for (int k = value_readers(a->values, n, &readers); k-- > 0;) {
            int to = stage_of(a, readers[k]);
            bool waits = n->phase == PHASE_FORWARD && phase_is_backward(readers[k]->phase);
            a->crosses[i] |= to != stage_of(a, n) && !encoded;
            a->saved[i] |= waits && to == a->stage;
        }
    }
}

// There in backward, whatever is computed again.
static bool fixed(const Again *a, const Node *root)
{
    return !value_stored(root) || value_persistent(root) || root->op == OP_INPUT ||
           a->crosses[root->id] || root == a->values->graph->loss;
}

// A buffer that an effect writes, as running statistics, is another one by the time of backward.
static const bool *find_written(const Again *a, Arena *arena)
{
    const NodeList *all = &a->values->graph->nodes;
    bool *written = arena_array(arena, bool, all->n);
    for (int i = 0; i < all->n; i++) {
        const Node *n = all->items[i];
        for (int k = 0; k < n->n_inputs && node_is(n, 'X') && n->phase == PHASE_FORWARD; k++)
            written[n->inputs[k]->id] = true;
    }
    return written;
}

// A library hands the value of a head on before it is rounded, or with sums of its own: from what is in memory other bits
// would come.
static bool goes_with(const Node *root, const Node *n)
{
    return node_is(root, 'H') && root->group >= 0 && root->group == n->group &&
           n->inputs[0] == root;
}

static bool is_there(const Again *a, const Node *root, const Node *reader)
{
    return (fixed(a, root) || a->saved[root->id]) && !goes_with(root, reader);
}

static void find_possible(Again *a, Arena *arena)
{
    const bool *written = find_written(a, arena);
    const NodeList *forward = &a->nodes[PHASE_FORWARD];
    for (int i = 0; i < forward->n; i++) {
        const Node *n = forward->items[i];
        bool can = !node_is(n, 'X');
        for (int k = 0; k < n->n_inputs && can; k++) {
            Node *root = value_root(n->inputs[k]);
            can = root->op == OP_BUFFER ? !written[root->id]
                                        : is_there(a, root, n) ||
                                              (a->can[again_node(root)->id] && !fixed(a, root));
        }
        a->can[n->id] = can;
    }
}

Again again_of(Arena *arena, const Compile *c, const Values *v, const PlanStage *s,
               int in_flight)
{
    int n = c->graph->nodes.n;
    Again a = {.c = c, .values = v, .stage = s->id, .in_flight = in_flight};
    a.crosses = arena_array(arena, bool, n);
    a.saved = arena_array(arena, bool, n);
    a.can = arena_array(arena, bool, n);
    find_nodes(&a, arena);
    find_readers(&a);
    find_possible(&a, arena);
    int64_t update = again_scratch(&a, PHASE_UPDATE), eval = again_scratch(&a, PHASE_EVAL);
    a.others = update > eval ? update : eval;
    return a;
}

void again_release(Again *a)
{
    arena_release(&a->work);
}

// Sets
// -------------------------------------------------------------------------------------------

bool again_made(const Again *a, const bool *again, Node *root)
{
    return root->phase == PHASE_FORWARD && !fixed(a, root) && again[again_node(root)->id];
}

static int64_t saves(const Again *a, const Node *root)
{
    bool waits = a->saved[root->id] && !fixed(a, root);
    return waits ? (root->bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN : 0;
}

int64_t again_saves(const Again *a, const Node *n)
{
    int64_t bytes = saves(a, n);
    for (int i = 0; i < a->results.n && op_info[n->op].outputs > 1; i++)
        bytes += a->results.items[i]->inputs[0] == n ? saves(a, a->results.items[i]) : 0;
    return a->can[n->id] ? bytes : 0;
}

void again_close(const Again *a, bool *again)
{
    const NodeList *forward = &a->nodes[PHASE_FORWARD];
    for (int i = forward->n; i-- > 0;) {
        const Node *n = forward->items[i];
        for (int k = 0; k < n->n_inputs && again[n->id]; k++) {
            Node *root = value_root(n->inputs[k]);
            if (!fixed(a, root) && !is_there(a, root, n))
                again[again_node(root)->id] = true;
        }
    }
}

double again_seconds(const Again *a, const bool *again)
{
    double sum = 0;
    for (int i = 0; i < a->nodes[PHASE_FORWARD].n; i++) {
        int id = a->nodes[PHASE_FORWARD].items[i]->id;
        sum += again[id] ? a->c->node_s[id] : 0;
    }
    return sum;
}

// The order of backward
// ------------------------------------------------------------------------------------------

typedef struct Walk {
    Again *a;
    const bool *again;
    bool *done; // by id, of nodes that are computed again
    int moment;
    AgainSteps steps;
} Walk;

// Forward nodes lie in their list in ascending order of ids.
static int find_node(const NodeList *nodes, const Node *n)
{
    int low = 0, high = nodes->n - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (nodes->items[middle]->id < n->id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool mates(const NodeList *nodes, int i, int k)
{
    bool inside = k >= 0 && k < nodes->n;
    return inside && (i == k || (nodes->items[i]->group >= 0 &&
                                 nodes->items[i]->group == nodes->items[k]->group));
}

static void make(Walk *w, const Node *n);

static void need_inputs(Walk *w, const Node *n)
{
    for (int k = 0; k < n->n_inputs; k++) {
        Node *root = value_root(n->inputs[k]);
        if (again_made(w->a, w->again, root))
            make(w, again_node(root));
    }
}

static void push(Walk *w, Node *n, bool again)
{
    AgainStep step = {n, again, w->moment};
    vec_push(&w->a->work, &w->steps, step);
}

// The node's whole group, as far as it is in the set, behind what that needs.
static void make(Walk *w, const Node *n)
{
    const NodeList *forward = &w->a->nodes[PHASE_FORWARD];
    int at = find_node(forward, n), first = at;
    if (w->done[n->id])
        return;
    while (mates(forward, at, first - 1))
        first--;
    for (int i = first; mates(forward, at, i); i++)
        w->done[forward->items[i]->id] = true;
    for (int i = first; mates(forward, at, i); i++)
        if (w->again[forward->items[i]->id])
            need_inputs(w, forward->items[i]);
    for (int i = first; mates(forward, at, i); i++)
        if (w->again[forward->items[i]->id])
            push(w, forward->items[i], true);
    w->moment++;
}

AgainSteps again_steps(Again *a, const bool *again, Phase phase)
{
    const NodeList *backward = &a->nodes[phase];
    Walk w = {.a = a, .again = again};
    w.done = arena_array(&a->work, bool, a->values->graph->nodes.n);
    for (int i = 0, end; i < backward->n; i = end) {
        for (end = i; mates(backward, i, end); end++)
            need_inputs(&w, backward->items[end]);
        for (int k = i; k < end; k++)
            push(&w, backward->items[k], false);
        w.moment++;
    }
    return w.steps;
}
