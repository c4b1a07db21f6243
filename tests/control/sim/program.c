// Programs of stages: forward when the stage before has, backward when the one behind has, then the update, which
// waits for its limit. Those of one epoch talk to each other and drop what others say.
#include "tests/control/sim/world.h"

enum { PEER = 4 }; // exit status

static Program *program_of(World *w, int host, uint32_t rank)
{
    return &w->processes[host].programs[rank];
}

static int host_of(const World *w, const Epoch *e, uint32_t rank)
{
    return w->master.members[e->ranks[rank].worker].key.bytes[0] - 1;
}

// Ends
// -----------------------------------------------------------------------------------------

static void ends(World *w, const Event *e)
{
    Program *p = program_of(w, e->process, e->rank);
    if (!p->there || p->number != e->connection)
        return;
    p->there = false;
    story(w, "w%d: program of rank %u ends", e->process, e->rank);
    tell_worker(w, e->process,
                &(WorkerEvent){
                    .kind = WORKER_ENDED, .epoch = p->epoch, .rank = e->rank, .status = PEER});
}

void end_program(World *w, int host, uint32_t rank, int64_t in_ns, const char *why)
{
    Program *p = program_of(w, host, rank);
    if (!p->there)
        return;
    story(w, "w%d: program of rank %u: %s", host, rank, why);
    Event *e = happen_in(w, in_ns, ends, host);
    e->rank = rank;
    e->connection = p->number;
}

void drop_programs(World *w, int host)
{
    for (uint32_t r = 0; r < MOST_RANKS; r++)
        program_of(w, host, r)->there = false;
}

bool find_program(World *w, int *host, uint32_t *rank)
{
    int first = (int)between(w, 0, w->n_hosts - 1);
    for (int i = 0; i < w->n_hosts; i++)
        for (uint32_t r = 0; r < PARTS; r++) {
            *host = (first + i) % w->n_hosts;
            *rank = r;
            if (w->processes[*host].alive && program_of(w, *host, r)->there)
                return true;
        }
    return false;
}

// A step
// ------------------------------------------------------------------------------------------

static void message_lost(World *w, const Event *e)
{
    const Program *p = program_of(w, e->from, (uint32_t)e->part);
    if (w->processes[e->from].alive && p->there && p->epoch == e->epoch)
        end_program(w, e->from, e->part, between(w, 5 * MS, SECOND), "a peer is lost");
}

static void message_arrives(World *w, const Event *e)
{
    Program *p = program_of(w, e->process, e->rank);
    if (!p->there || p->epoch != e->epoch)
        return; // of another epoch
    if (!p->listens) {
        message_lost(w, e);
        return;
    }
    oracle_accepts(w, e, p);
    if (e->part < e->rank) {
        p->forward_in = e->step;
        p->forward_of = e->value;
    } else {
        p->backward_in = e->step;
        p->backward_of = e->value;
    }
    wake_program(w, e->process, e->rank);
}

static void send(World *w, int host, uint32_t rank, uint32_t to)
{
    const Program *p = program_of(w, host, rank);
    Event e = {.happen = message_arrives,
               .lost = message_lost,
               .process = host_of(w, &w->processes[host].core.epoch, to),
               .epoch = p->epoch,
               .rank = to,
               .part = rank, // from
               .step = p->step + 1,
               .value = p->value};
    send_data(w, &e, host);
}

static void computed(World *w, const Event *e)
{
    Program *p = program_of(w, e->process, e->rank);
    uint32_t n = w->processes[e->process].core.epoch.n_ranks;
    if (!p->there || p->number != e->connection)
        return;
    if (p->stage == IN_FORWARD && e->rank + 1 < n)
        send(w, e->process, e->rank, e->rank + 1);
    if (p->stage == IN_BACKWARD && e->rank > 0)
        send(w, e->process, e->rank, e->rank - 1);
    p->stage++;
    wake_program(w, e->process, e->rank);
}

static void compute(World *w, int host, uint32_t rank, Stage stage)
{
    Program *p = program_of(w, host, rank);
    int64_t ns = between(w, 3 * MS, 6 * MS);
    if (w->processes[host].slow_until > w->now)
        ns *= between(w, 3, 30);
    p->stage = stage;
    Event *e = happen_in(w, ns, computed, host);
    e->rank = rank;
    e->connection = p->number;
}

static void same_value(World *w, uint64_t theirs, const Program *p, const char *what)
{
    if (theirs != p->value)
        violated(w, "%s of step %d: its sender is behind another state than its receiver", what,
                 (int)p->step + 1);
}

static void update(World *w, int host, uint32_t rank)
{
    Program *p = program_of(w, host, rank);
    uint64_t parts = w->processes[host].core.epoch.ranks[rank].runs;
    uint64_t before = p->value;
    p->step++;
    p->value = value_of(before, p->step, p->epoch);
    p->stage = AT_BEGIN;
    oracle_ran(w, p->step, p->epoch, p->value, before);
    for (uint32_t part = 0; part < PARTS; part++)
        if (parts >> part & 1)
            write_image(w, host, part,
                        &(State){true, p->step, p->epoch, part_value(p->value, part)});
    tell_worker(
        w, host,
        &(WorkerEvent){.kind = WORKER_SAVED, .epoch = p->epoch, .rank = rank, .step = p->step});
}

// Who begins the last step saves behind it what stays of the job: all do, or nobody. What programs of an epoch that is over
// believe is nobody's concern: nothing comes of what they do.
static void knows_the_end(World *w, const Program *p, uint64_t next)
{
    if (p->epoch == w->epochs &&
        (next > w->last_step || (w->cut && (p->last == next) != (w->last_step == next))))
        violated(w,
                 "step %d is begun, training ends behind step %d, and a program believes %lld",
                 (int)next, (int)w->last_step, (long long)p->last);
}

