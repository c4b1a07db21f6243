// Why there is no plan, in words that help: the layer that fits nowhere, or how much is missing.
#include "driver/plan_report.h"

#include <math.h>
#include <string.h>

static double memory_of(const GraphProblem *g, const MachineType *t)
{
    double limit = g->cost.memory_bytes > 0 ? g->cost.memory_bytes : INFINITY;
    return t->memory_bytes > 0 ? fmin(limit, t->memory_bytes) : limit;
}

// Of a layer in a last stage of its own, where least is in flight.
static double least_memory(const GraphProblem *g, int node, int machine, Arena *scratch)
{
    Problem one = {
        .nodes = &g->problem.nodes[node], .n = 1, .n_profiles = g->problem.n_profiles};
    StageChoice s = {.nodes = arena_new(scratch, int),
                     .n_nodes = 1,
                     .machines = &machine,
                     .replicas = 1,
                     .recompute = g->cost.recompute == 1};
    planner_evaluate(scratch, &one, g->machines, &g->cost, &s, 1);
    arena_reset(scratch);
    return s.memory_bytes;
}

const char *why_no_plan(Arena *a, const GraphProblem *g, const PlanResult *r)
{
    if (!strcmp(g->cost.model, "pipedream"))
        return r->why; // by a rule of its own
    Arena scratch = {0};
    char need[32], have[32];
    int largest = 0, worst = 0;
    double memory = 0, most = 0, sum = 0, all = 0;
    for (int d = 0; d < g->machines->n; d++) {
        double own = memory_of(g, &g->machines->types[g->machines->type[d]]);
        largest = own > memory ? d : largest;
        memory = fmax(memory, own);
        all += own;
    }
    for (int v = 0; v < g->problem.n; v++) {
        double bytes = least_memory(g, v, largest, &scratch);
        worst = bytes > most ? v : worst;
        most = fmax(most, bytes);
        sum += bytes;
    }
    arena_release(&scratch);
    const ProblemNode *n = &g->problem.nodes[worst];
    if (most > memory)
        return arena_printf(
            a, "%.80s (%.80s) fits on no machine: it needs %s at least, and they have %s",
            n->name, n->kind ? n->kind : "", human_bytes(need, plan_bytes(most)),
            human_bytes(have, plan_bytes(memory)));
    if (sum > all)
        return arena_printf(
            a,
            "the layers need %s at least, and all %d machines have %s: more machines (-n), "
            "or more memory (-s)",
            human_bytes(need, plan_bytes(sum)), g->machines->n,
            human_bytes(have, plan_bytes(all)));
    const char *hint = g->cost.recompute
                           ? ": try more machines (-n) or more memory (-s)"
                           : ": try more machines (-n), more memory (-s) or --recompute auto";
    return arena_printf(a, "%s%s", r->why ? r->why : "no plan fits",
                        isfinite(memory) ? hint : "");
}
