// From a problem to an answer: the search, its plan as stages, what it is compared with.
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

// Links all as good as the best one: no plan on the real ones is faster than the best on these. 0: that one is not
// known for certain.
static double bound_of_links(const Solver *v, const Search *q)
{
    Machines best = *v->m;
    MachineLevel link = machines_link(v->m, 0, 0);
    for (int d = 0; d < v->m->n; d++)
        for (int l = 0; l < (v->m->host ? 1 : v->m->n_levels); l++) {
            MachineLevel other = v->m->host ? machines_link(v->m, d, d) : v->m->levels[l];
            link.bytes_per_s = fmax(link.bytes_per_s, other.bytes_per_s);
            link.latency_s = fmin(link.latency_s, other.latency_s);
        }
    for (int i = 0; v->m->host && i < v->m->n_hosts * v->m->n_hosts; i++) {
        link.bytes_per_s = fmax(link.bytes_per_s, v->m->link[i].bytes_per_s);
        link.latency_s = fmin(link.latency_s, v->m->link[i].latency_s);
    }
    best.host = NULL;
    best.n_levels = 1;
    best.levels[0] = (MachineLevel){v->m->n, link.bytes_per_s, link.latency_s, true, 1};
    Search flat = *q;
    flat.machines = &best;
    flat.moves = moves_of(v->arena, &best, v->o, MOST_MOVES);
    flat.goal = v->o->exact_stages && flat.moves ? flat.moves->full : -1;
    Found found = {0};
    bool sure = flat.moves || (v->m->n_types == 1 && v->o->recompute != 2);
    return sure && search_plan(&flat, &found) && found.proven ? found.steps.time_s : 0;
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

static bool limited(const Solver *v)
{
    bool limit = v->o->memory_bytes > 0;
    for (int t = 0; t < v->m->n_types; t++)
        limit |= v->m->types[t].memory_bytes > 0;
    return limit;
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
    return choose && limited(v) && search_plan(&one, found);
}

PlanResult *planner_solve(Arena *a, const Problem *p, const Machines *m, const CostOptions *o)
{
    if (!strcmp(o->model, "pipedream"))
        return pipedream_plan(a, p, m, o);
    PlanResult *r = arena_new(a, PlanResult);
    Solver v = {.arena = a, .p = p, .m = m, .o = o, .core = core_of(a, p), .result = r};
    r->single_machine_time_s = one_stage(&v, 1);
    r->data_parallel_time_s = one_stage(&v, m->n);
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
    bool alike = q.moves || (m->n_types == 1 && (m->host ? m->n_hosts : m->n_levels) == 1);
    Found found = {0};
    if (!search_all(&v, &q, &found)) {
        r->why = q.machines == m
                     ? "no plan fits"
                     : "these are too many machines to tell apart, and no plan fits "
                       "as many with the memory of the least";
        return r;
    }
    take(&v, &found);
    bool complete = q.moves ? q.moves->exact : alike;
    r->exact = found.proven && complete && (q.moves || o->recompute != 2 || !limited(&v));
    r->lower_bound_s = r->exact ? r->pipeline_time_s : q.bound;
    if (found.proven && !r->exact)
        r->lower_bound_s = fmin(r->pipeline_time_s, fmax(q.bound, bound_of_links(&v, &q)));
    r->exact = r->lower_bound_s >=
               r->pipeline_time_s * (1 - 1e-9); // the bound may be met all the same
    if (found.proven && !r->exact && !complete)
        r->method = arena_printf(a, "%s, machines side by side", r->method);
    return r;
}
