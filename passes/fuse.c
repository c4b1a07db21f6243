// Groups: runs of nodes that a backend emits as one loop. A group saves memory traffic: a value that
// only its own group reads is never stored. One walk over the list suffices, because a group takes
// nodes that stand next to each other (between them only leaves and effects, which move out of the
// way); forward nodes keep their order, so the order of gradient sums stays that of the units.
//
// What a backend may meet (codegen/*/emit_group), of at least 2 and at most GROUP_MAX members:
//
// * All members have one shape S of 2 elements or more, one phase, and, outside the forward phase, forward
//   nodes of one unit; one element type, or bf16 beside f32. S is output 0's shape for norms.
// * `element-wise` members (flag E). Their inputs are of shape S, or of one element, or, for input 1 of
//   `add` and `mul`, the trailing dimensions of S (leading ones aside): element i reads element
//   i mod count. On images [N,C,H,W] there are no trailing inputs and no dropout, because they go by
//   plain positions, and images may lie otherwise.
// * At most one norm, and it reads statistics over all of S, so it splits the loop in two:
//     forward   `batch_norm` first, then element-wise members that follow from its output:
//               batch_norm [add] relu is the common one. Its `result`s lie outside the group and
//               have memory, as running_update and backward read them.
//     eval      `batch_norm_infer` first, likewise (no statistics: one loop); `batch_norm` where a
//               model keeps no running statistics.
//     backward  `batch_norm_grad`, whose dy (input 1) may be a member while its other inputs are
//               outside, among element-wise members: those before it make dy, those behind it are
//               free to read dx. [add] relu_grad batch_norm_grad is the common one. dgamma and dbeta
//               are `result`s outside.
// * Every member but the first reads a member, or, in backward, shares a tensor of shape S with one.
//   Members stand in an order in which they can be computed element by element. A member whose value
//   is read outside (or by the runtime) has memory and must be stored; any may be, several may be;
//   the others have none (passes/values.h, value_internal).
// * Inputs from outside are ready before the group begins. There are no views inside.
//
// Where the backend says so (`heads`), a group has a head in front of these members: a heavy op, which the first
// of them reads as input 0. A library computes both in one call, so an element-wise one has memory if other members
// read it (value_handed_on), and its head has none unless somebody else reads it. Beside a norm the head has memory: its
// call knows the sums that the norm begins with.
//
// The last `add` of a sum of gradients would run with the tensor's first user, one unit later than the
// tensor's maker. Where the maker's gradient begins a loop, the add moves into it and its unit: the sum
// is the same, and at the price of a second message where a cut falls just there, the loop reads both
// addends instead of a sum that another loop stored.
#include "passes/pass.h"
#include "passes/values.h"

enum { GROUP_MAX = 16 };

typedef struct Run { // the group under construction
    Node *head;      // NULL: none
    Node *members[GROUP_MAX];
    int n;
    bool norm; // has its one norm
} Run;

typedef struct Fuser {
    Compile *c;
    Graph *g;
    Values values;
    int groups;
    Node *before; // the last node that computes
    Run run;
} Fuser;

static bool is_norm(Op op)
{
    return op == OP_BATCH_NORM || op == OP_BATCH_NORM_INFER || op == OP_BATCH_NORM_GRAD;
}

// Element i of x goes with element i mod count of a tensor of shape s?
static bool repeats(Shape s, Shape x)
{
    int skip = 0;
    while (skip < x.rank && x.dim[skip] == 1)
        skip++;
    for (int i = skip; i < x.rank; i++)
        if (x.dim[i] != s.dim[s.rank - x.rank + i])
            return false;
    return true;
}

static bool fits_loop(const Node *n)
{
    bool image = n->shape.rank == 4;
    if (!node_is(n, 'E') || (image && n->op == OP_DROPOUT))
        return false;
    for (int i = 0; i < n->n_inputs; i++) {
        Shape x = n->inputs[i]->shape;
        bool follows = shape_equal(x, n->shape) || shape_count(x) == 1;
        if (!follows && (image || !repeats(n->shape, x)))
            return false;
    }
    return true;
}

static bool in_run(const Run *r, const Node *n)
{
    for (int i = 0; i < r->n; i++)
        if (r->members[i] == n)
            return true;
    return false;
}

// Is it made by a member in another way than as its output 0?
static bool from_run(const Run *r, Node *n)
{
    Node *root = value_root(n);
    const Node *maker = root->op == OP_RESULT ? root->inputs[0] : root;
    return n != maker && in_run(r, maker);
}

static bool reads_member(const Run *r, const Node *n)
{
    for (int i = 0; i < n->n_inputs; i++)
        if (in_run(r, n->inputs[i]))
            return true;
    return false;
}

static bool shares_input(const Run *r, const Node *n)
{
    for (int m = 0; m < r->n; m++)
        for (int i = 0; i < r->members[m]->n_inputs; i++)
            for (int k = 0; k < n->n_inputs; k++)
                if (n->inputs[k] == r->members[m]->inputs[i] &&
                    shape_equal(n->inputs[k]->shape, n->shape))
                    return true;
    return false;
}

static bool same_unit(const Node *a, const Node *b)
{
    const Node *x = a->forward, *y = b->forward;
    if (!x || !y || node_is(x, 'V') || node_is(x, 'L'))
        return false;
    return x == y || (x->group >= 0 && x->group == y->group);
}

