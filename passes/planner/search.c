// The least bottleneck T by bisection: a probe says whether T can be reached and by what plan, whose
// slowest stage then is the new upper end. When a probe just below the best plan fails, that plan is
// optimal, up to 1e-11 of its time, which stands for rounding.
#include "passes/planner/search.h"

#include "passes/planner/orders.h"

#include <math.h>

enum {
    MOST_CUTS = 300000,
    MANY_CUTS = 20000,
    N_RANDOM = 40,
    N_SEARCH_ORDERS = 2 * ORDER_RANDOM + N_RANDOM
};
static const double most_work =
    1e8; // cuts times moves of a probe that takes a fraction of a second
static const double rounding = 1e-11;

typedef struct Bracket {
    double low;  // not reached, or a bound from elsewhere
    Steps best;  // best.n == 0: none yet
    bool close;  // the best plan is thought to be near the optimum
    bool proven; // nothing faster is among these cuts and moves
} Bracket;

// Where to probe next: geometrically between the ends while they are far apart; then in turn just below the best
// plan, which is where the search ends, and a little lower, to get there in fewer steps.
static double next_probe(const Bracket *b, int turn)
{
    double high = b->best.time_s, below = high * (1 - rounding);
    bool close = b->close || high <= b->low * 1.02;
    if (close && turn % 2 == 0)
        return below;
    double middle = b->low > 0 ? sqrt(b->low * high) : high / 2;
    if (close && middle < high * 0.99)
        middle = high * 0.99;
    return middle < below ? middle : below;
}

// Moves the boundary before stage s to where the slower of its two stages is fastest. false: it stays.
static bool move_boundary(const Cuts *c, Steps *steps, int s)
{
    Step before = steps->items[s - 1], behind = steps->items[s];
    double best = fmax(step_seconds(c, &before), step_seconds(c, &behind));
    int found = -1;
    for (int cut = before.begin + 1; cut < behind.end; cut++) {
        before.end = behind.begin = cut;
        double t = fmax(step_seconds(c, &before), step_seconds(c, &behind));
        if (t < best * (1 - rounding) && cut_within(c, before.begin, cut) &&
            cut_within(c, cut, behind.end)) {
            best = t;
            found = cut;
        }
    }
    if (found >= 0)
        steps->items[s - 1].end = steps->items[s].begin = found;
    return found >= 0;
}

// A probe's plan meets T somehow; with its boundaries in better places it saves many probes.
static void polish(const Cuts *c, Steps *steps)
{
    bool moved = true;
    for (int pass = 0; moved && pass < 8; pass++) {
        moved = false;
        for (int s = 1; s < steps->n; s++)
            moved |= move_boundary(c, steps, s);
    }
    steps->time_s = 0;
    for (int s = 0; s < steps->n; s++)
        steps->time_s = fmax(steps->time_s, step_seconds(c, &steps->items[s]));
}

// Narrows b, whose best plan may come from elsewhere. false: no plan at all.
static bool narrow(Sweep *s, Bracket *b)
{
    Steps steps;
    if (!b->best.n && !sweep_probe(s, INFINITY, false, &b->best))
        return false;
    bool sure = true;
    for (int turn = 0; b->best.time_s * (1 - rounding) > b->low; turn++) {
        double t = next_probe(b, turn);
        if (sweep_probe(s, t, false, &steps)) {
            polish(s->cuts, &steps);
            b->best = steps;
        } else {
            b->low = t;
            sure &= !s->truncated;
        }
    }
    b->proven = sure;
    if (sweep_probe(s, b->best.time_s, true, &steps))
        b->best = steps;
    return true;
}

static void measure(const Search *q, Cuts *cuts)
{
    if (q->measure)
        q->measure(q->user, cuts);
}

// Where not all cuts can be looked at: chains of cuts, each of one order. A probe just below the best
// plan tells quickly whether an order can do better.
static const Cuts *search_orders(const Search *q, Bracket *b)
{
    const Cuts *best = NULL;
    for (int i = 0; i < N_SEARCH_ORDERS; i++) {
        OrderRule rule = i < 2 * ORDER_RANDOM ? (OrderRule)(i / 2) : ORDER_RANDOM;
        int *order = order_of(q->arena, q->core, rule, i % 2, (uint64_t)i);
        Cuts *chain = cuts_of_order(q->arena, q->core, order);
        measure(q, chain);
        Sweep *s = sweep_new(q->arena, chain, q->moves, q->goal);
        Bracket own = {.low = b->low, .close = b->best.n > 0};
        double t = b->best.n ? b->best.time_s * (1 - rounding) : INFINITY;
        if (t <= b->low || !sweep_probe(s, t, false, &own.best))
            continue;
        narrow(s, &own);
        b->best = own.best;
        best = chain;
    }
    return best;
}

// The plan of a chain as one of all cuts.
static void to_all(Arena *a, const Cuts *chain, const Cuts *all, Steps *steps)
{
    int *number = arena_array(a, int, chain->n);
    for (int i = 1; i < chain->n; i++)
        for (int k = all->above.first[number[i - 1]]; !number[i]; k++)
            if (cut_holds(all, all->above.items[k], chain->order[i - 1]))
                number[i] = all->above.items[k];
    for (int s = 0; s < steps->n; s++) {
        steps->items[s].begin = number[steps->items[s].begin];
        steps->items[s].end = number[steps->items[s].end];
    }
}

bool search_plan(const Search *q, Found *found)
{
    Bracket b = {.low = q->bound};
    Cuts *cuts = cuts_all(q->arena, q->core, MOST_CUTS);
    if (!cuts || (double)cuts->n * q->moves->n > most_work) {
        found->cuts = search_orders(q, &b);
        found->steps = b.best;
        found->method = arena_printf(q->arena, "%d orders", N_SEARCH_ORDERS);
        return b.best.n > 0;
    }
    measure(q, cuts);
    const Cuts *chain = cuts->n > MANY_CUTS ? search_orders(q, &b) : NULL;
    if (chain) {
        b.close = true;
        to_all(q->arena, chain, cuts, &b.best);
    }
    bool any = narrow(sweep_new(q->arena, cuts, q->moves, q->goal), &b);
    found->cuts = cuts;
    found->steps = b.best;
    found->proven = b.proven;
    found->method = arena_printf(q->arena, "every cut (%d of them)", cuts->n);
    return any;
}
