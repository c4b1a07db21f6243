// A model as a whole: it has a loss, and what it makes is used.
#include "frontend/clang/read.h"

#include <string.h>

static void mark(bool *used, const Graph *g, Node *from)
{
    if (from)
        used[from->id] = true;
    for (int i = g->nodes.n; i-- > 0;) { // users stand behind what they use
        const Node *n = g->nodes.items[i];
        for (int k = 0; used[n->id] && k < n->n_inputs; k++)
            used[n->inputs[k]->id] = true;
    }
}

// What predictions are read from, where the model does not say: what the loss compares.
static Node *usual_output(const Graph *g, const bool *used)
{
    for (int i = g->nodes.n; i-- > 0;) {
        const Node *n = g->nodes.items[i];
        if (used[n->id] && (n->op == OP_CROSS_ENTROPY || n->op == OP_MSE))
            return n->inputs[0];
    }
    return NULL;
}

static bool is_bookkeeping(const Node *n)
{
    if (n->op == OP_RESULT || n->op == OP_RUNNING_UPDATE || n->op == OP_BUFFER)
        return true;
    return n->op == OP_PARAM && strcmp(n->layer->kind, "parameter") != 0;
}

static void warn_unused(const Graph *g, const bool *used, Arena *a)
{
    bool *has_user = arena_array(a, bool, g->next_id + 1);
    for (int i = 0; i < g->nodes.n; i++)
        for (int k = 0; !is_bookkeeping(g->nodes.items[i]) && k < g->nodes.items[i]->n_inputs;
             k++)
            has_user[g->nodes.items[i]->inputs[k]->id] = true;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (used[n->id] || has_user[n->id] || is_bookkeeping(n))
            continue;
        if (n->n_inputs)
            warning_at(n->loc, "the result of `%s` is never used", n->layer->kind);
        else
            warning_at(n->loc, "the %s `%s` is never used", n->layer->kind, n->name);
    }
}

void model_review(Machine *m, Loc model)
{
    Graph *g = m->draft.graph;
    if (!g->loss) {
        error_at(model,
                 "the model `%s` has no loss: loss(cross_entropy(logits, labels)) or "
                 "loss(mse(x, wanted)) says what to train for",
                 g->name);
        return;
    }
    bool *used = arena_array(m->arena, bool, g->next_id + 1);
    mark(used, g, g->loss);
    if (!g->output)
        g->output = usual_output(g, used);
    mark(used, g, g->output);
    warn_unused(g, used, m->arena);
}
