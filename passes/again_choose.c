// Which nodes a stage computes again so that it fits: those that take the least time. Where candidates
// are few, every set of them is looked at. Else some sets that fit are made, and of each, nodes are kept
// again, those that take longest first, as long as it still fits; the quickest stays. The sets are
//
//   segments   nothing waits but what lives between k segments, for every k (Chen et al., "Training
//              deep nets with sublinear memory cost", 2016): with few micro-batches in flight, what a
//              segment takes while it is computed again counts as much as what waits
//   greedy     candidates in the order of bytes by seconds, until it fits
//
// How far from the best that may be tells a bound: what does not wait any more must make up for the bytes
// that are too many, and each candidate takes its own time at least, so the best candidates, the last one in
// part, are a relaxation of the problem (the fractional knapsack of Dantzig, 1957).
#include "passes/again.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 12, MOST_SEGMENTS = 48, STARTS = 4, PACKINGS = 6 };

typedef struct Candidate {
    Node *node;
    int64_t bytes;  // that need not wait
    double seconds; // of the node alone
    double rank;    // candidates of a small one come first
} Candidate;

typedef struct Chooser {
    Again *a;
    Arena *arena;
    int64_t limit;
    int n_ids;
    Candidate *candidates;
    int n;
    AgainChoice *best;
    bool fits; // the best one
} Chooser;

static int by_rank(const void *x, const void *y)
{
    const Candidate *a = x, *b = y;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->node->id - b->node->id;
}

static void find_candidates(Chooser *c)
{
    const NodeList *forward = &c->a->nodes[PHASE_FORWARD];
    c->candidates = arena_array(c->arena, Candidate, forward->n);
    for (int i = 0; i < forward->n; i++) {
        Node *n = forward->items[i];
        int64_t bytes = again_saves(c->a, n);
        double seconds = c->a->c->node_s[n->id];
        if (bytes)
            c->candidates[c->n++] = (Candidate){n, bytes, seconds, seconds / (double)bytes};
    }
    qsort(c->candidates, (size_t)c->n, sizeof *c->candidates, by_rank);
}

static bool *set_new(const Chooser *c)
{
    return arena_array(c->arena, bool, c->n_ids);
}

// The closed set with these candidates and what they need.
static void close_over(const Chooser *c, const bool *wanted, bool *again)
{
    memcpy(again, wanted, (size_t)c->n_ids);
    again_close(c->a, again);
}

static bool fits(Chooser *c, const bool *again, AgainCost *cost)
{
    *cost = again_cost(c->a, again, false);
    return again_bytes(c->a, *cost) <= c->limit;
}

static void consider(Chooser *c, const bool *again)
{
    AgainCost cost;
    bool good = fits(c, again, &cost);
    int64_t fewer = again_bytes(c->a, c->best->cost) - again_bytes(c->a, cost);
    double less = c->best->cost.seconds - cost.seconds;
    bool better = good != c->fits ? good
                  : good          ? less > 0 || (less == 0 && fewer > 0)
                                  : fewer > 0;
    if (!better)
        return;
    memcpy(c->best->again, again, (size_t)c->n_ids);
    c->best->cost = cost;
    c->fits = good;
}

// Every set
// ------------------------------------------------------------------------------------------

static void try_all(Chooser *c)
{
    bool *wanted = set_new(c), *again = set_new(c);
    for (unsigned set = 1; set < 1u << c->n; set++) {
        for (int i = 0; i < c->n; i++)
            wanted[c->candidates[i].node->id] = set >> i & 1;
        close_over(c, wanted, again);
        consider(c, again);
    }
}

// Some sets
// ------------------------------------------------------------------------------------------

// Keeps what need not be computed again after all: first what saves the most time.
static void keep_again(Chooser *c, bool *wanted)
{
    Candidate *order = arena_array(c->arena, Candidate, c->n);
    bool *again = set_new(c);
    AgainCost cost;
    int n = 0;
    close_over(c, wanted, again);
    double all = again_seconds(c->a, again);
    if (!fits(c, again, &cost)) {
        consider(c, again);
        return;
    }
    for (int i = 0; i < c->n; i++) {
        int id = c->candidates[i].node->id;
        if (!wanted[id])
            continue;
        wanted[id] = false;
        close_over(c, wanted, again);
        order[n] = c->candidates[i];
        order[n++].rank = again_seconds(c->a, again) - all;
        wanted[id] = true;
    }
    qsort(order, (size_t)n, sizeof *order, by_rank);
    for (int i = 0; i < n; i++) {
        wanted[order[i].node->id] = false;
        close_over(c, wanted, again);
        wanted[order[i].node->id] = !fits(c, again, &cost);
    }
    close_over(c, wanted, again);
    consider(c, again);
}

static void try_greedy(Chooser *c)
{
    bool *wanted = set_new(c), *again = set_new(c);
    AgainCost cost;
    for (int i = 0; i < c->n; i++) {
        wanted[c->candidates[i].node->id] = true;
        close_over(c, wanted, again);
        if (fits(c, again, &cost))
            break;
    }
    keep_again(c, wanted);
}

// By position in forward: bytes that live behind it, and those that need not wait of the nodes up to it.
typedef struct Positions {
    int64_t *alive, *saved;
    int *last; // by id of a root: the position of its last reader in forward, if it has one
    int n;
} Positions;

