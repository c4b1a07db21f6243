// Dead code: what neither the loss, the predictions, their eval twins nor an effect needs. One walk
// from the last node to the first marks, a second one keeps.
#include "passes/pass.h"

static bool is_root(const Graph *g, const Node *n)
{
    const Node *of = n->phase == PHASE_EVAL ? n->forward : n;
    return node_is(n, 'X') || (of && (of == g->loss || of == g->output));
}

void pass_dce(Compile *c)
{
    Graph *g = c->graph;
    graph_renumber(g);
    bool *needed = arena_array(c->scratch, bool, g->nodes.n);
    for (int i = g->nodes.n; i-- > 0;) {
        const Node *n = g->nodes.items[i];
        needed[i] |= is_root(g, n);
        for (int k = 0; needed[i] && k < n->n_inputs; k++)
            needed[n->inputs[k]->id] = true;
        if (needed[i] && n->forward)
            needed[n->forward->id] = true;
    }
    int kept = 0;
    for (int i = 0; i < g->nodes.n; i++)
        if (needed[i])
            g->nodes.items[kept++] = g->nodes.items[i];
    g->nodes.n = kept;
    graph_renumber(g);
}
