#include "control/master/seats.h"

#include <math.h>
#include <string.h>

static uint64_t parts_of(const Plan *p, const PlanStage *stage)
{
    uint64_t parts = 0;
    for (int u = stage->first_unit; u <= stage->last_unit; u++)
        parts |= UINT64_C(1) << p->units[u].part;
    return parts;
}

bool ranks_fit(const BuiltPlan *built, const Seats *seats)
{
    bool good = built && built->n_machines == seats->n;
    for (int d = 0; d < seats->n && good; d++)
        good =
            (uint64_t)plan_device_bytes(built->plan, d) <= seats->items[d].machine.memory_bytes;
    return good;
}

static double strangeness(const BuiltPlan *built, const Seats *seats)
{
    double sum = 0;
    for (int i = 0; i < seats->n; i++)
        sum +=
            fabs((double)built->machines[i].speed_milli - seats->items[i].machine.speed_milli);
    return sum;
}

const BuiltPlan *ranks_nearest(const Server *s, const Seats *seats)
{
    const PlanMaker *maker = &s->options->maker;
    const BuiltPlan *built, *nearest = NULL;
    for (int i = 0; (built = maker->built(maker->user, i)); i++)
        if (ranks_fit(built, seats) &&
            (!nearest || strangeness(built, seats) < strangeness(nearest, seats)))
            nearest = built;
    return nearest;
}

// Bytes that need not move where this seat is that device.
static int64_t saved_bytes(const Plan *p, int device, const Seat *seat)
{
    uint64_t parts = 0;
    int64_t bytes = 0;
    for (int r = 0; r < p->n_ranks; r++)
        if (plan_device(p, r) == device)
            parts |= parts_of(p, &p->stages[p->ranks[r].stage]);
    for (int u = 0; u < p->n_units; u++)
        if (parts & seat->holds & UINT64_C(1) << p->units[u].part)
            bytes += 1 + p->units[u].parameter_bytes;
    return bytes;
}

// The most that can be saved goes first; a device may be any seat of its speed that has the memory, its own if no other.
static void seat_devices(const Plan *p, const Seats *seats, int seat_of[MOST_RANKS])
{
    bool taken[MOST_RANKS] = {0};
    for (int d = 0; d < seats->n; d++)
        seat_of[d] = -1;
    for (int left = seats->n; left > 0; left--) {
        int device = -1, seat = -1;
        int64_t most = -1;
        for (int d = 0; d < seats->n; d++)
            for (int i = 0; i < seats->n && seat_of[d] < 0; i++) {
                const Machine *m = &seats->items[i].machine;
                bool good = m->speed_milli == seats->items[d].machine.speed_milli &&
                            m->memory_bytes >= (uint64_t)plan_device_bytes(p, d);
                if (taken[i] || !good)
                    continue;
                int64_t saved = saved_bytes(p, d, &seats->items[i]);
                if (saved > most) {
                    most = saved;
                    device = d;
                    seat = i;
                }
            }
        if (device < 0) {
            for (int d = 0; d < seats->n; d++)
                seat_of[d] = d; // as the plan was made
            return;
        }
        seat_of[device] = seat;
        taken[seat] = true;
    }
}

void ranks_place(const BuiltPlan *built, const Seats *seats, uint32_t workers[MOST_RANKS])
{
    int seat_of[MOST_RANKS];
    seat_devices(built->plan, seats, seat_of);
    for (int r = 0; r < built->plan->n_ranks; r++)
        workers[r] = seats->items[seat_of[plan_device(built->plan, r)]].worker;
}

void ranks_fill(Server *s, const BuiltPlan *built, const Seats *seats, Epoch *e)
{
    const Plan *p = built->plan;
    uint32_t workers[MOST_RANKS];
    ranks_place(built, seats, workers);
    memset(e->ranks, 0, sizeof e->ranks);
    e->n_ranks = (uint32_t)p->n_ranks;
    e->plan = ledger_plan(s, built);
    for (int r = 0; r < p->n_ranks; r++) {
        uint64_t parts = parts_of(p, &p->stages[p->ranks[r].stage]);
        e->ranks[r].runs = parts;
        e->ranks[r].owns = p->ranks[r].replica ? 0 : parts;
        e->ranks[r].worker = (uint16_t)workers[r];
    }
}
