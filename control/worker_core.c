#include "control/worker_core.h"

#include <string.h>

static WorkerAction *act(WorkerActions *actions, WorkerActionKind kind)
{
    WorkerAction *a = &actions->list[actions->n++];
    *a = (WorkerAction){.kind = kind};
    return a;
}

static WorkerAction *say(WorkerActions *actions, MessageId id)
{
    WorkerAction *a = act(actions, WORKER_SEND);
    a->id = id;
    return a;
}

// States
// ---------------------------------------------------------------------------------------

bool worker_holds(const Worker *w, uint64_t step, uint64_t made, uint32_t part)
{
    return held_parts(w->held, w->n_held, step, made) >> part & 1;
}

typedef bool Old(const Worker *w, const Held *h, uint64_t step);

// Keep no state of these parts that `old` says is one.
static void forget(Worker *w, uint64_t parts, Old *old, uint64_t step)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_held; i++) {
        Held h = w->held[i];
        if (old(w, &h, step))
            h.parts &= ~parts;
        if (h.parts)
            w->held[n++] = h;
    }
    memset(&w->held[n], 0, (w->n_held - n) * sizeof *w->held);
    w->n_held = n;
}

static bool is_before(const Worker *w, const Held *h, uint64_t step)
{
    (void)w;
    return h->step < step;
}

// What an epoch that begins there has no use for: nobody goes back to it.
static bool is_stray(const Worker *w, const Held *h, uint64_t step)
{
    return h->step > step || (h->step == step && h->made != w->epoch.made);
}

// Between the committed one and the one that the epoch begins with: an epoch before this has made it.
static bool is_passed(const Worker *w, const Held *h, uint64_t step)
{
    return h->step > w->committed && h->step < step;
}

// By a program that has saved a step. Of what was to be kept there is a snapshot.
static bool is_overwritten(const Worker *w, const Held *h, uint64_t step)
{
    bool kept =
        h->step == w->committed || h->step == epoch_point(&w->epoch, h->step, UINT64_MAX);
    return h->step + 1 < step && !(kept && h->made);
}

static void hold(Worker *w, const Held *state)
{
    for (uint32_t i = 0; i < w->n_held; i++)
        if (w->held[i].step == state->step && w->held[i].made == state->made) {
            w->held[i].parts |= state->parts;
            return;
        }
    if (w->n_held < MOST_HELD)
        w->held[w->n_held++] = *state;
}

static void on_committed(Worker *w, uint64_t step)
{
    if (step <= w->committed)
        return;
    w->committed = step;
    forget(w, UINT64_MAX, is_before, step);
}

// What it says
// ----------------------------------------------------------------------------------

static void beat(Worker *w, int64_t now_ns, WorkerActions *actions)
{
    if (!w->welcomed)
        return;
    Beat *b = &say(actions, MESSAGE_BEAT)->beat;
    *b = (Beat){.incarnation = w->config.has.incarnation,
                .epoch = w->epoch.number,
                .committed = w->committed,
                .phase = w->phase,
                .n_held = w->n_held};
    memcpy(b->held, w->held, sizeof b->held);
    w->told_ns = now_ns;
}

static void hello(Worker *w, int64_t now_ns, WorkerActions *actions)
{
    say(actions, MESSAGE_HELLO)->hello = w->config.has;
    w->told_ns = now_ns;
}

// Programs
// -------------------------------------------------------------------------------------

static bool is_mine(const Worker *w, uint32_t rank)
{
    return rank < w->epoch.n_ranks && w->epoch.ranks[rank].worker == w->number &&
           epoch_has(&w->epoch, w->number, w->config.has.incarnation);
}

static void stop(Worker *w, WorkerActions *actions)
{
    if (w->phase != WORKER_STOPPED)
        act(actions, WORKER_END);
    w->phase = WORKER_STOPPED;
}

// The step whose state is copied and committed next.
static uint64_t next_commit(const Worker *w)
{
    return epoch_point(&w->epoch, w->committed + 1, w->last);
}

// The next one of which a snapshot is made of this rank, before its program writes over it; UINT64_MAX: where every state is
// committed none is, programs wait for that.
static uint64_t next_kept(const Worker *w, uint32_t rank)
{
    uint64_t from = w->kept[rank];
    bool is_next = w->committed >= from; // behind a last step that was none
    if (w->epoch.copy_every == 1)
        return UINT64_MAX;
    return epoch_point(&w->epoch, from, is_next ? w->committed : UINT64_MAX);
}

static void limit(const Worker *w, WorkerActions *actions)
{
    WorkerAction *a = act(actions, WORKER_LIMIT);
    uint64_t stays =
        w->everywhere; // the newest step whose state is written over by none that may be updated
    for (uint32_t r = 0; r < w->epoch.n_ranks; r++)
        if (is_mine(w, r) && next_kept(w, r) < stays)
            stays = next_kept(w, r);
    a->begin = stays + 2 < w->last ? stays + 2 : w->last;
    a->update = stays + 1;
    a->last = w->ends ? w->last : UINT64_MAX;
}