static Positions find_positions(const Chooser *c)
{
    const NodeList *forward = &c->a->nodes[PHASE_FORWARD];
    Positions p = {arena_array(c->arena, int64_t, forward->n + 1),
                   arena_array(c->arena, int64_t, forward->n + 1),
                   arena_array(c->arena, int, c->n_ids), forward->n};
    for (int i = 0; i < forward->n; i++)
        for (int k = 0; k < forward->items[i]->n_inputs; k++)
            p.last[value_root(forward->items[i]->inputs[k])->id] = i;
    for (int i = 0; i < forward->n; i++) {
        Node *n = forward->items[i];
        bool read = p.last[n->id] > i;
        p.alive[i] += read ? n->bytes : 0;
        p.alive[p.last[n->id]] -= read ? n->bytes : 0;
        p.saved[i] = again_saves(c->a, n);
    }
    for (int i = 1; i < forward->n; i++) {
        p.alive[i] += p.alive[i - 1];
        p.saved[i] += p.saved[i - 1];
    }
    return p;
}

// Where little lives, near where so many bytes have been saved.
static int boundary(const Positions *p, int64_t bytes, int64_t window)
{
    int best = -1;
    for (int i = 0; i < p->n; i++)
        if (p->saved[i] >= bytes - window && p->saved[i] <= bytes + window &&
            (best < 0 || p->alive[i] < p->alive[best]))
            best = i;
    return best;
}

typedef struct Start {
    bool *wanted;
    int64_t bytes;
} Start;

static Start segments_of(Chooser *c, const Positions *p, int segments)
{
    const NodeList *forward = &c->a->nodes[PHASE_FORWARD];
    int64_t all = p->n ? p->saved[p->n - 1] : 0;
    Start start = {set_new(c), 0};
    bool *again = set_new(c);
    for (int i = 0; i < c->n; i++)
        start.wanted[c->candidates[i].node->id] = true;
    for (int s = 1; s < segments; s++) {
        int at = boundary(p, all * s / segments, all / segments / 3);
        for (int i = 0; i <= at; i++)
            if (p->last[forward->items[i]->id] > at)
                start.wanted[forward->items[i]->id] = false;
    }
    close_over(c, start.wanted, again);
    start.bytes = again_bytes(c->a, again_cost(c->a, again, false));
    return start;
}

static int by_bytes(const void *x, const void *y)
{
    const Start *a = x, *b = y;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

// Those of the fewest bytes leave the most to be kept.
static void try_segments(Chooser *c)
{
    Positions p = find_positions(c);
    Start starts[MOST_SEGMENTS];
    int n = c->n < MOST_SEGMENTS ? c->n : MOST_SEGMENTS;
    for (int k = 0; k < n; k++)
        starts[k] = segments_of(c, &p, k + 1);
    qsort(starts, (size_t)n, sizeof *starts, by_bytes);
    for (int k = 0; k < n && k < STARTS; k++)
        keep_again(c, starts[k].wanted);
}

// The bound
// ------------------------------------------------------------------------------------------

static double least_seconds(const Chooser *c, int64_t too_many)
{
    double seconds = 0;
    for (int i = 0; i < c->n && too_many > 0; i++) { // in their order they are the best
        int64_t bytes = c->a->in_flight * c->candidates[i].bytes;
        double part = bytes > too_many ? (double)too_many / (double)bytes : 1;
        seconds += part * c->candidates[i].seconds;
        too_many -= bytes;
    }
    return seconds;
}

static Chooser chooser(Again *a, Arena *arena)
{
    Chooser c = {.a = a, .arena = arena, .n_ids = a->values->graph->nodes.n};
    find_candidates(&c);
    return c;
}

AgainChoice again_whole(Again *a, Arena *arena)
{
    Chooser c = chooser(a, arena);
    AgainChoice out = {.again = set_new(&c)};
    for (int i = 0; i < c.n; i++)
        out.again[c.candidates[i].node->id] = true;
    again_close(a, out.again);
    out.cost = again_cost(a, out.again, true);
    return out;
}

// Within so many bytes at the worst moment.
static bool choose(Chooser *c, int64_t limit, AgainChoice *out)
{
    *out = (AgainChoice){.again = set_new(c), .exact = c->n <= FEW};
    c->best = out;
    c->limit = limit;
    c->fits = fits(c, out->again, &out->cost);
    out->least_s = least_seconds(c, again_bytes(c->a, out->cost) - limit);
    if (c->fits) {
        out->exact = true;
        return true;
    }
    if (c->n <= FEW) {
        try_all(c);
        return c->fits;
    }
    try_segments(c);
    try_greedy(c);
    return c->fits;
}

// Packed, scratch may take a little more than its worst moment: then that much less is allowed.
bool again_choose(Again *a, Arena *arena, int64_t bytes, AgainChoice *out)
{
    Chooser c = chooser(a, arena);
    double least_s = 0;
    bool good = true;
    for (int64_t more = 0, less = 0, k = 0; good && k < PACKINGS; k++, less += more) {
        good = choose(&c, bytes - less, out);
        out->cost = again_cost(a, out->again, true);
        least_s = k ? least_s : out->least_s;
        out->least_s = least_s;
        out->exact &= !k;
        more = again_bytes(a, out->cost) - bytes;
        if (more <= 0)
            return true;
    }
    return false;
}
