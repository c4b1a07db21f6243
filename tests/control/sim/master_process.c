// The shell of the master's core, and its journal: appended, on the disk a while later, torn when it dies between.
#include "tests/control/sim/world.h"

static void synced(World *w, const Event *e)
{
    w->n_synced = w->n_journal;
    oracle_durable(w, &w->journal[w->n_synced - 1]);
    tell_master(w, &(MasterEvent){.kind = MASTER_JOURNALED, .record = e->value});
}

static void append(World *w, uint64_t number)
{
    if (w->n_journal == MOST_RECORDS) {
        violated(w, "the journal has %d records", w->n_journal);
        return;
    }
    w->journal[w->n_journal++] = w->master.pending;
    oracle_appended(w, &w->master.pending);
    bool slow = w->slow_disk_until > w->now;
    int64_t ns = slow ? between(w, 50 * MS, SECOND) : between(w, MS / 2, 8 * MS);
    happen_in(w, ns, synced, MASTER)->value = number;
}

static void say(World *w, const MasterAction *a)
{
    Message m = {.id = a->id};
    if (a->id == MESSAGE_WELCOME)
        m.welcome = a->welcome;
    if (a->id == MESSAGE_REFUSED)
        m.refused = a->refused;
    if (a->id == MESSAGE_ORDER)
        m.order = a->order;
    if (a->id == MESSAGE_LEAVE)
        m.leave = a->leave;
    if (a->id == MESSAGE_START)
        m.start = w->master.epoch;
    send_to_worker(w, a->key.bytes[0] - 1, &m);
}

void tell_master(World *w, const MasterEvent *event)
{
    static const char *const phases[] = {"waiting", "starting", "running", "done"};
    MasterActions actions;
    MasterPhase before = w->master.phase;
    uint64_t hold = w->master.hold;
    master_take(&w->master, event, w->now, &actions);
    if (w->master.phase != before)
        story(w, "master: %s, epoch %d, committed %d", phases[w->master.phase],
              (int)w->master.epoch.number, (int)w->master.committed);
    if (before == MASTER_RUNNING && w->master.phase == MASTER_WAITING && hold)
        oracle_changes(w);
    if (w->master.hold && w->master.hold != hold)
        story(w, "master: holds behind step %d", (int)w->master.hold);
    for (int i = 0; i < actions.n && w->processes[MASTER].alive; i++) {
        switch (actions.list[i].kind) {
        case MASTER_SEND: say(w, &actions.list[i]); break;
        case MASTER_APPEND: append(w, actions.list[i].record); break;
        case MASTER_END: w->ended = true; break;
        }
        if (w->processes[MASTER].dies_in && !--w->processes[MASTER].dies_in)
            kill_master(w); // in the middle of what it does
    }
}

static void clock_of_master(World *w, const Event *e)
{
    (void)e;
    happen_in(w, 90 * MS, clock_of_master, MASTER);
    tell_master(w, &(MasterEvent){.kind = MASTER_CLOCK});
}

static void restarts(World *w, const Event *e)
{
    (void)e;
    start_master(w);
}

// As it was started by hand: mostly as before.
static uint32_t copy_every(World *w)
{
    static const uint32_t every[] = {1, 1, 2, 5};
    if (!w->copy_every || chance(w, 50))
        w->copy_every = every[between(w, 0, 3)];
    return w->copy_every;
}

void start_master(World *w)
{
    Process *p = &w->processes[MASTER];
    if (p->alive)
        return;
    MasterConfig config = {.job = 7,
                           .parts = (UINT64_C(1) << PARTS) - 1,
                           .last_step = w->last_step,
                           .min_workers = w->min_workers,
                           .copy_every = copy_every(w),
                           .beat_ns = 200 * MS,
                           .silence_ns = SECOND,
                           .grace_ns = 250 * MS,
                           .start_ns = 4 * SECOND,
                           .planner = sim_planner,
                           .user = w};
    p->alive = true;
    p->life++;
    p->stands_until = 0;
    p->dies_in = 0;
    story(w, "master starts, %d records, every %u. state is copied", w->n_journal,
          config.copy_every);
    master_init(&w->master, &config);
    for (int i = 0; i < w->n_journal; i++) {
        if (!master_replay(&w->master, &w->journal[i]))
            violated(w, "the master cannot read its journal, record %d", i);
        if (i >= w->n_synced)
            oracle_durable(w, &w->journal[i]);
    }
    w->n_synced = w->n_journal;
    master_begin(&w->master, w->now);
    happen_in(w, 0, clock_of_master, MASTER);
}

void kill_master(World *w)
{
    Process *p = &w->processes[MASTER];
    p->alive = false;
    w->n_journal = (int)between(w, w->n_synced, w->n_journal); // the rest is torn
    story(w, "master is killed");
    for (int i = 0; i < w->n_hosts; i++) {
        cut_link(w, i, chance(w, 500) ? 50 * MS : 2 * SECOND);
        w->links[i].masters = 0;
    }
    happen_in(w, between(w, 50 * MS, 4 * SECOND), restarts, -1);
}
