// All cuts are found by growing: a cut and one node of its frontier (the nodes outside whose inputs
// all are inside) make the next. A hash table of sets tells what was found before; Zobrist keys make
// a set's hash from that of its parent in one step.
#include "passes/planner/cuts.h"

#include "base/vec.h"

#include <string.h>

typedef struct Growth {
    Arena *arena;
    const Core *core;
    Cuts *cuts;
    int limit, capacity;
    uint64_t *key;  // [core->n]
    uint64_t *hash; // [cuts]
    int *table;     // cut + 1
    uint32_t mask;
    VEC(int) frontier; // of all cuts, one after another
    VEC(int) frontier_first;
    VEC(int) above;
    VEC(int) above_first;
} Growth;

static bool has(const uint64_t *set, int v)
{
    return set[v >> 6] >> (v & 63) & 1;
}

bool cut_holds(const Cuts *c, int cut, int node)
{
    if (c->sets)
        return has(c->sets + (size_t)cut * (size_t)c->words, node);
    for (int i = 0; i < cut; i++)
        if (c->order[i] == node)
            return true;
    return false;
}

bool cut_within(const Cuts *c, int inner, int outer)
{
    if (!c->sets)
        return inner <= outer;
    const uint64_t *in = c->sets + (size_t)inner * (size_t)c->words,
                   *out = c->sets + (size_t)outer * (size_t)c->words;
    for (int w = 0; w < c->words; w++)
        if (in[w] & ~out[w])
            return false;
    return true;
}

static uint64_t mix(uint64_t x) // splitmix64 (Steele, Lea, Flood, 2014)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void *grown(Arena *a, const void *old, size_t have, size_t want)
{
    void *items = arena_alloc(a, want);
    if (have)
        memcpy(items, old, have);
    return items;
}

static void make_room(Growth *g, size_t want)
{
    Cuts *c = g->cuts;
    size_t have = (size_t)g->capacity;
    double **sums[2 * MAX_PROFILES + 4];
    int n = 0;
    for (int k = 0; k < g->core->n_profiles; k++) {
        sums[n++] = &c->compute[k];
        sums[n++] = &c->forward[k];
    }
    sums[n++] = &c->least;
    sums[n++] = &c->parameters;
    sums[n++] = &c->activations;
    sums[n++] = &c->bytes;
    for (int i = 0; i < n; i++)
        *sums[i] = grown(g->arena, *sums[i], have * sizeof(double), want * sizeof(double));
    if (c->words) {
        size_t set = (size_t)c->words * sizeof(uint64_t);
        c->sets = grown(g->arena, c->sets, have * set, want * set);
        g->hash = grown(g->arena, g->hash, have * sizeof(uint64_t), want * sizeof(uint64_t));
    }
    g->capacity = (int)want;
}

static void rehash(Growth *g)
{
    uint32_t size = g->mask ? 2 * (g->mask + 1) : 1024;
    g->table = arena_array(g->arena, int, size);
    g->mask = size - 1;
    for (int i = 0; i < g->cuts->n; i++) {
        uint32_t at = (uint32_t)g->hash[i] & g->mask;
        while (g->table[at])
            at = (at + 1) & g->mask;
        g->table[at] = i + 1;
    }
}

// The change of the bytes that cross when node v joins a set that holds all it reads.
static double bytes_change(const Core *c, const uint64_t *set, int v)
{
    double change = 0;
    for (int i = c->makes.first[v]; i < c->makes.first[v + 1]; i++)
        change += c->bytes[c->makes.items[i]];
    for (int i = c->reads.first[v]; i < c->reads.first[v + 1]; i++) {
        int t = c->reads.items[i];
        bool last = true;
        for (int u = c->users.first[t]; last && u < c->users.first[t + 1]; u++)
            last = c->users.items[u] == v || has(set, c->users.items[u]);
        change -= last ? c->bytes[t] : 0;
    }
    return change;
}

static void add_sums(Cuts *c, int from, int to, int v, double bytes)
{
    const Core *core = c->core;
    for (int k = 0; k < core->n_profiles; k++) {
        c->compute[k][to] = c->compute[k][from] + core->compute[k][v];
        c->forward[k][to] = c->forward[k][from] + core->forward[k][v];
    }
    c->least[to] = c->least[from] + core->least[v];
    c->parameters[to] = c->parameters[from] + core->parameters[v];
    c->activations[to] = c->activations[from] + core->activations[v];
    c->bytes[to] = c->bytes[from] + bytes;
}

static bool ready(const Core *c, const uint64_t *set, int v)
{
    for (int i = c->before.first[v]; i < c->before.first[v + 1]; i++)
        if (!has(set, c->before.items[i]))
            return false;
    return true;
}

