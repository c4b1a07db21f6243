// A node with one user may join it, and one that uses a single node may join that: whatever leads from one of the two
// to the other goes straight, so that no cycle arises. Chains become pieces of about a grain, and what is small on
// the way into a larger node (a sum, a pooling) becomes part of it.
#include "passes/planner/coarse.h"

#include <math.h>
#include <string.h>

enum { NOBODY = -1, SEVERAL = -2, PASSES = 12 };

typedef struct Groups {
    const Core *c;
    int *
        of; // [n] a node of the same group, nearer to the one that stands for it; that one: itself
    int *next;       // [n] of a group: the only one behind it (or before it)
    double *seconds; // [n] of a group
    double *grain;   // [n] the least of its nodes
} Groups;

static int group_of(const Groups *g, int v)
{
    while (g->of[v] != v)
        v = g->of[v] = g->of[g->of[v]];
    return v;
}

static void find_next(const Groups *g, const Lists *beside)
{
    for (int v = 0; v < g->c->n; v++)
        g->next[v] = NOBODY;
    for (int v = 0; v < g->c->n; v++) {
        int own = group_of(g, v), *next = &g->next[own];
        for (int i = beside->first[v]; i < beside->first[v + 1]; i++) {
            int other = group_of(g, beside->items[i]);
            if (other != own)
                *next = *next == NOBODY || *next == other ? other : SEVERAL;
        }
    }
}

// Groups that are small enough join the only one behind (or before) them. false: there was none.
static bool join(Groups *g, bool users)
{
    bool any = false;
    find_next(g, users ? &g->c->after : &g->c->before);
    for (int i = 0; i < g->c->n; i++) {
        int v = users ? i : g->c->n - 1 - i;
        if (g->of[v] != v || g->next[v] < 0 || g->seconds[v] > g->grain[v])
            continue;
        int w = group_of(g, g->next[v]);
        g->of[v] = w;
        g->seconds[w] += g->seconds[v];
        g->grain[w] = fmin(g->grain[w], g->grain[v]);
        any = true;
    }
    return any;
}

// The core of the same problem with the nodes of each group together.
static Core *core_of_groups(Arena *a, const Groups *g)
{
    const Core *c = g->c;
    const int *first = c->members.first, *member = c->members.items;
    Problem *p = arena_copy(a, c->problem, sizeof *p);
    p->together = arena_array(a, ProblemPair, p->n_together + c->n);
    for (int i = 0; i < p->n_together; i++)
        p->together[i] = c->problem->together[i];
    for (int v = 0; v < c->n; v++)
        if (g->of[v] != v)
            p->together[p->n_together++] =
                (ProblemPair){member[first[v]], member[first[group_of(g, v)]]};
    Core *coarse = arena_new(a, Core);
    *coarse = core_of(a, p);
    return coarse;
}

Core *core_coarse(Arena *a, const Core *c, const double *grain, bool users_first)
{
    size_t n = (size_t)c->n;
    Groups g = {.c = c, .of = arena_array(a, int, n), .next = arena_array(a, int, n)};
    g.seconds = arena_copy(a, c->least, n * sizeof(double));
    g.grain = arena_copy(a, grain, n * sizeof(double));
    for (int v = 0; v < c->n; v++)
        g.of[v] = v;
    bool any = true;
    for (int i = 0; any && i < PASSES; i++) {
        any = join(&g, users_first);
        any |= join(&g, !users_first);
    }
    return core_of_groups(a, &g);
}
