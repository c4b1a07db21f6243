// Plans with streams: messages move when the streams say so and take no time of their own; what a
// stage spends on them is shared out between forward and backward.
#include "plan/engine.h"
#include "plan/rounds.h"
#include "plan/schedule.h"
#include "plan/walk.h"

typedef struct Ring {
    int64_t sent;
    int64_t *released; // [n_consumers]
} Ring;

typedef struct Rings {
    Ring *rings;      // [n_edges]
    double *reduce_s; // [n_ranks] of one instruction of a bucket, or of tied weights
    Rounds rounds;
} Rings;

enum { A_ROUND = -1 }; // what a worker waits for that waits for no edge

static int64_t sequence(const Engine *e, const Worker *w, const rt_instr *i)
{
    const PlanEdge *edge = &e->plan->edges[i->edge];
    return w->at / w->n * plan_messages(e->plan, edge) + plan_message(edge, i->mb);
}

static bool may_acquire(Engine *e, Worker *w, const rt_instr *i)
{
    const PlanEdge *edge = &e->plan->edges[i->edge];
    const Ring *r = &((Rings *)e->model)->rings[i->edge];
    int64_t last = sequence(e, w, i) - edge->slots; // lay in this slot before
    for (int c = 0; c < edge->n_consumers; c++)
        if (r->released[c] <= last) {
            engine_wait(e, w, i->edge, e->plan->ranks[edge->consumers[c]].stage);
            return false;
        }
    return true;
}

static void wake_if_waits(Engine *e, int rank, int want)
{
    Worker *w = &e->workers[rank];
    if (w->waiting && w->want == want)
        engine_wake(e, w);
}

// Replicas begin with a round together; those that wait look again when one has come.
static bool may_compute(Engine *e, Worker *w, const rt_instr *i)
{
    Rounds *r = &((Rings *)e->model)->rounds;
    const PlanStage *s = &e->plan->stages[w->stage];
    int64_t before = w->at / w->n;
    bool news = rounds_come(r, w->index, i, before);
    for (int k = s->first_rank; news && k < s->first_rank + s->replicas; k++)
        if (k != w->index)
            wake_if_waits(e, k, A_ROUND);
    if (rounds_missing(r, w->index, i, before) < 0)
        return true;
    engine_wait(e, w, A_ROUND, w->stage);
    return false;
}

static bool begin(Engine *e, Worker *w, const rt_instr *i)
{
    if (i->opcode == RT_ACQUIRE)
        return may_acquire(e, w, i);
    if (i->opcode > RT_RELEASE)
        return may_compute(e, w, i);
    if (i->opcode != RT_RECV)
        return true;
    const PlanEdge *edge = &e->plan->edges[i->edge];
    bool there = ((Rings *)e->model)->rings[i->edge].sent > sequence(e, w, i);
    if (!there)
        engine_wait(e, w, i->edge, e->plan->ranks[edge->producer].stage);
    return there;
}

// Of the last pass.
static double parts_done(const Engine *e, const Worker *w, const PlanStage *s)
{
    int done = ((Rings *)e->model)->rounds.parts[w->index];
    return done ? plan_parts_seconds(e->plan, s, 0, done) : 0;
}

static double part_seconds(const Engine *e, const Worker *w, const PlanStage *s)
{
    int part = ((Rings *)e->model)->rounds.parts[w->index];
    return plan_parts_seconds(e->plan, s, part, part + 1);
}

// What messages take belongs to the end of a pass, where it sends.
double plan_instruction_seconds(const PlanStage *s, rt_opcode opcode)
{
    switch (opcode) {
    case RT_FORWARD: return s->forward_s + s->send_s / 2;
    case RT_BACKWARD: return s->backward_s - s->weight_s + s->send_s / 2;
    case RT_BACKWARD_WEIGHT: return s->weight_s;
    case RT_UPDATE: return s->update_s;
    case RT_EVAL: return s->forward_s;
    case RT_LOAD: return s->load_s;
    case RT_NORM_GATHER: return s->norm_s;
    case RT_BACKWARD_PART:
    case RT_REDUCE_PUT:
    case RT_REDUCE_SUM:
    case RT_REDUCE_GET:
    case RT_SHARE_PUT:
    case RT_SHARE_GET:
    case RT_ACQUIRE:
    case RT_RECV:
    case RT_SEND:
    case RT_RELEASE:
    case RT_NORM_APPLY:
    case RT_N_OPCODES: return 0;
    }
    return 0;
}

static double work(const Engine *e, const Worker *w, const rt_instr *i)
{
    const PlanStage *s = &e->plan->stages[w->stage];
    rt_opcode opcode = (rt_opcode)i->opcode;
    double seconds = plan_instruction_seconds(s, opcode);
    if (opcode == RT_BACKWARD_PART)
        return part_seconds(e, w, s);
    if (opcode == RT_BACKWARD || opcode == RT_BACKWARD_WEIGHT)
        return seconds - parts_done(e, w, s);
    return rt_is_reduce(i->opcode) || rt_is_share(i->opcode)
               ? ((Rings *)e->model)->reduce_s[w->index]
               : seconds;
}

static void end(Engine *e, Worker *w, const rt_instr *i)
{
    rounds_ran(&((Rings *)e->model)->rounds, w->index, i);
    if (i->opcode != RT_SEND && i->opcode != RT_RELEASE)
        return;
    const PlanEdge *edge = &e->plan->edges[i->edge];
    Ring *r = &((Rings *)e->model)->rings[i->edge];
    r->sent += i->opcode == RT_SEND;
    for (int c = 0; c < edge->n_consumers; c++)
        if (i->opcode == RT_SEND)
            wake_if_waits(e, edge->consumers[c], i->edge);
        else if (edge->consumers[c] == w->index)
            r->released[c]++;
    if (i->opcode == RT_RELEASE)
        wake_if_waits(e, edge->producer, i->edge);
}

// What the stage spends on sums once a step, shared out over the instructions.
static double reduce_seconds(const Plan *p, int rank)
{
    const Stream *s = &p->ranks[rank].train;
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += rt_is_reduce(s->instr[i].opcode) || rt_is_share(s->instr[i].opcode);
    double sync_s = p->stages[p->ranks[rank].stage].sync_s;
    return n ? sync_s * plan_micro_batches(p, false) / n : 0;
}

void streams_model(Engine *e)
{
    const Plan *p = e->plan;
    Rings *rings = e->model = arena_new(e->arena, Rings);
    rings->rings = arena_array(e->arena, Ring, p->n_edges + 1);
    for (int i = 0; i < p->n_edges; i++)
        rings->rings[i].released = arena_array(e->arena, int64_t, p->edges[i].n_consumers);
    rings->reduce_s = arena_array(e->arena, double, p->n_ranks);
    rings->rounds = rounds_of(e->arena, p);
    for (int r = 0; r < p->n_ranks; r++)
        rings->reduce_s[r] = reduce_seconds(p, r);
    e->n_workers = p->n_ranks;
    e->workers = arena_array(e->arena, Worker, e->n_workers);
    for (int r = 0; r < p->n_ranks; r++) {
        const Stream *t = &p->ranks[r].train;
        e->workers[r] = (Worker){.stage = p->ranks[r].stage,
                                 .replica = p->ranks[r].replica,
                                 .index = r,
                                 .instr = t->instr,
                                 .n = t->n,
                                 .end = (int64_t)t->n * e->options.steps};
    }
    e->last_pass = schedule_last_pass(&p->options);
    e->begin = begin;
    e->work = work;
    e->end = end;
}