static void woken(World *w, const Event *e)
{
    Program *p = program_of(w, e->process, e->rank);
    uint32_t n = w->processes[e->process].core.epoch.n_ranks;
    if (!p->there || !p->runs || p->number != e->connection)
        return;
    if (p->stands_until > w->now) {
        Event *later = happen_in(w, p->stands_until - w->now, woken, e->process);
        later->rank = e->rank;
        later->connection = p->number;
        return;
    }
    uint64_t next = p->step + 1;
    if (p->stage == AT_BEGIN && next <= p->begin && (!e->rank || p->forward_in == next)) {
        if (e->rank)
            same_value(w, p->forward_of, p, "forward");
        knows_the_end(w, p, next);
        compute(w, e->process, e->rank, IN_FORWARD);
    } else if (p->stage == AFTER_FORWARD && (e->rank + 1 == n || p->backward_in == next)) {
        if (e->rank + 1 < n)
            same_value(w, p->backward_of, p, "backward");
        compute(w, e->process, e->rank, IN_BACKWARD);
    } else if (p->stage == AT_UPDATE && next <= p->update) {
        update(w, e->process, e->rank);
        wake_program(w, e->process, e->rank);
    }
}

void wake_program(World *w, int host, uint32_t rank)
{
    Event *e = happen_in(w, 0, woken, host);
    e->rank = rank;
    e->connection = program_of(w, host, rank)->number;
}

void limit_programs(World *w, int host, const WorkerAction *limit)
{
    for (uint32_t r = 0; r < PARTS; r++) {
        Program *p = program_of(w, host, r);
        if (!p->there)
            continue;
        p->runs = true;
        p->begin = limit->begin;
        p->update = limit->update;
        p->last = limit->last;
        wake_program(w, host, r);
    }
}

// Preparing: parts of its state from who has them, then the program itself
// ------------------------------------------------------------------------------

static void prepared(World *w, const Event *e)
{
    Program *p = program_of(w, e->process, e->rank);
    if (!p->there || p->number != e->connection || p->runs)
        return;
    const Epoch *epoch = &w->processes[e->process].core.epoch;
    bool failed = p->wanted != 0;
    p->there = p->listens = !failed;
    tell_worker(w, e->process,
                &(WorkerEvent){.kind = WORKER_PREPARED,
                               .epoch = epoch->number,
                               .rank = e->rank,
                               .failed = failed});
}

static void prepared_in(World *w, int host, uint32_t rank, int64_t ns)
{
    Event *e = happen_in(w, ns, prepared, host);
    e->rank = rank;
    e->connection = program_of(w, host, rank)->number;
}

static void got_part(World *w, int host, uint32_t rank, uint32_t part, uint64_t value)
{
    Program *p = program_of(w, host, rank);
    const Epoch *e = &w->processes[host].core.epoch;
    if (value != part_value(p->value, part))
        violated(w, "w%d gets another state of part %u than that behind step %d", host, part,
                 (int)e->step);
    begin_image(w, host, part, &(State){true, e->step, e->made, value});
    p->wanted &= ~(UINT64_C(1) << part);
    if (!p->wanted)
        prepared_in(w, host, rank, between(w, 5 * MS, 200 * MS));
}

static void part_arrives(World *w, const Event *e)
{
    Program *p = program_of(w, e->process, e->rank);
    if (p->there && p->number == e->connection && p->wanted >> e->part & 1)
        got_part(w, e->process, e->rank, e->part, e->value);
}

static void part_is_wanted(World *w, const Event *e)
{
    const State *s = find_state(&w->processes[e->process], e->part, e->step, e->made);
    if (!s)
        return; // who wants it will hear nothing
    Event answer = *e;
    answer.happen = part_arrives;
    answer.process = e->from;
    answer.value = s->value;
    send_data(w, &answer, e->process);
}

static void want_part(World *w, int host, uint32_t rank, uint32_t part)
{
    Process *process = &w->processes[host];
    const Epoch *e = &process->core.epoch;
    const State *s = find_state(process, part, e->step, e->made);
    if (s) {
        got_part(w, host, rank, part, s->value);
        return;
    }
    if (e->source[part] == NOBODY) {
        got_part(w, host, rank, part, part_value(value_of(0, 0, 0), part));
        return;
    }
    Event ask = {.happen = part_is_wanted,
                 .process = w->master.members[e->source[part]].key.bytes[0] - 1,
                 .rank = rank,
                 .part = part,
                 .connection = process->programs[rank].number,
                 .step = e->step,
                 .made = e->made};
    send_data(w, &ask, host);
}

void prepare_program(World *w, int host, uint32_t rank)
{
    Process *process = &w->processes[host];
    const Epoch *e = &process->core.epoch;
    Program *p = &process->programs[rank];
    const Label *label = label_of(w, e->step, e->made);
    *p = (Program){.there = true,
                   .number = p->number + 1,
                   .epoch = e->number,
                   .step = e->step,
                   .value = label ? label->value : 0,
                   .wanted = e->ranks[rank].runs};
    if (!label)
        violated(w, "epoch %d begins with a state that nobody has run", (int)e->number);
    for (uint32_t part = 0; part < PARTS; part++)
        if (e->ranks[rank].runs >> part & 1)
            want_part(w, host, rank, part);
    if (!w->healed_at && chance(w, 10))
        end_program(w, host, rank, between(w, 0, 100 * MS), "does not start");
    if (!w->healed_at && chance(w, 10))
        p->number++; // neither now nor later: what comes is for the one before
    else
        prepared_in(w, host, rank, 2 * SECOND); // at the latest: it is told what is missing
}
