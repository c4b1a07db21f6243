// The streams of all stages: which tensors cross (passes/edges.c), then what plan/schedule.c makes of
// that, verified and timed.
#include "passes/schedule.h"

static void verify(const Plan *p)
{
    char why[512];
    for (int eval = 0; eval < 2; eval++)
        if (!plan_verify_streams(p, eval, why, sizeof why))
            BUG("schedule", "%s streams: %s", eval ? "evaluation" : "training", why);
}

void pass_schedule(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p || !p->n_stages)
        return;
    edges_find(c, p);
    schedule_write(c->perm, c->scratch, p);
    verify(p);
    p->step_s = plan_simulate(p);
}
