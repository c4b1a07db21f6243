// Kahn's algorithm with a rule for which ready node goes next (Kahn, "Topological sorting of large
// networks", 1962). Ready nodes lie in a heap. Keys that change become smaller: such a node is put in once more, and what
// is in there twice comes out placed already.
#include "passes/planner/orders.h"

typedef struct Entry {
    double key;
    int turn; // of equal keys the node that became ready first goes first
    int node;
} Entry;

typedef struct Sorter {
    const Core *c;
    Lists in, out; // edges in the direction of the order
    int *waits;    // [n] inputs that are not placed
    int *users;    // [n_tensors] that are not placed
    int *turn;     // [n] 0: not ready; -1: placed
    Entry *heap;
    int n_heap;
    OrderRule rule;
    bool backward;
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

// Bytes that cross more when v is placed. Backward, a tensor begins to cross with its last user and ends with its producer.
static double widening(const Sorter *s, int v)
{
    const Core *c = s->c;
    double change = 0;
    for (int i = c->makes.first[v]; i < c->makes.first[v + 1]; i++)
        change += s->backward ? -c->bytes[c->makes.items[i]] : c->bytes[c->makes.items[i]];
    for (int i = c->reads.first[v]; i < c->reads.first[v + 1]; i++) {
        int t = c->reads.items[i], all = c->users.first[t + 1] - c->users.first[t];
        if (s->backward && s->users[t] == all)
            change += c->bytes[t];
        if (!s->backward && s->users[t] == 1)
            change -= c->bytes[t];
    }
    return change;
}

static double key_of(Sorter *s, int v)
{
    switch (s->rule) {
    case ORDER_DEPTH: return -s->turn[v];
    case ORDER_BREADTH: return s->turn[v];
    case ORDER_RANDOM: return next_random(s);
    case ORDER_NARROW: return widening(s, v);
    case N_ORDER_RULES: break;
    }
    return 0;
}

static bool before(const Entry *a, const Entry *b)
{
    return a->key < b->key || (a->key == b->key && a->turn < b->turn);
}

static void push(Sorter *s, int v)
{
    Entry e = {key_of(s, v), s->turn[v], v};
    int at = s->n_heap++;
    for (; at && before(&e, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = e;
}

static int pop(Sorter *s)
{
    int first = s->heap[0].node, at = 0;
    Entry e = s->heap[--s->n_heap];
    for (int next = 1; next < s->n_heap; next = 2 * at + 1) {
        if (next + 1 < s->n_heap && before(&s->heap[next + 1], &s->heap[next]))
            next++;
        if (!before(&s->heap[next], &e))
            break;
        s->heap[at] = s->heap[next];
        at = next;
    }
    s->heap[at] = e;
    return first;
}

static void make_ready(Sorter *s, int v)
{
    s->turn[v] = ++s->count;
    push(s, v);
}

// One user of tensor t is placed: for the others (backward) or the last one (forward) there is less that crosses.
static void use(Sorter *s, int t)
{
    const Lists *users = &s->c->users;
    bool first = s->users[t] == users->first[t + 1] - users->first[t];
    s->users[t]--;
    if (s->rule != ORDER_NARROW || (s->backward ? !first : s->users[t] != 1))
        return;
    for (int i = users->first[t]; i < users->first[t + 1]; i++)
        if (s->turn[users->items[i]] > 0)
            push(s, users->items[i]);
}

static void place(Sorter *s, int v)
{
    const Core *c = s->c;
    s->turn[v] = -1;
    for (int i = c->reads.first[v]; i < c->reads.first[v + 1]; i++)
        use(s, c->reads.items[i]);
    for (int i = s->out.first[v + 1]; i-- > s->out.first[v];)
        if (!--s->waits[s->out.items[i]])
            make_ready(s, s->out.items[i]);
}

int *order_of(Arena *a, const Core *c, OrderRule rule, bool backward, uint64_t seed)
{
    Sorter s = {.c = c, .rule = rule, .backward = backward, .random = seed * 2 + 1};
    s.in = backward ? c->after : c->before;
    s.out = backward ? c->before : c->after;
    s.waits = arena_array(a, int, c->n + 1);
    s.turn = arena_array(a, int, c->n + 1);
    s.users = arena_array(a, int, c->n_tensors + 1);
    s.heap = arena_array(a, Entry, c->n + c->reads.first[c->n] + 1);
    for (int t = 0; t < c->n_tensors; t++)
        s.users[t] = c->users.first[t + 1] - c->users.first[t];
    for (int v = 0; v < c->n; v++)
        s.waits[v] = s.in.first[v + 1] - s.in.first[v];
    for (int v = c->n; v-- > 0;)
        if (!s.waits[v])
            make_ready(&s, v);
    int *order = arena_array(a, int, c->n + 1);
    for (int n = 0; s.n_heap;) {
        int v = pop(&s);
        if (s.turn[v] < 0)
            continue;
        order[backward ? c->n - 1 - n++ : n++] = v;
        place(&s, v);
    }
    return order;
}
