// The cuts that the reference considers, which are not all where a graph has several sources: from
// the ancestors of the first source in file order it goes on by one node that reads from the cut,
// with all its ancestors at once.
#include "passes/planner/pipedream.h"

#include "base/text.h"
#include "base/vec.h"

#include <stdlib.h>
#include <string.h>

static bool has(const uint64_t *set, int v)
{
    return set[v >> 6] >> (v & 63) & 1;
}

static void add(uint64_t *set, int v)
{
    set[v >> 6] |= UINT64_C(1) << (v & 63);
}

static void drop(uint64_t *set, int v)
{
    set[v >> 6] &= ~(UINT64_C(1) << (v & 63));
}

static bool meets(const uint64_t *a, const uint64_t *b, int words)
{
    for (int w = 0; w < words; w++)
        if (a[w] & b[w])
            return true;
    return false;
}

static bool same(const uint64_t *a, const uint64_t *b, int words)
{
    return !memcmp(a, b, (size_t)words * sizeof *a);
}

static int count(const uint64_t *set, int words)
{
    int n = 0;
    for (int w = 0; w < words; w++)
        n += __builtin_popcountll(set[w]);
    return n;
}

static uint64_t *set_of(uint64_t *sets, int words, int i)
{
    return sets + (size_t)words * (size_t)i;
}

// Two tensors may lead from one node to another: the later edge is left out.
static void link_nodes(Arena *a, PipedreamGraph *g)
{
    const Problem *p = g->problem;
    int *edges = arena_array(a, int, p->n + 2);
    for (int t = 0; t < p->n_tensors; t++)
        edges[p->tensors[t].producer + 1] += p->tensors[t].n_users;
    for (int v = 0; v < p->n; v++)
        edges[v + 1] += edges[v];
    g->first = edges;
    g->successors = arena_array(a, int, edges[p->n] + 1);
    int *last = g->last = arena_copy(a, edges, sizeof(int) * (size_t)(p->n + 1));
    for (int t = 0; t < p->n_tensors; t++)
        for (int u = 0; u < p->tensors[t].n_users; u++) {
            int from = p->tensors[t].producer, to = p->tensors[t].users[u];
            uint64_t *above = set_of(g->predecessors, g->words, to);
            if (!has(above, from))
                g->successors[last[from]++] = to;
            add(above, from);
        }
}

static bool feeds(const PipedreamGraph *g, int v, const uint64_t *set)
{
    for (int i = g->first[v]; i < g->last[v]; i++)
        if (has(set, g->successors[i]))
            return true;
    return false;
}

// Kahn's order, with the first ready node in file order; ancestors on the way. A problem has no
// cycles (problem_check).
static void order_nodes(Arena *a, PipedreamGraph *g)
{
    int n = g->problem->n, done = 0, words = g->words;
    uint64_t *ready = arena_array(a, uint64_t, words);
    int *missing = arena_array(a, int, n + 1);
    for (int v = 0; v < n; v++)
        if (!(missing[v] = count(set_of(g->predecessors, words, v), words)))
            add(ready, v);
    for (int w = 0; w < words;) {
        if (!ready[w]) {
            w++;
            continue;
        }
        int v = 64 * w + __builtin_ctzll(ready[w]);
        drop(ready, v);
        g->order[done++] = v;
        const uint64_t *up = set_of(g->ancestors, words, v);
        for (int i = g->first[v]; i < g->last[v]; i++) {
            int u = g->successors[i];
            uint64_t *theirs = set_of(g->ancestors, words, u);
            for (int x = 0; x < words; x++)
                theirs[x] |= up[x];
            add(theirs, v);
            if (!--missing[u]) {
                add(ready, u);
                w = u / 64 < w ? u / 64 : w;
            }
        }
    }
}

