// Control connections: in order, delayed, and cut, which each side notices later or never. Data between workers: in order,
// and a sender learns that it did not arrive.
#include "tests/control/sim/world.h"

static int64_t delay(World *w)
{
    int64_t ns = between(w, MS / 5, 2 * MS);
    return w->slow_network_until > w->now ? ns * between(w, 20, 200) : ns;
}

static const void *keep_frame(World *w, const Message *m, size_t *bytes)
{
    char frame[4096];
    *bytes = message_put(frame, sizeof frame, m);
    if (!*bytes)
        violated(w, "a core says what the protocol does not allow: %s", message_name(m->id));
    return arena_copy(&w->arena, frame, *bytes);
}

// To the master
// ---------------------------------------------------------------------------------

static PublicKey key_of(int host)
{
    return (PublicKey){{(uint8_t)(host + 1)}};
}

static void master_hears(World *w, const Event *e)
{
    Message m;
    char why[MESSAGE_WHY];
    if (w->links[e->from].masters != e->connection)
        return;
    if (!message_check(e->frame, e->bytes, FROM_WORKER, &m, why)) {
        violated(w, "the master refuses a frame: %s", why);
        return;
    }
    if (m.id != MESSAGE_BEAT)
        story(w, "w%d -> master %s", e->from, message_name(m.id));
    tell_master(w, &(MasterEvent){MASTER_HEARD, key_of(e->from), &m, 0});
}

void send_to_master(World *w, int host, const Message *m)
{
    Link *l = &w->links[host];
    size_t bytes;
    const void *frame = keep_frame(w, m, &bytes);
    if (!l->up || l->connection != w->processes[host].connection)
        return;
    int64_t at = w->now + delay(w);
    at = at > l->last[1] ? at : l->last[1];
    Event *e = happen_in(w, at - w->now, master_hears, MASTER);
    e->frame = frame;
    e->bytes = bytes;
    e->from = host;
    e->connection = l->connection;
    l->last[1] = at;
}

// To a worker
// -----------------------------------------------------------------------------------

// A connection that has been replaced is silent, but for what is of an epoch that is over by now.
static bool is_late(World *w, const Event *e, const Message *m)
{
    uint64_t epoch = m->id == MESSAGE_START ? m->start.number : m->order.epoch;
    return (m->id == MESSAGE_START || m->id == MESSAGE_ORDER) &&
           epoch < w->processes[e->process].core.epoch.number;
}

static void worker_hears(World *w, const Event *e)
{
    Message m;
    char why[MESSAGE_WHY];
    const Process *p = &w->processes[e->process];
    if (!message_check(e->frame, e->bytes, FROM_MASTER, &m, why)) {
        violated(w, "worker %d refuses a frame: %s", e->process, why);
        return;
    }
    if (p->connection != e->connection && !is_late(w, e, &m))
        return;
    if (m.id != MESSAGE_ORDER)
        story(w, "master -> w%d %s", e->process, message_name(m.id));
    tell_worker(w, e->process, &(WorkerEvent){.kind = WORKER_HEARD, .message = &m});
}

void send_to_worker(World *w, int host, const Message *m)
{
    Link *l = &w->links[host];
    size_t bytes;
    const void *frame = keep_frame(w, m, &bytes);
    oracle_told(w, host, m);
    if (!l->up || l->connection != l->masters)
        return;
    int64_t at = w->now + delay(w);
    at = at > l->last[0] ? at : l->last[0];
    for (int times = chance(w, 30) ? 2 : 1; times > 0; times--) {
        bool late = times == 2;
        int64_t ns = late ? between(w, 50 * MS, 3 * SECOND) : at - w->now;
        Event *e = happen_in(w, ns, worker_hears, host);
        e->frame = frame;
        e->bytes = bytes;
        e->connection = late ? UINT32_MAX : l->connection;
    }
    l->last[0] = at;
}

// Connections
// ----------------------------------------------------------------------------------

static void connects(World *w, const Event *e)
{
    Link *l = &w->links[e->process];
    Process *p = &w->processes[e->process];
    if (p->connection)
        return;
    if (!w->processes[MASTER].alive || l->cut_until > w->now) {
        connect_soon(w, e->process);
        return;
    }
    p->connection = l->masters = ++l->connection; // a former one of the master's is replaced
    l->up = true;
    p->connected_at = w->now;
    l->last[0] = l->last[1] = w->now;
    tell_worker(w, e->process, &(WorkerEvent){.kind = WORKER_CONNECTED});
}

void connect_soon(World *w, int host)
{
    happen_in(w, between(w, 20 * MS, 200 * MS), connects, host);
}

static void worker_notices(World *w, const Event *e)
{
    Process *p = &w->processes[e->process];
    if (p->connection != e->connection)
        return;
    p->connection = 0;
    tell_worker(w, e->process, &(WorkerEvent){.kind = WORKER_CUT});
    connect_soon(w, e->process);
}

static void master_notices(World *w, const Event *e)
{
    if (w->links[e->from].masters != e->connection)
        return;
    w->links[e->from].masters = 0;
    tell_master(w, &(MasterEvent){MASTER_GONE, key_of(e->from), NULL, 0});
}

void cut_link(World *w, int host, int64_t most_unnoticed_ns)
{
    Link *l = &w->links[host];
    if (!l->up)
        return;
    l->up = false;
    if (w->processes[host].alive)
        happen_in(w, between(w, MS, most_unnoticed_ns), worker_notices, host)->connection =
            w->processes[host].connection;
    if (!w->processes[MASTER].alive)
        return;
    Event *e = happen_in(w, between(w, MS, most_unnoticed_ns), master_notices, MASTER);
    e->connection = l->masters;
    e->from = host;
}

// Data
// -----------------------------------------------------------------------------------------

// e->process gets it, and e->lost happens where it does not.
void send_data(World *w, Event *data, int from)
{
    int to = data->process;
    int64_t at = w->now + delay(w);
    at = at > w->data_last[from][to] ? at : w->data_last[from][to];
    w->data_last[from][to] = at;
    bool arrives = w->data_cut_until[from][to] <= w->now && w->processes[to].alive;
    data->life = arrives ? w->processes[to].life : 0; // of nobody
    Event *e = happen_in(w, at - w->now, data->happen, to);
    data->at = e->at;
    data->order = e->order;
    data->from = from;
    *e = *data;
}
