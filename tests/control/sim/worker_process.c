// The shell of a worker's core: the memory of the states, copies to neighbours, and what the core wants done.
#include "tests/control/sim/world.h"

#include <string.h>

// Memory: a program works in two states of each part; what else is held lies in blocks
// ---------------------------------------------------------------------------------------

static State *find_among(State *states, int n, uint64_t step, uint64_t made)
{
    for (int i = 0; i < n; i++)
        if (states[i].there && states[i].step == step && states[i].made == made)
            return &states[i];
    return NULL;
}

const State *find_state(const Process *p, uint32_t part, uint64_t step, uint64_t made)
{
    Process *any = (Process *)p;
    const State *s = find_among(any->blocks[part], BLOCKS, step, made);
    return s ? s : find_among(any->images[part], 2, step, made);
}

// Over what the core does not hold.
static void write_block(World *w, int host, uint32_t part, const State *state)
{
    Process *p = &w->processes[host];
    State *all = p->blocks[part], *to = find_among(all, BLOCKS, state->step, state->made);
    for (int i = 0; i < BLOCKS && !to; i++)
        if (!all[i].there || !worker_holds(&p->core, all[i].step, all[i].made, part))
            to = &all[i];
    if (!to) {
        violated(w, "w%d holds more than %d states of part %u", host, BLOCKS, part);
        return;
    }
    *to = *state;
    to->there = true;
    oracle_saved(w, host, part, state);
}

void write_image(World *w, int host, uint32_t part, const State *state)
{
    w->processes[host].images[part][state->step % 2] = *state;
    oracle_saved(w, host, part, state);
}

// Another image, where the one that is there has something else that is held.
void begin_image(World *w, int host, uint32_t part, const State *state)
{
    Process *p = &w->processes[host];
    for (int i = 0; i < 2; i++) {
        State *s = &p->images[part][i];
        bool same = s->step == state->step && s->made == state->made;
        if (s->there && !same && worker_holds(&p->core, s->step, s->made, part))
            write_block(w, host, part, s);
        s->there = false;
    }
    write_image(w, host, part, state);
}

static void kept(World *w, const Event *e)
{
    Process *p = &w->processes[e->process];
    const Worker *core = &p->core;
    if (e->epoch != core->epoch.number || core->phase != WORKER_RUNNING ||
        core->kept[e->rank] > e->step)
        return; // it is over, or there already
    for (uint32_t part = 0; part < PARTS; part++) {
        const State *s = find_state(p, part, e->step, e->made);
        if (!(core->epoch.ranks[e->rank].runs >> part & 1))
            continue;
        if (s)
            write_block(w, e->process, part, s);
        else
            violated(w, "w%d: the program of rank %u has written over step %d", e->process,
                     e->rank, (int)e->step);
    }
    tell_worker(w, e->process,
                &(WorkerEvent){
                    .kind = WORKER_KEPT, .epoch = e->epoch, .rank = e->rank, .step = e->step});
}

static void keep(World *w, int host, const WorkerAction *a)
{
    bool slow = w->processes[host].slow_until > w->now;
    Event *e = happen_in(w, between(w, MS, slow ? 400 * MS : 20 * MS), kept, host);
    e->epoch = w->processes[host].core.epoch.number;
    e->rank = a->rank;
    e->step = a->step;
    e->made = a->made;
}

// Copies
// ---------------------------------------------------------------------------------------

static void copy_arrives(World *w, const Event *e)
{
    Process *p = &w->processes[e->process];
    if (!worker_takes_copy(&p->core, e->epoch, e->rank))
        return;
    for (uint32_t part = 0; part < PARTS; part++)
        if (p->core.epoch.ranks[e->rank].owns >> part & 1)
            write_block(w, e->process, part, &(State){true, e->step, e->made, e->values[part]});
    tell_worker(w, e->process,
                &(WorkerEvent){.kind = WORKER_ARRIVED,
                               .epoch = e->epoch,
                               .rank = e->rank,
                               .step = e->step,
                               .made = e->made});
}

static void copy(World *w, int host, const WorkerAction *a)
{
    Process *p = &w->processes[host];
    const EpochRank *r = &p->core.epoch.ranks[a->rank];
    Event e = {.happen = copy_arrives,
               .process = (int)w->master.members[r->copier].key.bytes[0] - 1,
               .epoch = p->core.epoch.number,
               .rank = a->rank,
               .step = a->step,
               .made = a->made};
    for (uint32_t part = 0; part < PARTS; part++) {
        const State *s = find_state(p, part, a->step, a->made);
        if (!(r->owns >> part & 1))
            continue;
        if (s)
            e.values[part] = s->value;
        else
            violated(w, "w%d shall copy a state that it has not: part %u, step %d", host, part,
                     (int)a->step);
    }
    send_data(w, &e, host);
}

// The core
// ---------------------------------------------------------------------------------------

static void says(World *w, int host, const WorkerAction *a)
{
    Message m = {.id = a->id};
    if (a->id == MESSAGE_HELLO)
        m.hello = a->hello;
    if (a->id == MESSAGE_BEAT)
        m.beat = a->beat;
    if (a->id == MESSAGE_ENDED)
        m.ended = a->ended;
    if (a->id == MESSAGE_CANNOT)
        m.cannot = a->cannot;
    send_to_master(w, host, &m);
}

static void leaves(World *w, int host)
{
    story(w, "w%d leaves", host);
    kill_worker(w, host);
}

void tell_worker(World *w, int host, const WorkerEvent *event)
{
    Process *p = &w->processes[host];
    WorkerActions actions;
    worker_take(&p->core, event, w->now, &actions);
    for (int i = 0; i < actions.n && p->alive; i++) {
        const WorkerAction *a = &actions.list[i];
        switch (a->kind) {
        case WORKER_SEND: says(w, host, a); break;
        case WORKER_PREPARE: prepare_program(w, host, a->rank); break;
        case WORKER_LIMIT: limit_programs(w, host, a); break;
        case WORKER_KEEP: keep(w, host, a); break;
        case WORKER_COPY: copy(w, host, a); break;
        case WORKER_END: drop_programs(w, host); break;
        case WORKER_LEAVE: leaves(w, host); break;
        }
        if (p->dies_in && (w->lossy || survivable(w, host)) && !--p->dies_in)
            kill_worker(w, host); // in the middle of what it does
    }
}

static void clock_of_worker(World *w, const Event *e)
{
    happen_in(w, 90 * MS, clock_of_worker, e->process);
    tell_worker(w, e->process, &(WorkerEvent){.kind = WORKER_CLOCK});
}

void start_worker(World *w, int host)
{
    Process *p = &w->processes[host];
    uint32_t life = p->life + 1;
    if (p->alive)
        return;
    memset(p, 0, sizeof *p);
    p->alive = true;
    p->life = life;
    WorkerConfig config = {.has = {.incarnation = life,
                                   .memory_bytes = 1 << 30,
                                   .slots = w->slots,
                                   .speed_milli = 1000,
                                   .isa = "any"},
                           .retry_ns = 500 * MS,
                           .orphan_ns = w->lossy ? 5 * SECOND : 120 * SECOND};
    worker_init(&p->core, &config, w->now);
    story(w, "w%d starts, incarnation %u", host, life);
    happen_in(w, 0, clock_of_worker, host);
    connect_soon(w, host);
}

void kill_worker(World *w, int host)
{
    Process *p = &w->processes[host];
    story(w, "w%d ends", host);
    // The kernel tells the master, or the host is gone and nobody does.
    cut_link(w, host, chance(w, 500) ? 20 * MS : 20 * SECOND);
    p->alive = false;
    p->connection = 0;
}
