// Which plan follows, when nobody trains or somebody may be lost. While an epoch runs it is another.c that says so.
#include "control/master/seats.h"

#include <string.h>

enum { SETTLE_S = 3 };
#define SECOND_NS INT64_C(1000000000)
#define LOOK_NS (SECOND_NS / 2)
#define AHEAD_NS SECOND_NS

PlanAnswer plans_ask(Server *s, const Seats *seats, PlanUrgency urgency,
                     const BuiltPlan **built, char why[PLAN_WHY])
{
    Machine machines[MOST_RANKS];
    const PlanMaker *maker = &s->options->maker;
    for (int i = 0; i < seats->n; i++)
        machines[i] = seats->items[i].machine;
    return maker->find(maker->user, &(PlanWish){machines, seats->n, urgency}, built, why);
}

PlanAnswer plans_find(Server *s, const PlanMember *members, uint32_t n, PlanUrgency urgency,
                      Seats *seats, const BuiltPlan **built)
{
    char why[PLAN_WHY] = "";
    PlanAnswer answer = PLAN_NONE;
    int most = seats_most(s, n);
    for (; answer == PLAN_NONE && most >= s->options->min_workers; most--) {
        seats_find(s, members, n, most, seats);
        answer = plans_ask(s, seats, urgency, built, why);
        if (answer == PLAN_NONE && strcmp(why, s->told_why) != 0)
            story(s, "no plan for %d program%s: %s", seats->n, seats->n == 1 ? "" : "s", why);
        if (answer == PLAN_NONE)
            memcpy(s->told_why, why, sizeof why);
    }
    return answer;
}

uint32_t plans_of_epoch(const Server *s, const PlanMember *members, uint32_t n,
                        PlanMember own[MOST_WORKERS])
{
    uint32_t n_own = 0;
    for (uint32_t i = 0; i < n; i++)
        if (epoch_workers(&s->core.epoch) >> members[i].worker & 1)
            own[n_own++] = members[i];
    return n_own;
}

// Can the last epoch's ranks go on where they were? Whoever has joined meanwhile is thought of later. A given plan goes on
// in given.c, or is over.
static bool fits_in_place(Server *s, const PlanMember *members, uint32_t n)
{
    Seats seats;
    PlanMember own[MOST_WORKERS];
    const Epoch *last = &s->core.epoch;
    uint32_t n_own = plans_of_epoch(s, members, n, own);
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
    if (fits_in_place(s, members, n)) {
        next_take(last, e);
        return PLAN_NEW;
    }
    Seats fewer = seats; // where there is no plan for all of them
    PlanAnswer answer = plans_find(s, members, n, PLAN_MISSED, &fewer, &best);
    if (answer != PLAN_NONE)
        built = answer == PLAN_NEW ? best : ranks_nearest(s, &fewer);
    if (!built)
        return answer;
    ranks_fill(s, built, &fewer, e);
    return PLAN_NEW;
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
    return s->core.phase == MASTER_RUNNING ? another_choose(s, members, n, now, e)
                                           : choose_now(s, members, n, e);
}

// Programs for the loss of any one worker, so that nobody waits for a compiler then. Where there are some for so many
// machines, if for other speeds, they go on with these until there are better ones.
static void look_ahead(Server *s)
{
    const Master *m = &s->core;
    if (s->options->plan_only)
        return;
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
        if (ranks_nearest(s, &seats))
            continue;
        plans_ask(s, &seats, PLAN_IN_CASE, &built, why);
        return; // it may do for others, too
    }
}

void plans_tick(Server *s)
{
    int64_t now = progress_now_ns();
    if (s->core.phase != MASTER_RUNNING)
        return;
    if (now - s->looked_ns >= LOOK_NS) {
        s->looked_ns = now;
        server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
    }
    if (now - s->ahead_ns >= AHEAD_NS) {
        s->ahead_ns = now;
        look_ahead(s);
    }
}
