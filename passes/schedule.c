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

// What was measured of the whole model: the first stage reads the data, gradients are where parameters
// are.
static void share_out(const Compile *c, Plan *p)
{
    int64_t all = 0;
    for (int u = 0; u < p->n_units; u++)
        all += p->units[u].parameter_bytes;
    p->stages[0].load_s = c->program.load_s;
    p->beside_programs = c->program.beside_programs;
    p->beside_slowdown = c->program.beside_slowdown;
    for (int s = 0; s < p->n_stages; s++) {
        int64_t own = 0;
        for (int u = p->stages[s].first_unit; u <= p->stages[s].last_unit; u++)
            own += p->units[u].parameter_bytes;
        p->stages[s].norm_s = all ? c->program.norm_s * (double)own / (double)all : 0;
    }
}

void pass_schedule(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p || !p->n_stages)
        return;
    edges_find(c, p);
    schedule_write(c->perm, c->scratch, p);
    verify(p);
    share_out(c, p);
    p->step_s = plan_simulate(p);
}
