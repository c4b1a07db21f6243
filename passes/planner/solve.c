// From a problem to an answer: the search, its plan as stages, what it is compared with.
#include "passes/planner/bound.h"
#include "passes/planner/pipedream_plan.h"
#include "passes/planner/search.h"

#include <math.h>
#include <string.h>

enum { MOST_MOVES = 20000 };

typedef struct Solver {
    Arena *arena;
    const Problem *p;
    const Machines *m;
    const CostOptions *o;
    Core core;
    PlanResult *result;
} Solver;

static void take(const Solver *v, const Found *found)
{
    PlanResult *r = v->result;
    r->n_stages = found->steps.n;
    r->stages = stages_of(v->arena, v->m, found);
    r->machines_used = machines_of_stages(r->stages, r->n_stages);
    r->method = found->method;
    const char *why = planner_evaluate(v->arena, v->p, v->m, v->o, r->stages, r->n_stages);
    r->pipeline_time_s = stages_time_s(r->stages, r->n_stages);
    CHECK(!why, "planner", "%s", why);
    r->feasible = true;
}

// Of all nodes as one stage, whatever its memory.
static double one_stage(const Solver *v, int first, int replicas)
{
    StageChoice s = {.n_nodes = v->p->n, .replicas = replicas};
    s.nodes = arena_array(v->arena, int, v->p->n);
    s.machines = arena_array(v->arena, int, replicas);
    for (int i = 0; i < v->p->n; i++)
        s.nodes[i] = i;
    for (int i = 0; i < replicas; i++)
        s.machines[i] = first + i;
    planner_evaluate(v->arena, v->p, v->m, v->o, &s, 1);
    return s.time_s;
}

