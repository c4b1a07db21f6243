#include "control/master_core.h"

#include "control/master_epoch.h"

#include <string.h>

enum { SILENT_BEATS = 3 };

// The journal
// ----------------------------------------------------------------------------------

static bool apply_member(Master *m, const Record *r)
{
    uint32_t w = r->member.worker;
    if (w > m->n_members || w >= MOST_WORKERS)
        return false;
    Member *x = &m->members[w];
    m->n_members += w == m->n_members;
    x->key = r->member.key;
    x->listed = true;
    x->drained = r->member.drained;
    return true;
}

static bool apply_epoch(Master *m, const Record *r)
{
    if (epoch_wrong(&r->epoch) || !r->epoch.copy_every ||
        r->epoch.number != m->epoch.number + 1)
        return false;
    m->epoch = r->epoch;
    return true;
}

static bool apply_commit(Master *m, const Record *r)
{
    if (r->commit.epoch != m->epoch.number || r->commit.step <= m->committed ||
        r->commit.step > epoch_point(&m->epoch, m->committed + 1, UINT64_MAX))
        return false;
    m->committed = r->commit.step;
    m->committed_made = r->commit.made;
    return true;
}

bool master_replay(Master *m, const Record *r)
{
    switch ((RecordKind)r->kind) {
    case RECORD_NONE: return false;
    case RECORD_MEMBER: return apply_member(m, r);
    case RECORD_EPOCH: return apply_epoch(m, r);
    case RECORD_COMMIT: return apply_commit(m, r);
    }
    return false;
}

// One record at a time: nothing is decided on what is not known to be on the disk.
static void append(Master *m, MasterActions *actions, const Record *r)
{
    m->pending = *r;
    actions->list[actions->n++] =
        (MasterAction){.kind = MASTER_APPEND, .record = ++m->appended};
}

static void append_member(Master *m, MasterActions *actions, uint32_t w)
{
    Record r = {.kind = RECORD_MEMBER};
    r.member.key = m->members[w].key;
    r.member.worker = w;
    r.member.drained = m->members[w].drain;
    append(m, actions, &r);
}

static void on_journaled(Master *m, uint64_t record, int64_t now_ns)
{
    Record done = m->pending;
    if (record != m->appended || !done.kind)
        return;
    m->pending.kind = RECORD_NONE;
    master_replay(m, &done);
    if (done.kind == RECORD_COMMIT)
        m->failures = 0;
    if (done.kind == RECORD_MEMBER && done.member.drained)
        m->replan = true;
    if (done.kind != RECORD_EPOCH)
        return;
    m->phase = MASTER_STARTING;
    m->saved = m->epoch.copy_every > 1 ? m->epoch.step : 0;
    m->deadline_ns = now_ns + m->config.start_ns;
    m->failures++; // until it runs
    for (uint32_t w = 0; w < m->n_members; w++)
        m->members[w].starts = true;
}

// Members
// ---------------------------------------------------------------------------------------

static Member *find(Master *m, const PublicKey *key)
{
    for (uint32_t w = 0; w < m->n_members; w++)
        if (!memcmp(&m->members[w].key, key, sizeof *key))
            return &m->members[w];
    return NULL;
}

static void refuse(Member *x, const PublicKey *key, RefusedKind why, uint64_t incarnation,
                   MasterActions *actions)
{
    actions->list[actions->n++] = (MasterAction){.kind = MASTER_SEND,
                                                 .key = *key,
                                                 .id = MESSAGE_REFUSED,
                                                 .refused = {incarnation, why, 0}};
    if (x)
        x->here = false;
}

static void on_hello(Master *m, const PublicKey *key, const Hello *hello, int64_t now_ns,
                     MasterActions *actions)
{
    Member *x = find(m, key);
    if (!x && m->n_members == MOST_WORKERS) {
        refuse(NULL, key, REFUSED_FULL, hello->incarnation, actions);
        return;
    }
    if (hello->device != m->config.device) {
        refuse(x, key, REFUSED_DEVICE, hello->incarnation, actions);
        return;
    }
    if (!x) {
        x = &m->members[m->n_members++];
        *x = (Member){.key = *key};
    }
    if (!x->here || x->has.incarnation != hello->incarnation)
        x->beats = false; // what was said was said by another
    x->has = *hello;
    x->here = true;
    x->ended = x->welcomed = false;
    x->heard_ns = now_ns;
}