// Of two states at most there are snapshots: the committed one, and the next.
static void keep(Worker *w, uint32_t rank, WorkerActions *actions)
{
    uint64_t step = next_kept(w, rank);
    if (step > w->saved[rank] || step > next_commit(w))
        return;
    WorkerAction *a = act(actions, WORKER_KEEP);
    a->rank = rank;
    a->step = step;
    a->made = epoch_made(&w->epoch, step);
}

// Its program writes over it only when it is committed, or not at all?
static bool may_copy(const Worker *w, uint32_t rank, uint64_t step)
{
    bool stays = w->epoch.copy_every == 1 || w->kept[rank] > step || step == w->last;
    return stays && step <= w->saved[rank];
}

// What is to be committed next; or what the epoch began with, since its copier is another one. Where training begins
// there is nothing to copy.
static void copy(Worker *w, uint32_t rank, int64_t now_ns, WorkerActions *actions)
{
    const EpochRank *r = &w->epoch.ranks[rank];
    uint64_t step = next_commit(w);
    if (!may_copy(w, rank, step) && w->committed == w->epoch.step && w->epoch.made)
        step = w->epoch.step;
    if (r->copier == NOBODY || epoch_runs(&w->epoch, r->copier, r->owns) ||
        !may_copy(w, rank, step))
        return;
    // It may have been lost, or come to a worker that did not know the epoch yet.
    if (w->copied[rank] == step && now_ns - w->copied_ns[rank] < w->config.retry_ns)
        return;
    WorkerAction *a = act(actions, WORKER_COPY);
    a->rank = rank;
    a->step = step;
    a->made = epoch_made(&w->epoch, step);
    w->copied[rank] = step;
    w->copied_ns[rank] = now_ns;
}

static void look_after_states(Worker *w, int64_t now_ns, WorkerActions *actions)
{
    for (uint32_t r = 0; r < w->epoch.n_ranks && w->phase == WORKER_RUNNING; r++)
        if (is_mine(w, r)) {
            keep(w, r, actions);
            copy(w, r, now_ns, actions);
        }
}

static void become_ready(Worker *w)
{
    for (uint32_t r = 0; r < w->epoch.n_ranks; r++)
        if (is_mine(w, r) && !(w->ready >> r & 1))
            return;
    w->phase = WORKER_READY;
}

static void on_prepared(Worker *w, const WorkerEvent *event, int64_t now_ns,
                        WorkerActions *actions)
{
    if (event->epoch != w->epoch.number || w->phase != WORKER_PREPARING)
        return;
    if (event->failed) {
        say(actions, MESSAGE_CANNOT)->cannot = (Cannot){event->epoch, event->rank, 0};
        stop(w, actions);
    } else {
        hold(w, &(Held){w->epoch.step, w->epoch.made, w->epoch.ranks[event->rank].runs});
        w->ready |= UINT64_C(1) << event->rank;
        become_ready(w);
    }
    beat(w, now_ns, actions);
}

static void on_saved(Worker *w, const WorkerEvent *event, int64_t now_ns,
                     WorkerActions *actions)
{
    if (event->epoch != w->epoch.number || w->phase != WORKER_RUNNING)
        return;
    uint64_t parts = w->epoch.ranks[event->rank].runs;
    forget(w, parts, is_overwritten, event->step);
    hold(w, &(Held){event->step, event->epoch, parts});
    w->saved[event->rank] = event->step;
    look_after_states(w, now_ns, actions);
    beat(w, now_ns, actions);
}

static void on_kept(Worker *w, const WorkerEvent *event, int64_t now_ns, WorkerActions *actions)
{
    if (event->epoch != w->epoch.number || w->phase != WORKER_RUNNING ||
        event->step != next_kept(w, event->rank))
        return;
    w->kept[event->rank] = event->step + 1;
    limit(w, actions);
    look_after_states(w, now_ns, actions);
}

bool worker_takes_copy(const Worker *w, uint64_t epoch, uint32_t rank)
{
    return epoch == w->epoch.number && w->phase != WORKER_STOPPED && rank < w->epoch.n_ranks &&
           w->epoch.ranks[rank].copier == w->number;
}

static void on_arrived(Worker *w, const WorkerEvent *event, int64_t now_ns,
                       WorkerActions *actions)
{
    if (!worker_takes_copy(w, event->epoch, event->rank))
        return;
    const Epoch *e = &w->epoch;
    uint64_t parts = e->ranks[event->rank].owns;
    if (event->step >
        e->step) { // the one before it is committed, or its owner would not send it
        uint64_t before = (event->step - 1) / e->copy_every * e->copy_every;
        forget(w, parts, is_before, before > e->step ? before : e->step);
    }
    hold(w, &(Held){event->step, event->made, parts});
    beat(w, now_ns, actions);
}

static void on_ended(Worker *w, const WorkerEvent *event, int64_t now_ns,
                     WorkerActions *actions)
{
    if (event->epoch != w->epoch.number || w->phase == WORKER_STOPPED)
        return;
    say(actions, MESSAGE_ENDED)->ended =
        (ProgramEnded){event->epoch, event->rank, event->status};
    stop(w, actions);
    beat(w, now_ns, actions);
}

// What it is told
// -------------------------------------------------------------------------------

