// Attention as one op, where the backend has it: scores of T x T are never in memory, and heads are not turned about.
// What models write is a chain,
//
//   q, k, v [N,T,C]: each reshape [N,T,heads,C/heads], transpose [N,heads,T,C/heads]
//   matmul q k^T, scale, softmax, dropout, matmul with v, transpose [N,T,heads,C/heads], reshape [N,T,C]
//
// without scale or dropout, if need be. It is taken as a whole or not at all: lengths, another order of axes or another
// reader of a value in between leave it as it is. The pass stands behind dce, for which readers are real ones, and before
// autodiff, so that the op has a gradient of its own.
#include "passes/pass.h"

#include <string.h>

typedef struct Chain {
    Node *q, *k, *v;
    const Node *scale, *softmax, *dropout; // scale, dropout: NULL where there is none
    int64_t heads;
} Chain;

// How often each node is read, by the runtime, too.
static const int *count_uses(const Compile *c)
{
    const Graph *g = c->graph;
    int *uses = arena_array(c->scratch, int, g->nodes.n);
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        uses[i] += (n == g->loss) + (n == g->output);
        for (int k = 0; k < n->n_inputs; k++)
            uses[n->inputs[k]->id]++;
    }
    return uses;
}

// n, if it is such an op and read once only.
static const Node *inner(const int *uses, const Node *n, Op op)
{
    return n->op == op && uses[n->id] == 1 ? n : NULL;
}

// A transpose of [a,b,c,d] to [a,c,b,d].
static const Node *inner_swap(const int *uses, const Node *n)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    n = inner(uses, n, OP_TRANSPOSE);
    return n && n->shape.rank == 4 && !memcmp(node_ints(n, A_PERM), swap, sizeof swap) ? n
                                                                                       : NULL;
}

// x [N,T,C] of which n has the heads, [N,heads,T,C/heads]; NULL: it is otherwise made.
static Node *whole(const int *uses, const Node *n)
{
    n = inner_swap(uses, n);
    n = n ? inner(uses, n->inputs[0], OP_RESHAPE) : NULL;
    Node *x = n ? n->inputs[0] : NULL;
    bool split = x && x->shape.rank == 3 && x->shape.dim[0] == n->shape.dim[0] &&
                 x->shape.dim[1] == n->shape.dim[1];
    return split ? x : NULL;
}

static const Node *inner_product(const int *uses, const Node *n, bool transpose_b)
{
    n = inner(uses, n, OP_MATMUL);
    return n && !node_int(n, A_TRANSPOSE_A) && node_int(n, A_TRANSPOSE_B) == transpose_b ? n
                                                                                         : NULL;
}

// From the weights [N,heads,T,T] to q k^T; NULL: it is no such chain.
static const Node *match_scores(const int *uses, const Node *n, Chain *chain)
{
    chain->dropout = inner(uses, n, OP_DROPOUT);
    n = chain->dropout ? chain->dropout->inputs[0] : n;
    chain->softmax = inner(uses, n, OP_SOFTMAX);
    if (!chain->softmax || chain->softmax->n_inputs > 1)
        return NULL;
    n = chain->softmax->inputs[0];
    chain->scale = inner(uses, n, OP_SCALE);
    return inner_product(uses, chain->scale ? chain->scale->inputs[0] : n, true);
}

static bool match(const int *uses, const Node *last, Chain *chain)
{
    const Node *back = last->op == OP_RESHAPE ? inner_swap(uses, last->inputs[0]) : NULL;
    const Node *mix = back ? inner_product(uses, back->inputs[0], false) : NULL;
    const Node *scores = mix ? match_scores(uses, mix->inputs[0], chain) : NULL;
    if (!scores)
        return false;
    chain->q = whole(uses, scores->inputs[0]);
    chain->k = whole(uses, scores->inputs[1]);
    chain->v = whole(uses, mix->inputs[1]);
    chain->heads = scores->shape.dim[1];
    // Between queries and values keys have no choice.
    return chain->q && chain->k && chain->v && shape_equal(chain->q->shape, last->shape) &&
           shape_equal(chain->v->shape, last->shape);
}

// Its last node becomes the op, of softmax's layer and place.
static void replace(Graph *g, Node *last, const Chain *chain)
{
    const Node *drop = chain->dropout;
    Node *inputs[] = {chain->q, chain->k, chain->v};
    Attr attrs[] = {attr_int(A_HEADS, chain->heads),
                    attr_real(A_VALUE, chain->scale ? node_real(chain->scale, A_VALUE) : 1),
                    attr_int(A_CAUSAL, node_int(chain->softmax, A_CAUSAL)),
                    attr_real(A_RATE, drop ? node_real(drop, A_RATE) : 0),
                    attr_int(A_STREAM, drop ? node_int(drop, A_STREAM) : 0)};
    last->op = OP_ATTENTION;
    last->inputs = arena_copy(g->arena, inputs, sizeof inputs);
    last->n_inputs = 3;
    last->attrs = arena_copy(g->arena, attrs, sizeof attrs);
    last->n_attrs = sizeof attrs / sizeof *attrs;
    last->layer = chain->softmax->layer;
    last->loc = chain->softmax->loc;
    last->name =
        graph_unique(g, arena_printf(g->arena, "%s.attention",
                                     last->layer ? last->layer->name : chain->softmax->name));
}

// A graph that was printed behind this pass keeps what it has.
static bool is_forward(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->phase != PHASE_FORWARD)
            return false;
    return true;
}

void pass_attention(Compile *c)
{
    Graph *g = c->graph;
    if (!c->attention || !is_forward(g))
        return;
    graph_renumber(g);
    const int *uses = count_uses(c);
    bool found = false;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        Chain chain;
        if (!match(uses, n, &chain) || !c->attention(c->options, n->shape.dim[2] / chain.heads))
            continue;
        replace(g, n, &chain);
        found = true;
    }
    if (found)
        pass_dce(c); // what was in between
}