static void on_beat(Master *m, Member *x, const Beat *beat, MasterActions *actions)
{
    if (beat->incarnation != x->has.incarnation)
        return;
    if (beat->epoch > m->epoch.number) {
        refuse(x, &x->key, REFUSED_NEWER, beat->incarnation, actions);
        return;
    }
    x->beat = *beat;
    x->beats = true;
    x->starts |= beat->epoch < m->epoch.number;
}

// Was anybody heard of in so long?
static bool heard_within(const Master *m, int64_t ns, int64_t now_ns)
{
    for (uint32_t w = 0; w < m->n_members; w++)
        if (now_ns - m->members[w].heard_ns < ns && member_lives(m, &m->members[w], now_ns))
            return true;
    return false;
}

// It was the master that was cut off, or stood still: all get time to come back.
static void forgive(Master *m, int64_t now_ns)
{
    for (uint32_t w = 0; w < m->n_members; w++)
        if (m->epoch.incarnations[w]) {
            m->members[w].heard_ns = now_ns;
            m->members[w].ended = false;
        }
}

static void on_heard(Master *m, const MasterEvent *event, int64_t now_ns,
                     MasterActions *actions)
{
    Member *x = find(m, &event->key);
    if (m->phase != MASTER_WAITING && !heard_within(m, m->config.silence_ns, now_ns))
        forgive(m, now_ns);
    if (event->message->id == MESSAGE_HELLO) {
        on_hello(m, &event->key, &event->message->hello, now_ns, actions);
        return;
    }
    if (!x || !x->here)
        return;
    x->heard_ns = now_ns;
    if (event->message->id == MESSAGE_BEAT)
        on_beat(m, x, &event->message->beat, actions);
}

// Phases
// ----------------------------------------------------------------------------------------

// Is one of the epoch's workers gone, another one now, or has stopped? Where all are silent at once they
// are not lost, or there is nobody who could go on.
static bool epoch_broken(const Master *m, int64_t now_ns)
{
    if (!heard_within(m, SILENT_BEATS * m->config.beat_ns, now_ns))
        return false;
    for (uint32_t w = 0; w < m->n_members; w++) {
        const Member *x = &m->members[w];
        if (!m->epoch.incarnations[w])
            continue;
        if (!member_lives(m, x, now_ns))
            return true;
        if (x->here && x->has.incarnation != m->epoch.incarnations[w])
            return true;
        if (x->beats && x->beat.epoch == m->epoch.number && x->beat.phase == WORKER_STOPPED)
            return true;
    }
    return false;
}

static void stop_epoch(Master *m, int64_t now_ns)
{
    m->phase = MASTER_WAITING;
    m->hold = 0;
    // One that fails at once again and again shall not fill the journal.
    uint32_t doublings = m->failures > 4 ? 4 : m->failures;
    m->not_before_ns = m->failures ? now_ns + (m->config.beat_ns << doublings) / 2 : 0;
}

static void wait_for_epoch(Master *m, int64_t now_ns, MasterActions *actions)
{
    Record r = {.kind = RECORD_EPOCH};
    if (m->pending.kind || now_ns < m->not_before_ns)
        return;
    for (uint32_t w = 0; w < m->n_members; w++)
        if (!member_stopped(m, &m->members[w], now_ns))
            return;
    if (master_make_epoch(m, now_ns, &r.epoch) != PLAN_NEW)
        return;
    m->replan = false;
    append(m, actions, &r);
}

static void start_epoch(Master *m, int64_t now_ns)
{
    if (epoch_broken(m, now_ns) || now_ns >= m->deadline_ns) {
        stop_epoch(m, now_ns);
        return;
    }
    for (uint32_t w = 0; w < m->n_members; w++)
        if (m->epoch.incarnations[w] && !member_ready(m, &m->members[w]))
            return;
    m->phase = MASTER_RUNNING;
}

