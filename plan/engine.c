#include "plan/engine.h"

#include "plan/walk.h"

#include "base/vec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Heaps
// -----------------------------------------------------------------------------------------------

static bool before(const HeapItem *a, const HeapItem *b)
{
    return a->key < b->key || (a->key == b->key && a->worker < b->worker);
}

static void heap_push(Heap *h, double key, int worker)
{
    int at = h->n++;
    HeapItem item = {key, worker};
    for (int up; at > 0 && before(&item, &h->items[up = (at - 1) / 2]); at = up)
        h->items[at] = h->items[up];
    h->items[at] = item;
}

static HeapItem heap_pop(Heap *h)
{
    HeapItem top = h->items[0], last = h->items[--h->n];
    int at = 0;
    for (int down; (down = 2 * at + 1) < h->n; at = down) {
        down += down + 1 < h->n && before(&h->items[down + 1], &h->items[down]);
        if (!before(&h->items[down], &last))
            break;
        h->items[at] = h->items[down];
    }
    h->items[at] = last;
    return top;
}

// Waiting
// ---------------------------------------------------------------------------------------------

static void count_wait(Engine *e, Worker *w)
{
    double seconds = e->now_s - w->since_s;
    int i = 0;
    w->since_s = e->now_s;
    if (seconds <= 0)
        return;
    while (i < w->n_waits && w->waits[i].on != w->on)
        i++;
    if (i == w->cap_waits)
        w->waits = vec_grown(e->arena, w->waits, &w->cap_waits, sizeof *w->waits);
    if (i == w->n_waits)
        w->waits[w->n_waits++] = (WaitSum){w->on, 0};
    w->waits[i].seconds += seconds;
}

void engine_wait(Engine *e, Worker *w, int64_t want, int on_stage)
{
    if (!w->waiting)
        w->since_s = e->now_s;
    else if (w->on != on_stage)
        count_wait(e, w);
    w->waiting = true;
    w->want = want;
    w->on = on_stage;
}

void engine_wake(Engine *e, Worker *w)
{
    if (w->woken || w->running)
        return;
    w->woken = true;
    e->ready[(e->ready_head + e->n_ready++) % e->n_workers] = w->index;
}

void engine_wake_at(Engine *e, Worker *w, double when_s)
{
    if (!w->asleep)
        heap_push(&e->sleeping, when_s, w->index);
    w->asleep = true;
}

// Running
// ---------------------------------------------------------------------------------------------

// By what caches and memory slow down programs that run on one host at once: linear in how many there are beside
// one, between the two numbers of programs that were measured.
static double slowdown(const Plan *p, double programs)
{
    double most = p->beside_programs;
    if (most <= 1 || programs <= 1)
        return 1;
    return 1 + (p->beside_slowdown - 1) * (fmin(programs, most) - 1) / (most - 1);
}

// Seconds of work, as one program alone does it, that a thread does in a second.
static double rate(const Engine *e)
{
    double threads = (double)e->plan->options.threads, wanted = e->running.n * threads;
    double cores = e->options.cores;
    if (cores <= 0)
        return 1;
    return fmin(1, cores / wanted) / slowdown(e->plan, fmin(wanted, cores) / threads);
}

static void add_event(Engine *e, const Worker *w, const rt_instr *i)
{
    if (e->events.n == e->events.cap) {
        int64_t cap = e->events.cap ? 2 * e->events.cap : 1024;
        SimEvent *grown = arena_array(e->arena, SimEvent, cap);
        if (e->events.n)
            memcpy(grown, e->events.items, (size_t)e->events.n * sizeof *grown);
        e->events.items = grown;
        e->events.cap = cap;
    }
    e->events.items[e->events.n++] =
        (SimEvent){w->begin_s, e->now_s, (uint32_t)(w->at / w->n), i->mb, w->index, i->opcode};
}

// What comes before the end of the first step does not count where there are more.
static void finish_step(Engine *e, Worker *w)
{
    if (w->at != w->n || w->end == w->n)
        return;
    w->warm_s = w->last_s;
    w->counted_s = e->now_s;
    w->busy_s = w->shared_s = 0;
    w->n_waits = 0;
}

