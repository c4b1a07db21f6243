// Numbers the cut units. One unit per forward group or forward node that computes, in execution order.
// An effect runs with the node whose results it reads. A view costs nothing; it counts to the unit
// before it, so that the units of a tensor's users rise with their positions, which the order of
// gradient sums rests on (passes/autodiff.c). Gradients, eval twins and updates run with the forward
// node that they derive from; leaves with their first reader.
#include "passes/pass.h"
#include "passes/values.h"

static int unit_of_inputs(const Node *n)
{
    int unit = 0;
    for (int i = 0; i < n->n_inputs; i++)
        unit = value_unit(n->inputs[i]) > unit ? value_unit(n->inputs[i]) : unit;
    return unit;
}

static void number_forward(Graph *g)
{
    const Node *last = NULL;
    int unit = -1;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        n->unit = -1;
        if (n->phase != PHASE_FORWARD || node_is(n, 'L'))
            continue;
        bool counts = !node_is(n, 'V') && !node_is(n, 'X');
        if (counts) {
            unit += !last || n->group < 0 || n->group != last->group;
            last = n;
        }
        n->unit = node_is(n, 'X') ? unit_of_inputs(n) : unit < 0 ? 0 : unit;
    }
}

// A leaf runs with its first reader, an output with its node. Forward readers stand before all others.
static void number_leaves(Graph *g, const Values *v)
{
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i], **readers;
        if (!node_is(n, 'L') || n->unit >= 0)
            continue;
        if (n->op == OP_RESULT)
            n->unit = value_unit(n->inputs[0]);
        else if (n->op == OP_INPUT)
            n->unit = 0;
        else
            n->unit = value_readers(v, n, &readers) ? value_unit(readers[0]) : 0;
    }
}

static void number_derived(Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        if (n->phase != PHASE_FORWARD && !node_is(n, 'L'))
            n->unit = n->forward && n->forward->unit > 0 ? n->forward->unit : 0;
    }
}

void pass_units(Compile *c)
{
    Graph *g = c->graph;
    graph_renumber(g);
    Values values = values_of(c->scratch, g);
    number_forward(g);
    number_leaves(g, &values); // parameters: their updates follow them
    number_derived(g);
    number_leaves(g, &values); // leaves that derived nodes alone read
}