// The epoch that runs, unless one that shall leave takes part in it.
static const Epoch *can_stay(const Master *m, const PlanMember *members, uint32_t n)
{
    uint64_t stay = 0;
    for (uint32_t i = 0; i < n; i++)
        stay |= UINT64_C(1) << members[i].worker;
    for (uint32_t w = 0; w < m->n_members; w++)
        if (m->epoch.incarnations[w] && !(stay >> w & 1))
            return NULL;
    return &m->epoch;
}

// The newest step behind which all ranks of an epoch that runs hold the state: at least the one that it began with, which
// may not be committed.
static uint64_t held_by_all(const Master *m)
{
    return m->saved > m->epoch.step ? m->saved : m->epoch.step;
}

// Shall others run it, or otherwise? Then it ends behind a step that nobody can be beyond: who knows that all hold
// the state behind step n may be in step n + 2.
static void think_again(Master *m, int64_t now_ns)
{
    PlanMember members[MOST_WORKERS];
    Held state = {m->committed, m->committed_made, 0};
    Epoch e = m->epoch;
    if (!m->replan || m->hold || held_by_all(m) + 2 >= m->config.last_step)
        return;
    uint32_t n = master_candidates(m, now_ns, &state, members);
    if (n < m->config.min_workers)
        return;
    PlanAnswer answer =
        m->config.planner(m->config.user, members, n, can_stay(m, members, n), &e);
    m->replan = answer == PLAN_LATER;
    if (answer == PLAN_NEW)
        m->hold = held_by_all(m) + 2;
}

static void run_epoch(Master *m, int64_t now_ns, MasterActions *actions)
{
    Held next = master_next_commit(m);
    if (epoch_broken(m, now_ns) || (m->hold && m->committed == m->hold)) {
        stop_epoch(m, now_ns);
        return;
    }
    think_again(m, now_ns);
    if (m->pending.kind || master_misses(m, &next, true) >= 0)
        return;
    Record r = {.kind = RECORD_COMMIT};
    r.commit.epoch = m->epoch.number;
    r.commit.step = next.step;
    r.commit.made = next.made;
    append(m, actions, &r);
}

// Somebody has joined, or is heard of again.
static void look_for_new(Master *m, int64_t now_ns)
{
    uint64_t speaking = 0;
    for (uint32_t w = 0; w < m->n_members; w++)
        speaking |= (uint64_t)member_speaks(m, &m->members[w], now_ns) << w;
    m->replan |= (speaking & ~m->speaking) != 0;
    m->speaking = speaking;
}

static void advance(Master *m, int64_t now_ns, MasterActions *actions)
{
    look_for_new(m, now_ns);
    m->saved = master_saved(m);
    if (m->saved > m->epoch.step)
        m->failures = 0;
    for (uint32_t w = 0; w < m->n_members && !m->pending.kind; w++) {
        const Member *x = &m->members[w];
        if (!x->listed || (x->drain && x->drain != x->drained))
            append_member(m, actions, w);
    }
    if (m->committed == m->config.last_step)
        m->phase = MASTER_DONE;
    switch (m->phase) {
    case MASTER_WAITING: wait_for_epoch(m, now_ns, actions); return;
    case MASTER_STARTING: start_epoch(m, now_ns); return;
    case MASTER_RUNNING: run_epoch(m, now_ns, actions); return;
    case MASTER_DONE: return;
    }
}

// What they are told
// ----------------------------------------------------------------------------

static Order order_now(const Master *m)
{
    static const OrderKind what[] = {[MASTER_WAITING] = ORDER_STOP,
                                     [MASTER_STARTING] = ORDER_PREPARE,
                                     [MASTER_RUNNING] = ORDER_GO,
                                     [MASTER_DONE] = ORDER_STOP};
    return (Order){.epoch = m->epoch.number,
                   .committed = m->committed,
                   .saved = m->saved,
                   .last = master_last(m),
                   .what = what[m->phase],
                   .ends = !m->hold};
}

// A drained one goes when nobody needs a state that it has.
static bool may_leave(const Master *m, uint32_t w)
{
    const Member *x = &m->members[w];
    if (m->phase == MASTER_DONE)
        return true;
    return member_drained(x) && !epoch_has(&m->epoch, w, x->has.incarnation) &&
           m->phase == MASTER_RUNNING && m->committed > m->epoch.step;
}