static void finish(Engine *e, Worker *w, const rt_instr *i)
{
    double busy = e->now_s - w->begin_s;
    if (w->work_s > 0) {
        w->busy_s += busy;
        w->shared_s += e->options.cores && busy > w->work_s ? busy - w->work_s : 0;
        if (w->last_s == 0)
            w->first_s = w->begin_s;
        w->last_s = e->now_s;
        if (e->options.events)
            add_event(e, w, i);
    }
    w->in_flight += i->opcode == RT_FORWARD;
    w->most_in_flight = w->in_flight > w->most_in_flight ? w->in_flight : w->most_in_flight;
    w->in_flight -= i->opcode == e->last_pass;
    e->end(e, w, i);
    w->at++;
    finish_step(e, w);
}

static const rt_instr *next_of(const Worker *w)
{
    return &w->instr[w->at % w->n];
}

// As far as it goes without time passing.
static void advance(Engine *e, Worker *w)
{
    while (w->at < w->end) {
        const rt_instr *i = next_of(w);
        if (!e->begin(e, w, i))
            return;
        if (w->waiting)
            count_wait(e, w);
        w->waiting = false;
        w->begin_s = e->now_s;
        w->work_s = e->work(e, w, i);
        if (w->work_s > 0) {
            heap_push(&e->running, e->virtual_s + w->work_s, w->index);
            w->running = true;
            return;
        }
        finish(e, w, i);
    }
}

static void drain_ready(Engine *e)
{
    while (e->n_ready) {
        Worker *w = &e->workers[e->ready[e->ready_head]];
        e->ready_head = (e->ready_head + 1) % e->n_workers;
        e->n_ready--;
        w->woken = false;
        advance(e, w);
    }
}

// The next thing that happens: an instruction ends or a sleeper wakes. false: nothing will.
static bool next_event(Engine *e)
{
    bool shared = e->options.cores > 0;
    double pace = rate(e), end_s = INFINITY;
    if (e->running.n)
        end_s = shared ? e->now_s + (e->running.items[0].key - e->virtual_s) / pace
                       : e->running.items[0].key;
    if (e->sleeping.n && e->sleeping.items[0].key < end_s) {
        HeapItem sleeper = heap_pop(&e->sleeping);
        e->workers[sleeper.worker].asleep = false;
        double when = sleeper.key > e->now_s ? sleeper.key : e->now_s;
        e->virtual_s = shared ? e->virtual_s + (when - e->now_s) * pace : when;
        e->now_s = when;
        engine_wake(e, &e->workers[sleeper.worker]);
        return true;
    }
    if (!e->running.n)
        return false;
    HeapItem done = heap_pop(&e->running);
    e->virtual_s = done.key;
    e->now_s = end_s;
    Worker *w = &e->workers[done.worker];
    w->running = false;
    finish(e, w, next_of(w));
    engine_wake(e, w);
    return true;
}

static bool all_done(const Engine *e, char *why, int why_size)
{
    for (int i = 0; i < e->n_workers; i++) {
        const Worker *w = &e->workers[i];
        if (w->at == w->end)
            continue;
        const rt_instr *instr = next_of(w);
        char text[128];
        snprintf(why, (size_t)why_size,
                 "deadlock: stage %d, replica %d, step %lld, waits for stage %d with %s",
                 w->stage, w->replica, (long long)w->at / w->n + 1, w->on,
                 instr_text(e->plan, instr, text, sizeof text));
        return false;
    }
    return true;
}

bool engine_run(Engine *e, char *why, int why_size)
{
    e->running.items = arena_array(e->arena, HeapItem, e->n_workers);
    e->sleeping.items = arena_array(e->arena, HeapItem, e->n_workers);
    e->ready = arena_array(e->arena, int, e->n_workers);
    for (int i = 0; i < e->n_workers; i++)
        engine_wake(e, &e->workers[i]);
    do
        drain_ready(e);
    while (next_event(e));
    return all_done(e, why, why_size);
}
