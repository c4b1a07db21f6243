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
    Found found = {0};
    if (!search_plan(&q, &found)) {
        r->why = "no plan fits";
        return r;
    }
    take(&v, &found);
    r->exact = found.proven && (q.moves ? q.moves->exact : o->recompute != 2);
    r->lower_bound_s = r->exact ? r->pipeline_time_s : q.bound;
    return r;
}
