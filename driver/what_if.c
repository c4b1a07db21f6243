// Other plans than the best one, and the best ones for other machines, rules and layers: what --explain
// compares with. Everything but moved cuts is the planner run again.
#include "driver/plan_report.h"

#include "base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double most_s = 5; // for all that is tried of one kind
enum { MOST_JOINED = 16 };      // cuts that are forbidden in turn

// A problem of one's own to change.
typedef struct Trial {
    Arena arena;
    Problem problem;
    Machines machines;
    CostOptions cost;
} Trial;

typedef struct Tries {
    Arena *arena;
    const GraphProblem *g;
    const PlanResult *r;
    double begin_s, longest_s;
    WhatIfs all;
} Tries;

static void note(Tries *t, const char *what, double time_s)
{
    vec_push(t->arena, &t->all.tried, ((WhatIf){what, time_s}));
}

static void solve(Tries *t, const char *what, Trial *trial)
{
    double begin = clock_seconds();
    if (begin - t->begin_s + t->longest_s > most_s) {
        vec_push(t->arena, &t->all.left_out, what);
    } else {
        const PlanResult *r =
            planner_solve(&trial->arena, &trial->problem, &trial->machines, &trial->cost);
        note(t, what, r->feasible ? r->pipeline_time_s : INFINITY);
        t->longest_s = fmax(t->longest_s, clock_seconds() - begin);
    }
    arena_release(&trial->arena);
}

static Trial trial_of(const Tries *t)
{
    return (Trial){.problem = t->g->problem, .machines = *t->g->machines, .cost = t->g->cost};
}

static int by_time(const void *x, const void *y)
{
    const WhatIf *a = x, *b = y;
    return (a->time_s > b->time_s) - (a->time_s < b->time_s);
}

static WhatIfs sorted(Tries *t)
{
    if (t->all.tried.n)
        qsort(t->all.tried.items, (size_t)t->all.tried.n, sizeof *t->all.tried.items, by_time);
    return t->all;
}

static double seconds(const Problem *p, int node)
{
    return p->nodes[node].forward_s[0] + p->nodes[node].backward_s[0];
}

// Links

static void double_level(Tries *t, int level)
{
    Trial trial = trial_of(t);
    char rate[32];
    MachineLevel *l = &trial.machines.levels[level];
    l->bytes_per_s *= 2;
    const char *of =
        trial.machines.n_levels > 1 ? arena_printf(t->arena, " on level %d", level + 1) : "";
    solve(
        t,
        arena_printf(t->arena, "bandwidth%s doubled, %s", of, human_rate(rate, l->bytes_per_s)),
        &trial);
}

static void double_links(Tries *t, bool inside)
{
    Trial trial = trial_of(t);
    int n = trial.machines.n_hosts;
    trial.machines.link =
        arena_copy(&trial.arena, trial.machines.link, sizeof(MachineLevel) * (size_t)(n * n));
    for (int i = 0; i < n * n; i++)
        if ((i / n == i % n) == inside)
            trial.machines.link[i].bytes_per_s *= 2;
    solve(t, inside ? "bandwidth inside hosts doubled" : "bandwidth between hosts doubled",
          &trial);
}

static void double_bandwidths(Tries *t)
{
    const Machines *m = t->g->machines;
    for (int l = 0; !m->host && l < m->n_levels; l++)
        if (m->levels[l].size > 1)
            double_level(t, l);
    if (m->host)
        double_links(t, true);
    if (m->host && m->n_hosts > 1)
        double_links(t, false);
}

// Machines

static void double_memory(Tries *t)
{
    Trial trial = trial_of(t);
    Machines *m = &trial.machines;
    trial.cost.memory_bytes *= 2;
    m->types = arena_copy(&trial.arena, m->types, sizeof *m->types * (size_t)m->n_types);
    for (int i = 0; i < m->n_types; i++)
        m->types[i].memory_bytes *= 2;
    solve(t, "memory doubled", &trial);
}

