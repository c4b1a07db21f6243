// Who waits for what, in words: for the log and for `stagecc status`.
#include "control/master_epoch.h"

#include <stdio.h>

static const char *const phase_names[] = {
    [WORKER_STOPPED] = "has stopped",
    [WORKER_PREPARING] = "prepares",
    [WORKER_READY] = "is ready",
    [WORKER_RUNNING] = "runs",
};

enum { NAME = 80 };

static const char *name_of(const Master *m, uint32_t w, char name[NAME])
{
    if (m->config.name)
        snprintf(name, NAME, "%s", m->config.name(m->config.user, w));
    else
        snprintf(name, NAME, "worker %u", w);
    return name;
}

static void of_worker(const Master *m, const char *what, uint32_t w, char *out, size_t room)
{
    char name[NAME];
    const Member *x = &m->members[w];
    const char *does = !x->here    ? "is not here"
                       : x->ended  ? "has no connection"
                       : !x->beats ? "has not said what it holds"
                                   : phase_names[x->beat.phase];
    snprintf(out, room, "%s: %s %s in epoch %llu", what, name_of(m, w, name), does,
             (unsigned long long)x->beat.epoch);
}

static void before_epoch(const Master *m, int64_t now_ns, char *out, size_t room)
{
    Held state;
    PlanMember members[MOST_WORKERS];
    for (uint32_t w = 0; w < m->n_members; w++) {
        if (!member_stopped(m, &m->members[w], now_ns)) {
            of_worker(m, "waiting for the end of an epoch", w, out, room);
            return;
        }
    }
    if (!master_find_state(m, now_ns, &state)) {
        snprintf(out, room, "waiting for who has the state behind step %llu (parts %llx)",
                 (unsigned long long)state.step, (unsigned long long)state.parts);
        return;
    }
    uint32_t n = master_candidates(m, now_ns, &state, members);
    if (n < m->config.min_workers)
        snprintf(out, room, "waiting for workers: %u of at least %u are here", n,
                 m->config.min_workers);
    else
        snprintf(out, room, "waiting for a plan for %u workers", n);
}

static void in_epoch(const Master *m, int64_t now_ns, char *out, size_t room)
{
    Held next = master_next_commit(m);
    bool computes = m->saved + 1 < next.step; // no copy is waited for
    if (computes)
        next = (Held){m->saved + 1, m->epoch.number, 0};
    int rank = master_misses(m, &next, !computes), speak = 0;
    for (uint32_t w = 0; w < m->n_members; w++)
        speak += member_speaks(m, &m->members[w], now_ns);
    if (!speak) {
        snprintf(out, room, "waiting for a word of any worker");
        return;
    }
    if (rank < 0) {
        snprintf(out, room, "waiting for the journal");
        return;
    }
    char names[2][NAME];
    const EpochRank *r = &m->epoch.ranks[rank];
    bool copied = r->copier != NOBODY && !computes;
    snprintf(out, room, "waiting for step %llu of rank %d: %s%s%s",
             (unsigned long long)next.step, rank, name_of(m, r->worker, names[0]),
             copied ? ", copied to " : "", copied ? name_of(m, r->copier, names[1]) : "");
}

void master_waits(const Master *m, int64_t now_ns, char *out, size_t room)
{
    snprintf(out, room, "waiting for nobody");
    switch (m->phase) {
    case MASTER_WAITING: before_epoch(m, now_ns, out, room); return;
    case MASTER_STARTING:
        for (uint32_t w = 0; w < m->n_members; w++) {
            if (m->epoch.incarnations[w] && !member_ready(m, &m->members[w]))
                of_worker(m, "waiting for an epoch to begin", w, out, room);
        }
        return;
    case MASTER_RUNNING: in_epoch(m, now_ns, out, room); return;
    case MASTER_DONE: snprintf(out, room, "done"); return;
    }
}
