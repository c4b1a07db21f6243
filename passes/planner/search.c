// The least bottleneck T by bisection: a probe says whether T can be reached and by what plan, whose
// slowest stage then is the new upper end. When a probe just below the best plan fails, that plan is
// optimal, up to 1e-11 of its time, which stands for rounding.
#include "passes/planner/orders.h"
#include "passes/planner/sweep.h"

#include <math.h>
#include <string.h>

enum { MOST_CUTS = 300000, MANY_CUTS = 20000, MOST_MOVES = 20000 };
static const double most_work =
    6e7; // cuts times moves of a probe that takes a fraction of a second
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

typedef struct Solver {
    Arena *arena;
    const Problem *p;
    const Machines *m;
    const CostOptions *o;
    Core core;
    PlanResult *result;
} Solver;

static void list_nodes(const Solver *v, const Cuts *c, const Step *step, StageChoice *s)
{
    s->nodes = arena_array(v->arena, int, v->p->n);
    for (int i = 0; i < v->core.n; i++)
        if (cut_holds(c, step->end, i) && !cut_holds(c, step->begin, i))
            for (int k = v->core.members.first[i]; k < v->core.members.first[i + 1]; k++)
                s->nodes[s->n_nodes++] = v->core.members.items[k];
}

// Machines of the types that the move says, the last ones first.
static void list_machines(const Solver *v, const Move *m, bool *taken, StageChoice *s)
{
    s->replicas = m->replicas;
    s->machines = arena_array(v->arena, int, m->replicas);
    if (m->first >= 0) {
        for (int i = 0; i < m->replicas; i++)
            s->machines[i] = m->first + i;
        return;
    }
    int n = 0;
    for (int t = 0; t < v->m->n_types; t++)
        for (int d = v->m->n - 1, left = m->take[t]; left; d--)
            if (v->m->type[d] == t && !taken[d]) {
                taken[d] = true;
                s->machines[n++] = d;
                left--;
            }
}

static void take_steps(const Solver *v, const Cuts *c, const Steps *steps)
{
    PlanResult *r = v->result;
    bool *taken = arena_array(v->arena, bool, v->m->n + 1);
    r->n_stages = steps->n;
    r->stages = arena_array(v->arena, StageChoice, steps->n);
    r->machines_used = 0;
    for (int i = steps->n - 1; i >= 0; i--) {
        StageChoice *s = &r->stages[i];
        list_nodes(v, c, &steps->items[i], s);
        list_machines(v, steps->items[i].move, taken, s);
        s->recompute = steps->items[i].move->recompute;
        r->machines_used += s->replicas;
    }
    const char *why = planner_evaluate(v->arena, v->p, v->m, v->o, r->stages, r->n_stages,
                                       &r->pipeline_time_s);
    CHECK(!why, "planner", "%s", why);
    r->feasible = true;
}

static double one_stage(const Solver *v, int replicas)
{
    StageChoice s = {.n_nodes = v->p->n, .replicas = replicas};
    s.nodes = arena_array(v->arena, int, v->p->n);
    s.machines = arena_array(v->arena, int, replicas);
    for (int i = 0; i < v->p->n; i++)
        s.nodes[i] = i;
    for (int i = 0; i < replicas; i++)
        s.machines[i] = i;
    CostOptions o = *v->o;
    double t;
    const char *why = planner_evaluate(v->arena, v->p, v->m, &o, &s, 1, &t);
    return why && replicas > 1 && v->m->n_types > 1 ? INFINITY : t;
}

static double bound_of_work(const Solver *v)
{
    double least = 0, speed = 0;
    for (int i = 0; i < v->core.n; i++)
        least += v->core.least[i];
    for (int d = 0; d < v->m->n; d++)
        speed += v->m->types[v->m->type[d]].speed;
    return least / speed;
}

// Where not all cuts can be looked at: chains of cuts, each of one order. A probe just below the best plan tells
// quickly whether an order can do better.
static bool search_orders(Solver *v, const Moves *moves, const Cuts **cuts, Bracket *b)
{
    static const int n_random = 40;
    for (int i = 0; i < 2 * ORDER_RANDOM + n_random; i++) {
        OrderRule rule = i < 2 * ORDER_RANDOM ? (OrderRule)(i / 2) : ORDER_RANDOM;
        int *order = order_of(v->arena, &v->core, rule, i % 2, (uint64_t)i);
        Cuts *chain = cuts_of_order(v->arena, &v->core, order);
        Sweep *s = sweep_new(v->arena, chain, moves, v->o->exact_stages ? v->m->n : -1);
        Bracket own = {.low = bound_of_work(v)};
        Steps steps;
        if (!sweep_probe(s, b->best.n ? b->best.time_s * (1 - rounding) : INFINITY, false,
                         &steps))
            continue;
        own.best = steps;
        own.close = b->best.n > 0;
        narrow(s, &own);
        b->best = own.best;
        *cuts = chain;
    }
    v->result->method = arena_printf(v->arena, "%d orders", 2 * ORDER_RANDOM + n_random);
    return b->best.n > 0;
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

PlanResult *planner_solve(Arena *a, const Problem *p, const Machines *m, const CostOptions *o)
{
    PlanResult *r = arena_new(a, PlanResult);
    Solver v = {.arena = a, .p = p, .m = m, .o = o, .core = core_of(a, p), .result = r};
    r->single_machine_time_s = one_stage(&v, 1);
    r->data_parallel_time_s = one_stage(&v, m->n);
    Moves *moves = moves_of(a, m, o, MOST_MOVES);
    const Cuts *cuts = cuts_all(a, &v.core, MOST_CUTS);
    CHECK(moves, "planner", "too many machines");
    const Cuts *chain;
    bool all = cuts && (double)cuts->n * moves->n < most_work, found;
    Bracket b = {.low = bound_of_work(&v)};
    if (all) {
        if (cuts->n > MANY_CUTS && search_orders(&v, moves, &chain, &b)) {
            b.close = true;
            to_all(a, chain, cuts, &b.best);
        }
        r->method = arena_printf(a, "every cut (%d of them)", cuts->n);
        found = narrow(sweep_new(a, cuts, moves, o->exact_stages ? m->n : -1), &b);
    } else {
        found = search_orders(&v, moves, &cuts, &b);
    }
    if (!found) {
        r->why = "no plan fits";
        return r;
    }
    take_steps(&v, cuts, &b.best);
    r->exact = all && b.proven && moves->exact;
    r->lower_bound_s = r->exact ? r->pipeline_time_s : bound_of_work(&v);
    return r;
}