// Beside those of the slowest stage; on levels, one more group of the outermost one.
static void add_machine(Tries *t, int slowest)
{
    Trial trial = trial_of(t);
    Machines *m = &trial.machines;
    const StageChoice *s = &t->r->stages[slowest];
    int outer = m->n_levels - 1, more = m->host ? 1 : m->n / m->levels[outer].size;
    int place = s->machines[s->replicas - 1], old = m->n;
    m->n += more;
    int *type = arena_array(&trial.arena, int, m->n),
        *host = arena_array(&trial.arena, int, m->n);
    for (int i = 0; i < m->n; i++) {
        int from = i <= place ? i : i - more > place ? i - more : place;
        type[i] = m->type[from < old ? from : old - 1];
        host[i] = m->host ? m->host[from] : 0;
    }
    m->type = type;
    m->host = m->host ? host : NULL;
    if (!m->host)
        m->levels[outer].size++;
    solve(t, more > 1 ? arena_printf(t->arena, "%d more machines", more) : "one more machine",
          &trial);
}

// Layers and rules

static void halve_layer(Tries *t)
{
    Trial trial = trial_of(t);
    Problem *p = &trial.problem;
    int most = 0;
    p->nodes = arena_copy(&trial.arena, p->nodes, sizeof *p->nodes * (size_t)p->n);
    for (int i = 1; i < p->n; i++) // what reads data is not a layer
        if (seconds(p, i) > seconds(p, most) && !str_starts(p->nodes[i].kind, "Input"))
            most = i;
    for (int k = 0; k < p->n_profiles; k++) {
        p->nodes[most].forward_s[k] /= 2;
        p->nodes[most].backward_s[k] /= 2;
    }
    solve(t,
          arena_printf(t->arena, "the heaviest layer, %s, twice as fast", p->nodes[most].name),
          &trial);
}

static void compress(Tries *t)
{
    Trial trial = trial_of(t);
    trial.cost.compression = 2 * (trial.cost.compression > 0 ? trial.cost.compression : 1);
    solve(t, arena_printf(t->arena, "activations compressed by %g", trial.cost.compression),
          &trial);
}

static void overlap_all(Tries *t)
{
    Trial trial = trial_of(t);
    trial.cost.overlap = OVERLAP_ALL;
    solve(t, "transfers and synchronisation beside computing", &trial);
}

static void recompute(Tries *t)
{
    Trial trial = trial_of(t);
    trial.cost.recompute = 2;
    solve(t, "recomputing where memory asks for it", &trial);
}

static int slowest_stage(const PlanResult *r)
{
    int slowest = 0;
    for (int s = 1; s < r->n_stages; s++)
        if (r->stages[s].time_s > r->stages[slowest].time_s)
            slowest = s;
    return slowest;
}

WhatIfs what_helps(Arena *a, const GraphProblem *g, const PlanResult *r)
{
    Tries t = {.arena = a, .g = g, .r = r, .begin_s = clock_seconds()};
    bool pipedream = !strcmp(g->cost.model, "pipedream");
    double_bandwidths(&t);
    add_machine(&t, slowest_stage(r));
    halve_layer(&t);
    if (!pipedream || g->cost.compression > 0)
        compress(&t);
    if (!pipedream && g->cost.overlap != OVERLAP_ALL)
        overlap_all(&t);
    if (machines_limited(g->machines, &g->cost)) {
        double_memory(&t);
        if (!pipedream && !g->cost.recompute)
            recompute(&t);
    }
    return sorted(&t);
}

// Other plans

static StageChoice *copy_stages(Arena *a, const GraphProblem *g, const PlanResult *r)
{
    StageChoice *s = arena_copy(a, r->stages, sizeof *s * (size_t)r->n_stages);
    for (int i = 0; i < r->n_stages; i++) { // room for more layers
        s[i].nodes = arena_array(a, int, g->problem.n);
        memcpy(s[i].nodes, r->stages[i].nodes, sizeof(int) * (size_t)s[i].n_nodes);
    }
    return s;
}

// The last nodes of `from` to the front of `to`, or the first ones to its end, up to one that takes time.
static bool shift(const GraphProblem *g, StageChoice *from, StageChoice *to, bool last,
                  double some_s)
{
    double moved = 0;
    while (moved < some_s && from->n_nodes > 1) {
        int node = from->nodes[last ? from->n_nodes - 1 : 0];
        from->n_nodes--;
        if (last)
            memmove(to->nodes + 1, to->nodes, sizeof(int) * (size_t)to->n_nodes);
        else
            memmove(from->nodes, from->nodes + 1, sizeof(int) * (size_t)from->n_nodes);
        to->nodes[last ? 0 : to->n_nodes] = node;
        to->n_nodes++;
        moved += seconds(&g->problem, node);
    }
    return moved >= some_s;
}