static void new_frontier(Growth *g, int from, int v, const uint64_t *set)
{
    const Core *c = g->core;
    int begin = g->frontier_first.items[from], end = g->frontier_first.items[from + 1];
    int own = g->frontier.n;
    for (int i = begin; i < end; i++)
        if (g->frontier.items[i] != v)
            vec_push(g->arena, &g->frontier, g->frontier.items[i]);
    for (int i = c->after.first[v]; i < c->after.first[v + 1]; i++) {
        int w = c->after.items[i];
        bool known = false; // two tensors may lead to one node
        for (int k = own; k < g->frontier.n; k++)
            known |= g->frontier.items[k] == w;
        if (!known && ready(c, set, w))
            vec_push(g->arena, &g->frontier, w);
    }
    vec_push(g->arena, &g->frontier_first, g->frontier.n);
}

// The cut that `from` becomes with v, found or made; -1: there is no room.
static int grow(Growth *g, int from, int v)
{
    Cuts *c = g->cuts;
    size_t words = (size_t)c->words;
    uint64_t hash = g->hash[from] ^ g->key[v], bit = UINT64_C(1) << (v & 63);
    const uint64_t *old = c->sets + (size_t)from * words;
    uint32_t at = (uint32_t)hash & g->mask;
    for (; g->table[at]; at = (at + 1) & g->mask) {
        int i = g->table[at] - 1;
        const uint64_t *set = c->sets + (size_t)i * words;
        bool same = g->hash[i] == hash;
        for (size_t w = 0; same && w < words; w++)
            same = set[w] == (old[w] | (w == (size_t)v >> 6 ? bit : 0));
        if (same)
            return i;
    }
    if (c->n == g->limit)
        return -1;
    if (c->n == g->capacity)
        make_room(g, 2 * (size_t)g->capacity);
    int i = c->n++;
    uint64_t *set = c->sets + (size_t)i * words;
    memcpy(set, c->sets + (size_t)from * words, words * sizeof *set);
    add_sums(c, from, i, v, bytes_change(g->core, set, v));
    set[v >> 6] |= bit;
    g->hash[i] = hash;
    g->table[at] = i + 1;
    new_frontier(g, from, v, set);
    if (2 * (uint32_t)c->n > g->mask)
        rehash(g);
    return i;
}

static void begin(Growth *g)
{
    const Core *c = g->core;
    g->cuts->words = (c->n + 63) / 64 + (c->n == 0);
    g->key = arena_array(g->arena, uint64_t, c->n + 1);
    for (int v = 0; v < c->n; v++)
        g->key[v] = mix((uint64_t)v);
    make_room(g, 256);
    g->cuts->n = 1;
    rehash(g);
    vec_push(g->arena, &g->frontier_first, 0);
    for (int v = 0; v < c->n; v++)
        if (c->before.first[v] == c->before.first[v + 1])
            vec_push(g->arena, &g->frontier, v);
    vec_push(g->arena, &g->frontier_first, g->frontier.n);
}

Cuts *cuts_all(Arena *a, const Core *c, int limit)
{
    Cuts *cuts = arena_new(a, Cuts);
    Growth g = {.arena = a, .core = c, .cuts = cuts, .limit = limit};
    cuts->core = c;
    cuts->all = true;
    begin(&g);
    vec_push(a, &g.above_first, 0);
    for (int i = 0; i < cuts->n; i++) { // cuts->n grows
        for (int k = g.frontier_first.items[i]; k < g.frontier_first.items[i + 1]; k++) {
            int next = grow(&g, i, g.frontier.items[k]);
            if (next < 0)
                return NULL;
            vec_push(a, &g.above, next);
        }
        vec_push(a, &g.above_first, g.above.n);
    }
    cuts->above = (Lists){g.above_first.items, g.above.items};
    return cuts;
}

Cuts *cuts_of_order(Arena *a, const Core *c, int *order)
{
    Cuts *cuts = arena_new(a, Cuts);
    Growth g = {.arena = a, .core = c, .cuts = cuts};
    cuts->core = c;
    cuts->order = order;
    make_room(&g, (size_t)c->n + 1);
    cuts->n = c->n + 1;
    cuts->above = (Lists){arena_array(a, int, c->n + 2), arena_array(a, int, c->n + 1)};
    uint64_t *set = arena_array(a, uint64_t, (c->n + 63) / 64 + 1);
    for (int i = 0; i < c->n; i++) {
        add_sums(cuts, i, i + 1, order[i], bytes_change(c, set, order[i]));
        set[order[i] >> 6] |= UINT64_C(1) << (order[i] & 63);
        cuts->above.first[i] = cuts->above.items[i] = i;
        cuts->above.items[i]++;
    }
    cuts->above.first[c->n] = cuts->above.first[c->n + 1] = c->n;
    cuts->all = false;
    return cuts;
}

Cuts *cuts_of_path(Arena *a, const Core *c)
{
    int *order = arena_array(a, int, c->n + 1);
    for (int v = 0; v < c->n; v++) { // nodes are numbered topologically
        bool follows = false;
        for (int i = c->before.first[v]; i < c->before.first[v + 1]; i++)
            follows |= c->before.items[i] == v - 1;
        if (v && !follows)
            return NULL;
        order[v] = v;
    }
    Cuts *cuts = cuts_of_order(a, c, order);
    cuts->all = true;
    return cuts;
}