// Sources and sinks are looked for once: an item whose only user was left out stays.
static void leave_out(PipedreamGraph *g, Arena *a)
{
    const Problem *p = g->problem;
    uint64_t *sinks = arena_array(a, uint64_t, g->words);
    for (int v = 0; v < p->n; v++) {
        const char *kind = p->nodes[v].kind ? p->nodes[v].kind : "";
        if (!str_starts(kind, "Input") || count(set_of(g->predecessors, g->words, v), g->words))
            add(g->planned, v);
    }
    for (int v = 0; v < p->n; v++) {
        const char *kind = p->nodes[v].kind ? p->nodes[v].kind : "";
        if (has(g->planned, v) && str_starts(kind, "__getitem__") && !feeds(g, v, g->planned))
            add(sinks, v);
    }
    for (int w = 0; w < g->words; w++)
        g->planned[w] &= ~sinks[w];
    for (int i = 0; i < p->n * g->words; i++) {
        g->ancestors[i] &= g->planned[i % g->words];
        g->predecessors[i] &= g->planned[i % g->words];
    }
    for (int v = 0; v < p->n; v++) {
        int kept = g->first[v];
        for (int i = kept; i < g->last[v]; i++)
            if (has(g->planned, g->successors[i]))
                g->successors[kept++] = g->successors[i];
        g->last[v] = kept;
    }
}

static void find_extra(PipedreamGraph *g, int v)
{
    const uint64_t *up = set_of(g->ancestors, g->words, v);
    uint64_t *extra = set_of(g->extra, g->words, v);
    for (int w = 0; w < g->words; w++)
        for (uint64_t left = up[w]; left; left &= left - 1) {
            int p = 64 * w + __builtin_ctzll(left);
            for (int i = g->first[p]; i < g->last[p]; i++)
                if (g->successors[i] != v && !has(up, g->successors[i]))
                    add(extra, p);
        }
}

PipedreamGraph *pipedream_graph(Arena *a, const Problem *p)
{
    PipedreamGraph *g = arena_new(a, PipedreamGraph);
    g->problem = p;
    g->words = p->n / 64 + 1;
    g->planned = arena_array(a, uint64_t, g->words);
    g->order = arena_array(a, int, p->n + 1);
    size_t all = (size_t)g->words * (size_t)p->n + 1;
    g->ancestors = arena_array(a, uint64_t, all);
    g->predecessors = arena_array(a, uint64_t, all);
    g->extra = arena_array(a, uint64_t, all);
    link_nodes(a, g);
    order_nodes(a, g);
    leave_out(g, a);
    for (int v = 0; v < p->n; v++)
        find_extra(g, v);
    return g;
}

double pipedream_output_bytes(const PipedreamGraph *g, const uint64_t *cut)
{
    enum { BLOCK = 64 };
    double bytes = 0;
    uint64_t sent[BLOCK];
    // By blocks of words, so that the set of what is sent needs no memory of its own.
    for (int first = 0; first < g->words; first += BLOCK) {
        int n = g->words - first < BLOCK ? g->words - first : BLOCK;
        memset(sent, 0, sizeof sent);
        for (int w = 0; w < g->words; w++)
            for (uint64_t left = cut[w]; left; left &= left - 1) {
                int v = 64 * w + __builtin_ctzll(left);
                if (feeds(g, v, cut))
                    continue;
                if (v / 64 >= first && v / 64 < first + n)
                    add(sent, v - 64 * first);
                const uint64_t *extra = set_of(g->extra, g->words, v) + first;
                for (int x = 0; x < n; x++)
                    sent[x] |= extra[x];
            }
        for (int w = 0; w < n; w++)
            for (uint64_t left = sent[w]; left; left &= left - 1)
                bytes += g->problem->nodes[64 * (first + w) + __builtin_ctzll(left)]
                             .activation_bytes;
    }
    return bytes;
}

typedef struct Growth {
    Arena *arena;
    const PipedreamGraph *graph;
    int limit, n;
    uint64_t *sets; // [limit][words]
    int *table;     // cut + 1; 4 x limit places
    size_t places;
} Growth;

// false: there is no room.
static bool found(Growth *g, const uint64_t *set)
{
    int words = g->graph->words;
    size_t at = str_hash((const char *)set, (size_t)words * sizeof *set) % g->places;
    for (; g->table[at]; at = (at + 1) % g->places)
        if (same(set_of(g->sets, words, g->table[at] - 1), set, words))
            return true;
    if (g->n == g->limit)
        return false;
    memcpy(set_of(g->sets, words, g->n), set, (size_t)words * sizeof *set);
    g->table[at] = ++g->n;
    return true;
}

static bool grow(Growth *g, int from, uint64_t *set)
{
    const PipedreamGraph *graph = g->graph;
    int words = graph->words;
    for (int v = 0; v < graph->problem->n; v++) {
        const uint64_t *cut = set_of(g->sets, words, from);
        if (!has(graph->planned, v) || has(cut, v) ||
            !meets(set_of(graph->predecessors, words, v), cut, words))
            continue;
        const uint64_t *up = set_of(graph->ancestors, words, v);
        for (int w = 0; w < words; w++)
            set[w] = cut[w] | up[w];
        add(set, v);
        if (!found(g, set))
            return false;
    }
    return true;
}

