// How far a node is from a plan's boundaries is told in seconds along an order that goes through them: different
// orders lead to different neighbourhoods. A factor that makes distances to grains is looked for until the number of
// cuts is close to the limit.
#include "passes/planner/neighbours.h"

#include "passes/planner/coarse.h"
#include "passes/planner/orders.h"

#include <math.h>

enum {
    N_EVEN =
        4, // kinds of families that are equally coarse everywhere; the others: two for each rule of an order
    TRIES = 6
};
static const double node_work = 700, cut_work = 300, word_work = 5; // of a try
static const double first_grain = 1.0 / 256;                        // of all seconds
static const double first_slope = 0.25; // seconds of grain by seconds of distance
static const double finer = 0.84;       // other grains part chains elsewhere

static double seconds_of(const Core *c)
{
    double sum = 0;
    for (int v = 0; v < c->n; v++)
        sum += c->least[v];
    return sum;
}

void neighbours_init(Neighbours *n, const Core *c, int limit)
{
    *n = (Neighbours){.core = c, .limit = limit};
    for (int k = 0; k < N_NEIGHBOUR_KINDS; k++)
        n->factor[k] = first_slope;
}

void neighbours_release(Neighbours *n)
{
    arena_release(&n->arena);
    arena_release(&n->spare);
}

// `order` sorted by stages, those of one stage as they stood: topological again. first[n_stages + 1]: where in it each
// stage begins.
static int *order_through(Arena *a, const Core *c, const int *stage, int n_stages,
                          const int *order, int *first)
{
    int *through = arena_array(a, int, c->n + 1);
    for (int v = 0; v < c->n; v++)
        first[stage[v] + 1]++;
    for (int s = 0; s < n_stages; s++)
        first[s + 1] += first[s];
    int *fill = arena_copy(a, first, sizeof *first * ((size_t)n_stages + 1));
    for (int i = 0; i < c->n; i++)
        through[fill[stage[order[i]]]++] = order[i];
    return through;
}

// [c->n] seconds between a node and the nearest boundary of the plan, along `order` with its stages apart.
static double *distances(Arena *a, const Core *c, const Cuts *chain, const Steps *plan,
                         const int *order)
{
    int *stage = arena_array(a, int, c->n + 1), *first = arena_array(a, int, plan->n + 1);
    for (int s = 0; s < plan->n; s++)
        for (int i = plan->items[s].begin; i < plan->items[s].end; i++)
            stage[chain->order[i]] = s;
    int *through = order_through(a, c, stage, plan->n, order, first);
    double *distance = arena_array(a, double, c->n + 1), from = INFINITY;
    for (int i = 0, s = 0; i < c->n; i++) { // behind a boundary
        while (s < plan->n && first[s] == i)
            from = s++ ? 0 : from;
        distance[through[i]] = from;
        from += c->least[through[i]];
    }
    from = INFINITY;
    for (int i = c->n, s = plan->n; i-- > 0;) { // and before one
        while (s > 0 && first[s] == i + 1)
            from = s-- < plan->n ? 0 : from;
        distance[through[i]] = fmin(distance[through[i]], from);
        from += c->least[through[i]];
    }
    return distance;
}

// Cuts with grains of *factor times `shape`.
static Cuts *try_factor(Neighbours *n, const double *shape, double factor, bool users_first)
{
    arena_reset(&n->spare);
    double *grain = arena_array(&n->spare, double, n->core->n + 1);
    for (int v = 0; v < n->core->n; v++)
        grain[v] = factor * shape[v];
    const Core *coarse = core_coarse(&n->spare, n->core, grain, users_first);
    // A graph of few more cuts than nodes would have nothing new.
    bool small = coarse->n < n->limit / 4;
    Cuts *cuts = small ? cuts_all(&n->spare, coarse, n->limit) : NULL;
    double looked_at = cuts ? cuts->n : small ? n->limit : 0;
    n->work += node_work * n->core->n + looked_at * (cut_work + word_work * coarse->n / 64);
    if (cuts) {
        Arena other = n->arena;
        n->arena = n->spare;
        n->spare = other;
    }
    return cuts;
}

// Bisects the factor, until there are cuts close to the limit, or it changes hardly anything.
static Cuts *fit(Neighbours *n, const double *shape, double *factor, bool users_first)
{
    Cuts *cuts = NULL;
    double fits = 0, fails = 0;
    for (int i = 0; i < TRIES; i++) {
        Cuts *more = try_factor(n, shape, *factor, users_first);
        cuts = more ? more : cuts;
        *(more ? &fits : &fails) = *factor;
        if ((more && more->n > n->limit / 4) || (fails > 0 && fits > 0 && fits < fails * 1.1))
            break;
        *factor = fits <= 0 ? 2 * fails : fails <= 0 ? fits / 2 : sqrt(fits * fails);
    }
    *factor = fits > 0 ? fits : *factor;
    return cuts;
}

static Cuts *even(Neighbours *n, int k)
{
    Arena a = {0};
    double *shape = arena_array(&a, double, n->core->n + 1);
    for (int v = 0; v < n->core->n; v++)
        shape[v] = 1;
    n->factor[k] = k < 2 ? first_grain * seconds_of(n->core) : finer * n->factor[k - 2];
    Cuts *cuts = fit(n, shape, &n->factor[k], k % 2 == 0);
    arena_release(&a);
    return cuts;
}

static Cuts *around(Neighbours *n, int kind, uint64_t seed, const Cuts *chain,
                    const Steps *plan)
{
    Arena a = {0};
    bool backward = kind >= N_ORDER_RULES;
    int *order = order_of(&a, n->core, (OrderRule)(kind % N_ORDER_RULES), backward, seed);
    double *shape = distances(&a, n->core, chain, plan, order);
    Cuts *cuts = fit(n, shape, &n->factor[N_EVEN + kind], !backward);
    arena_release(&a);
    return cuts;
}

Cuts *neighbours_next(Neighbours *n, const Cuts *chain, const Steps *plan)
{
    int k = n->count++;
    if (k < N_EVEN)
        return even(n, k);
    return around(n, (k - N_EVEN) % (N_NEIGHBOUR_KINDS - N_EVEN), (uint64_t)k, chain, plan);
}

Cuts *neighbours_chain(Arena *a, const Core *c, const Cuts *family, Steps *plan)
{
    int *stage = arena_array(a, int, c->n + 1), *first = arena_array(a, int, plan->n + 1);
    int *same = arena_array(a, int, c->n + 1);
    for (int v = 0; v < c->n; v++) {
        int node = family->core->core_of[c->members.items[c->members.first[v]]];
        same[v] = v; // nodes are numbered topologically
        while (!cut_holds(family, plan->items[stage[v]].end, node))
            stage[v]++;
    }
    int *order = order_through(a, c, stage, plan->n, same, first);
    plan->items = arena_copy(a, plan->items, sizeof *plan->items * (size_t)plan->n);
    for (int s = 0; s < plan->n; s++) {
        plan->items[s].begin = first[s];
        plan->items[s].end = first[s + 1];
    }
    return cuts_of_order(a, c, order);
}
