// Programs of an epoch that may come next, started beside those that run: they make everything but their states, which
// is most of what a change of plan waits for, and stand at the gate of their job's memory. When START says that it is
// this epoch, only the states are moved. Whatever goes wrong here costs time and nothing else: then they are started
// when it is time.
#include "control/launch.h"
#include "control/worker/agent.h"

#include <string.h>

// Whoever makes another epoch ready has no time for it.
static bool is_mine(const Agent *g, const Message *m)
{
    bool busy = g->core.phase == WORKER_PREPARING || g->core.phase == WORKER_READY;
    return !busy && m->warm.number > g->core.epoch.number &&
           epoch_has(&m->warm, g->core.number, g->core.config.has.incarnation);
}

static void answer(Agent *g, bool can)
{
    agent_tell_master(g, &(Message){.id = MESSAGE_WARMED,
                                    .warmed = {.number = g->next.of.number, .can = can}});
    g->warmed = true;
}

void warm_drop(Agent *g)
{
    programs_stop(g, &g->next);
    run_close(g, &g->next);
    g->warmed = false;
}

void warm_adopt(Agent *g, const Message *m)
{
    if (!is_mine(g, m))
        return;
    warm_drop(g);
    g->next.warm = true;
    run_expect(g, &g->next, m);
}

// Both states of what these programs keep, all else that they need, and copies.
static bool has_room(const Agent *g)
{
    const Run *r = &g->next;
    uint64_t bytes = 0, copies[MOST_COPIES];
    for (int i = copies_to_come(g, r, copies); i > 0;)
        bytes += copies[--i];
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank)) {
        const PlanStage *s = &r->plan->stages[r->plan->ranks[rank].stage];
        bytes += (uint64_t)plan_stage_bytes(s) + (uint64_t)s->persistent_bytes;
    }
    return bytes <= launch_free_memory();
}

static bool all_warm(const Agent *g)
{
    bool all = g->next.opened;
    for (int rank = agent_next_of(g, &g->next, -1); rank >= 0;
         rank = agent_next_of(g, &g->next, rank))
        all &= g->next.programs[rank].phase == PROGRAM_WARM;
    return all;
}

static void begin(Agent *g, int64_t now_ns)
{
    Run *r = &g->next;
    bool plan = files_have(&g->files, "plan.json") & files_have(&g->files, "parts.json");
    if (!r->opened && plan && run_open(g, r) && !has_room(g))
        snprintf(r->why, sizeof r->why, "memory does not hold them beside those that run");
    for (int rank = agent_next_of(g, r, -1); rank >= 0 && r->opened && !*r->why;
         rank = agent_next_of(g, r, rank))
        if (r->programs[rank].phase == PROGRAM_NONE) {
            r->programs[rank].phase = PROGRAM_FILES;
            r->programs[rank].since_ns = now_ns;
        }
}

void warm_work(Agent *g, int64_t now_ns)
{
    Run *r = &g->next;
    if (!r->of.number || g->warmed)
        return;
    if (!*r->why)
        begin(g, now_ns);
    if (!*r->why)
        prepare_work(g, r, now_ns);
    if (*r->why) {
        agent_say(g, "programs of the next plan start when it is time: %s", r->why);
        answer(g, false);
        warm_drop(g);
    } else if (all_warm(g) && copies_make_room(g, r)) {
        agent_say(g, "programs of the next plan wait for their states");
        answer(g, true);
    }
}

// Is it the same plan, on the same workers?
static bool fits(const Agent *g, const Epoch *e, const Start *start)
{
    const Run *r = &g->next;
    bool same = all_warm(g) && r->of.n_ranks == e->n_ranks && r->of.number == e->number &&
                start->n_files == r->start.n_files;
    for (uint32_t i = 0; same && i < e->n_ranks; i++)
        same = e->ranks[i].worker == r->of.ranks[i].worker &&
               e->ranks[i].runs == r->of.ranks[i].runs;
    for (int i = 0; same && i < start->n_files; i++)
        same = !memcmp(start->files[i].hash, r->start.files[i].hash, SHA256_BYTES);
    return same;
}

bool warm_take(Agent *g, const Message *m)
{
    Run *r = &g->next;
    Start start;
    char why[START_WHY];
    if (!r->of.number || !start_parse(&r->arena, &start, m->rest, m->rest_bytes, why) ||
        !fits(g, &m->start, &start))
        return false;
    run_close(g, &g->run);
    g->run = *r;
    *r = (Run){.warm = false};
    run_close(g, r);
    g->warmed = false;
    r = &g->run;
    r->of = m->start;
    r->start = start;
    r->warm = false;
    r->memory.header->job = start.job;
    job_allow(&r->memory, m->start.step, m->start.step); // no step begins
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank)) {
        r->programs[rank].timed_step = m->start.step;
        r->programs[rank].timed_ns = agent_now();
    }
    peers_adopt(g, &r->start);
    return true;
}
