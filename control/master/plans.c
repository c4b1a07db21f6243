// From members to an epoch's ranks: which of them are used, the plan for such machines, and who of those that are alike
// gets which stage: who holds most of it already.
#include "control/master/server.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPEED_STEP = 50, MEMORY_BITS = 3, SETTLE_S = 3, LOOK_AHEAD_S = 1, WARM_S = 60 };
#define SECOND_NS INT64_C(1000000000)
static const double worth =
    0.95; // of the time that a step takes now: what a change has to bring

typedef struct Seat { // where a program may run
    uint32_t worker;
    uint64_t holds;
    Machine machine;
} Seat;

typedef struct Seats {
    Seat items[MOST_RANKS];
    int n;
    double fastest; // of their speeds, 1: as times say; machines' speeds are relative to it
} Seats;

// Machines
// ------------------------------------------------------------------------------------------------

// Machines that are nearly alike shall have the same plan.
static uint64_t rounded_down(uint64_t bytes)
{
    int bits = bytes ? 63 - __builtin_clzll(bytes) : 0;
    int cut = bits > MEMORY_BITS ? bits - MEMORY_BITS : 0;
    return bytes >> cut << cut;
}

static int by_use(const void *a, const void *b) // who has most of it already, then the fastest
{
    const Seat *x = a, *y = b;
    int held = __builtin_popcountll(y->holds) - __builtin_popcountll(x->holds);
    if (held)
        return held;
    if (x->machine.speed_milli != y->machine.speed_milli)
        return x->machine.speed_milli < y->machine.speed_milli ? 1 : -1;
    return x->worker < y->worker ? -1 : x->worker > y->worker;
}

static int by_machine(const void *a, const void *b) // as Machine says
{
    const Seat *x = a, *y = b;
    if (x->machine.speed_milli != y->machine.speed_milli)
        return x->machine.speed_milli < y->machine.speed_milli ? 1 : -1;
    if (x->machine.memory_bytes != y->machine.memory_bytes)
        return x->machine.memory_bytes < y->machine.memory_bytes ? 1 : -1;
    return x->worker < y->worker ? -1 : x->worker > y->worker;
}

static int most_workers(const Server *s)
{
    return s->wanted ? s->wanted : s->options->max_workers;
}

static int most_of(const Server *s, uint32_t n)
{
    return (int)n < most_workers(s) ? (int)n : most_workers(s);
}

// Speeds relative to the fastest one: the plan of equal machines is that of any others.
static void compare_speeds(Seats *seats)
{
    double most = 1;
    for (int i = 0; i < seats->n; i++)
        most = fmax(most, seats->items[i].machine.speed_milli);
    seats->fastest = most / SPEED_ONE;
    for (int i = 0; i < seats->n; i++) {
        Machine *m = &seats->items[i].machine;
        double share = SPEED_ONE * m->speed_milli / most / SPEED_STEP;
        m->speed_milli = (uint32_t)fmax(1, round(share)) * SPEED_STEP;
    }
}

// At most so many workers of them.
static void find_seats(const Server *s, const PlanMember *members, uint32_t n, int most,
                       Seats *seats)
{
    Seat workers[MOST_WORKERS];
    for (uint32_t i = 0; i < n; i++)
        workers[i] =
            (Seat){members[i].worker,
                   members[i].holds,
                   {speeds_of(s, members[i].worker),
                    rounded_down(members[i].has->memory_bytes / members[i].has->slots)}};
    qsort(workers, n, sizeof *workers, by_use);
    seats->n = 0;
    for (uint32_t i = 0; i < n && (int)i < most; i++) {
        uint32_t slots = s->core.members[workers[i].worker].has.slots;
        for (uint32_t k = 0; k < slots && seats->n < MOST_RANKS; k++)
            seats->items[seats->n++] = workers[i];
    }
    compare_speeds(seats);
    qsort(seats->items, (size_t)seats->n, sizeof *seats->items, by_machine);
}

static PlanAnswer ask(Server *s, const Seats *seats, bool urgent, const BuiltPlan **built,
                      char why[PLAN_WHY])
{
    Machine machines[MOST_RANKS];
    const PlanMaker *maker = &s->options->maker;
    for (int i = 0; i < seats->n; i++)
        machines[i] = seats->items[i].machine;
    return maker->find(maker->user, &(PlanWish){machines, seats->n, urgent}, built, why);
}

