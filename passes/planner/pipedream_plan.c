// The search sees the nodes that the reference plans; bytes at a cut are those the reference sees there.
#include "passes/planner/pipedream_plan.h"

#include "base/vec.h"
#include "passes/planner/pipedream.h"
#include "passes/planner/search.h"

#include <string.h>

enum { MOST_MOVES = 40000 };

typedef struct Reduced {
    Arena *arena;
    const PipedreamGraph *graph;
    Problem problem; // the planned nodes
    int *old;        // [problem.n]
    Core core;
} Reduced;

static void reduce(Reduced *r, const Problem *p)
{
    Arena *a = r->arena;
    int *number = arena_array(a, int, p->n + 1);
    r->problem = (Problem){.nodes = arena_array(a, ProblemNode, p->n),
                           .tensors = arena_array(a, ProblemTensor, p->n_tensors),
                           .n_profiles = 1};
    r->old = arena_array(a, int, p->n + 1);
    for (int v = 0; v < p->n; v++) {
        number[v] = pipedream_planned(r->graph, v) ? r->problem.n : -1;
        if (number[v] < 0)
            continue;
        r->old[r->problem.n] = v;
        r->problem.nodes[r->problem.n++] = p->nodes[v];
    }
    for (int t = 0; t < p->n_tensors; t++) {
        const ProblemTensor *old = &p->tensors[t];
        ProblemTensor new = {.producer = number[old->producer], .bytes = old->bytes};
        new.users = arena_array(a, int, old->n_users + 1);
        for (int u = 0; u < old->n_users; u++)
            if (number[old->users[u]] >= 0)
                new.users[new.n_users++] = number[old->users[u]];
        if (new.producer >= 0)
            r->problem.tensors[r->problem.n_tensors++] = new;
    }
    r->core = core_of(a, &r->problem);
}

static void add_node(const Reduced *r, uint64_t *set, int node)
{
    int old = r->old[r->core.members.items[r->core.members.first[node]]];
    set[old >> 6] |= UINT64_C(1) << (old & 63);
}

static void measure(void *user, Cuts *cuts)
{
    const Reduced *r = user;
    size_t words = (size_t)r->graph->words;
    uint64_t *set = arena_array(r->arena, uint64_t, words);
    for (int i = 0; i < cuts->n; i++) {
        if (cuts->order && i) // one node more than the cut before
            add_node(r, set, cuts->order[i - 1]);
        for (int v = 0; !cuts->order && v < r->core.n; v++)
            if (cut_holds(cuts, i, v))
                add_node(r, set, v);
        cuts->bytes[i] = pipedream_output_bytes(r->graph, set);
        if (!cuts->order)
            memset(set, 0, words * sizeof *set);
    }
}

// Stages of all nodes of the problem, from those of the planned ones.
static StageChoice *widen(const Reduced *r, const StageChoice *narrow, int n_stages)
{
    const Problem *p = r->graph->problem;
    Arena *a = r->arena;
    int *stage = arena_array(a, int, p->n + 1);
    StageChoice *stages = arena_copy(a, narrow, sizeof *narrow * (size_t)n_stages);
    memset(stage, -1, sizeof *stage * (size_t)p->n);
    for (int s = 0; s < n_stages; s++)
        for (int i = 0; i < narrow[s].n_nodes; i++)
            stage[r->old[narrow[s].nodes[i]]] = s;
    pipedream_place_rest(r->graph, stage);
    for (int s = 0; s < n_stages; s++) {
        stages[s].nodes = arena_array(a, int, p->n);
        stages[s].n_nodes = 0;
        for (int i = 0; i < p->n; i++)
            if (stage[r->graph->order[i]] == s)
                stages[s].nodes[stages[s].n_nodes++] = r->graph->order[i];
    }
    return stages;
}

static PlanResult *refuse(PlanResult *r, const char *why)
{
    r->why = why;
    return r;
}

static PlanResult *search(Reduced *r, const Machines *m, const CostOptions *o)
{
    Arena *a = r->arena;
    PlanResult *result = arena_new(a, PlanResult);
    result->single_machine_time_s = pipedream_single_machine(r->graph);
    result->data_parallel_time_s = pipedream_data_parallel(r->graph, m);
    if (m->n_levels > 1 || m->n_types > 1)
        return refuse(result,
                      "this graph has too many cuts for PipeDream's model of machines on "
                      "several levels; --cost-model stagecc plans it");
    Search q = {.arena = a,
                .core = &r->core,
                .moves = moves_of(a, m, o, MOST_MOVES),
                .goal = o->memory_bytes > 0 ? m->n : -1,
                .measure = measure,
                .user = r,
                .bound = result->single_machine_time_s / m->n};
    if (!q.moves)
        return refuse(result, "these are too many machines for PipeDream's model; --cost-model "
                              "stagecc plans for them");
    q.moves->nested = q.goal < 0; // the rule for memory counts machines that nobody uses
    Found found = {0};
    if (!search_plan(&q, &found))
        return refuse(result, "no plan holds its weights and activations in the memory by "
                              "PipeDream's rule");
    result->n_stages = found.steps.n;
    result->stages = widen(r, stages_of(a, m, &found), found.steps.n);
    result->machines_used = machines_of_stages(result->stages, result->n_stages);
    result->method = found.method;
    const char *why = pipedream_evaluate(a, r->graph, m, o, result->stages, result->n_stages);
    result->pipeline_time_s = stages_time_s(result->stages, result->n_stages);
    CHECK(!why, "planner", "%s", why);
    result->feasible = true;
    result->exact = found.proven;
    result->lower_bound_s = found.proven ? result->pipeline_time_s : q.bound;
    return result;
}

PlanResult *pipedream_plan(Arena *a, const Problem *p, const Machines *m, const CostOptions *o)
{
    PlanResult *result = m->n_types > 1 ? NULL : pipedream_solve(a, p, m, o);
    if (result)
        return result;
    Reduced r = {.arena = a, .graph = pipedream_graph(a, p)};
    reduce(&r, p);
    return search(&r, m, o);
}
