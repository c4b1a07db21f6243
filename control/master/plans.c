// Which plan follows, and when: for all that are wanted; while an epoch runs only where it pays, and when its programs are
// warm.
#include "control/master/seats.h"

#include <math.h>
#include <string.h>

enum { SETTLE_S = 3, LOOK_AHEAD_S = 1 };
#define SECOND_NS INT64_C(1000000000)
static const double worth =
    0.95; // of the time that a step takes now: what a change has to bring

static PlanAnswer ask(Server *s, const Seats *seats, PlanUrgency urgency,
                      const BuiltPlan **built, char why[PLAN_WHY])
{
    Machine machines[MOST_RANKS];
    const PlanMaker *maker = &s->options->maker;
    for (int i = 0; i < seats->n; i++)
        machines[i] = seats->items[i].machine;
    return maker->find(maker->user, &(PlanWish){machines, seats->n, urgency}, built, why);
}

// For all that are wanted, or where a model cannot be cut for so many, for as many as it can.
static PlanAnswer find_plan(Server *s, const PlanMember *members, uint32_t n, Seats *seats,
                            const BuiltPlan **built)
{
    char why[PLAN_WHY] = "";
    PlanUrgency urgency = s->core.phase == MASTER_RUNNING ? PLAN_WANTED : PLAN_MISSED;
    PlanAnswer answer = PLAN_NONE;
    int most = seats_most(s, n);
    for (; answer == PLAN_NONE && most >= s->options->min_workers; most--) {
        seats_find(s, members, n, most, seats);
        answer = ask(s, seats, urgency, built, why);
        if (answer == PLAN_NONE && strcmp(why, s->told_why) != 0)
            story(s, "no plan for %d program%s: %s", seats->n, seats->n == 1 ? "" : "s", why);
        if (answer == PLAN_NONE)
            memcpy(s->told_why, why, sizeof why);
    }
    return answer;
}

// Is it worth a change?
// ------------------------------------------------------------------------------------------------

// Of the slowest rank, in a step.
static double planned_seconds(const Server *s, const BuiltPlan *built)
{
    double most = 0;
    for (int r = 0; r < built->plan->n_ranks; r++)
        most = fmax(most, speeds_expected(s, built, (uint32_t)r));
    return most;
}

// What it is now: as measured where it is.
static double present_seconds(Server *s, const Epoch *now)
{
    const BuiltPlan *built = ledger_built(s, now->plan);
    double most = 0;
    for (uint32_t r = 0; r < now->n_ranks; r++)
        most = fmax(most, s->faces[now->ranks[r].worker].busy_s);
    return most > 0 || !built ? most : planned_seconds(s, built);
}

static bool pays(Server *s, const Epoch *now, const BuiltPlan *built, double fastest)
{
    double before = present_seconds(s, now), after = planned_seconds(s, built) / fastest;
    double steps = (double)s->core.config.last_step - (double)s->core.committed;
    double pause = s->pause_s > 0 ? s->pause_s : 2;
    bool good = after < worth * before && steps * (before - after) > pause;
    story(
        s,
        "another plan: %.3f s instead of %.3f s a step, %.0f steps to go, a change takes %.1f s: "
        "%s",
        after, before, steps, pause, good ? "worth it" : "not worth it");
    return good;
}

// So many workers were asked for, whether it is faster or not; or a given plan is wanted no longer.
static bool asked_for(Server *s, const Epoch *now, const Seats *seats)
{
    const BuiltPlan *runs = ledger_built(s, now->plan);
    if (runs && runs->given)
        return true;
    return s->wanted && __builtin_popcountll(seats_workers(seats)) !=
                            __builtin_popcountll(epoch_workers(now));
}

// While an epoch runs: shall another one follow? now: the one that may stay, or NULL.
static PlanAnswer choose_another(Server *s, const PlanMember *members, uint32_t n,
                                 const Epoch *now, Epoch *e)
{
    Seats seats;
    const BuiltPlan *built = NULL;
    seats_find(s, members, n, seats_most(s, n), &seats);
    if (next_is_for(s, &seats)) {
        next_take(&s->next, e);
        return next_is_warm(s) ? PLAN_NEW : PLAN_LATER;
    }
    PlanAnswer answer = find_plan(s, members, n, &seats, &built);
    if (answer != PLAN_NEW)
        return answer;
    bool same = now && epoch_workers(now) == seats_workers(&seats) &&
                ledger_built(s, now->plan) == built;
    bool change =
        !now || (!same && (asked_for(s, now, &seats) || pays(s, now, built, seats.fastest)));
    if (change)
        next_begin(s, built, &seats);
    return change ? PLAN_LATER : PLAN_KEEP;
}