typedef struct Ranked {
    int size, found;
} Ranked;

static int by_size(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    return x->size != y->size ? x->size - y->size : x->found - y->found;
}

// Sums of the cuts from small to large; none that takes two nodes apart that stay together.
static PipedreamCuts *summed(Growth *g)
{
    const Problem *p = g->graph->problem;
    int words = g->graph->words;
    Ranked *rank = arena_array(g->arena, Ranked, g->n);
    for (int i = 0; i < g->n; i++)
        rank[i] = (Ranked){count(set_of(g->sets, words, i), words), i};
    qsort(rank, (size_t)g->n, sizeof *rank, by_size);
    PipedreamCuts *c = arena_new(g->arena, PipedreamCuts);
    c->sets = arena_array(g->arena, uint64_t, g->n * words);
    c->seconds = arena_array(g->arena, double, g->n);
    c->activation_bytes = arena_array(g->arena, double, g->n);
    c->parameter_bytes = arena_array(g->arena, double, g->n);
    c->output_bytes = arena_array(g->arena, double, g->n);
    for (int i = 0; i < g->n; i++) {
        const uint64_t *set = set_of(g->sets, words, rank[i].found);
        bool whole = true;
        for (int t = 0; t < p->n_together; t++) {
            int x = p->together[t].first, y = p->together[t].second;
            bool both = has(g->graph->planned, x) && has(g->graph->planned, y);
            whole &= !both || has(set, x) == has(set, y);
        }
        if (!whole && i < g->n - 1)
            continue;
        int at = c->n++;
        memcpy(set_of(c->sets, words, at), set, (size_t)words * sizeof *set);
        for (int v = 0; v < p->n; v++)
            if (has(set, v)) {
                c->seconds[at] += p->nodes[v].forward_s[0] + p->nodes[v].backward_s[0];
                c->activation_bytes[at] += p->nodes[v].activation_bytes;
                c->parameter_bytes[at] += p->nodes[v].parameter_bytes;
            }
        c->output_bytes[at] = pipedream_output_bytes(g->graph, set);
    }
    return c;
}

PipedreamCuts *pipedream_cuts(Arena *a, const PipedreamGraph *graph, int limit)
{
    int words = graph->words, first = -1, sources = 0;
    for (int v = graph->problem->n - 1; v >= 0; v--)
        if (has(graph->planned, v) && !count(set_of(graph->predecessors, words, v), words)) {
            first = v;
            sources++;
        }
    if (first < 0)
        return NULL;
    Growth g = {.arena = a, .graph = graph, .limit = limit, .places = 4 * (size_t)limit};
    g.sets = arena_array(a, uint64_t, limit * words);
    g.table = arena_array(a, int, g.places);
    uint64_t *set = arena_array(a, uint64_t, words);
    add(set, first);
    if (!found(&g, set))
        return NULL;
    for (int i = 0; i < g.n; i++)
        if (!grow(&g, i, set))
            return NULL;
    PipedreamCuts *c = summed(&g);
    if (!same(set_of(c->sets, words, c->n - 1), graph->planned, words))
        return NULL;
    c->all = sources == 1;
    return c;
}

static int first_of(const PipedreamGraph *g, int v, const int *stage)
{
    int first = -1;
    for (int i = g->first[v]; i < g->last[v]; i++)
        if (first < 0 || stage[g->successors[i]] < first)
            first = stage[g->successors[i]];
    return first < 0 ? 0 : first;
}

void pipedream_place_rest(const PipedreamGraph *g, int *stage)
{
    const Problem *p = g->problem;
    for (int i = 0; i < p->n; i++) {
        int v = g->order[i];
        const char *kind = p->nodes[v].kind ? p->nodes[v].kind : "";
        if (stage[v] >= 0)
            continue;
        if (str_starts(kind, "Input")) {
            stage[v] = first_of(g, v, stage);
            continue;
        }
        stage[v] = 0;
        for (int t = 0; t < p->n_tensors; t++)
            for (int u = 0; u < p->tensors[t].n_users; u++)
                if (p->tensors[t].users[u] == v && stage[p->tensors[t].producer] > stage[v])
                    stage[v] = stage[p->tensors[t].producer];
    }
}