double shifted_cut(const GraphProblem *g, const PlanResult *r, int k, bool earlier)
{
    Arena a = {0};
    StageChoice *s = copy_stages(&a, g, r), *left = &s[k], *right = &s[k + 1];
    double t = INFINITY, some_s = r->pipeline_time_s * 1e-3;
    if (shift(g, earlier ? left : right, earlier ? right : left, earlier, some_s) &&
        !planner_evaluate(&a, &g->problem, g->machines, &g->cost, s, r->n_stages))
        t = stages_time_s(s, r->n_stages);
    arena_release(&a);
    return t;
}

static double merged(const Tries *t, int k)
{
    Arena a = {0};
    const PlanResult *r = t->r;
    StageChoice *s = arena_copy(&a, r->stages, sizeof *s * (size_t)r->n_stages);
    StageChoice *to = &s[k], *from = &s[k + 1];
    int *nodes = arena_array(&a, int, to->n_nodes + from->n_nodes);
    int *machines = arena_array(&a, int, to->replicas + from->replicas);
    memcpy(nodes, to->nodes, sizeof(int) * (size_t)to->n_nodes);
    memcpy(nodes + to->n_nodes, from->nodes, sizeof(int) * (size_t)from->n_nodes);
    memcpy(machines, to->machines, sizeof(int) * (size_t)to->replicas);
    memcpy(machines + to->replicas, from->machines, sizeof(int) * (size_t)from->replicas);
    *to = (StageChoice){.nodes = nodes,
                        .n_nodes = to->n_nodes + from->n_nodes,
                        .machines = machines,
                        .replicas = to->replicas + from->replicas,
                        .recompute = to->recompute};
    memmove(from, from + 1, sizeof *s * (size_t)(r->n_stages - k - 2));
    double time = INFINITY;
    if (!planner_evaluate(&a, &t->g->problem, t->g->machines, &t->g->cost, s, r->n_stages - 1))
        time = stages_time_s(s, r->n_stages - 1);
    arena_release(&a);
    return time;
}

static void best_merge(Tries *t)
{
    int best = 0;
    double least = INFINITY;
    for (int k = 0; k + 1 < t->r->n_stages; k++) {
        double time = merged(t, k);
        best = time < least ? k : best;
        least = fmin(time, least);
    }
    if (t->r->n_stages > 1)
        note(t, arena_printf(t->arena, "stages %d and %d as one", best, best + 1), least);
}

static void without_cut(Tries *t, int k)
{
    Trial trial = trial_of(t);
    Problem *p = &trial.problem;
    const StageChoice *left = &t->r->stages[k], *right = left + 1;
    ProblemPair pair = {left->nodes[left->n_nodes - 1], right->nodes[0]};
    ProblemPair *pairs = arena_array(&trial.arena, ProblemPair, p->n_together + 1);
    for (int i = 0; i < p->n_together; i++)
        pairs[i] = p->together[i];
    pairs[p->n_together++] = pair;
    p->together = pairs;
    solve(t,
          arena_printf(t->arena, "no cut between %s and %s", p->nodes[pair.first].name,
                       p->nodes[pair.second].name),
          &trial);
}

WhatIfs other_plans(Arena *a, const GraphProblem *g, const PlanResult *r)
{
    Tries t = {.arena = a, .g = g, .r = r, .begin_s = clock_seconds()};
    int slowest = slowest_stage(r);
    note(&t, "one machine", r->single_machine_time_s);
    if (r->n_stages > 1 || r->machines_used < g->machines->n)
        note(&t, "one stage on all machines (data parallel)", r->data_parallel_time_s);
    if (strcmp(g->cost.model, "pipedream") != 0)
        best_merge(&t);
    if (!g->cost.straight && r->machines_used > r->n_stages) {
        Trial trial = trial_of(&t);
        trial.cost.straight = true;
        solve(&t, "no replicas (straight pipeline)", &trial);
    }
    for (int d = 0, tried = 0; d < r->n_stages && tried < MOST_JOINED;
         d++) { // near the slowest
        if (slowest - d - 1 >= 0)
            without_cut(&t, slowest - d - 1), tried++;
        if (slowest + d + 1 < r->n_stages)
            without_cut(&t, slowest + d), tried++;
    }
    return sorted(&t);
}