// Can the last epoch's ranks go on where they were? Whoever has joined meanwhile is thought of later. A given plan goes on
// in given.c, or is over.
static bool fits_in_place(Server *s, const PlanMember *members, uint32_t n)
{
    Seats seats;
    PlanMember own[MOST_WORKERS];
    const Epoch *last = &s->core.epoch;
    uint32_t n_own = 0;
    for (uint32_t i = 0; i < n; i++)
        if (epoch_workers(last) >> members[i].worker & 1)
            own[n_own++] = members[i];
    const BuiltPlan *built = last->number ? ledger_built(s, last->plan) : NULL;
    if (!built || built->given)
        return false;
    seats_find(s, own, n_own, seats_most(s, n_own), &seats);
    return epoch_workers(last) == seats_workers(&seats) && ranks_fit(built, &seats);
}

// Nobody trains until there is an epoch, so a plan that is there counts more than the best one: that whose programs are
// warm, else the last one where its workers are all there again, else whatever they can run. A better one is asked for
// meanwhile, and changed to like any other.
static PlanAnswer choose_now(Server *s, const PlanMember *members, uint32_t n, Epoch *e)
{
    Seats seats;
    const Epoch *last = &s->core.epoch;
    const BuiltPlan *built = NULL, *best = NULL;
    seats_find(s, members, n, seats_most(s, n), &seats);
    if (next_is_for(s, &seats) && next_is_warm(s)) {
        next_take(&s->next, e);
        return PLAN_NEW;
    }
    bool in_place = fits_in_place(s, members, n);
    Seats fewer = seats; // where there is no plan for all of them
    PlanAnswer answer = find_plan(s, members, n, &fewer, &best);
    if (in_place) {
        built = ledger_built(s, last->plan);
        next_take(last, e);
    } else if (answer != PLAN_NONE) {
        built = answer == PLAN_NEW ? best : ranks_nearest(s, &fewer);
        if (built)
            ranks_fill(s, built, &fewer, e);
    }
    s->makeshift = built && built != best;
    return built ? PLAN_NEW : answer;
}

bool plans_gather(const Server *s)
{
    return !s->core.epoch.number && progress_now_ns() - s->joined_ns < SETTLE_S * SECOND_NS;
}

PlanAnswer plans_choose(void *server, const PlanMember *members, uint32_t n, const Epoch *now,
                        Epoch *e)
{
    Server *s = server;
    PlanAnswer given;
    if (given_choose(s, members, n, now, e, &given))
        return given;
    if ((int)n < seats_most(s, MOST_WORKERS) && plans_gather(s))
        return PLAN_LATER; // more may come
    return s->core.phase == MASTER_RUNNING ? choose_another(s, members, n, now, e)
                                           : choose_now(s, members, n, e);
}

// Programs for the loss of any one worker, so that nobody waits for a compiler then.
void plans_look_ahead(Server *s)
{
    const Master *m = &s->core;
    int64_t now = progress_now_ns();
    if (m->phase != MASTER_RUNNING || s->options->plan_only ||
        now - s->looked_ns < LOOK_AHEAD_S * SECOND_NS)
        return;
    s->looked_ns = now;
    if (s->makeshift)
        server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
    s->makeshift = false;
    for (uint32_t lost = 0; lost < m->n_members; lost++) {
        PlanMember rest[MOST_WORKERS];
        uint32_t n = 0;
        for (uint32_t w = 0; w < m->n_members; w++)
            if (w != lost && m->members[w].here && !m->members[w].ended)
                rest[n++] = (PlanMember){w, 0, &m->members[w].has};
        Seats seats;
        const BuiltPlan *built;
        char why[PLAN_WHY];
        if (!m->epoch.incarnations[lost] || n < (uint32_t)s->options->min_workers)
            continue;
        seats_find(s, rest, n, seats_most(s, MOST_WORKERS), &seats);
        ask(s, &seats, PLAN_IN_CASE, &built, why);
    }
}
