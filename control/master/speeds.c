// How fast workers are, from what their programs took: a plan says what a stage computes in a step on a machine of speed 1.
//
// belief.h says what is made of times that waver.
#include "control/master/server.h"

#include <math.h>
#include <stdlib.h>

static const double newer = 0.4; // weight of the newest figure, for people

double speeds_expected(const Server *s, const BuiltPlan *built, uint32_t rank)
{
    double slower = s->options->rehearse > 0 ? s->options->rehearse : 1;
    return slower * plan_rank_seconds(built->plan, (int)rank);
}

double speeds_planned(const BuiltPlan *built, uint32_t rank)
{
    int device = plan_device(built->plan, (int)rank);
    return device < built->n_machines ? built->machines[device].speed_milli : SPEED_ONE;
}

void speeds_begin(Server *s)
{
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        s->faces[w].busy_s = 0;
        belief_loosen(&s->faces[w].speed);
    }
}

// Of a master that has just begun: its workers are as fast as the plan took them for.
void speeds_recall(Server *s)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = e->number ? ledger_built(s, e->plan) : NULL;
    for (uint32_t r = 0; built && r < e->n_ranks; r++)
        belief_begin(&s->faces[e->ranks[r].worker].speed, speeds_planned(built, r));
}

void speeds_heard(Server *s, uint32_t worker, const Times *t)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = ledger_built(s, e->plan);
    bool current = t->epoch == e->number && epoch_rank_of(e, t->rank, worker);
    bool steps_good = t->first_step > e->step && t->last_step >= t->first_step &&
                      t->last_step <= s->core.saved + STEPS_AHEAD;
    if (!current || !steps_good || !built || (int)t->rank >= built->plan->n_ranks ||
        !t->busy_ns)
        return;
    Face *face = &s->faces[worker];
    double steps = (double)(t->last_step - t->first_step + 1);
    double busy_s = 1e-9 * (double)t->busy_ns / steps;
    double speed = speeds_planned(built, t->rank) * speeds_expected(s, built, t->rank) / busy_s;
    face->busy_s = face->busy_s > 0 ? newer * busy_s + (1 - newer) * face->busy_s : busy_s;
    double mixed = face->speed_milli ? newer * speed + (1 - newer) * face->speed_milli : speed;
    face->speed_milli = (uint32_t)fmax(1, fmin(mixed, 1e9));
    // The first step of an epoch takes longer.
    if (t->first_step > e->step + 1 && belief_heard(&face->speed, speed)) {
        story(s, "%s computes at %.2f of the speed of the model's times",
              members_name(s, worker), belief_speed(&face->speed) / SPEED_ONE);
        worth_news(&s->worth);
        server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
    }
}

// Programs run this much faster or slower than the times say, whoever runs them: what newcomers are supposed to, too.
static double calibration(const Server *s)
{
    double sum = 0;
    int n = 0;
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        const Member *m = &s->core.members[w];
        if (!s->faces[w].speed.times || !m->here)
            continue;
        sum += log(belief_speed(&s->faces[w].speed) / (double)m->has.speed_milli);
        n++;
    }
    return n ? exp(sum / n) : 1;
}

uint32_t speeds_of(const Server *s, uint32_t worker)
{
    const Belief *known = &s->faces[worker].speed;
    double supposed = calibration(s) * s->core.members[worker].has.speed_milli;
    return (uint32_t)fmax(1, fmin(known->times ? belief_speed(known) : supposed, 1e9));
}
