// Plans that people give: of a command, or what training begins with. Such a plan is not weighed: it is taken as soon as
// there are workers for it, and stays until another command, or until its workers are not there any more. Then plans are
// made as usual.
#include "control/master/seats.h"

#include "base/text.h"
#include "control/master_epoch.h"

#include <string.h>

enum { MOST_TRIES = 2 }; // of programs that never end a step

// Who runs it
// ------------------------------------------------------------------------------------------------

static double device_seconds(const Plan *p, int device)
{
    double seconds = 0;
    for (int r = 0; r < p->n_ranks; r++)
        seconds += plan_device(p, r) == device ? plan_rank_seconds(p, r) : 0;
    return seconds;
}

static int heaviest(const Plan *p, int n, const bool *placed)
{
    int most = -1;
    for (int d = 0; d < n; d++)
        if (!placed[d] && (most < 0 || device_seconds(p, d) > device_seconds(p, most)))
            most = d;
    return most;
}

// Who computes most, on the fastest machine that has the memory. The device for which there is none; -1: all have one.
static int arrange(const BuiltPlan *built, const Seats *all, Seats *seats)
{
    bool taken[MOST_RANKS] = {0}, placed[MOST_RANKS] = {0};
    *seats = (Seats){.n = built->n_machines};
    for (int left = seats->n; left > 0; left--) {
        int d = heaviest(built->plan, seats->n, placed), i = 0;
        uint64_t bytes = (uint64_t)plan_device_bytes(built->plan, d);
        while (i < all->n && (taken[i] || all->items[i].machine.memory_bytes < bytes))
            i++;
        if (i == all->n)
            return d;
        seats->items[d] = all->items[i];
        placed[d] = taken[i] = true;
    }
    return -1;
}

// Each has those before it, too.
static int isa_level(const char *isa)
{
    static const char *const names[] = {"avx2", "avx512", "avx512_bf16"};
    int level = 0;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        level = strcmp(names[i], isa) ? level : i;
    return level;
}

// Those of n whose processors have the instructions; *lacks: one that has not.
static uint32_t able_members(const BuiltPlan *built, const PlanMember *members, uint32_t n,
                             PlanMember *able, uint32_t *lacks)
{
    uint32_t n_able = 0;
    for (uint32_t i = 0; i < n; i++)
        if (isa_level(members[i].has->isa) >= isa_level(built->plan->options.isa))
            able[n_able++] = members[i];
        else
            *lacks = members[i].worker;
    return n_able;
}

// As few workers as can run it, of these. false: why they cannot.
static bool find_seats(const Server *s, const BuiltPlan *built, const PlanMember *members,
                       uint32_t n, Seats *seats, char why[PLAN_WHY])
{
    PlanMember able[MOST_WORKERS];
    Seats all = {.n = 0};
    uint32_t lacks = NOBODY, n_able = able_members(built, members, n, able, &lacks);
    int device = -1, most = s->options->max_workers, needed = built->n_machines;
    for (int i = 1; i <= (int)n_able && i <= most; i++) {
        seats_find(s, able, n_able, i, &all);
        if (all.n >= needed && (device = arrange(built, &all, seats)) < 0)
            return true;
    }
    char bytes[32];
    if (device >= 0)
        snprintf(why, PLAN_WHY, "one of its programs needs %s, and no worker has that left",
                 human_bytes(bytes, plan_device_bytes(built->plan, device)));
    else
        snprintf(why, PLAN_WHY,
                 "it needs %d program%s at once, and there is room for %d%s%s%s%s", needed,
                 needed == 1 ? "" : "s", all.n, lacks == NOBODY ? "" : ": ",
                 lacks == NOBODY ? "" : members_name(s, lacks),
                 lacks == NOBODY ? "" : " lacks the instructions of --isa ",
                 lacks == NOBODY ? "" : built->plan->options.isa);
    return false;
}

static uint32_t present_members(const Server *s, PlanMember members[MOST_WORKERS])
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        const Member *x = &s->core.members[w];
        if (x->here && !x->ended && !member_drained(x))
            members[n++] = (PlanMember){w, 0, &x->has};
    }
    return n;
}

// When
// ------------------------------------------------------------------------------------------------

static bool runs(Server *s, const Epoch *e)
{
    return e->number && ledger_built(s, e->plan) == s->given;
}

static bool all_there(const Epoch *e, const PlanMember *members, uint32_t n)
{
    uint64_t there = 0;
    for (uint32_t i = 0; i < n; i++)
        there |= UINT64_C(1) << members[i].worker;
    return !(epoch_workers(e) & ~there);
}

