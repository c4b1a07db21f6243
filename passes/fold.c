// Drops what computes nothing. Every rule keeps all bits: no sum and no product is formed in another
// way, so scales are not multiplied together. A folded node stays in the list until dce takes it.
#include "passes/pass.h"

// The node that n equals, or NULL.
static Node *same_value(const Node *n)
{
    if (!n->n_inputs)
        return NULL;
    Node *x = n->inputs[0];
    switch ((int)n->op) {
    case OP_SCALE: return node_real(n, A_VALUE) == 1 ? x : NULL;
    case OP_DROPOUT: return node_real(n, A_RATE) == 0 ? x : NULL;
    case OP_CONCAT: return n->n_inputs == 1 ? x : NULL;
    case OP_RESHAPE:
    case OP_SLICE:
    case OP_PAD: return shape_equal(n->shape, x->shape) ? x : NULL;
    }
    return NULL;
}

// Does a transpose leave the order of the dimensions that are longer than 1?
static bool keeps_order(const Node *n)
{
    const int64_t *perm = node_ints(n, A_PERM);
    int64_t before = -1;
    for (int i = 0; i < n->shape.rank; i++) {
        if (n->shape.dim[i] == 1)
            continue;
        if (perm[i] < before)
            return false;
        before = perm[i];
    }
    return true;
}

static void set_attrs(Graph *g, Node *n, Attr attr)
{
    n->attrs = arena_copy(g->arena, &attr, sizeof attr);
    n->n_attrs = 1;
}

// transpose (transpose x) is one transpose of x.
static void join_transposes(Graph *g, Node *n)
{
    const Node *inner = n->inputs[0];
    const int64_t *first = node_ints(inner, A_PERM), *second = node_ints(n, A_PERM);
    int64_t perm[MAX_RANK];
    for (int i = 0; i < n->shape.rank; i++)
        perm[i] = first[second[i]];
    n->inputs[0] = inner->inputs[0];
    set_attrs(g, n, attr_ints(A_PERM, n->shape.rank, perm));
}

// A view looks at the root itself, and a transpose that moves no element is a view.
static void simplify(Graph *g, Node *n)
{
    if (n->op == OP_TRANSPOSE && n->inputs[0]->op == OP_TRANSPOSE)
        join_transposes(g, n);
    if (n->op == OP_TRANSPOSE && keeps_order(n)) {
        n->op = OP_RESHAPE;
        set_attrs(g, n, attr_shape(n->shape));
    }
    while (n->op == OP_RESHAPE && n->inputs[0]->op == OP_RESHAPE)
        n->inputs[0] = n->inputs[0]->inputs[0];
}

void pass_fold(Compile *c)
{
    Graph *g = c->graph;
    graph_renumber(g);
    Node **becomes = arena_array(c->scratch, Node *, g->nodes.n);
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        for (int k = 0; k < n->n_inputs; k++)
            n->inputs[k] = becomes[n->inputs[k]->id];
        simplify(g, n);
        Node *same = same_value(n);
        becomes[i] = same && same->phase == n->phase ? same : n;
    }
    if (g->loss)
        g->loss = becomes[g->loss->id];
    if (g->output)
        g->output = becomes[g->output->id];
}