// What the plan is compared with: the best single machine; one stage on all of them, where their profiles are one.
static void compare(const Solver *v)
{
    const Machines *m = v->m;
    PlanResult *r = v->result;
    bool mixed = false;
    r->single_machine_time_s = INFINITY;
    for (int t = 0; t < m->n_types; t++) {
        int d = 0;
        while (d < m->n && m->type[d] != t)
            d++;
        if (d < m->n)
            r->single_machine_time_s = fmin(r->single_machine_time_s, one_stage(v, d, 1));
        mixed |= m->types[t].profile != m->types[0].profile;
    }
    r->data_parallel_time_s = mixed ? INFINITY : one_stage(v, 0, m->n);
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

static void take_better(MachineLevel *best, MachineLevel link)
{
    best->bytes_per_s = fmax(best->bytes_per_s, link.bytes_per_s);
    best->latency_s = fmin(best->latency_s, link.latency_s);
}

// The best link that any two machines have.
static MachineLevel best_link(const Machines *m)
{
    MachineLevel best = {.size = m->n, .latency_s = INFINITY, .per_device = true, .group = 1};
    for (int l = 0; !m->host && l < m->n_levels; l++)
        if (m->levels[l].size > 1)
            take_better(&best, m->levels[l]);
    for (int d = 1; m->host && d < m->n; d++) // those of one host stand side by side
        for (int h = m->host[d - 1]; h <= m->host[d]; h++)
            if (m->host[d - 1] == m->host[d])
                take_better(&best, m->link[h * m->n_hosts + h]);
    for (int i = 0; m->host && i < m->n_hosts * m->n_hosts; i++)
        if (i / m->n_hosts != i % m->n_hosts)
            take_better(&best, m->link[i]);
    if (best.bytes_per_s <= 0) // there is one machine alone
        best.bytes_per_s = INFINITY, best.latency_s = 0;
    return best;
}

// All links as good as the best one.
static Machines flattened(const Machines *m)
{
    Machines flat = *m;
    flat.host = NULL;
    flat.n_levels = 1;
    flat.levels[0] = best_link(m);
    return flat;
}

// No plan on the real links is faster than the best on these. 0: that one is not known for certain.
static double bound_of_links(const Solver *v, const Search *q, const Found *on)
{
    Machines flat = flattened(v->m);
    Search again = *q;
    again.machines = &flat;
    again.moves = moves_of(v->arena, &flat, v->o, MOST_MOVES);
    again.goal = v->o->exact_stages && again.moves ? again.moves->full : -1;
    again.cuts = on->cuts;
    Found found = {0};
    bool sure = again.moves || (v->m->n_types == 1 && v->o->recompute != 2);
    return sure && search_plan(&again, &found) && found.proven ? found.steps.time_s : 0;
}

// For machines that are too many and too different for the moves: all as slow and small as the least of them, with
// times of one profile. What is found holds on the real ones. NULL: their profiles differ.
static const Machines *leveled(Arena *a, const Machines *m)
{
    Machines *flat = arena_copy(a, m, sizeof *m);
    flat->types = arena_copy(a, m->types, sizeof *m->types);
    flat->n_types = 1;
    flat->type = arena_array(a, int, m->n);
    for (int t = 0; t < m->n_types; t++) {
        double memory = m->types[t].memory_bytes, *least = &flat->types[0].memory_bytes;
        if (m->types[t].profile != m->types[0].profile)
            return NULL;
        flat->types[0].speed = fmin(flat->types[0].speed, m->types[t].speed);
        *least = memory > 0 && (memory < *least || *least <= 0) ? memory : *least;
    }
    return flat;
}

// Where machines are counted, recomputation is for all stages or for none: for all, if there is no other plan.
static bool search_all(const Solver *v, const Search *q, Found *found)
{
    Search one = *q;
    CostOptions o = *v->o;
    bool choose = !q->moves && o.recompute == 2;
    if (choose) {
        o.recompute = 0;
        one.options = &o;
    }
    if (search_plan(&one, found))
        return true;
    o.recompute = 1;
    return choose && machines_limited(v->m, v->o) && search_plan(&one, found);
}

// What is known of the best plan. The moves of machines on levels or hosts, and those that are counted on the slowest
// link, are not all that there are.
static void judge(const Solver *v, const Search *q, const Found *found)
{
    const Machines *m = v->m;
    PlanResult *r = v->result;
    bool alike = m->n_types == 1 && (m->host ? m->n_hosts : m->n_levels) == 1;
    bool complete = q->moves ? q->moves->exact : alike;
    bool counted = !q->moves && v->o->recompute == 2 && machines_limited(m, v->o);
    r->lower_bound_s = q->bound;
    if (!found->proven) {
        Machines flat = flattened(m);
        r->lower_bound_s =
            bound_of_width(v->arena, &v->core, &flat, v->o, q->bound, r->pipeline_time_s);
    }
    if (found->proven && complete && !counted)
        r->lower_bound_s = r->pipeline_time_s;
    else if (found->proven)
        r->lower_bound_s =
            fmin(r->pipeline_time_s, fmax(q->bound, bound_of_links(v, q, found)));
    r->exact = r->lower_bound_s >= r->pipeline_time_s * (1 - 1e-9);
    if (found->proven && !r->exact && !complete)
        r->method = arena_printf(v->arena, "%s, machines side by side", r->method);
}

PlanResult *planner_solve(Arena *a, const Problem *p, const Machines *m, const CostOptions *o)
{
    if (!strcmp(o->model, "pipedream"))
        return pipedream_plan(a, p, m, o);
    PlanResult *r = arena_new(a, PlanResult);
    Solver v = {.arena = a, .p = p, .m = m, .o = o, .core = core_of(a, p), .result = r};
    compare(&v);
    Search q = {.arena = a,
                .machines = m,
                .options = o,
                .core = &v.core,
                .moves = moves_of(a, m, o, MOST_MOVES),
                .bound = bound_of_work(&v)};
    q.goal = o->exact_stages && q.moves ? q.moves->full : -1;
    if (!q.moves && m->n_types > 1)
        q.machines = leveled(a, m);
    if (!q.machines) {
        r->why =
            "these are too many machines with profiles of their own to plan for; give them speeds";
        return r;
    }
    Found found = {0};
    if (!search_all(&v, &q, &found)) {
        r->why = q.machines == m
                     ? "no plan fits"
                     : "these are too many machines to tell apart, and no plan fits "
                       "as many with the memory of the least";
        return r;
    }
    take(&v, &found);
    judge(&v, &q, &found);
    return r;
}
