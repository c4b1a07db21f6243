// What goes wrong, and the planner. After the last fault everything is healed, and then training has to end in time.
#include "tests/control/sim/world.h"

static int any_worker(World *w, bool alive)
{
    int first = (int)between(w, 0, w->n_hosts - 1);
    for (int i = 0; i < w->n_hosts; i++)
        if (w->processes[(first + i) % w->n_hosts].alive == alive)
            return (first + i) % w->n_hosts;
    return -1;
}

// Each says whether there was something to break.
// ----------------------------------------------------------------------------

static bool worker_dies(World *w)
{
    int host = any_worker(w, true);
    if (host < 0 || (!w->lossy && !survivable(w, host)))
        return false;
    kill_worker(w, host);
    return true;
}

static void worker_comes(World *w, const Event *e)
{
    start_worker(w, (int)e->part);
}

static bool worker_dies_and_comes_back(World *w)
{
    int host = any_worker(w, true);
    if (host < 0 || (!w->lossy && !survivable(w, host)))
        return false;
    kill_worker(w, host);
    happen_in(w, between(w, 20 * MS, 3 * SECOND), worker_comes, -1)->part = (uint32_t)host;
    return true;
}

static bool worker_joins(World *w)
{
    int host = any_worker(w, false);
    if (host >= 0)
        start_worker(w, host);
    return host >= 0;
}

static bool master_dies(World *w)
{
    if (!w->processes[MASTER].alive)
        return false;
    kill_master(w);
    return true;
}

static bool dies_soon(World *w, int process)
{
    Process *p = &w->processes[process];
    if (!p->alive || p->dies_in)
        return false;
    p->dies_in = (int)between(w, 1, 12);
    return true;
}

static bool master_dies_soon(World *w)
{
    return dies_soon(w, MASTER);
}

static bool worker_dies_soon(World *w)
{
    int host = any_worker(w, true);
    return host >= 0 && dies_soon(w, host);
}

static bool program_dies(World *w)
{
    int host;
    uint32_t rank;
    if (!find_program(w, &host, &rank))
        return false;
    end_program(w, host, rank, 0, "is killed");
    return true;
}

static bool program_stands(World *w)
{
    int host;
    uint32_t rank;
    if (!find_program(w, &host, &rank))
        return false;
    int64_t ns = between(w, 50 * MS, 2 * SECOND);
    w->processes[host].programs[rank].stands_until = w->now + ns;
    if (ns > SECOND)
        end_program(w, host, rank, SECOND, "stands still");
    return true;
}

static bool stands(World *w, int process)
{
    Process *p = &w->processes[process];
    if (!p->alive || p->stands_until > w->now)
        return false;
    p->stands_until = w->now + between(w, 50 * MS, 5 * SECOND);
    story(w, "%s%d stands still for %.3f s", process == MASTER ? "master " : "w", process,
          (double)(p->stands_until - w->now) / (double)SECOND);
    return true;
}

static bool worker_stands(World *w)
{
    int host = any_worker(w, true);
    return host >= 0 && stands(w, host);
}

static bool master_stands(World *w)
{
    return stands(w, MASTER);
}

static bool connection_breaks(World *w)
{
    int host = any_worker(w, true);
    if (host < 0 || !w->links[host].up)
        return false;
    story(w, "w%d: connection breaks", host);
    cut_link(w, host, 100 * MS);
    return true;
}

static bool link_is_down(World *w)
{
    int host = any_worker(w, true);
    if (host < 0 || !w->links[host].up)
        return false;
    w->links[host].cut_until = w->now + between(w, 100 * MS, 4 * SECOND);
    story(w, "w%d: no way to the master", host);
    cut_link(w, host, 3 * SECOND);
    return true;
}

static bool data_link_is_down(World *w)
{
    int a = any_worker(w, true), b = any_worker(w, true);
    if (a < 0 || a == b)
        return false;
    int64_t until = w->now + between(w, 20 * MS, 2 * SECOND);
    w->data_cut_until[a][b] = w->data_cut_until[b][a] = until;
    story(w, "no way between w%d and w%d", a, b);
    return true;
}

