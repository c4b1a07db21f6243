#include "control/master_epoch.h"

#include "base/diag.h"

bool member_lives(const Master *m, const Member *x, int64_t now_ns)
{
    return now_ns - x->heard_ns < m->config.silence_ns &&
           !(x->ended && now_ns - x->ended_ns >= m->config.grace_ns);
}

bool member_speaks(const Master *m, const Member *x, int64_t now_ns)
{
    return x->listed && x->here && x->beats && member_lives(m, x, now_ns);
}

bool member_drained(const Member *x)
{
    return x->drained && x->drained == x->has.incarnation;
}

bool member_stopped(const Master *m, const Member *x, int64_t now_ns)
{
    if (!x->listed || !member_lives(m, x, now_ns))
        return true;
    return x->here && !x->ended && x->beats && x->beat.epoch == m->epoch.number &&
           x->beat.phase == WORKER_STOPPED;
}

bool member_ready(const Master *m, const Member *x)
{
    return x->here && x->beats && x->beat.epoch == m->epoch.number &&
           (x->beat.phase == WORKER_READY || x->beat.phase == WORKER_RUNNING);
}

// States
// ---------------------------------------------------------------------------------------

static uint64_t holds(const Member *x, const Held *state)
{
    return held_parts(x->beat.held, x->beat.n_held, state->step, state->made);
}

// Parts of a state that nobody has who speaks. That which training begins with anybody can make.
static uint64_t missing(const Master *m, int64_t now_ns, const Held *state)
{
    uint64_t parts = m->config.parts;
    for (uint32_t w = 0; w < m->n_members; w++)
        if (member_speaks(m, &m->members[w], now_ns))
            parts &= ~holds(&m->members[w], state);
    return state->made ? parts : 0;
}

uint64_t master_last(const Master *m)
{
    return m->hold ? m->hold : m->config.last_step;
}

Held master_next_commit(const Master *m)
{
    uint64_t step = epoch_point(&m->epoch, m->committed + 1, master_last(m));
    return (Held){step, epoch_made(&m->epoch, step), 0};
}

// Does it come of the committed one, as far as the newest epoch made it or began with it? What an epoch before it
// made beyond its beginning does not.
static bool may_begin_with(const Master *m, const Held *state)
{
    const Epoch *e = &m->epoch;
    return state->step > m->committed && state->step >= e->step &&
           state->made == epoch_made(e, state->step);
}

bool master_find_state(const Master *m, int64_t now_ns, Held *state)
{
    *state = (Held){m->committed, m->committed_made, 0};
    for (uint32_t w = 0; w < m->n_members && m->epoch.number; w++) {
        const Beat *b = &m->members[w].beat;
        for (uint32_t i = 0; i < b->n_held && member_speaks(m, &m->members[w], now_ns); i++)
            if (b->held[i].step > state->step && may_begin_with(m, &b->held[i]) &&
                !missing(m, now_ns, &b->held[i]))
                *state = (Held){b->held[i].step, b->held[i].made, 0};
    }
    state->parts = state->step > m->committed ? 0 : missing(m, now_ns, state);
    return !state->parts;
}

uint64_t master_saved(const Master *m)
{
    const Beat *b = &m->members[m->epoch.ranks[0].worker].beat;
    uint64_t saved = m->saved > m->committed ? m->saved : m->committed;
    for (uint32_t i = 0; i < b->n_held && m->epoch.copy_every > 1; i++)
        if (b->held[i].step > saved && may_begin_with(m, &b->held[i]) &&
            master_misses(m, &b->held[i], false) < 0)
            saved = b->held[i].step;
    return saved;
}

int master_misses(const Master *m, const Held *state, bool copied)
{
    for (uint32_t r = 0; r < m->epoch.n_ranks; r++) {
        const EpochRank *rank = &m->epoch.ranks[r];
        uint64_t parts = rank->runs & ~holds(&m->members[rank->worker], state);
        if (copied && rank->copier != NOBODY)
            parts |= rank->owns & ~holds(&m->members[rank->copier], state);
        if (parts)
            return (int)r;
    }
    return -1;
}

// Epochs
// ---------------------------------------------------------------------------------------

uint32_t master_candidates(const Master *m, int64_t now_ns, const Held *state,
                           PlanMember members[MOST_WORKERS])
{
    uint32_t n = 0, enough = 0;
    for (uint32_t w = 0; w < m->n_members; w++)
        enough += member_speaks(m, &m->members[w], now_ns) && !member_drained(&m->members[w]);
    for (uint32_t w = 0; w < m->n_members; w++) {
        const Member *x = &m->members[w];
        bool stays = !member_drained(x) || enough < m->config.min_workers;
        if (member_speaks(m, x, now_ns) && stays)
            members[n++] = (PlanMember){w, holds(x, state), &x->has};
    }
    return n;
}

// Where one worker has all, any other gets copies.
static uint16_t copier(const Epoch *e, uint32_t rank, const PlanMember *members, uint32_t n)
{
    uint16_t own = e->ranks[rank].worker, next = epoch_neighbour(e, rank);
    for (uint32_t i = 0; i < n && next == NOBODY && e->ranks[rank].owns; i++)
        next = members[i].worker != own ? (uint16_t)members[i].worker : next;
    return next;
}

// Its owner where that has it, else the first who does.
static uint16_t source(const Master *m, int64_t now_ns, const Epoch *e, uint64_t part)
{
    Held state = {e->step, e->made, 0};
    uint16_t found = NOBODY;
    for (uint32_t r = 0; r < e->n_ranks; r++)
        if (e->ranks[r].owns & part && holds(&m->members[e->ranks[r].worker], &state) & part)
            return e->ranks[r].worker;
    for (uint32_t w = m->n_members; w-- > 0;)
        if (member_speaks(m, &m->members[w], now_ns) && holds(&m->members[w], &state) & part)
            found = (uint16_t)w;
    return found;
}

static void take_part(const Master *m, Epoch *e, uint16_t worker)
{
    if (worker != NOBODY)
        e->incarnations[worker] = m->members[worker].has.incarnation;
}

PlanAnswer master_make_epoch(const Master *m, int64_t now_ns, Epoch *e)
{
    Held state;
    PlanMember members[MOST_WORKERS];
    if (!master_find_state(m, now_ns, &state))
        return PLAN_NONE;
    uint32_t n = master_candidates(m, now_ns, &state, members);
    if (n < m->config.min_workers)
        return PLAN_NONE;
    *e = (Epoch){.number = m->epoch.number + 1,
                 .step = state.step,
                 .made = state.made,
                 .parts = m->config.parts,
                 .copy_every = m->config.copy_every};
    PlanAnswer answer = m->config.planner(m->config.user, members, n, NULL, e);
    if (answer != PLAN_NEW)
        return answer;
    for (uint32_t r = 0; r < e->n_ranks; r++) {
        e->ranks[r].copier = copier(e, r, members, n);
        take_part(m, e, e->ranks[r].worker);
        take_part(m, e, e->ranks[r].copier);
    }
    for (int p = 0; p < MOST_PARTS; p++)
        e->source[p] = source(m, now_ns, e, UINT64_C(1) << p);
    CHECK(!epoch_wrong(e), "control", "a plan: %s", epoch_wrong(e));
    return PLAN_NEW;
}
