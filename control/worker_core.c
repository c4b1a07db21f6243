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

// Keep no state of these parts that `old` says is one.
static void forget(Worker *w, uint64_t parts, bool (*old)(const Held *h, const Held *than),
                   const Held *than)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_held; i++) {
        Held h = w->held[i];
        if (old(&h, than))
            h.parts &= ~parts;
        if (h.parts)
            w->held[n++] = h;
    }
    memset(&w->held[n], 0, (w->n_held - n) * sizeof *w->held);
    w->n_held = n;
}

static bool is_before(const Held *h, const Held *than)
{
    return h->step < than->step;
}

// What an epoch that begins there has no use for: nobody goes back to it.
static bool is_stray(const Held *h, const Held *begin)
{
    return h->step > begin->step || (h->step == begin->step && h->made != begin->made);
}

// Who has these parts behind step n was allowed to update them to n, so n - 1 is committed: two states of a part are kept.
static void keep(Worker *w, const Held *state)
{
    Held committed = {state->step ? state->step - 1 : 0, 0, 0};
    forget(w, state->parts, is_before, &committed);
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
    forget(w, UINT64_MAX, is_before, &(Held){step, 0, 0});
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

static void limit(const Worker *w, WorkerActions *actions)
{
    WorkerAction *a = act(actions, WORKER_LIMIT);
    a->begin = w->committed + 2 < w->last ? w->committed + 2 : w->last;
    a->update = w->committed + 1;
    a->last = w->ends ? w->last : UINT64_MAX;
}

static void copy(Worker *w, uint32_t rank, int64_t now_ns, WorkerActions *actions)
{
    const EpochRank *r = &w->epoch.ranks[rank];
    if (r->copier == NOBODY || epoch_runs(&w->epoch, r->copier, r->owns))
        return;
    WorkerAction *a = act(actions, WORKER_COPY);
    a->rank = rank;
    a->step = w->saved[rank];
    a->made = w->saved_made[rank];
    w->copied_ns[rank] = now_ns;
}

// A copy may have been lost, or come to a worker that did not know the epoch yet.
static void copy_again(Worker *w, int64_t now_ns, WorkerActions *actions)
{
    for (uint32_t r = 0; r < w->epoch.n_ranks && w->phase == WORKER_RUNNING; r++)
        if (is_mine(w, r) && w->saved[r] > w->committed &&
            now_ns - w->copied_ns[r] >= w->config.retry_ns)
            copy(w, r, now_ns, actions);
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
        keep(w, &(Held){w->epoch.step, w->epoch.made, w->epoch.ranks[event->rank].runs});
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
    keep(w, &(Held){event->step, event->epoch, w->epoch.ranks[event->rank].runs});
    w->saved[event->rank] = event->step;
    w->saved_made[event->rank] = event->epoch;
    copy(w, event->rank, now_ns, actions);
    beat(w, now_ns, actions);
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
    keep(w, &(Held){event->step, event->made, w->epoch.ranks[event->rank].owns});
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
    w->last = 0;
    forget(w, UINT64_MAX, is_stray, &(Held){e->step, e->made, 0});
    w->phase = WORKER_PREPARING;
    for (uint32_t r = 0; r < e->n_ranks; r++)
        if (is_mine(w, r)) {
            w->saved[r] = e->step;
            w->saved_made[r] = e->made;
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
    for (uint32_t r = 0; r < w->epoch.n_ranks && begins; r++)
        if (is_mine(w, r))
            copy(w, r, now_ns, actions); // of what it begins with: its copier is another one
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
    copy_again(w, now_ns, actions);
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
    case WORKER_ENDED: on_ended(w, event, now_ns, actions); return;
    case WORKER_ARRIVED: on_arrived(w, event, now_ns, actions); return;
    }
}