static bool is_next(Server *s, const PlanMember *members, uint32_t n)
{
    return s->next.number == s->core.epoch.number + 1 && runs(s, &s->next) &&
           all_there(&s->next, members, n);
}

void given_end(Server *s)
{
    if (s->given)
        s->next = (Epoch){0}; // it may be that plan
    s->given = NULL;
}

// false: there will be none of it.
static bool stays(Server *s, const char why[PLAN_WHY])
{
    if (s->given_waits) {
        if (!plans_gather(s) && strcmp(why, s->given_why) != 0) {
            story(s, "the plan that was given waits: %s", why);
            memcpy(s->given_why, why, sizeof s->given_why);
        }
        return true;
    }
    story(s, "the plan that was given is over: %s; plans are made as usual", why);
    given_end(s);
    return false;
}

// While an epoch runs.
static PlanAnswer choose_another(Server *s, const PlanMember *members, uint32_t n,
                                 const Epoch *now, const Seats *seats, Epoch *e)
{
    if (now && runs(s, now))
        return PLAN_KEEP;
    if (is_next(s, members, n)) {
        next_take(&s->next, e);
        return next_is_warm(s) ? PLAN_NEW : PLAN_LATER;
    }
    next_begin(s, s->given, seats);
    return PLAN_LATER;
}

static void choose_now(Server *s, const PlanMember *members, uint32_t n, const Seats *seats,
                       Epoch *e)
{
    const Epoch *last = &s->core.epoch;
    if (runs(s, last) && all_there(last, members, n))
        next_take(last, e);
    else if (is_next(s, members, n) && next_is_warm(s))
        next_take(&s->next, e);
    else
        ranks_fill(s, s->given, seats, e);
}

bool given_choose(Server *s, const PlanMember *members, uint32_t n, const Epoch *now, Epoch *e,
                  PlanAnswer *answer)
{
    Seats seats;
    char why[PLAN_WHY];
    bool running = s->core.phase == MASTER_RUNNING, only = s->options->plan_only;
    *answer = PLAN_LATER;
    if (!s->given)
        return false;
    if (runs(s, &s->core.epoch))
        s->given_waits = only;
    bool can = find_seats(s, s->given, members, n, &seats, why);
    if (can && !running && !only && runs(s, &s->core.epoch) && s->core.failures >= MOST_TRIES) {
        can = false;
        s->failures = 0; // of other programs
        snprintf(why, sizeof why, "its programs have failed %d times without a step",
                 MOST_TRIES);
    }
    if (!can) // where it waits others may run meanwhile
        return stays(s, why) && only;
    *s->given_why = 0;
    if (running)
        *answer = choose_another(s, members, n, now, &seats, e);
    else
        choose_now(s, members, n, &seats, e);
    *answer = running ? *answer : PLAN_NEW;
    return true;
}

// ------------------------------------------------------------------------------------------------

// What ran goes on; commands of an earlier master that did not come so far are forgotten.
void given_begin(Server *s)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *last = e->number ? ledger_built(s, e->plan) : NULL;
    bool begins = !e->number || s->options->plan_only;
    s->given = begins ? s->options->plan : last && last->given ? last : NULL;
    s->given_waits = begins;
}

bool given_take(Server *s, const char *dir, char text[PLAN_WHY])
{
    Seats seats;
    PlanMember members[MOST_WORKERS];
    const PlanMaker *maker = &s->options->maker;
    const BuiltPlan *built = maker->given(maker->user, dir, text);
    if (!built)
        return false;
    uint32_t n = present_members(s, members);
    if (!find_seats(s, built, members, n, &seats, text))
        return false;
    bool replicated = built->plan->n_ranks > built->plan->n_stages;
    s->next = (Epoch){0};
    s->given = built;
    s->given_waits = s->options->plan_only;
    s->wanted = 0;
    story(s, "the plan of %.120s is wanted, by command", dir);
    server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
    snprintf(text, PLAN_WHY, "from now on the plan of %.120s; see stagecc status%s", dir,
             replicated ? " (replicas add up gradients in groups: other last bits)" : "");
    return true;
}

bool given_lacks(const Server *s, char why[PLAN_WHY])
{
    Seats seats;
    PlanMember members[MOST_WORKERS];
    return s->given && s->options->plan_only && s->core.phase == MASTER_WAITING &&
           !find_seats(s, s->given, members, present_members(s, members), &seats, why);
}