// Has everybody who takes part said where it is? A master that has just begun hears it from one after the other.
static bool all_here(const Master *m)
{
    for (uint32_t w = 0; w < m->n_members; w++)
        if (m->epoch.incarnations[w] && !m->members[w].here)
            return false;
    return true;
}

static MasterAction *to(const Member *x, MessageId id, MasterActions *actions)
{
    MasterAction *a = &actions->list[actions->n++];
    *a = (MasterAction){.kind = MASTER_SEND, .key = x->key, .id = id};
    return a;
}

static void tell(Master *m, uint32_t w, int64_t now_ns, MasterActions *actions)
{
    Member *x = &m->members[w];
    Order order = order_now(m);
    bool due = !x->welcomed || now_ns - x->told_ns >= m->config.beat_ns ||
               memcmp(&order, &x->told, sizeof order) != 0;
    if (!x->welcomed)
        to(x, MESSAGE_WELCOME, actions)->welcome =
            (Welcome){m->config.job, w, (uint32_t)(m->config.beat_ns / 1000000)};
    x->welcomed = true;
    bool begins = m->phase == MASTER_STARTING || m->phase == MASTER_RUNNING;
    if (x->starts && x->beats && begins && all_here(m)) {
        to(x, MESSAGE_START, actions);
        x->starts = false;
    }
    if (!due)
        return;
    if (may_leave(m, w))
        to(x, MESSAGE_LEAVE, actions)->leave = (Leave){.drained = m->phase != MASTER_DONE};
    else
        to(x, MESSAGE_ORDER, actions)->order = order;
    x->told = order;
    x->told_ns = now_ns;
}

static void tell_all(Master *m, int64_t now_ns, MasterActions *actions)
{
    bool all_know = m->phase == MASTER_DONE;
    for (uint32_t w = 0; w < m->n_members; w++) {
        const Member *x = &m->members[w];
        bool there = !x->ended && member_lives(m, x, now_ns);
        if (x->listed && x->here && there)
            tell(m, w, now_ns, actions);
        all_know &= !there;
    }
    if (all_know)
        actions->list[actions->n++] = (MasterAction){.kind = MASTER_END};
}

// ------------------------------------------------------------------------------------------------

uint64_t master_first_free(const Master *m)
{
    const Epoch *e = &m->epoch;
    if (m->phase == MASTER_RUNNING || e->copy_every <= 1)
        return held_by_all(m) + 3;
    // What the master before this one told is not known; nobody is two steps beyond the next state to be copied but one.
    uint64_t next = epoch_point(e, m->committed + 1, UINT64_MAX);
    return epoch_point(e, next + 1, UINT64_MAX) + 3;
}

void master_init(Master *m, const MasterConfig *config)
{
    *m = (Master){
        .config = *config, .committed = config->first_step, .saved = config->first_step};
}

void master_begin(Master *m, int64_t now_ns)
{
    for (uint32_t w = 0; w < m->n_members; w++)
        m->members[w].heard_ns = now_ns;
    m->phase = m->epoch.number ? MASTER_STARTING : MASTER_WAITING;
    m->saved = master_saved(m);
    m->deadline_ns = now_ns + m->config.start_ns;
    m->replan = true; // what was wanted before is forgotten
}

void master_take(Master *m, const MasterEvent *event, int64_t now_ns, MasterActions *actions)
{
    actions->n = 0;
    Member *x = find(m, &event->key);
    switch (event->kind) {
    case MASTER_CLOCK: break;
    case MASTER_HEARD: on_heard(m, event, now_ns, actions); break;
    case MASTER_GONE:
        if (x && !x->ended)
            x->ended_ns = now_ns;
        if (x)
            x->ended = true;
        break;
    case MASTER_JOURNALED: on_journaled(m, event->record, now_ns); break;
    case MASTER_REPLAN: m->replan = true; break;
    case MASTER_DRAIN:
        if (x && x->here)
            x->drain = x->has.incarnation;
        break;
    }
    advance(m, now_ns, actions);
    tell_all(m, now_ns, actions);
}
