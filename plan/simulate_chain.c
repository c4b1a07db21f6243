// Plans without streams, of profiled graphs: a chain of stages, each with replicas that take micro-batches
// in turn, each in the order of the schedule. Activations cross every boundary forward, gradients
// backward. Either the stage itself spends the time of a transfer on it (overlap "none"), or two links
// carry it beside computing: the one behind the sender and the one in front of the receiver, both
// directions in turn, first come, first served. Gradients of replicas are summed once before an update.
#include "plan/engine.h"
#include "plan/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRONT, BACK };            // links of a worker
enum { FORWARDS, BACKWARDS };    // directions of messages
static const int64_t peers = -1; // Worker.want: the other replicas

typedef struct Chain {
    int micro_batches;
    double *arrival[2]; // [boundary * micro_batches + mb]; infinite: not sent
    double (*link)[2];  // [worker]: free from then on
    double *synced;     // [worker] asynchronous, overlapped: its gradients are summed
    int64_t *arrived;   // [stage] replicas at an update, of all steps
    double *flushed;    // when the first stage ended a backward, in order
    int n_flushed;
} Chain;

static bool overlaps(const Plan *p, const char *what)
{
    return p->overlap && (!strcmp(p->overlap, what) || !strcmp(p->overlap, "all"));
}

// Machines from this stage to the end, by those of this stage: what keeps all busy (PipeDream's NOAM).
static int chain_flight(const Plan *p, int stage, int micro_batches)
{
    int64_t machines = 0;
    int own = p->stages[stage].replicas;
    for (int s = stage; s < p->n_stages; s++)
        machines += p->stages[s].replicas;
    int64_t flight = (machines + own - 1) / own;
    bool all = !strcmp(p->options.schedule, "gpipe");
    return all || flight > micro_batches ? micro_batches : (int)flight;
}

// Who of `stage` takes the micro-batch.
static Worker *worker_of(Engine *e, int stage, uint32_t mb)
{
    return &e->workers[e->first_worker[stage] + (int)mb % e->plan->stages[stage].replicas];
}

static double *message(const Engine *e, int direction, int boundary, uint32_t mb)
{
    const Chain *c = e->model;
    return &c->arrival[direction][(int64_t)boundary * c->micro_batches + mb];
}

static bool receive(Engine *e, Worker *w, int direction, int from, uint32_t mb)
{
    double *arrival = message(e, direction, from < w->stage ? from : w->stage, mb);
    if (*arrival <= e->now_s) {
        *arrival = INFINITY; // the next step has a message of the same number
        return true;
    }
    engine_wait(e, w, mb, from);
    if (*arrival < INFINITY)
        engine_wake_at(e, w, *arrival);
    return false;
}

static void send(Engine *e, const Worker *w, int direction, int to, uint32_t mb)
{
    Chain *c = e->model;
    const PlanStage *own = &e->plan->stages[w->stage], *other = &e->plan->stages[to];
    Worker *peer = worker_of(e, to, mb);
    bool up = to > w->stage;
    double arrival = e->now_s;
    if (overlaps(e->plan, "transfers")) {
        double here = (up ? own->send_s : own->receive_s) * own->replicas / 2;
        double there = (up ? other->receive_s : other->send_s) * other->replicas / 2;
        double *near = &c->link[w->index][up ? BACK : FRONT];
        double *far = &c->link[peer->index][up ? FRONT : BACK];
        arrival = fmax(fmax(arrival, *near), *far) + fmax(here, there);
        *near = *far = arrival;
    }
    *message(e, direction, up ? w->stage : to, mb) = arrival;
    if (peer->waiting && peer->on == w->stage && peer->want == mb)
        engine_wake_at(e, peer, arrival);
}

// All replicas, at the end of a step.
static bool meet(Engine *e, Worker *w)
{
    int64_t *arrived = &((Chain *)e->model)->arrived[w->stage], step = w->at / w->n + 1;
    int replicas = e->plan->stages[w->stage].replicas;
    if (w->state < step) {
        w->state = step;
        ++*arrived;
    }
    if (*arrived < step * replicas) {
        engine_wait(e, w, peers, w->stage);
        return false;
    }
    for (int r = 0; r < replicas; r++) {
        Worker *peer = &e->workers[e->first_worker[w->stage] + r];
        if (peer != w && peer->waiting && peer->want == peers)
            engine_wake(e, peer);
    }
    return true;
}

static bool begin(Engine *e, Worker *w, const rt_instr *i)
{
    if (i->opcode == RT_UPDATE)
        return meet(e, w);
    if (i->opcode == RT_FORWARD)
        return w->stage == 0 || receive(e, w, FORWARDS, w->stage - 1, i->mb);
    double synced = ((Chain *)e->model)->synced[w->index];
    if (synced > e->now_s) {
        engine_wait(e, w, peers, w->stage);
        engine_wake_at(e, w, synced);
        return false;
    }
    return w->stage == e->plan->n_stages - 1 || receive(e, w, BACKWARDS, w->stage + 1, i->mb);
}

