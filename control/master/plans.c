// Which plan follows, and when: for all that are wanted; while an epoch runs only where it pays, and when its programs are
// warm.
#include "control/master/seats.h"

#include <math.h>
#include <string.h>

enum { LOOK_AHEAD_S = 1, WARM_S = 60 };
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

// Beside those that run, the programs of what comes next are started
// ------------------------------------------------------------------------------------------------

// The same workers, whatever has been measured since: what is warm stays the plan.
static bool is_next(const Server *s, const Seats *seats)
{
    return s->next.number == s->core.epoch.number + 1 &&
           epoch_workers(&s->next) == seats_workers(seats);
}

// To those who have not heard it and have no epoch to make ready: then they would not listen.
static void tell_warm(Server *s)
{
    const Epoch *e = &s->next;
    uint64_t untold = epoch_workers(e) & ~s->warm_told;
    char *text = untold ? start_text(s, e) : NULL;
    Message m = {.id = MESSAGE_WARM, .warm = *e, .rest = text};
    m.rest_bytes = text ? strlen(text) : 0;
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        const Beat *beat = &s->core.members[w].beat;
        bool listens = beat->phase == WORKER_RUNNING || beat->phase == WORKER_STOPPED;
        if (!(untold >> w & 1) || beat->epoch != s->core.epoch.number || !listens)
            continue;
        server_send(s, s->faces[w].key, &m);
        s->warm_told |= UINT64_C(1) << w;
    }
    free(text);
}

void plans_warm(Server *s, const BuiltPlan *built, const Seats *seats)
{
    Epoch *e = &s->next;
    *e = (Epoch){.number = s->core.epoch.number + 1, .parts = s->core.config.parts};
    ranks_fill(s, built, seats, e);
    memset(e->source, 0xff, sizeof e->source); // NOBODY: not yet
    for (uint32_t r = 0; r < e->n_ranks; r++) {
        e->ranks[r].copier = NOBODY;
        e->incarnations[e->ranks[r].worker] =
            s->core.members[e->ranks[r].worker].has.incarnation;
    }
    s->warmed = s->warm_told = 0;
    s->warm_ns = progress_now_ns();
    tell_warm(s);
}

void plans_warmed(Server *s, uint32_t worker, const Warmed *m)
{
    if (m->number != s->next.number)
        return;
    s->warmed |= UINT64_C(1) << worker;
    if (!m->can)
        story(s, "%s starts its programs of the next plan when it is time",
              members_name(s, worker));
}

// All have answered, or it takes too long: then they start when it is time.
bool plans_are_warm(Server *s)
{
    tell_warm(s);
    return (s->warmed & epoch_workers(&s->next)) == epoch_workers(&s->next) ||
           progress_now_ns() - s->warm_ns > WARM_S * SECOND_NS;
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
    if (is_next(s, &seats)) {
        ranks_take(&s->next, e);
        return plans_are_warm(s) ? PLAN_NEW : PLAN_LATER;
    }
    PlanAnswer answer = find_plan(s, members, n, &seats, &built);
    if (answer != PLAN_NEW)
        return answer;
    bool same = now && epoch_workers(now) == seats_workers(&seats) &&
                ledger_built(s, now->plan) == built;
    bool change =
        !now || (!same && (asked_for(s, now, &seats) || pays(s, now, built, seats.fastest)));
    if (change)
        plans_warm(s, built, &seats);
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
    if (is_next(s, &seats) && plans_are_warm(s)) {
        ranks_take(&s->next, e);
        return PLAN_NEW;
    }
    bool in_place = fits_in_place(s, members, n);
    Seats fewer = seats; // where there is no plan for all of them
    PlanAnswer answer = find_plan(s, members, n, &fewer, &best);
    if (in_place) {
        built = ledger_built(s, last->plan);
        ranks_take(last, e);
    } else if (answer != PLAN_NONE) {
        built = answer == PLAN_NEW ? best : ranks_nearest(s, &fewer);
        if (built)
            ranks_fill(s, built, &fewer, e);
    }
    s->makeshift = built && built != best;
    return built ? PLAN_NEW : answer;
}

PlanAnswer plans_choose(void *server, const PlanMember *members, uint32_t n, const Epoch *now,
                        Epoch *e)
{
    Server *s = server;
    PlanAnswer given;
    if (given_choose(s, members, n, now, e, &given))
        return given;
    if ((int)n < seats_most(s, MOST_WORKERS) && seats_gather(s))
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
