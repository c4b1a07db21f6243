// How fast workers are, from what their programs took: a plan says what a stage computes in a step on a machine of speed 1.
//
// Plans are made for a speed that changes only when what is measured has been another one several times in a row. So plans
// that are made ahead are for the speeds that will be asked for, and what only wavers moves nobody.
#include "control/master/server.h"

#include <math.h>
#include <stdlib.h>

enum { ENOUGH_TIMES = 3 };
static const double newer = 0.4; // weight of the newest figure
static const double differs = 0.15;

double speeds_expected(const Server *s, const BuiltPlan *built, uint32_t rank)
{
    double slower = s->options->rehearse > 0 ? s->options->rehearse : 1;
    return slower * plan_rank_seconds(built->plan, (int)rank);
}

// Of the machine that the plan puts this rank on, in thousandths.
static double planned_speed(const BuiltPlan *built, uint32_t rank)
{
    int device = plan_device(built->plan, (int)rank);
    return device < built->n_machines ? built->machines[device].speed_milli : SPEED_ONE;
}

void speeds_begin(Server *s)
{
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        s->faces[w].busy_s = 0;
        s->faces[w].others = 0;
    }
}

// Of a master that has just begun: its workers are as fast as the plan took them for.
void speeds_recall(Server *s)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = e->number ? ledger_built(s, e->plan) : NULL;
    for (uint32_t r = 0; built && r < e->n_ranks; r++)
        s->faces[e->ranks[r].worker].planned_milli = (uint32_t)planned_speed(built, r);
}

static bool is_other(double speed, double than)
{
    return fabs(speed / than - 1) > differs;
}

// Workers that are nearly as fast as each other are taken for the same: there is one plan for them, in whatever order they
// come, and it stays the same from run to run.
static uint32_t like_others(const Server *s, uint32_t worker, double speed)
{
    double nearest = speed;
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        double other = s->faces[w].planned_milli;
        bool near = w != worker && s->core.members[w].here && other > 0 &&
                    !is_other(speed, other) &&
                    (nearest == speed || fabs(other - speed) < fabs(nearest - speed));
        nearest = near ? other : nearest;
    }
    return (uint32_t)fmax(1, fmin(nearest, 1e9));
}

// Has it been another one for so long that it is to be planned with? The first of such times may be of both.
static bool has_changed(Face *face, double speed)
{
    if (face->planned_milli && !is_other(speed, face->planned_milli)) {
        face->others = 0;
        return false;
    }
    face->other = face->others < 2 ? speed : (face->other + speed) / 2;
    return ++face->others == ENOUGH_TIMES;
}

static void think(Server *s, uint32_t worker, double speed)
{
    Face *face = &s->faces[worker];
    uint32_t before = face->planned_milli;
    if (!has_changed(face, speed))
        return;
    face->others = 0;
    face->planned_milli = like_others(s, worker, face->other);
    if (face->planned_milli == before)
        return;
    if (before)
        story(s, "%s computes at %.2f of the speed of the model's times",
              members_name(s, worker), face->other / SPEED_ONE);
    server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
}

void speeds_heard(Server *s, uint32_t worker, const Times *t)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = ledger_built(s, e->plan);
    bool current = t->epoch == e->number && epoch_rank_of(e, t->rank, worker);
    bool steps_good = t->first_step > e->step && t->last_step >= t->first_step &&
                      t->last_step <= s->core.committed + STEPS_AHEAD;
    if (!current || !steps_good || !built || (int)t->rank >= built->plan->n_ranks ||
        !t->busy_ns)
        return;
    Face *face = &s->faces[worker];
    double steps = (double)(t->last_step - t->first_step + 1);
    double busy_s = 1e-9 * (double)t->busy_ns / steps;
    double speed = planned_speed(built, t->rank) * speeds_expected(s, built, t->rank) / busy_s;
    face->busy_s = face->busy_s > 0 ? newer * busy_s + (1 - newer) * face->busy_s : busy_s;
    double mixed = face->speed_milli ? newer * speed + (1 - newer) * face->speed_milli : speed;
    face->speed_milli = (uint32_t)fmax(1, fmin(mixed, 1e9));
    think(s, worker, speed);
}

// Programs run this much faster or slower than the times say, whoever runs them: what newcomers are supposed to, too.
static double calibration(const Server *s)
{
    double sum = 0;
    int n = 0;
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        const Member *m = &s->core.members[w];
        if (!s->faces[w].planned_milli || !m->here)
            continue;
        sum += log((double)s->faces[w].planned_milli / (double)m->has.speed_milli);
        n++;
    }
    return n ? exp(sum / n) : 1;
}

uint32_t speeds_of(const Server *s, uint32_t worker)
{
    double known = s->faces[worker].planned_milli;
    double supposed = calibration(s) * s->core.members[worker].has.speed_milli;
    return known > 0 ? (uint32_t)known : like_others(s, worker, supposed);
}