// For all that are wanted, or where a model cannot be cut for so many, for as many as it can.
static PlanAnswer find_plan(Server *s, const PlanMember *members, uint32_t n, Seats *seats,
                            const BuiltPlan **built)
{
    char why[PLAN_WHY] = "";
    PlanAnswer answer = PLAN_NONE;
    int most = most_of(s, n);
    for (; answer == PLAN_NONE && most >= s->options->min_workers; most--) {
        find_seats(s, members, n, most, seats);
        answer = ask(s, seats, true, built, why);
        if (answer == PLAN_NONE && strcmp(why, s->told_why) != 0)
            story(s, "no plan for %d program%s: %s", seats->n, seats->n == 1 ? "" : "s", why);
        if (answer == PLAN_NONE)
            memcpy(s->told_why, why, sizeof why);
    }
    return answer;
}

// Ranks
// ------------------------------------------------------------------------------------------------

static uint64_t parts_of(const Plan *p, const PlanStage *stage)
{
    uint64_t parts = 0;
    for (int u = stage->first_unit; u <= stage->last_unit; u++)
        parts |= UINT64_C(1) << p->units[u].part;
    return parts;
}

static int device_of(const Plan *p, const PlanRank *r)
{
    const PlanStage *stage = &p->stages[r->stage];
    return r->replica < stage->n_devices ? stage->devices[r->replica] : stage->id;
}

static uint64_t needed_bytes(const Plan *p, int device)
{
    uint64_t bytes = 0;
    for (int r = 0; r < p->n_ranks; r++)
        if (device_of(p, &p->ranks[r]) == device)
            bytes += (uint64_t)plan_stage_bytes(&p->stages[p->ranks[r].stage]);
    return bytes;
}

