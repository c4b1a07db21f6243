// How fast workers are, from what their programs took: a plan says what a stage computes in a step on a machine of speed 1.
#include "control/master/server.h"

#include <math.h>
#include <stdlib.h>

enum { ENOUGH_TIMES = 3 };
static const double newer = 0.4; // weight of the newest figure
static const double differs = 0.15;

// Seconds of a step that the plan expects of this rank, at speed 1.
static double expected(const Server *s, const BuiltPlan *built, uint32_t rank)
{
    const Plan *p = built->plan;
    const PlanRank *r = &p->ranks[rank];
    const PlanStage *stage = &p->stages[r->stage];
    int device = r->replica < stage->n_devices ? stage->devices[r->replica] : stage->id;
    double own = (double)plan_own_micro_batches(p, r, false);
    double slower = s->options->rehearse > 0 ? s->options->rehearse : 1;
    double planned =
        device < built->n_machines ? built->machines[device].speed_milli : SPEED_ONE;
    double seconds = own * (stage->forward_s + stage->backward_s) + stage->update_s;
    return slower * seconds * planned / SPEED_ONE;
}

void speeds_begin(Server *s)
{
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        Face *face = &s->faces[w];
        face->busy_s = 0;
        face->others = 0;
        face->planned_milli = face->speed_milli;
    }
}

void speeds_heard(Server *s, uint32_t worker, const Times *t)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = ledger_built(s, e->plan);
    bool current = t->epoch == e->number && t->rank < e->n_ranks &&
                   e->ranks[t->rank].worker == worker && t->last_step >= t->first_step;
    if (!current || !built || !t->busy_ns)
        return;
    Face *face = &s->faces[worker];
    double steps = (double)(t->last_step - t->first_step + 1);
    double busy_s = 1e-9 * (double)t->busy_ns / steps;
    double speed = SPEED_ONE * expected(s, built, t->rank) / busy_s;
    face->busy_s = face->busy_s > 0 ? newer * busy_s + (1 - newer) * face->busy_s : busy_s;
    double mixed = face->speed_milli ? newer * speed + (1 - newer) * face->speed_milli : speed;
    face->speed_milli = (uint32_t)fmax(1, fmin(mixed, 1e9));
    if (!face->planned_milli)
        face->planned_milli = face->speed_milli;
    bool other = fabs((double)face->speed_milli / face->planned_milli - 1) > differs;
    face->others = other ? face->others + 1 : 0;
    if (face->others < ENOUGH_TIMES)
        return;
    face->others = 0;
    face->planned_milli = face->speed_milli; // looked at: not again before it changes again
    server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
}