static void leave(Worker *w, WorkerActions *actions)
{
    stop(w, actions);
    w->left = true;
    act(actions, WORKER_LEAVE);
}

static void on_welcome(Worker *w, const Welcome *m, int64_t now_ns, WorkerActions *actions)
{
    if (w->job != m->job || w->number != m->worker) { // another master's, with another journal
        WorkerConfig config = w->config;
        stop(w, actions);
        *w = (Worker){.config = config, .connected = true};
    }
    w->job = m->job;
    w->number = m->worker;
    w->beat_ns = m->beat_ms * INT64_C(1000000);
    w->welcomed = true;
    w->heard_ns = now_ns;
    beat(w, now_ns, actions);
}

static void on_start(Worker *w, const Epoch *e, int64_t now_ns, WorkerActions *actions)
{
    if (e->number <= w->epoch.number)
        return;
    stop(w, actions);
    w->epoch = *e;
    w->ready = 0;
    w->last = w->everywhere = 0;
    forget(w, UINT64_MAX, is_stray, e->step);
    w->phase = WORKER_PREPARING;
    for (uint32_t r = 0; r < e->n_ranks; r++)
        if (is_mine(w, r)) {
            w->saved[r] = e->step;
            w->kept[r] = e->step + !e->made;
            w->copied[r] = UINT64_MAX;
            act(actions, WORKER_PREPARE)->rank = r;
        }
    become_ready(w);
    beat(w, now_ns, actions);
}

static void go(Worker *w, int64_t now_ns, WorkerActions *actions)
{
    bool begins = w->phase == WORKER_READY;
    w->phase = WORKER_RUNNING;
    limit(w, actions);
    look_after_states(w, now_ns, actions);
    if (begins)
        beat(w, now_ns, actions);
}

static void on_order(Worker *w, const Order *o, int64_t now_ns, WorkerActions *actions)
{
    if (o->epoch < w->epoch.number)
        return;
    on_committed(w, o->committed);
    if (o->epoch > w->epoch.number || o->what == ORDER_STOP) {
        bool news = w->phase != WORKER_STOPPED;
        stop(w, actions);
        if (o->what == ORDER_STOP && o->epoch > w->epoch.number) {
            w->epoch = (Epoch){.number = o->epoch}; // it needs no START any more
            news = true;
        }
        if (news)
            beat(w, now_ns, actions);
        return;
    }
    forget(w, UINT64_MAX, is_passed, w->epoch.step);
    if (o->saved > w->everywhere)
        w->everywhere = o->saved;
    w->last = o->last;
    w->ends = o->ends;
    if (o->what == ORDER_GO && (w->phase == WORKER_READY || w->phase == WORKER_RUNNING))
        go(w, now_ns, actions);
}

static void on_heard(Worker *w, const Message *m, int64_t now_ns, WorkerActions *actions)
{
    if (m->id == MESSAGE_REFUSED)
        leave(w, actions);
    if (m->id == MESSAGE_WELCOME)
        on_welcome(w, &m->welcome, now_ns, actions);
    if (!w->welcomed)
        return;
    w->heard_ns = now_ns;
    if (m->id == MESSAGE_START)
        on_start(w, &m->start, now_ns, actions);
    if (m->id == MESSAGE_ORDER)
        on_order(w, &m->order, now_ns, actions);
    if (m->id == MESSAGE_LEAVE)
        leave(w, actions);
}

static void on_clock(Worker *w, int64_t now_ns, WorkerActions *actions)
{
    if (w->config.orphan_ns && now_ns - w->heard_ns >= w->config.orphan_ns) {
        leave(w, actions);
        return;
    }
    look_after_states(w, now_ns, actions);
    if (!w->connected || now_ns - w->told_ns < w->beat_ns)
        return;
    if (w->welcomed)
        beat(w, now_ns, actions);
    else
        hello(w, now_ns, actions);
}

// ------------------------------------------------------------------------------------------------

void worker_init(Worker *w, const WorkerConfig *config, int64_t now_ns)
{
    *w = (Worker){.config = *config, .heard_ns = now_ns, .beat_ns = INT64_C(1000000000)};
}

void worker_take(Worker *w, const WorkerEvent *event, int64_t now_ns, WorkerActions *actions)
{
    actions->n = 0;
    if (w->left)
        return;
    switch (event->kind) {
    case WORKER_CLOCK: on_clock(w, now_ns, actions); return;
    case WORKER_CONNECTED:
        w->connected = true;
        w->welcomed = false;
        hello(w, now_ns, actions);
        return;
    case WORKER_CUT: w->connected = w->welcomed = false; return;
    case WORKER_HEARD: on_heard(w, event->message, now_ns, actions); return;
    case WORKER_PREPARED: on_prepared(w, event, now_ns, actions); return;
    case WORKER_SAVED: on_saved(w, event, now_ns, actions); return;
    case WORKER_KEPT: on_kept(w, event, now_ns, actions); return;
    case WORKER_ENDED: on_ended(w, event, now_ns, actions); return;
    case WORKER_ARRIVED: on_arrived(w, event, now_ns, actions); return;
    }
}