// Can such machines run it, whatever their speeds?
static bool fits(const BuiltPlan *built, const Seats *seats)
{
    bool good = built && built->n_machines == seats->n;
    for (int d = 0; d < seats->n && good; d++)
        good = needed_bytes(built->plan, d) <= seats->items[d].machine.memory_bytes;
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

// Of those that are built, for machines of nearly these speeds.
static const BuiltPlan *nearest_plan(const Server *s, const Seats *seats)
{
    const PlanMaker *maker = &s->options->maker;
    const BuiltPlan *built, *nearest = NULL;
    for (int i = 0; (built = maker->built(maker->user, i)); i++)
        if (fits(built, seats) &&
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
        if (device_of(p, &p->ranks[r]) == device)
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
                            m->memory_bytes >= needed_bytes(p, d);
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

static void fill_epoch(Server *s, const BuiltPlan *built, const Seats *seats, Epoch *e)
{
    const Plan *p = built->plan;
    int seat_of[MOST_RANKS];
    seat_devices(p, seats, seat_of);
    memset(e->ranks, 0, sizeof e->ranks);
    e->n_ranks = (uint32_t)p->n_ranks;
    e->plan = ledger_plan(s, built);
    for (int r = 0; r < p->n_ranks; r++) {
        uint64_t parts = parts_of(p, &p->stages[p->ranks[r].stage]);
        e->ranks[r].runs = parts;
        e->ranks[r].owns = p->ranks[r].replica ? 0 : parts;
        e->ranks[r].worker = (uint16_t)seats->items[seat_of[device_of(p, &p->ranks[r])]].worker;
    }
}

// Is it worth a change?
// ------------------------------------------------------------------------------------------------

static double stage_seconds(const Server *s, const Plan *p, const PlanStage *stage)
{
    double share = (double)p->options.micro_batches / stage->replicas;
    double slower = s->options->rehearse > 0 ? s->options->rehearse : 1;
    return slower * (share * (stage->forward_s + stage->backward_s) + stage->update_s);
}

// Of the slowest stage, in a step.
static double planned_seconds(const Server *s, const Plan *p)
{
    double most = 0;
    for (int i = 0; i < p->n_stages; i++)
        most = fmax(most, stage_seconds(s, p, &p->stages[i]));
    return most;
}

// What it is now: as measured where it is.
static double present_seconds(Server *s, const Epoch *now)
{
    const BuiltPlan *built = ledger_built(s, now->plan);
    double most = 0;
    for (uint32_t r = 0; r < now->n_ranks; r++)
        most = fmax(most, s->faces[now->ranks[r].worker].busy_s);
    return most > 0 || !built ? most : planned_seconds(s, built->plan);
}

static bool same_workers(const Epoch *now, const Seats *seats)
{
    uint64_t before = 0, after = 0;
    for (uint32_t r = 0; r < now->n_ranks; r++)
        before |= UINT64_C(1) << now->ranks[r].worker;
    for (int i = 0; i < seats->n; i++)
        after |= UINT64_C(1) << seats->items[i].worker;
    return before == after;
}

static bool pays(Server *s, const Epoch *now, const BuiltPlan *built, double fastest)
{
    double before = present_seconds(s, now), after = planned_seconds(s, built->plan) / fastest;
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

static uint64_t workers_of(const Epoch *e)
{
    uint64_t workers = 0;
    for (uint32_t r = 0; r < e->n_ranks; r++)
        workers |= UINT64_C(1) << e->ranks[r].worker;
    return workers;
}

// The same workers, whatever has been measured since: what is warm stays the plan.
static bool is_next(const Server *s, const Seats *seats)
{
    return s->next.number == s->core.epoch.number + 1 && same_workers(&s->next, seats);
}

static void warm(Server *s, const BuiltPlan *built, const Seats *seats)
{
    Epoch *e = &s->next;
    *e = (Epoch){.number = s->core.epoch.number + 1, .parts = s->core.config.parts};
    fill_epoch(s, built, seats, e);
    memset(e->source, 0xff, sizeof e->source); // NOBODY: not yet
    for (uint32_t r = 0; r < e->n_ranks; r++) {
        e->ranks[r].copier = NOBODY;
        e->incarnations[e->ranks[r].worker] =
            s->core.members[e->ranks[r].worker].has.incarnation;
    }
    s->warmed = 0;
    s->warm_ns = progress_now_ns();
    char *text = plans_start(s, e);
    Message m = {.id = MESSAGE_WARM, .warm = *e, .rest = text, .rest_bytes = strlen(text)};
    for (uint32_t w = 0; w < s->core.n_members; w++)
        if (workers_of(e) >> w & 1)
            server_send(s, s->faces[w].key, &m);
    free(text);
}

void plans_warmed(Server *s, uint32_t worker, const Warmed *m)
{
    if (m->number == s->next.number)
        s->warmed |= UINT64_C(1) << worker;
}

// All have answered, or it takes too long: then they start when it is time.
static bool is_warm(const Server *s)
{
    return (s->warmed & workers_of(&s->next)) == workers_of(&s->next) ||
           progress_now_ns() - s->warm_ns > WARM_S * SECOND_NS;
}

static void take_next(const Server *s, Epoch *e)
{
    memcpy(e->ranks, s->next.ranks, sizeof e->ranks);
    e->n_ranks = s->next.n_ranks;
    e->plan = s->next.plan;
}

// So many workers were asked for, whether it is faster or not.
static bool asked_for(const Server *s, const Epoch *now, const Seats *seats)
{
    uint64_t after = 0;
    for (int i = 0; i < seats->n; i++)
        after |= UINT64_C(1) << seats->items[i].worker;
    return s->wanted && __builtin_popcountll(after) != __builtin_popcountll(workers_of(now));
}

// While an epoch runs: shall another one follow? now: the one that may stay, or NULL.
static PlanAnswer choose_another(Server *s, const PlanMember *members, uint32_t n,
                                 const Epoch *now, Epoch *e)
{
    Seats seats;
    const BuiltPlan *built = NULL;
    find_seats(s, members, n, most_of(s, n), &seats);
    if (is_next(s, &seats)) {
        take_next(s, e);
        return is_warm(s) ? PLAN_NEW : PLAN_LATER;
    }
    PlanAnswer answer = find_plan(s, members, n, &seats, &built);
    if (answer != PLAN_NEW)
        return answer;
    bool same = now && same_workers(now, &seats) && ledger_built(s, now->plan) == built;
    bool change =
        !now || (!same && (asked_for(s, now, &seats) || pays(s, now, built, seats.fastest)));
    if (change)
        warm(s, built, &seats);
    return change ? PLAN_LATER : PLAN_KEEP;
}

static void keep_ranks(const Epoch *last, Epoch *e)
{
    e->n_ranks = last->n_ranks;
    e->plan = last->plan;
    memcpy(e->ranks, last->ranks, sizeof e->ranks);
}

// Nobody trains until there is an epoch, so a plan that is there counts more than the best one: that whose programs are
// warm, else the last one where its workers are all there again, else whatever they can run. A better one is asked for
// meanwhile, and changed to like any other.
static PlanAnswer choose_now(Server *s, const PlanMember *members, uint32_t n, Epoch *e)
{
    Seats seats;
    const Epoch *last = &s->core.epoch;
    const BuiltPlan *built = NULL, *best;
    find_seats(s, members, n, most_of(s, n), &seats);
    if (is_next(s, &seats) && is_warm(s)) {
        take_next(s, e);
        return PLAN_NEW;
    }
    PlanAnswer answer = find_plan(s, members, n, &seats, &built);
    if (answer == PLAN_NONE)
        return answer;
    best = answer == PLAN_NEW ? built : NULL;
    bool in_place =
        last->number && same_workers(last, &seats) && fits(ledger_built(s, last->plan), &seats);
    built = in_place ? ledger_built(s, last->plan) : best ? best : nearest_plan(s, &seats);
    if (in_place)
        keep_ranks(last, e);
    else if (built)
        fill_epoch(s, built, &seats, e);
    s->makeshift = built && built != best;
    return built ? PLAN_NEW : PLAN_LATER;
}

PlanAnswer plans_choose(void *server, const PlanMember *members, uint32_t n, const Epoch *now,
                        Epoch *e)
{
    Server *s = server;
    if (!s->core.epoch.number && (int)n < most_workers(s) &&
        progress_now_ns() - s->joined_ns < SETTLE_S * SECOND_NS)
        return PLAN_LATER; // more may come
    return s->core.phase == MASTER_RUNNING ? choose_another(s, members, n, now, e)
                                           : choose_now(s, members, n, e);
}

// Programs for the loss of any one worker, so that nobody waits for a compiler then.
void plans_look_ahead(Server *s)
{
    const Master *m = &s->core;
    int64_t now = progress_now_ns();
    if (m->phase != MASTER_RUNNING || now - s->looked_ns < LOOK_AHEAD_S * SECOND_NS)
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
        find_seats(s, rest, n, most_workers(s), &seats);
        ask(s, &seats, false, &built, why);
    }
}

// START
// ------------------------------------------------------------------------------------------------

// Programs of two epochs never take each other's messages for their own.
static uint64_t job_number(const Server *s, const Epoch *e)
{
    uint64_t x = s->secret ^ e->number * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) | 1;
}

static json_t *files_json(const BuiltPlan *built)
{
    json_t *files = json_array();
    for (int i = 0; built && i < built->n_files; i++)
        json_array_append_new(files, json_pack("[s, s, I]", built->files[i].name,
                                               built->files[i].sha256,
                                               (json_int_t)built->files[i].bytes));
    return files;
}

// Those who have states for it, too, and whoever else is there.
static json_t *peers_json(const Server *s)
{
    json_t *peers = json_array();
    for (uint32_t w = 0; w < s->core.n_members; w++)
        if (*s->faces[w].peer)
            json_array_append_new(
                peers, json_pack("[i, s, s]", (int)w, s->faces[w].peer, s->faces[w].key));
    return peers;
}

char *plans_start(Server *s, const Epoch *e)
{
    char directory[4096] = "/", job[17];
    json_t *options = json_array();
    for (int i = 0; i < s->options->n_options; i++)
        json_array_append_new(options, json_string(s->options->options[i]));
    if (!getcwd(directory, sizeof directory))
        *directory = 0;
    snprintf(job, sizeof job, "%016llx", (unsigned long long)job_number(s, e));
    json_t *start = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:f, s:o}", "job", job,
                              "directory", directory, "model", s->options->model, "first_step",
                              (json_int_t)s->options->first_step, "files",
                              files_json(ledger_built(s, e->plan)), "options", options,
                              "rehearse", s->options->rehearse, "peers", peers_json(s));
    char *text = json_dumps(start, JSON_COMPACT);
    json_decref(start);
    return text;
}
