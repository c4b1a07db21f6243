// Nodes that must share a stage are joined by edges in both directions; what is then strongly
// connected lies in one stage in every plan, since a stage is convex (Tarjan, "Depth-first search and
// linear graph algorithms", 1972). The components come out in reverse topological order.
#include "passes/planner/core.h"

#include <string.h>

// Lists of n owners from m pairs (owner, item); items keep their order.
static Lists lists_of(Arena *a, int n, int m, const ProblemPair *pairs)
{
    Lists l = {arena_array(a, int, n + 1), arena_array(a, int, m + 1)};
    for (int i = 0; i < m; i++)
        l.first[pairs[i].first + 1]++;
    for (int i = 0; i < n; i++)
        l.first[i + 1] += l.first[i];
    int *fill = arena_copy(a, l.first, sizeof *fill * ((size_t)n + 1));
    for (int i = 0; i < m; i++)
        l.items[fill[pairs[i].first]++] = pairs[i].second;
    return l;
}

typedef VEC(ProblemPair) Pairs;

static Lists edges_of(Arena *a, const Problem *p)
{
    Pairs pairs = {0};
    for (int t = 0; t < p->n_tensors; t++)
        for (int u = 0; u < p->tensors[t].n_users; u++)
            vec_push(a, &pairs,
                     ((ProblemPair){p->tensors[t].producer, p->tensors[t].users[u]}));
    for (int i = 0; i < p->n_together; i++) {
        ProblemPair pair = p->together[i];
        vec_push(a, &pairs, pair);
        vec_push(a, &pairs, ((ProblemPair){pair.second, pair.first}));
    }
    return lists_of(a, p->n, pairs.n, pairs.items);
}

typedef struct Tarjan {
    Lists edges;
    int *number, *low, *at; // 0: not seen; `at`: next edge of a node on the path
    int *stack, top;        // nodes without a component
    int *path, depth;
    int *component, n_components, count;
} Tarjan;

static void enter(Tarjan *t, int v)
{
    t->number[v] = t->low[v] = ++t->count;
    t->at[v] = t->edges.first[v];
    t->stack[t->top++] = v;
    t->path[t->depth++] = v;
}

static void leave(Tarjan *t, int v)
{
    t->depth--;
    if (t->low[v] == t->number[v]) {
        int w;
        do {
            w = t->stack[--t->top];
            t->component[w] = t->n_components;
        } while (w != v);
        t->n_components++;
    }
    if (t->depth) {
        int up = t->path[t->depth - 1];
        t->low[up] = t->low[v] < t->low[up] ? t->low[v] : t->low[up];
    }
}

static void visit(Tarjan *t, int root)
{
    enter(t, root);
    while (t->depth) {
        int v = t->path[t->depth - 1];
        if (t->at[v] == t->edges.first[v + 1]) {
            leave(t, v);
            continue;
        }
        int w = t->edges.items[t->at[v]++];
        if (!t->number[w])
            enter(t, w);
        else if (t->component[w] < 0 && t->number[w] < t->low[v])
            t->low[v] = t->number[w];
    }
}

// [p->n] component of each node, numbered in topological order. Later nodes are tried first, so that
// earlier ones come out first where the edges leave a choice.
static int *components_of(Arena *a, const Problem *p, int *n_components)
{
    size_t n = (size_t)p->n;
    Tarjan t = {.edges = edges_of(a, p)};
    t.number = arena_array(a, int, n);
    t.low = arena_array(a, int, n);
    t.at = arena_array(a, int, n);
    t.stack = arena_array(a, int, n);
    t.path = arena_array(a, int, n);
    t.component = arena_array(a, int, n);
    memset(t.component, -1, sizeof *t.component * n);
    for (int v = p->n; v-- > 0;)
        if (!t.number[v])
            visit(&t, v);
    for (int v = 0; v < p->n; v++)
        t.component[v] = t.n_components - 1 - t.component[v];
    *n_components = t.n_components;
    return t.component;
}

static void add_nodes(Arena *a, Core *c)
{
    const Problem *p = c->problem;
    for (int k = 0; k < c->n_profiles; k++) {
        c->compute[k] = arena_array(a, double, c->n);
        c->forward[k] = arena_array(a, double, c->n);
    }
    c->least = arena_array(a, double, c->n);
    c->parameters = arena_array(a, double, c->n);
    c->activations = arena_array(a, double, c->n);
    ProblemPair *member = arena_array(a, ProblemPair, p->n + 1);
    for (int v = 0; v < p->n; v++) {
        const ProblemNode *node = &p->nodes[v];
        int i = c->core_of[v];
        member[v] = (ProblemPair){i, v};
        for (int k = 0; k < c->n_profiles; k++) {
            c->compute[k][i] += node->forward_s[k] + node->backward_s[k];
            c->forward[k][i] += node->forward_s[k];
        }
        c->parameters[i] += node->parameter_bytes;
        c->activations[i] += node->activation_bytes;
    }
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->n_profiles; k++)
            if (!k || c->compute[k][i] < c->least[i])
                c->least[i] = c->compute[k][i];
    c->members = lists_of(a, c->n, p->n, member);
}

typedef struct Wiring {
    Pairs users, makes, reads, before, after;
    int *seen; // [n] the last tensor (plus one) that a node was found to read
} Wiring;

static void add_tensor(Arena *a, Core *c, Wiring *w, const ProblemTensor *t)
{
    int from = c->core_of[t->producer], number = c->n_tensors;
    bool leaves = false;
    for (int u = 0; u < t->n_users; u++) {
        int to = c->core_of[t->users[u]];
        if (to == from || w->seen[to] == number + 1)
            continue;
        w->seen[to] = number + 1;
        leaves = true;
        vec_push(a, &w->users, ((ProblemPair){number, to}));
        vec_push(a, &w->reads, ((ProblemPair){to, number}));
        vec_push(a, &w->after, ((ProblemPair){from, to}));
        vec_push(a, &w->before, ((ProblemPair){to, from}));
    }
    if (!leaves)
        return;
    vec_push(a, &w->makes, ((ProblemPair){from, number}));
    c->producer[number] = from;
    c->bytes[number] = t->bytes;
    c->n_tensors++;
}

Core core_of(Arena *a, const Problem *p)
{
    Core c = {.problem = p, .n_profiles = p->n_profiles};
    c.core_of = components_of(a, p, &c.n);
    add_nodes(a, &c);
    c.producer = arena_array(a, int, p->n_tensors + 1);
    c.bytes = arena_array(a, double, p->n_tensors + 1);
    Wiring w = {.seen = arena_array(a, int, c.n + 1)};
    for (int t = 0; t < p->n_tensors; t++)
        add_tensor(a, &c, &w, &p->tensors[t]);
    c.users = lists_of(a, c.n_tensors, w.users.n, w.users.items);
    c.makes = lists_of(a, c.n, w.makes.n, w.makes.items);
    c.reads = lists_of(a, c.n, w.reads.n, w.reads.items);
    c.after = lists_of(a, c.n, w.after.n, w.after.items);
    c.before = lists_of(a, c.n, w.before.n, w.before.items);
    return c;
}
