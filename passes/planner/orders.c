// Kahn's algorithm with a rule for which ready node goes next (Kahn, "Topological sorting of large
// networks", 1962).
#include "passes/planner/orders.h"

#include <string.h>

typedef struct Sorter {
    const Core *c;
    Lists in, out; // edges in the direction of the order
    int *waits;    // [n] inputs that are not placed
    int *users;    // [n_tensors] that are not placed
    int *ready, n_ready;
    double *key; // [n] the smallest goes first
    OrderRule rule;
    uint64_t random;
    int count;
} Sorter;

static double next_random(Sorter *s) // xorshift64 (Marsaglia, 2003)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (double)(s->random >> 11);
}

static double key_of(Sorter *s)
{
    s->count++;
    switch (s->rule) {
    case ORDER_DEPTH: return -s->count;
    case ORDER_BREADTH: return s->count;
    case ORDER_RANDOM: return next_random(s);
    case ORDER_NARROW:
    case N_ORDER_RULES: return 0;
    }
    return 0;
}

static void make_ready(Sorter *s, int v)
{
    s->key[v] = key_of(s);
    s->ready[s->n_ready++] = v;
}

// Bytes that cross more when v is placed. Backward, a tensor begins to cross with its last user and ends with its producer.
static double widening(const Sorter *s, int v, bool backward)
{
    const Core *c = s->c;
    double change = 0;
    for (int i = c->makes.first[v]; i < c->makes.first[v + 1]; i++)
        change += backward ? -c->bytes[c->makes.items[i]] : c->bytes[c->makes.items[i]];
    for (int i = c->reads.first[v]; i < c->reads.first[v + 1]; i++) {
        int t = c->reads.items[i], all = c->users.first[t + 1] - c->users.first[t];
        if (backward && s->users[t] == all)
            change += c->bytes[t];
        if (!backward && s->users[t] == 1)
            change -= c->bytes[t];
    }
    return change;
}

static int choose(const Sorter *s, bool backward)
{
    int best = 0;
    double least = 0;
    for (int i = 0; i < s->n_ready; i++) {
        int v = s->ready[i];
        double key = s->rule == ORDER_NARROW ? widening(s, v, backward) : s->key[v];
        if (!i || key < least) {
            least = key;
            best = i;
        }
    }
    return best;
}

static void place(Sorter *s, int v)
{
    for (int i = s->c->reads.first[v]; i < s->c->reads.first[v + 1]; i++)
        s->users[s->c->reads.items[i]]--;
    for (int i = s->out.first[v + 1]; i-- > s->out.first[v];)
        if (!--s->waits[s->out.items[i]])
            make_ready(s, s->out.items[i]);
}

int *order_of(Arena *a, const Core *c, OrderRule rule, bool backward, uint64_t seed)
{
    Sorter s = {.c = c, .rule = rule, .random = seed * 2 + 1};
    s.in = backward ? c->after : c->before;
    s.out = backward ? c->before : c->after;
    s.waits = arena_array(a, int, c->n + 1);
    s.ready = arena_array(a, int, c->n + 1);
    s.key = arena_array(a, double, c->n + 1);
    s.users = arena_array(a, int, c->n_tensors + 1);
    for (int t = 0; t < c->n_tensors; t++)
        s.users[t] = c->users.first[t + 1] - c->users.first[t];
    for (int v = 0; v < c->n; v++)
        s.waits[v] = s.in.first[v + 1] - s.in.first[v];
    for (int v = c->n; v-- > 0;)
        if (!s.waits[v])
            make_ready(&s, v);
    int *order = arena_array(a, int, c->n + 1);
    for (int n = 0; s.n_ready; n++) {
        int at = choose(&s, backward), v = s.ready[at];
        memmove(s.ready + at, s.ready + at + 1, sizeof(int) * (size_t)(--s.n_ready - at));
        order[backward ? c->n - 1 - n : n] = v;
        place(&s, v);
    }
    return order;
}