static bool worker_is_slow(World *w)
{
    int host = any_worker(w, true);
    if (host < 0)
        return false;
    w->processes[host].slow_until = w->now + between(w, 100 * MS, 3 * SECOND);
    story(w, "w%d is slow", host);
    return true;
}

static bool network_is_slow(World *w)
{
    w->slow_network_until = w->now + between(w, 100 * MS, 2 * SECOND);
    story(w, "the network is slow");
    return true;
}

static bool disk_is_slow(World *w)
{
    w->slow_disk_until = w->now + between(w, 100 * MS, 2 * SECOND);
    story(w, "the disk is slow");
    return true;
}

static bool worker_is_drained(World *w)
{
    int host = any_worker(w, true);
    if (host < 0 || !w->processes[MASTER].alive)
        return false;
    story(w, "w%d shall leave", host);
    tell_master(w, &(MasterEvent){.kind = MASTER_DRAIN, .key = {{(uint8_t)(host + 1)}}});
    return true;
}

static bool plan_changes(World *w)
{
    if (!w->processes[MASTER].alive)
        return false;
    w->plan++;
    story(w, "another plan is wanted");
    tell_master(w, &(MasterEvent){.kind = MASTER_REPLAN});
    return true;
}

static const struct {
    bool (*happens)(World *w);
    int weight;
} kinds[] = {
    {worker_dies, 6},       {worker_dies_and_comes_back, 12},
    {worker_joins, 8},      {master_dies, 9},
    {program_dies, 10},     {program_stands, 6},
    {worker_stands, 8},     {master_stands, 4},
    {connection_breaks, 8}, {link_is_down, 7},
    {data_link_is_down, 6}, {worker_is_slow, 6},
    {network_is_slow, 4},   {disk_is_slow, 4},
    {worker_is_drained, 5}, {plan_changes, 6},
    {master_dies_soon, 6},  {worker_dies_soon, 8},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static bool any_fault(World *w)
{
    int sum = 0;
    for (int i = 0; i < N_KINDS; i++)
        sum += kinds[i].weight;
    int64_t at = between(w, 0, sum - 1);
    int i = 0;
    for (; at >= kinds[i].weight; i++)
        at -= kinds[i].weight;
    return kinds[i].happens(w);
}

// Behind the last fault
// ------------------------------------------------------------------------------

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// Somebody starts again what has ended, and looks whether it goes on.
static void watch(World *w, const Event *e)
{
    int64_t since = w->now - w->healed_at, quiet = w->now - later(w->healed_at, w->epoch_at);
    (void)e;
    for (int i = 0; i < w->n_hosts && w->committed < w->last_step; i++)
        start_worker(w, i);
    start_master(w);
    happen_in(w, SECOND / 4, watch, -1);
    if (w->lost && since > 10 * SECOND)
        w->ended = true;
    if (w->lost)
        return;
    for (int i = 0; i < w->n_hosts && quiet > 2 * SECOND; i++) {
        const Process *p = &w->processes[i];
        const Worker *core = &p->core;
        bool hears = p->alive && core->welcomed && p->connection == w->links[i].masters &&
                     p->stands_until < w->now && w->processes[MASTER].stands_until < w->now;
        if (hears && w->now - p->connected_at > 2 * SECOND && core->epoch.number != w->epochs)
            violated(w, "w%d knows epoch %d and not %d", i, (int)core->epoch.number,
                     (int)w->epochs);
    }
    if (since > 8 * SECOND && w->now - w->committed_at > 8 * SECOND) {
        char why[160];
        master_waits(&w->master, w->now, why, sizeof why);
        violated(w, "nothing is committed behind step %d: %s", (int)w->committed, why);
    }
}

static void heal(World *w, const Event *e)
{
    (void)e;
    w->healed_at = w->now;
    story(w, "all is healed");
    w->slow_disk_until = w->slow_network_until = 0;
    for (int i = 0; i < w->n_hosts; i++) {
        w->links[i].cut_until = 0;
        for (int k = 0; k < w->n_hosts; k++)
            w->data_cut_until[i][k] = 0;
        w->processes[i].slow_until = 0;
    }
    happen_in(w, 0, watch, -1);
}

// As the master's shell does: once it is in the journal the core is told.
static void stop_training(World *w)
{
    uint64_t last = master_first_free(&w->master);
    if (!w->processes[MASTER].alive || !w->master.epoch.number || last >= w->last_step)
        return;
    w->last_step = w->master.config.last_step = last;
    w->cut = true;
    story(w, "training shall end behind step %d", (int)last);
}

static void fault(World *w, const Event *e)
{
    bool late = w->committed + 60 > w->last_step; // all faults come before training ends
    (void)e;
    if (w->committed < w->fault_at && w->now < w->fault_by && !late) {
        happen_in(w, between(w, MS, 30 * MS), fault, -1);
        return;
    }
    if (w->faults + 4 > w->faults_wanted && !w->cut && chance(w, 300))
        stop_training(w);
    for (int tries = 0; tries < 20 && !any_fault(w); tries++) {
    }
    w->faults++;
    if (w->faults >= w->faults_wanted) {
        happen_in(w, 3 * SECOND, heal, -1);
        return;
    }
    bool soon = chance(w, 250), dealt_with = chance(w, 700); // the last one
    w->fault_at = dealt_with && !soon ? w->committed + (uint64_t)between(w, 1, 8) : 0;
    w->fault_by = w->now + 6 * SECOND;
    happen_in(w, soon || late ? between(w, 0, 20 * MS) : between(w, 20 * MS, 500 * MS), fault,
              -1);
}

void plan_faults(World *w)
{
    happen_in(w, between(w, 0, SECOND), fault, -1);
}

// The planner
// -----------------------------------------------------------------------------------

static bool is_as_good(const World *w, const PlanMember *members, uint32_t n, const Epoch *now,
                       uint32_t ranks)
{
    if (now->n_ranks != ranks || now->plan != w->plan)
        return false;
    for (uint32_t r = 0; r < ranks; r++) {
        bool there = false;
        for (uint32_t i = 0; i < n; i++)
            there |= members[i].worker == now->ranks[r].worker;
        if (!there)
            return false;
    }
    return true;
}

// As many ranks as there are workers (and slots) for, cut and dealt another way for each w->plan; in some the last one has a
// replica.
PlanAnswer sim_planner(void *user, const PlanMember *members, uint32_t n, const Epoch *now,
                       Epoch *e)
{
    World *w = user;
    uint32_t ranks = n * w->slots < w->most_ranks ? n * w->slots : w->most_ranks;
    uint32_t used = n < ranks ? n : ranks, spare = PARTS - ranks, part = 0;
    bool replica = n > 1 && w->plan % 3 == 2;
    if (!n || chance(w, 200))
        return PLAN_LATER;
    if (now && is_as_good(w, members, n, now, ranks + replica))
        return PLAN_KEEP;
    e->n_ranks = ranks + replica;
    e->plan = w->plan;
    for (uint32_t r = 0; r < ranks; r++) {
        uint32_t first = w->plan % (spare + 1); // parts of rank 0 beside its own
        uint32_t parts = 1 + (r == 0 ? first : 0) + (r + 1 == ranks ? spare - first : 0);
        uint32_t member = (w->plan + r * used / ranks) % n;
        uint64_t mask = ((UINT64_C(1) << parts) - 1) << part;
        part += parts;
        e->ranks[r] = (EpochRank){mask, mask, (uint16_t)members[member].worker, 0, 0};
        e->ranks[r + 1] =
            (EpochRank){mask, 0, (uint16_t)members[(member + 1) % n].worker, 0, 0};
    }
    if (!replica)
        e->ranks[ranks] = (EpochRank){0};
    return PLAN_NEW;
}