static double work(const Engine *e, const Worker *w, const rt_instr *i)
{
    const Plan *p = e->plan;
    const PlanStage *s = &p->stages[w->stage];
    double sync = p->asynchronous ? s->replicas * s->sync_s
                                  : (double)p->options.micro_batches * s->sync_s;
    double transfer =
        overlaps(p, "transfers") ? 0 : (s->receive_s + s->send_s) * s->replicas / 2;
    if (i->opcode == RT_FORWARD)
        return s->forward_s + transfer;
    if (i->opcode ==
        RT_UPDATE) // at best beside the last backward, when the gradients are complete
        return s->update_s + (overlaps(p, "all") ? fmax(0, sync - s->backward_s) : sync);
    return s->backward_s + transfer + (p->asynchronous && !overlaps(p, "all") ? sync : 0);
}

static void end(Engine *e, Worker *w, const rt_instr *i)
{
    Chain *c = e->model;
    const PlanStage *s = &e->plan->stages[w->stage];
    if (i->opcode == RT_FORWARD && w->stage < e->plan->n_stages - 1)
        send(e, w, FORWARDS, w->stage + 1, i->mb);
    if (i->opcode != RT_BACKWARD)
        return;
    if (w->stage > 0)
        send(e, w, BACKWARDS, w->stage - 1, i->mb);
    else if (e->plan->asynchronous)
        c->flushed[c->n_flushed++] = e->now_s;
    if (e->plan->asynchronous && overlaps(e->plan, "all"))
        c->synced[w->index] = fmax(c->synced[w->index], w->begin_s) + s->replicas * s->sync_s;
}

// Micro-batches replica, replica + r, ... in the schedule's order.
static void add_worker(Engine *e, int stage, int replica, int micro_batches)
{
    const Plan *p = e->plan;
    int r = p->stages[stage].replicas;
    int own = replica < micro_batches ? (micro_batches - replica - 1) / r + 1 : 0;
    rt_instr *instr = arena_array(e->arena, rt_instr, 2 * own + 1);
    int flight = chain_flight(p, stage, micro_batches);
    schedule_turns((Turns){flight < own ? flight : own, own, false, 0}, instr);
    for (int k = 0; k < 2 * own; k++)
        instr[k].mb = instr[k].mb * (uint32_t)r + (uint32_t)replica;
    int n = 2 * own;
    if (!p->asynchronous)
        instr[n++] = (rt_instr){RT_UPDATE, RT_NO_EDGE, 0};
    int index = e->n_workers++;
    e->workers[index] = (Worker){.stage = stage,
                                 .replica = replica,
                                 .index = index,
                                 .instr = instr,
                                 .n = n,
                                 .end = (int64_t)n * e->options.steps};
}

void chain_model(Engine *e, int micro_batches)
{
    const Plan *p = e->plan;
    Chain *c = e->model = arena_new(e->arena, Chain);
    int workers = 0;
    int64_t messages = (int64_t)p->n_stages * micro_batches;
    e->first_worker = arena_array(e->arena, int, p->n_stages);
    for (int s = 0; s < p->n_stages; s++) {
        e->first_worker[s] = workers;
        workers += p->stages[s].replicas;
    }
    e->workers = arena_array(e->arena, Worker, workers);
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stages[s].replicas; r++)
            add_worker(e, s, r, micro_batches);
    c->micro_batches = micro_batches;
    c->link = arena_alloc(e->arena, sizeof *c->link * (size_t)workers);
    c->synced = arena_array(e->arena, double, workers);
    c->arrived = arena_array(e->arena, int64_t, p->n_stages);
    c->flushed = arena_array(e->arena, double, micro_batches);
    for (int d = 0; d < 2; d++) {
        c->arrival[d] = arena_array(e->arena, double, messages);
        for (int64_t m = 0; m < messages; m++)
            c->arrival[d][m] = INFINITY;
    }
    e->last_pass = RT_BACKWARD;
    e->begin = begin;
    e->work = work;
    e->end = end;
}

static int common_round(const Plan *p, int most)
{
    int64_t n = 1;
    for (int s = 0; s < p->n_stages; s++) {
        int64_t r = p->stages[s].replicas > 0 ? p->stages[s].replicas : 1, both = n;
        while (both % r) // the first multiple of n that is one of r
            both += n;
        n = both;
        if (n > most)
            return 1;
    }
    return (int)n;
}

// The pace once the pipeline is full and before it drains, over whole rounds of all replicas.
double chain_pace(const Engine *e)
{
    const Chain *c = e->model;
    int n = c->n_flushed,
        last = n - 1 - chain_flight(e->plan, 0, n / 4) * e->plan->stages[0].replicas;
    int first = last / 2, round = common_round(e->plan, last - first);
    if (last <= 0 || round < 1)
        return n ? c->flushed[n - 1] / n : 0;
    first = last - (last - first) / round * round;
    return first < last ? (c->flushed[last] - c->flushed[first]) / (last - first) : 0;
}
