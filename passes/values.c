#include "passes/values.h"

Node *value_root(Node *n)
{
    while (node_is(n, 'V'))
        n = n->inputs[0];
    return n;
}

bool value_persistent(const Node *n)
{
    static const bool outlives[N_OPS] = {
        [OP_PARAM] = true, [OP_BUFFER] = true, [OP_ACCUMULATOR] = true, [OP_STATE] = true};
    return outlives[n->op] || (n->op == OP_CONSTANT && shape_count(n->shape) > 1);
}

bool value_stored(const Node *n)
{
    bool number = (n->op == OP_CONSTANT || n->op == OP_SHARE) && shape_count(n->shape) == 1;
    return !number && !node_is(n, 'V') && !node_is(n, 'X');
}

// `result` reads another output than the one that readers are asked for.
static bool reads(const Node *n)
{
    return n->op != OP_RESULT && !node_is(n, 'V');
}

static void count_readers(Values *v, int n_nodes)
{
    for (int i = 0; i < n_nodes; i++) {
        Node *n = v->graph->nodes.items[i];
        for (int k = 0; reads(n) && k < n->n_inputs; k++)
            v->first[value_root(n->inputs[k])->id + 1]++;
    }
    for (int i = 0; i < n_nodes; i++)
        v->first[i + 1] += v->first[i];
}

Values values_of(Arena *a, const Graph *g)
{
    int n_nodes = g->nodes.n;
    Values v = {g, NULL, arena_array(a, int, n_nodes + 1), arena_array(a, bool, n_nodes)};
    count_readers(&v, n_nodes);
    v.readers = arena_array(a, Node *, v.first[n_nodes]);
    int *filled = arena_array(a, int, n_nodes);
    for (int i = 0; i < n_nodes; i++) {
        Node *n = g->nodes.items[i];
        for (int k = 0; reads(n) && k < n->n_inputs; k++) {
            int root = value_root(n->inputs[k])->id;
            v.readers[v.first[root] + filled[root]++] = n;
        }
        bool result = n == g->loss || n == g->output;
        bool twin = n->phase == PHASE_EVAL && n->forward &&
                    (n->forward == g->loss || n->forward == g->output);
        if (result || twin)
            v.kept[value_root(n)->id] = true;
    }
    return v;
}

int value_readers(const Values *v, const Node *root, Node ***readers)
{
    *readers = v->readers + v->first[root->id];
    return v->first[root->id + 1] - v->first[root->id];
}

static bool made_with_head(const Node *n)
{
    const Node *head = n->n_inputs ? n->inputs[0] : NULL;
    return head && n->group == head->group && node_is(head, 'H') && node_is(n, 'E');
}

bool value_handed_on(const Node *n, const Node *reader)
{
    if (n->group < 0 || n->group != reader->group)
        return false;
    return node_is(n, 'H') ? made_with_head(reader) : !made_with_head(n);
}

bool value_internal(const Values *v, const Node *n)
{
    Node **readers;
    int count = value_readers(v, n, &readers);
    if (!count || v->kept[n->id])
        return false;
    for (int i = 0; i < count; i++)
        if (!value_handed_on(n, readers[i]))
            return false;
    return true;
}

int value_unit(const Node *n)
{
    return n->op == OP_RESULT ? value_unit(n->inputs[0]) : n->unit;
}

rt_opcode phase_opcode(Phase phase)
{
    switch (phase) {
    case PHASE_FORWARD: return RT_FORWARD;
    case PHASE_BACKWARD: return RT_BACKWARD;
    case PHASE_BACKWARD_WEIGHT: return RT_BACKWARD_WEIGHT;
    case PHASE_UPDATE: return RT_UPDATE;
    case PHASE_EVAL: return RT_EVAL;
    case N_PHASES: break;
    }
    return RT_N_OPCODES;
}
