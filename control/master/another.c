// While an epoch runs: shall another one follow? Because another number of workers is wanted, because somebody has come or
// shall leave, or because workers are faster or slower than the plan took them for.
#include "control/master/seats.h"

#include <math.h>

#define THINKING_NS INT64_C(200000000)     // between two looks
static const double with_newcomers = 0.95; // of a step's time, at most
// Of what another plan would save: what is built, or being built, will do.
static const double nearly = 0.75;
static const double moved = 0.01;      // a speed that does not is thought of once
static const double usual_pause_s = 2; // until one was seen

static double change_seconds(const Server *s)
{
    return s->pause_s > 0 ? s->pause_s : usual_pause_s;
}

// In seconds as they are measured now: forecasts are compared with each other only.
static void tell(Server *s, double now_s, double other_s, bool good)
{
    double before_s = s->worth.step_s > 0 ? s->worth.step_s : now_s;
    double after_s = before_s * other_s / now_s;
    story(
        s,
        "another plan: %.3f s instead of %.3f s a step, %.0f steps to go, a change takes %.1f s: "
        "%s",
        after_s, before_s, (double)s->core.config.last_step - (double)s->core.saved,
        change_seconds(s), good ? "worth it" : "not worth it");
}

static double forecast_now(const Server *s, const BuiltPlan *built, const Epoch *now)
{
    uint32_t workers[MOST_RANKS];
    for (uint32_t r = 0; r < now->n_ranks; r++)
        workers[r] = now->ranks[r].worker;
    return forecast_step(s, built, workers);
}

static double forecast_on(const Server *s, const BuiltPlan *built, const Seats *seats)
{
    uint32_t workers[MOST_RANKS];
    ranks_place(built, seats, workers);
    return forecast_step(s, built, workers);
}

// Others shall run it
// ------------------------------------------------------------------------------------------------

static PlanAnswer warm_up(Server *s, const BuiltPlan *built, const Seats *seats,
                          double promised)
{
    next_begin(s, built, seats);
    s->next_promised = promised;
    s->preparing = NULL;
    return PLAN_LATER;
}

static bool newcomers_pay(Server *s, const Epoch *now, const BuiltPlan *built,
                          const Seats *seats)
{
    const BuiltPlan *own = ledger_built(s, now->plan);
    if (!own)
        return true;
    double before_s = forecast_now(s, own, now), after_s = forecast_on(s, built, seats);
    double steps = (double)s->core.config.last_step - (double)s->core.saved;
    double measured = s->worth.step_s > 0 ? s->worth.step_s / before_s : 1;
    bool good = after_s < with_newcomers * before_s &&
                steps * (before_s - after_s) * measured > change_seconds(s);
    if (good || s->not_worth != built)
        tell(s, before_s, after_s, good);
    s->not_worth = good ? NULL : built;
    return good;
}

// must: whether it is faster or not, and at once where there are programs for so many, if for other speeds. PLAN_KEEP: those who run it now do so on.
static PlanAnswer choose_workers(Server *s, const PlanMember *members, uint32_t n,
                                 const Epoch *now, bool must)
{
    Seats seats;
    const BuiltPlan *built = NULL;
    char why[PLAN_WHY];
    PlanAnswer answer =
        plans_find(s, members, n, must ? PLAN_WANTED : PLAN_SKETCHED, &seats, &built);
    if (must && answer == PLAN_LATER && (built = ranks_nearest(s, &seats)))
        answer = PLAN_NEW;
    if (answer != PLAN_NEW)
        return must || answer == PLAN_LATER ? answer : PLAN_KEEP;
    if (!must &&
        (epoch_workers(now) == seats_workers(&seats) || !newcomers_pay(s, now, built, &seats)))
        return PLAN_KEEP;
    answer = must ? answer : plans_ask(s, &seats, PLAN_WANTED, &built, why);
    return answer == PLAN_NEW ? warm_up(s, built, &seats, 0) : answer;
}

// The same ones are faster or slower
// ------------------------------------------------------------------------------------------------

// Does it save more than the best one so far, of which this share would do?
static void consider(Server *s, const Seats *seats, const BuiltPlan *built, double share,
                     Thought *t)
{
    if (!ranks_fit(built, seats))
        return;
    double step_s = forecast_on(s, built, seats);
    if (share * (t->now_s - step_s) > t->now_s - t->best_s) {
        t->best = built;
        t->best_s = step_s;
    }
}