// Is `sum` the last sum of a gradient that n, of the tensor's maker, is the first to read? In backward
// an `add` is always such a sum, and what stands behind n is of no later unit than n.
static bool adopts(const Run *r, const Node *n)
{
    const Node *sum = r->members[0], *maker = n->forward;
    return r->n == 1 && n->phase == PHASE_BACKWARD && sum->op == OP_ADD && n->op != OP_ADD &&
           maker && !node_is(maker, 'V') && !node_is(maker, 'L') && reads_member(r, n);
}

// A loop computes in float whatever it loads and stores.
static bool types_mix(DType a, DType b)
{
    return a == b || ((a == F32 || a == BF16) && (b == F32 || b == BF16));
}

// batch_norm_grad whose dy alone is a member's.
static bool norm_joins(const Run *r, const Node *n)
{
    if (r->norm || n->op != OP_BATCH_NORM_GRAD || !in_run(r, n->inputs[1]))
        return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (i != 1 && in_run(r, n->inputs[i]))
            return false;
    return true;
}

static bool joins(const Run *r, const Node *n)
{
    if (r->n == 0 || r->n == GROUP_MAX)
        return false;
    const Node *first = r->members[0];
    if (n->phase != first->phase || !types_mix(n->dtype, first->dtype) ||
        !shape_equal(n->shape, first->shape))
        return false;
    if (n->phase != PHASE_FORWARD && !same_unit(n, first) && !adopts(r, n))
        return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (from_run(r, n->inputs[i]))
            return false;
    if (is_norm(n->op))
        return norm_joins(r, n);
    return fits_loop(n) &&
           (reads_member(r, n) || (n->phase == PHASE_BACKWARD && shares_input(r, n)));
}

static bool begins(const Node *n)
{
    return n->phase != PHASE_UPDATE && shape_count(n->shape) > 1 &&
           (is_norm(n->op) || fits_loop(n));
}

static bool has_other_readers(const Fuser *f, const Node *n, const Node *reader)
{
    Node **readers;
    for (int i = value_readers(&f->values, n, &readers); i-- > 0;)
        if (readers[i] != reader)
            return true;
    return f->values.kept[n->id];
}

// The head of a group that begins with n; NULL: none.
static Node *head_of(const Fuser *f, const Node *n)
{
    Node *head = f->before;
    bool fits = f->c->heads && head && node_is(head, 'H') && n->inputs[0] == head &&
                n->phase == head->phase && shape_equal(n->shape, head->shape) &&
                (n->phase == PHASE_FORWARD || same_unit(n, head));
    return fits && f->c->heads(head, n, has_other_readers(f, head, n)) ? head : NULL;
}

static void begin_group(Fuser *f, Node *first, const Node *second)
{
    first->group = f->groups++;
    if (first->phase == PHASE_FORWARD || same_unit(first, second))
        return;
    first->forward = second->forward;
    first->layer = second->layer;
    first->loc = second->loc;
}

static void take(Fuser *f, Node *n)
{
    Run *r = &f->run;
    if (!joins(r, n))
        *r = (Run){.n = 0};
    if (r->n == 0 && !begins(n))
        return;
    if (r->n == 0)
        r->head = head_of(f, n);
    r->members[r->n++] = n;
    r->norm |= is_norm(n->op);
    Node *first = r->head ? r->head : r->members[0];
    if (first != n && first->group < 0)
        begin_group(f, first, n);
    n->group = first->group;
}

// Between the members of a group at nodes[begin .. end): what the group does not make goes before it,
// effects and outputs of members behind it.
static void gather(Graph *g, Node **nodes, int begin, int end)
{
    int group = nodes[begin]->group;
    for (int part = 0; part < 3; part++)
        for (int i = begin; i < end; i++) {
            Node *n = nodes[i];
            bool behind =
                node_is(n, 'X') || (n->op == OP_RESULT && n->inputs[0]->group == group);
            int where = n->group == group ? 1 : behind ? 2 : 0;
            if (where == part)
                g->nodes.items[g->nodes.n++] = n;
        }
}

static void make_contiguous(Compile *c, int groups)
{
    Graph *g = c->graph;
    int n = g->nodes.n, *last = arena_array(c->scratch, int, groups);
    Node **old = arena_copy(c->scratch, g->nodes.items, sizeof(Node *) * (size_t)n);
    for (int i = 0; i < n; i++)
        if (old[i]->group >= 0)
            last[old[i]->group] = i;
    g->nodes.n = 0;
    for (int i = 0; i < n;) {
        int end = old[i]->group >= 0 ? last[old[i]->group] + 1 : i + 1;
        gather(g, old, i, end);
        i = end;
    }
    graph_renumber(g);
}

static bool has_groups(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->group >= 0)
            return true;
    return false;
}

void pass_fuse(Compile *c)
{
    Graph *g = c->graph;
    Fuser f = {.c = c, .g = g};
    for (int i = 0; !c->fuse && i < g->nodes.n; i++)
        g->nodes.items[i]->group = -1;
    if (!c->fuse || has_groups(g)) // a printed graph keeps its groups
        return;
    graph_renumber(g);
    f.values = values_of(c->scratch, g);
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        if (node_is(n, 'L') || node_is(n, 'X'))
            continue;
        take(&f, n);
        f.before = n;
    }
    make_contiguous(c, f.groups);
}
