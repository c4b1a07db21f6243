// The least bottleneck T by bisection: a probe says whether T can be reached and by what plan, whose
// slowest stage then is the new upper end. When a probe just below the best plan fails, that plan is
// optimal, up to 1e-11 of its time, which stands for rounding.
#include "passes/planner/search.h"

#include "passes/planner/count.h"
#include "passes/planner/neighbours.h"
#include "passes/planner/orders.h"

#include <math.h>

enum {
    MOST_CUTS = 300000,
    MOST_SET_WORDS = 1 << 23,
    N_RANDOM = 40,
    N_SEARCH_ORDERS = 2 * ORDER_RANDOM + N_RANDOM,
    FAMILY_CUTS = 20000,
    MANY_CUTS = 8 // times the nodes
};
static const double most_work =
    1e8; // cuts times moves of a probe that takes a fraction of a second
static const double order_work = 8e7;  // likewise, for all orders
static const double count_work = 300;  // of a cut of an order, where machines are counted
static const double little_work = 1e7; // of a probe that may well be one more
static const double start_work =
    3e5; // of a probe that is worth the search for a plan to start from
static const double family_work = 2e8; // likewise, for all families of cuts near a plan
static const double probe_work = 2e7;  // of one probe of them
static const double order_tolerance = 1e-4, fine_tolerance = 1e-7;
static const double rounding = 1e-11;

typedef struct Prober { // one of the two
    Sweep *sweep;
    Count *count;
    const Cuts *cuts;
} Prober;

// Counting machines comes to the same as all moves of alike ones, and along an order is much faster.
static bool counts(const Search *q, const Cuts *cuts)
{
    return !q->moves || (q->machines && q->moves->nested && cuts->order &&
                         count_slides(q->machines, q->options));
}

static Prober prober_of(const Search *q, const Cuts *cuts, bool sparse)
{
    Prober p = {.cuts = cuts};
    if (counts(q, cuts))
        p.count = count_new(q->arena, cuts, q->machines, q->options, sparse);
    else
        p.sweep = sweep_new(q->arena, cuts, q->moves, q->goal);
    return p;
}

static bool probe(const Prober *p, double t, bool tidy, Steps *out)
{
    return p->sweep ? sweep_probe(p->sweep, t, tidy, out) : count_probe(p->count, t, out);
}

typedef struct Bracket {
    double low;       // not reached, or a bound from elsewhere
    Steps best;       // best.n == 0: none yet
    bool close;       // the best plan is thought to be near the optimum
    double tolerance; // relative: when to stop
    double stride;    // by how much to go down while it is not known where the optimum is
    bool proven;      // nothing faster is among these cuts and moves
} Bracket;