// Of what is there the best, else what is on its way, else what the planner makes of these speeds: each has to be a good
// deal better than those before it.
static PlanAnswer find_best(Server *s, const Seats *seats, Thought *t)
{
    const PlanMaker *maker = &s->options->maker;
    const BuiltPlan *built;
    char why[PLAN_WHY];
    for (int i = 0; (built = maker->built(maker->user, i)); i++)
        consider(s, seats, built, 1, t);
    if (s->preparing)
        consider(s, seats, s->preparing, nearly, t);
    PlanAnswer answer = plans_ask(s, seats, PLAN_SKETCHED, &built, why);
    if (answer == PLAN_NEW)
        consider(s, seats, built, nearly, t);
    return answer;
}

static bool is_known(const Server *s)
{
    bool same = s->thought.epoch == s->core.epoch.number;
    for (uint32_t w = 0; w < s->core.n_members && same; w++) {
        double then = s->thought.speeds[w];
        same = fabs(speeds_of(s, w) - then) <= moved * then;
    }
    return same;
}

static void think(Server *s, const Seats *seats, const Epoch *now, const BuiltPlan *own)
{
    Thought *t = &s->thought;
    t->best = own;
    t->now_s = t->best_s = forecast_now(s, own, now);
    bool known = find_best(s, seats, t) != PLAN_LATER;
    t->epoch = known ? now->number : 0;
    for (uint32_t w = 0; w < s->core.n_members; w++)
        t->speeds[w] = speeds_of(s, w);
}

static bool has_programs(const BuiltPlan *built)
{
    return built->n_files > 0;
}

// Asked for by the machines that it is for, which makes it the same plan.
static PlanAnswer prepare(Server *s, const BuiltPlan *plan)
{
    char why[PLAN_WHY];
    const BuiltPlan *built;
    const PlanMaker *maker = &s->options->maker;
    PlanWish wish = {plan->machines, plan->n_machines, PLAN_WANTED};
    PlanAnswer answer = maker->find(maker->user, &wish, &built, why);
    s->preparing = answer == PLAN_LATER ? plan : NULL;
    if (answer == PLAN_NONE)
        s->thought.epoch = 0; // its build has failed
    return answer;
}

static PlanAnswer choose_for_speeds(Server *s, const Seats *seats, const Epoch *now)
{
    Thought *t = &s->thought;
    const BuiltPlan *own = ledger_built(s, now->plan);
    if (!own)
        return PLAN_KEEP;
    if (!is_known(s))
        think(s, seats, now, own);
    WorthOffer offer = {t->now_s, t->best_s, change_seconds(s), s->core.saved,
                        s->core.config.last_step};
    WorthVerdict verdict = worth_look(&s->worth, &offer);
    if (verdict < WORTH_BUILDING) {
        s->preparing = NULL;
        return t->epoch ? PLAN_KEEP : PLAN_LATER;
    }
    PlanAnswer programs = has_programs(t->best) ? PLAN_NEW : prepare(s, t->best);
    if (programs != PLAN_NEW || verdict < WORTH_CHANGING)
        return PLAN_LATER;
    tell(s, t->now_s, t->best_s, true);
    return warm_up(s, t->best, seats, 1 - t->best_s / t->now_s);
}

// ------------------------------------------------------------------------------------------------

// So many workers were asked for, whether it is faster or not; or a given plan is wanted no longer.
static bool asked_for(Server *s, const Epoch *now, const Seats *seats)
{
    const BuiltPlan *runs = ledger_built(s, now->plan);
    if (runs && runs->given)
        return true;
    return s->wanted && __builtin_popcountll(seats_workers(seats)) !=
                            __builtin_popcountll(epoch_workers(now));
}

PlanAnswer another_choose(Server *s, const PlanMember *members, uint32_t n, const Epoch *now,
                          Epoch *e)
{
    Seats all, own;
    PlanMember mine[MOST_WORKERS];
    uint32_t n_mine = plans_of_epoch(s, members, n, mine);
    seats_find(s, members, n, seats_most(s, n), &all);
    seats_find(s, mine, n_mine, seats_most(s, n_mine), &own);
    bool must = !now || asked_for(s, now, &all);
    if (next_is_for(s, &all) || (!must && next_is_for(s, &own))) {
        next_take(&s->next, e);
        return next_is_warm(s) ? PLAN_NEW : PLAN_LATER;
    }
    if (progress_now_ns() - s->thought.at_ns < THINKING_NS)
        return PLAN_LATER;
    s->thought.at_ns = progress_now_ns();
    bool same = now && epoch_workers(now) == seats_workers(&all);
    PlanAnswer answer = must || !same ? choose_workers(s, members, n, now, must) : PLAN_KEEP;
    return must || answer != PLAN_KEEP ? answer : choose_for_speeds(s, &own, now);
}
