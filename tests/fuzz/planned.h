// Small problems of fuzzed files are planned, in both cost models, and what the planner claims is evaluated.
#ifndef STAGECC_TESTS_PLANNED_H
#define STAGECC_TESTS_PLANNED_H

#include "passes/planner/pipedream.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PLANNED = 12 };

static inline void check_plan(Arena *a, const Problem *p, const Machines *m, CostOptions o)
{
    const PlanResult *r = planner_solve(a, p, m, &o);
    if (!r->feasible)
        return;
    const char *why =
        !strcmp(o.model, "pipedream")
            ? pipedream_evaluate(a, pipedream_graph(a, p), m, &o, r->stages, r->n_stages)
            : planner_evaluate(a, p, m, &o, r->stages, r->n_stages);
    double time = stages_time_s(r->stages, r->n_stages);
    if (why || !isfinite(time) || fabs(time - r->pipeline_time_s) > 1e-9 * time ||
        r->lower_bound_s > r->pipeline_time_s * (1 + 1e-9) || r->machines_used > m->n) {
        fprintf(stderr, "%s, %d machines: %s, %.17g s, planned %.17g, at least %.17g\n",
                o.model, m->n, why ? why : "evaluated", time, r->pipeline_time_s,
                r->lower_bound_s);
        abort();
    }
}

static inline void plan_small(Arena *a, const Problem *p, double memory_bytes)
{
    static const char *const models[] = {"stagecc", "pipedream"};
    if (p->n < 1 || p->n > MOST_PLANNED || problem_check(a, p))
        return;
    for (int n = 1; n <= 3; n++) {
        const Machines *m = machines_alike(a, &n, &(double){1e9}, 1);
        for (int k = 0; k < 8; k++)
            check_plan(a, p, m,
                       (CostOptions){.model = models[k & 1],
                                     .overlap = OVERLAP_TRANSFERS,
                                     .compression = 1,
                                     .straight = k & 2,
                                     .memory_bytes = k & 4 ? memory_bytes : 0});
    }
}

#endif