// Where to probe next: geometrically between the ends while they are far apart; from a best plan that is close in
// strides that grow. Where the optimum is to be proven, in turn just below the best plan, which is where the search ends.
static double next_probe(const Bracket *b, int turn)
{
    double high = b->best.time_s, below = high * (1 - rounding) / (1 + b->tolerance);
    bool close = b->close || high <= b->low * 1.02;
    if (close && turn % 2 == 0 && b->tolerance <= 0)
        return below;
    double middle = b->low > 0 ? sqrt(b->low * high) : high / 2;
    if (close && middle < high * (1 - b->stride))
        middle = high * (1 - b->stride);
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

// The optimum is often near the bound, and probes that fail are quick near it: start there.
static bool any_plan(const Prober *p, Bracket *b)
{
    static const double factor[] = {1.02, 1.1, 1.3, 2, 4, 16};
    for (int i = 0; i < (int)(sizeof factor / sizeof *factor) && b->low > 0; i++) {
        double t = b->low * factor[i];
        if (probe(p, t, false, &b->best))
            return true;
        if (!p->sweep || !p->sweep->truncated)
            b->low = t;
    }
    return probe(p, INFINITY, false, &b->best);
}

// Narrows b, whose best plan may come from elsewhere. false: no plan at all.
static bool narrow(const Prober *p, Bracket *b)
{
    Steps steps;
    if (!b->best.n && !any_plan(p, b))
        return false;
    bool sure = true;
    b->stride = 0.01;
    for (int turn = 0; b->best.time_s * (1 - rounding) > b->low * (1 + b->tolerance); turn++) {
        double t = next_probe(b, turn);
        if (probe(p, t, false, &steps)) {
            b->stride = fmin(2 * b->stride, 0.5);
            polish(p->cuts, &steps);
            b->best = steps;
        } else {
            b->low = t;
            sure &= !p->sweep || !p->sweep->truncated;
        }
    }
    b->proven = sure && b->tolerance <= 0;
    return true;
}

static void measure(const Search *q, Cuts *cuts)
{
    if (q->measure)
        q->measure(q->user, cuts);
}

// Of one probe, roughly.
static double work(const Search *q, const Cuts *cuts)
{
    double n = cuts->n;
    return counts(q, cuts) ? n * fmin(n, cuts->order ? q->machines->n : n) : n * q->moves->n;
}

// Of the plans that are as fast up to rounding (the same stage between other cuts may differ in its last bits) one on
// few machines that sends little.
static void tidy(const Search *q, const Prober *p, Bracket *b)
{
    Prober moves = *p;
    Steps steps;
    if (p->count && q->moves && (double)p->cuts->n * q->moves->n <= little_work)
        moves =
            (Prober){.cuts = p->cuts, .sweep = sweep_new(q->arena, p->cuts, q->moves, q->goal)};
    if (probe(&moves, b->best.time_s * (1 + rounding), true, &steps))
        b->best = steps;
}

// As many cuts, of no order, as a probe has the time for and sets the room.
static int most_cuts(const Search *q)
{
    double n = q->moves ? most_work / q->moves->n : sqrt(most_work);
    if (q->most_cuts)
        return q->most_cuts;
    int room = MOST_SET_WORDS / (q->core->n / 64 + 1);
    return (int)fmin(fmin(n, MOST_CUTS), room);
}

// Where not all cuts can be looked at: chains of cuts, each of one order. A probe just below the best
// plan tells quickly whether an order can do better.
static Cuts *search_orders(const Search *q, Bracket *b, int *n_orders)
{
    Cuts *best = NULL;
    *n_orders = 0;
    double budget = order_work;
    for (int i = 0; i < N_SEARCH_ORDERS && (i < 2 || budget > 0); i++) {
        OrderRule rule = i < 2 * ORDER_RANDOM ? (OrderRule)(i / 2) : ORDER_RANDOM;
        int *order = order_of(q->arena, q->core, rule, i % 2, (uint64_t)i);
        Cuts *chain = cuts_of_order(q->arena, q->core, order);
        measure(q, chain);
        budget -= counts(q, chain) ? count_work * chain->n : work(q, chain);
        ++*n_orders;
        Prober p = prober_of(q, chain, true);
        Bracket own = {.low = b->low, .close = b->best.n > 0, .tolerance = order_tolerance};
        double t = b->best.time_s * (1 - order_tolerance);
        if (b->best.n && (t <= b->low || !probe(&p, t, false, &own.best)))
            continue;
        if (!narrow(&p, &own))
            continue;
        b->best = own.best;
        best = chain;
    }
    return best;
}

// The plan of a family, along an order, if there is one faster than the best. NULL: there is none.
static Cuts *search_family(const Search *q, Neighbours *near, const Cuts *family, Bracket *b)
{
    Search own = *q;
    own.arena = &near->arena;
    Prober p = prober_of(&own, family, true);
    Bracket inner = {.low = b->low, .close = true, .tolerance = order_tolerance};
    near->work += work(q, family);
    if (!probe(&p, b->best.time_s * (1 - order_tolerance), false, &inner.best))
        return NULL;
    near->work += 8 * work(q, family); // narrow() takes about so many probes
    narrow(&p, &inner);
    Cuts *chain = neighbours_chain(q->arena, q->core, family, &inner.best);
    polish(chain, &inner.best);
    if (inner.best.time_s >= b->best.time_s)
        return NULL;
    b->best = inner.best;
    return chain;
}

// Betters a plan along an order by families of cuts near it, until no kind of them helps.
static Cuts *search_near(const Search *q, Bracket *b, Cuts *best, int *n_families)
{
    Neighbours near;
    int limit = (int)fmin(q->most_cuts ? q->most_cuts : FAMILY_CUTS, probe_work / q->moves->n);
    neighbours_init(&near, q->core, limit);
    for (int failed = 0; failed < N_NEIGHBOUR_KINDS && near.work < family_work; failed++) {
        if (b->best.time_s * (1 - order_tolerance) <= b->low)
            break;
        Cuts *family = neighbours_next(&near, best, &b->best);
        if (!family && near.count == 1)
            break; // the graph cannot be made small enough
        *n_families += family != NULL;
        Cuts *better = family ? search_family(q, &near, family, b) : NULL;
        best = better ? better : best;
        failed = better ? 0 : failed;
    }
    neighbours_release(&near);
    return best;
}

// While orders were compared, their plans were not brought to the end.
static void refine(const Search *q, const Cuts *cuts, Bracket *b)
{
    Prober p = prober_of(q, cuts, work(q, cuts) > start_work);
    Bracket own = {.low = b->low, .best = b->best, .close = true, .tolerance = fine_tolerance};
    narrow(&p, &own);
    tidy(q, &p, &own);
    b->best = own.best;
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

// NULL: there are too many.
static Cuts *every_cut(const Search *q)
{
    Cuts *cuts = q->cuts ? q->cuts : cuts_of_path(q->arena, q->core);
    if (cuts)
        return work(q, cuts) <= most_work ? cuts : NULL;
    int most = most_cuts(q);
    return most > q->core->n ? cuts_all(q->arena, q->core, most) : NULL;
}

bool search_plan(const Search *q, Found *found)
{
    Bracket b = {.low = q->bound};
    Cuts *cuts = every_cut(q);
    int orders;
    // Where probes take long, beside those of an order, the plan of an order is a start that saves most of them.
    bool orders_first =
        !cuts || (cuts->n > MANY_CUTS * q->core->n && work(q, cuts) > start_work);
    Cuts *chain = orders_first ? search_orders(q, &b, &orders) : NULL;
    if (!cuts) {
        int families = 0;
        if (chain && q->moves && !q->measure && !q->orders_alone)
            chain = search_near(q, &b, chain, &families);
        if (chain)
            refine(q, chain, &b);
        *found = (Found){.cuts = chain,
                         .steps = b.best,
                         .method = arena_printf(
                             q->arena, families ? "%d orders, %d neighbourhoods" : "%d orders",
                             orders, families)};
        return b.best.n > 0;
    }
    if (chain) {
        b.close = true;
        to_all(q->arena, chain, cuts, &b.best);
    }
    measure(q, cuts);
    Prober p = prober_of(q, cuts, true);
    bool any = narrow(&p, &b);
    if (p.count && count_sparse(p.count)) {
        p = prober_of(q, cuts, false);
        b.low = q->bound;
        b.close = any;
        any = narrow(&p, &b);
    }
    if (any)
        tidy(q, &p, &b);
    *found = (Found){.cuts = cuts,
                     .steps = b.best,
                     .proven = b.proven,
                     .method = arena_printf(q->arena, "every cut (%d of them)", cuts->n)};
    return any;
}
