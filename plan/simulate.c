// Predicted time of a step: every instruction starts when its stage is free and all that it waits for
// has ended. What a stage spends on messages is shared out between forward and backward.
#include "plan/walk.h"

#include "base/diag.h"

typedef struct Clocks {
    const Plan *plan;
    double *now;   // per stage
    double **done; // per stage and instruction: when it ended
} Clocks;

static double duration(const PlanStage *s, const rt_instr *i)
{
    switch ((rt_opcode)i->opcode) {
    case RT_FORWARD: return s->forward_s + s->send_s / 2;
    case RT_BACKWARD: return s->backward_s + s->send_s / 2;
    case RT_UPDATE: return s->update_s;
    case RT_EVAL: return s->forward_s;
    case RT_ACQUIRE:
    case RT_RECV:
    case RT_SEND:
    case RT_RELEASE:
    case RT_LOAD:
    case RT_NORM_GATHER:
    case RT_NORM_APPLY:
    case RT_N_OPCODES: return 0;
    }
    return 0;
}

static void tick(void *user, const WalkStep *step)
{
    Clocks *c = user;
    double *now = &c->now[step->stage];
    for (int i = 0; i < step->n_waits; i++) {
        double ready = c->done[step->waits[i].stage][step->waits[i].at];
        *now = ready > *now ? ready : *now;
    }
    *now += duration(&c->plan->stages[step->stage], step->instr);
    c->done[step->stage][step->at] = *now;
}

double plan_simulate(const Plan *p)
{
    Arena arena = {0};
    Clocks c = {p, arena_array(&arena, double, p->n_stages),
                arena_array(&arena, double *, p->n_stages)};
    for (int s = 0; s < p->n_stages; s++)
        c.done[s] = arena_array(&arena, double, p->stages[s].train.n);
    char why[256];
    CHECK(plan_walk(&(Walk){.plan = p, .steps = 1, .visit = tick, .user = &c}, why, sizeof why),
          "simulation", "%s", why);
    double end = 0;
    for (int s = 0; s < p->n_stages; s++)
        end = c.now[s] > end ? c.now[s] : end;
    arena_release(&arena);
    return end;
}
