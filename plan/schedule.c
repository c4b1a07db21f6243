// From an order of micro-batches to the streams of all ranks. The order is the schedule's; what
// stands around a FORWARD or BACKWARD follows from the edges alone: before an instruction a rank
// receives what it touches first and acquires what it writes, after it releases what it touched last
// and sends what it wrote. Releases come before sends: whoever hears of a message then knows that its
// sender holds nothing older, which saves a slot (plan/slots.c).
#include "plan/schedule.h"

#include "base/diag.h"
#include "base/text.h"
#include "base/vec.h"

#include <string.h>

static int least(int a, int b)
{
    return a < b ? a : b;
}

int schedule_depth(const ScheduleAt *at)
{
    return least(at->micro_batches, (at->behind + at->replicas - 1) / at->replicas);
}

double schedule_fill_s(int machines, int virtual_stages, const PassTimes *t)
{
    return (machines - 1) * (t->forward_s + t->backward_s) / virtual_stages;
}

rt_instr *schedule_turns(Turns t, rt_instr *out)
{
    int last = t.micro_batches + t.flight - 1 + (t.splits ? t.behind : 0);
    for (int i = 0; i < last; i++) {
        int back = i - (t.flight - 1), weight = back - t.behind;
        if (i < t.micro_batches)
            *out++ = (rt_instr){RT_FORWARD, RT_NO_EDGE, (uint32_t)i};
        if (back >= 0 && back < t.micro_batches)
            *out++ = (rt_instr){RT_BACKWARD, RT_NO_EDGE, (uint32_t)back};
        if (t.splits && weight >= 0)
            *out++ = (rt_instr){RT_BACKWARD_WEIGHT, RT_NO_EDGE, (uint32_t)weight};
    }
    return out;
}

const ScheduleInfo schedule_info[] = {
#define X(id, name, meaning) {name, meaning, &schedule_##id},
    SCHEDULES(X)
#undef X
};
const int n_schedules = sizeof schedule_info / sizeof *schedule_info;

const ScheduleInfo *schedule_find(const char *name)
{
    for (int i = 0; i < n_schedules; i++)
        if (!strcmp(schedule_info[i].name, name))
            return &schedule_info[i];
    return NULL;
}

// What follows from a row
// ---------------------------------------------------------------------------------

const ScheduleRules *schedule_rules(const Options *o)
{
    const ScheduleInfo *s = schedule_find(o->schedule);
    CHECK(s, "schedule", "no generator for %s", o->schedule);
    return s->rules;
}

bool schedule_open(const Options *o)
{
    return !strcmp(o->schedule, "auto");
}

bool schedule_asynchronous(const Options *o)
{
    return !schedule_open(o) && schedule_rules(o)->lag;
}

bool schedule_splits(const Options *o)
{
    return schedule_rules(o)->splits;
}

bool schedule_synchronises(const Options *o)
{
    return !strcmp(o->batch_norm, "synchronised");
}

rt_opcode schedule_last_pass(const Options *o)
{
    return schedule_splits(o) ? RT_BACKWARD_WEIGHT : RT_BACKWARD;
}

bool schedule_replicates(const Options *o)
{
    return !schedule_rules(o)->alone && !schedule_rules(o)->interleaves;
}

static int rounded_up(int64_t a, int64_t b)
{
    return (int)((a + b - 1) / b);
}

// From here on every step is like the one before: all lags have been made up for. With replicas the longest is at
// most twice as long.
static int steady_step(const Options *o, int stages, int ranks)
{
    int longest = ranks > stages ? 2 * (ranks - 1) : stages - 1;
    return rounded_up(longest, o->micro_batches) + 1;
}

// Until the steady state, one step of it, and until no forward of it is missing in any stage.
int schedule_steps(const Options *o, int stages, int ranks)
{
    return schedule_asynchronous(o) ? 2 * steady_step(o, stages, ranks) : 1;
}

int schedule_behind(const Options *o, int behind, int replicas)
{
    int all = behind + replicas;
    return schedule_synchronises(o) ? rounded_up(all, replicas) * replicas : all;
}

int schedule_share(int micro_batches, int replicas, int replica)
{
    return (micro_batches - replica + replicas - 1) / replicas;
}

int schedule_in_flight(const Options *o, ScheduleAt at)
{
    at.micro_batches *= schedule_steps(o, at.stages, at.ranks);
    return schedule_rules(o)->in_flight(&at);
}

static int lag_of(const Options *o, const ScheduleAt *at)
{
    return schedule_rules(o)->lag(at, (int)o->micro_batches);
}

// The newest version is that of a step's end; a micro-batch at the begin of the next one may still need
// what was there `lag` micro-batches ago. The lags of replicas differ by what their micro-batches do.
int schedule_versions(const Options *o, ScheduleAt at)
{
    if (!schedule_asynchronous(o))
        return 1;
    at.replica = 0;
    return 1 + rounded_up(lag_of(o, &at), o->micro_batches);
}

// Every step must give a replica the same micro-batches, and an edge the same messages.
static const char *replicas_misfit(Arena *a, const Options *o, int stages, const int *replicas)
{
    int all = 1;
    for (int s = 0; replicas && s < stages; s++)
        if (all <= o->micro_batches)
            all = common_multiple(all, replicas[s]);
    if (all == 1)
        return NULL;
    if (schedule_rules(o)->alone)
        return arena_printf(a,
                            "%s runs without replicas only: all stages use one version of the "
                            "weights; use pipedream, 1f1b or gpipe",
                            o->schedule);
    if (o->micro_batches % all)
        return arena_printf(a,
                            "%s with these replicas needs a multiple of %d micro-batches a "
                            "step, not %d: each step is dealt out alike",
                            o->schedule, all, (int)o->micro_batches);
    return NULL;
}

int schedule_machines(const Options *o, int stages)
{
    return o->virtual_stages > 1 ? stages / (int)o->virtual_stages : stages;
}

// Groups of micro-batches go round all machines, as many as there are.
static const char *virtual_misfit(Arena *a, const Options *o, int stages, const int *replicas)
{
    int ranks = replicas ? 0 : stages;
    for (int s = 0; replicas && s < stages; s++)
        ranks += replicas[s];
    int parts = (int)o->virtual_stages, machines = schedule_machines(o, stages);
    bool interleaves = schedule_rules(o)->interleaves;
    if (!interleaves && parts > 1)
        return arena_printf(a,
                            "%s runs one stage on each machine: drop --virtual-stages, or use "
                            "--schedule interleaved",
                            o->schedule);
    if (!interleaves)
        return NULL;
    if (parts == 1)
        return "interleaved needs several stages on each machine: add --virtual-stages 2";
    if (machines < 1 || stages % parts || ranks > stages)
        return arena_printf(
            a,
            "interleaved with --virtual-stages %d needs as many stages on every machine, and "
            "no replicas: use -n with the number of machines",
            parts);
    if (o->micro_batches % machines)
        return arena_printf(a,
                            "interleaved on %d machines needs a multiple of %d micro-batches a "
                            "step, not %d",
                            machines, machines, (int)o->micro_batches);
    return NULL;
}

// Version v is there once the micro-batches of v steps were backward, and 1F1B has stages - 1 fewer
// behind it than before it in stage 0.
const char *schedule_misfit(Arena *a, const Options *o, int stages, const int *replicas)
{
    if (!schedule_asynchronous(o))
        return virtual_misfit(a, o, stages, replicas);
    const char *why = replicas_misfit(a, o, stages, replicas);
    ScheduleAt first = {.stages = stages, .replicas = 1, .behind = stages, .ranks = stages};
    if (why || lag_of(o, &first) >= stages - 1)
        return why ? why : virtual_misfit(a, o, stages, replicas);
    return arena_printf(
        a,
        "%s in %d stages needs %d micro-batches a step or more: it computes with "
        "the weights of the step before, and with %d they are not there yet",
        o->schedule, stages, stages - 1, (int)o->micro_batches);
}

const char *plan_misfit(Arena *a, const Plan *p, const Options *o)
{
    int *replicas = arena_array(a, int, p->n_stages);
    for (int s = 0; s < p->n_stages; s++)
        replicas[s] = p->stages[s].replicas;
    return schedule_misfit(a, o, p->n_stages, replicas);
}

// Streams
// -------------------------------------------------------------------------------------------

typedef VEC(rt_instr) InstrList;

typedef struct Writer {
    Arena *arena;
    const Plan *plan;
    int rank;
    const PlanStage *stage;
    int replica;
    int *mine, n_mine;           // edges that this rank touches in these streams
    int n_buckets, given, added; // of the stage; how many of them it has put (where they are
                                 //   others'), and added up (where its own), in this step
    int step;                    // of the stream
    InstrList out;
} Writer;

static uint32_t first_touch(uint32_t touch)
{
    return touch & -touch;
}

static uint32_t last_touch(uint32_t touch)
{
    while (touch & (touch - 1))
        touch &= touch - 1;
    return touch;
}

// Appends `opcode` for every edge that this rank consumes (or produces), that carries the micro-batch, and
// that `bit` begins (or ends).
static void messages(Writer *w, rt_opcode opcode, bool producer, uint32_t (*end)(uint32_t),
                     uint32_t bit, uint32_t mb)
{
    for (int k = 0; k < w->n_mine; k++) {
        const PlanEdge *e = &w->plan->edges[w->mine[k]];
        if ((e->producer == w->rank) == producer && end(e->touch[w->rank]) == bit &&
            plan_message(e, mb) >= 0)
            vec_push(w->arena, &w->out,
                     ((rt_instr){(uint8_t)opcode, (uint16_t)w->mine[k], mb}));
    }
}

static void instruct(Writer *w, rt_opcode opcode, int version, uint32_t mb)
{
    vec_push(w->arena, &w->out, ((rt_instr){(uint8_t)opcode, (uint16_t)version, mb}));
}

static void begin(Writer *w, rt_opcode opcode, uint32_t mb)
{
    messages(w, RT_RECV, false, first_touch, UINT32_C(1) << opcode, mb);
    messages(w, RT_ACQUIRE, true, first_touch, UINT32_C(1) << opcode, mb);
}

static void end(Writer *w, rt_opcode opcode, uint32_t mb)
{
    messages(w, RT_RELEASE, false, last_touch, UINT32_C(1) << opcode, mb);
    messages(w, RT_SEND, true, first_touch, UINT32_C(1) << opcode, mb);
}

static void run_version(Writer *w, rt_opcode opcode, int version, uint32_t mb)
{
    begin(w, opcode, mb);
    instruct(w, opcode, version, mb);
    end(w, opcode, mb);
}

static void run(Writer *w, rt_opcode opcode, uint32_t mb)
{
    run_version(w, opcode, RT_NO_VERSION, mb);
}

static Writer writer(Arena *perm, Arena *scratch, const Plan *p, int rank, bool eval)
{
    const PlanRank *r = &p->ranks[rank];
    Writer w = {.arena = perm,
                .plan = p,
                .rank = rank,
                .stage = &p->stages[r->stage],
                .replica = r->replica};
    w.mine = arena_array(scratch, int, p->n_edges);
    for (int e = 0; e < p->n_edges; e++)
        if (p->edges[e].eval == eval && p->edges[e].touch[rank]) {
            w.mine[w.n_mine++] = e;
            if (plan_reduces(&p->edges[e], rank))
                w.n_buckets = p->edges[e].stride;
        }
    return w;
}

// The weights that a micro-batch sees.
static int version_of(const Plan *p, const ScheduleAt *at, int mb)
{
    if (!schedule_asynchronous(&p->options))
        return RT_NO_VERSION;
    int behind = mb - lag_of(&p->options, at);
    return behind > 0 ? behind / (int)p->options.micro_batches : 0;
}

// Buckets from `from` to `end`, as far as they want this of this replica; numbers go on from step to step.
static void reduce(Writer *w, rt_opcode opcode, int from, int end)
{
    for (int k = 0, last = -1; k < w->n_mine; k++) {
        const PlanEdge *e = &w->plan->edges[w->mine[k]];
        if (e->touch[w->rank] != UINT32_C(1) << opcode || e->first == last || e->first < from ||
            e->first >= end)
            continue; // several parts are added in one instruction
        last = e->first;
        run(w, opcode, (uint32_t)(w->step * w->n_buckets + last));
    }
}

static void put_up_to(Writer *w, int end)
{
    reduce(w, RT_REDUCE_PUT, w->given, end);
    w->given = end;
}

static void add_up_to(Writer *w, int end)
{
    if (end > w->added)
        reduce(w, RT_REDUCE_SUM, w->added, end);
    w->added = end > w->added ? end : w->added;
}

// What is left. First every replica gives away what it has, then it adds up what is its own: nobody waits in a
// circle.
static void finish_reduce(Writer *w)
{
    put_up_to(w, w->n_buckets);
    add_up_to(w, w->n_buckets);
    reduce(w, RT_REDUCE_GET, 0, w->n_buckets);
    w->given = w->added = 0;
    w->step++;
}

// Parts of backward until a bucket of them is added up. Who has the last micro-batch of a step finds the parts of
// all others. Where there is but one stage, all replicas come to their last one at the same time: a part
// later the others' should be there. (Unless one has a micro-batch more and they end their rounds together:
// it would be waited for within the round before.) Anyone else would wait, and let those wait who want the
// gradient that it sends when it is through, so it adds up behind its backward.
static int parts_to_sum(const Writer *w)
{
    int64_t all = w->plan->options.micro_batches;
    rt_opcode pass = schedule_last_pass(&w->plan->options);
    bool meets = plan_rounds(w->plan, w->rank) >> pass & 1;
    if (w->plan->n_stages == 1 && (!meets || all % w->stage->replicas == 0))
        return 1;
    bool last = w->replica == (int)(all - 1) % w->stage->replicas;
    return last ? 0 : w->stage->n_parts;
}

// The last pass of a step, in parts. Behind each the gradients of a bucket are given away.
static void run_parts(Writer *w, rt_opcode last, int version, uint32_t mb)
{
    int before = w->n_buckets - w->stage->n_parts; // losses and statistics are done
    begin(w, last, mb);
    put_up_to(w, before);
    for (int part = 0; part < w->stage->n_parts - 1; part++) {
        instruct(w, RT_BACKWARD_PART, version, mb);
        put_up_to(w, before + part + 1);
        add_up_to(w, before + part + 1 - parts_to_sum(w));
    }
    instruct(w, last, version, mb);
    end(w, last, mb);
}

// Once a step, if the rank takes part.
static void run_once(Writer *w, rt_opcode opcode, uint32_t mb)
{
    bool touches = false;
    for (int k = 0; k < w->n_mine; k++)
        touches |= w->plan->edges[w->mine[k]].touch[w->rank] >> opcode & 1;
    if (touches)
        run(w, opcode, mb);
}

// Behind the last pass of a step. The norm of gradients that all replicas of a stage share is one replica's
// business; the factor is everyone's.
static void finish_step(Writer *w, int step)
{
    const Plan *p = w->plan;
    bool asynchronous = schedule_asynchronous(&p->options);
    uint32_t first = (uint32_t)(step * p->options.micro_batches);
    finish_reduce(w);
    run_once(w, RT_SHARE_PUT, first);
    run_once(w, RT_SHARE_GET, first);
    if (p->norm_parts && w->replica == 0)
        run(w, RT_NORM_GATHER, first);
    if (p->norm_parts)
        run(w, RT_NORM_APPLY, first);
    run_version(w, RT_UPDATE, asynchronous ? step + 1 : RT_NO_VERSION, first);
}

static int ranks_from(const Plan *p, int stage)
{
    int ranks = 0;
    for (int s = p->n_stages; s-- > stage;)
        ranks = schedule_behind(&p->options, ranks, p->stages[s].replicas);
    return ranks;
}

ScheduleAt schedule_at(const Plan *p, const PlanRank *r)
{
    int replicas = p->stages[r->stage].replicas;
    return (ScheduleAt){.stages = p->n_stages,
                        .stage = r->stage,
                        .micro_batches =
                            schedule_share((int)p->options.micro_batches, replicas, r->replica),
                        .replica = r->replica,
                        .replicas = replicas,
                        .behind = ranks_from(p, r->stage),
                        .ranks = ranks_from(p, 0),
                        .virtual_stages = (int)p->options.virtual_stages};
}

// Stages of one machine take turns: an edge that nobody touches carries nothing but the turn.
static bool is_turn(const Plan *p, const PlanEdge *e)
{
    uint32_t touch = 0;
    for (int r = 0; r < p->n_ranks; r++)
        touch |= e->touch[r];
    return !touch;
}

static uint16_t turn_edge(const Plan *p, int from, int to)
{
    for (int i = p->n_edges - 1; i >= 0; i--) {
        const PlanEdge *e = &p->edges[i];
        if (e->producer == from && e->consumers[0] == to && is_turn(p, e))
            return (uint16_t)i;
    }
    fatal("no turn passes from rank %d to rank %d", from, to);
}

static void take_turn(Writer *w, const rt_instr *i)
{
    uint16_t edge = turn_edge(w->plan, i->edge, w->rank);
    vec_push(w->arena, &w->out, ((rt_instr){RT_RECV, edge, i->mb}));
    vec_push(w->arena, &w->out, ((rt_instr){RT_RELEASE, edge, i->mb}));
}

static void pass_turn(Writer *w, const rt_instr *i)
{
    uint16_t edge = turn_edge(w->plan, w->rank, i->edge);
    vec_push(w->arena, &w->out, ((rt_instr){RT_ACQUIRE, edge, i->mb}));
    vec_push(w->arena, &w->out, ((rt_instr){RT_SEND, edge, i->mb}));
}

static PlanEdge make_turn(Arena *a, const Plan *p, int from, int to, int times)
{
    return (PlanEdge){.name = arena_printf(a, "turn %d-%d", from, to),
                      .node = -1,
                      .producer = from,
                      .consumers = arena_copy(a, &to, sizeof to),
                      .n_consumers = 1,
                      .bytes = 64,
                      .slots = 1,
                      .stride = 1,
                      .per_step = times,
                      .touch = arena_array(a, uint32_t, p->n_ranks)};
}

// The schedule's order of a rank.
static InstrList order_of(Arena *scratch, const Plan *p, const ScheduleAt *at)
{
    InstrList order = {.items = arena_array(scratch, rt_instr, 6 * at->micro_batches)};
    order.n = (int)(schedule_rules(&p->options)->order(at, order.items) - order.items);
    return order;
}

// Anew, for another number of micro-batches has others. (Without replicas a rank is a stage.)
static void add_turns(Arena *perm, Arena *scratch, Plan *p)
{
    EdgeList edges = {0};
    for (int e = 0; e < p->n_edges; e++)
        if (!is_turn(p, &p->edges[e]))
            vec_push(perm, &edges, p->edges[e]);
    for (int r = 0; r < p->n_ranks && p->options.virtual_stages > 1; r++) {
        ScheduleAt at = schedule_at(p, &p->ranks[r]);
        InstrList order = order_of(scratch, p, &at);
        int *times = arena_array(scratch, int, p->n_ranks);
        for (int i = 0; i < order.n; i++)
            if (order.items[i].opcode == RT_SEND)
                times[order.items[i].edge]++;
        for (int to = 0; to < p->n_ranks; to++)
            if (times[to])
                vec_push(perm, &edges, make_turn(perm, p, r, to, times[to]));
    }
    p->edges = edges.items;
    p->n_edges = edges.n;
    CHECK(p->n_edges < RT_NO_EDGE, "schedule", "%d edges", p->n_edges);
}

// The stage that owns the inputs reads them just before it needs them. A turn is passed on before the step is
// finished, which waits for other stages. Replicas that wait for each other all have the order of the first;
// who has a micro-batch less leaves out the last.
static Stream write_train(Arena *perm, Arena *scratch, const Plan *p, int rank)
{
    Writer w = writer(perm, scratch, p, rank, false);
    ScheduleAt at = schedule_at(p, &p->ranks[rank]);
    Stream out = {.n = 0};
    int per_step = at.micro_batches, steady = steady_step(&p->options, p->n_stages, p->n_ranks);
    int all = per_step * p->stream_steps;
    int like = schedule_synchronises(&p->options) ? 0 : at.replica;
    at.micro_batches =
        schedule_share((int)p->options.micro_batches, at.replicas, like) * p->stream_steps;
    rt_opcode last = schedule_last_pass(&p->options);
    InstrList order = order_of(scratch, p, &at);
    for (int i = 0; i < order.n; i++) {
        rt_opcode opcode = (rt_opcode)order.items[i].opcode;
        if (opcode == RT_RECV) {
            take_turn(&w, &order.items[i]);
            continue;
        }
        int own = (int)order.items[i].mb, steps = (own + 1) / per_step;
        if (own >= all)
            continue;
        uint32_t mb = (uint32_t)(own * at.replicas + w.replica);
        if (at.stage == 0 && opcode == RT_FORWARD)
            run(&w, RT_LOAD, mb);
        bool ends = opcode == last && steps * per_step > own;
        if (ends && w.stage->n_parts > 1)
            run_parts(&w, opcode, version_of(p, &at, (int)mb), mb);
        else
            run_version(&w, opcode, version_of(p, &at, (int)mb), mb);
        while (i + 1 < order.n && order.items[i + 1].opcode == RT_SEND)
            pass_turn(&w, &order.items[++i]);
        if (!ends)
            continue;
        finish_step(&w, steps - 1);
        out.body = steps == steady && p->stream_steps > 1 ? w.out.n : out.body;
        out.body_end = steps == steady + 1 ? w.out.n : out.body_end;
    }
    out.instr = w.out.items;
    out.n = w.out.n;
    return out;
}

static Stream write_eval(Arena *perm, Arena *scratch, const Plan *p, int rank)
{
    Writer w = writer(perm, scratch, p, rank, true);
    uint32_t step = (uint32_t)w.stage->replicas, all = (uint32_t)p->options.micro_batches;
    for (uint32_t mb = (uint32_t)w.replica; mb < all; mb += step) {
        if (w.stage->id == 0)
            run(&w, RT_LOAD, mb);
        run(&w, RT_EVAL, mb);
    }
    finish_reduce(&w);
    return (Stream){.instr = w.out.items, .n = w.out.n};
}

// An activation under way and one in work is all that a forward-only pipeline can use.
static void choose_eval_slots(Plan *p)
{
    for (int e = 0; e < p->n_edges; e++)
        if (p->edges[e].eval)
            p->edges[e].slots = least(2, p->edges[e].per_step);
}

void schedule_write(Arena *perm, Arena *scratch, Plan *p)
{
    p->stream_steps = schedule_steps(&p->options, p->n_stages, p->n_ranks);
    add_turns(perm, scratch, p);
    for (int i = 0; i < p->n_ranks; i++) {
        PlanRank *rank = &p->ranks[i];
        PlanStage *stage = &p->stages[rank->stage];
        if (rank->replica == 0) // which has as many micro-batches as any other
            stage->in_flight = schedule_in_flight(&p->options, schedule_at(p, rank));
        stage->versions = schedule_versions(&p->options, schedule_at(p, rank));
        rank->train = write_train(perm, scratch, p, i);
        rank->eval = write_eval(perm, scratch, p, i);
    }
    edges_choose_slots(scratch, p);
    choose_eval_slots(p);
}

void schedule_micro_batches(Arena *perm, Arena *scratch, Plan *p, int micro_batches)
{
    p->options.batch = p->options.batch / p->options.micro_batches * micro_batches;
    p->options.micro_batches = micro_batches;
    edges_deal_again(perm, scratch, p);
    schedule_write(perm, scratch, p);
    for (int i = 0; i < p->n_stages; i++)
        plan_count_edges(p, &p->stages[i], p->stages[i].twin_bytes > 0);
}

static void append(const Plan *p, int rank, Stream *out, int begin, int end, int steps_on)
{
    const Stream *s = &p->ranks[rank].train;
    for (int i = begin; i < end; i++) {
        rt_instr instr = s->instr[i];
        instr.mb += (uint32_t)(steps_on * plan_step_numbers(p, rank, &instr));
        if (rt_has_version(&instr))
            instr.edge = (uint16_t)(instr.edge + steps_on);
        out->instr[out->n++] = instr;
    }
}

// The last repetition is the body again.
static Stream unrolled(Arena *a, const Plan *p, int rank, int more)
{
    const Stream *s = &p->ranks[rank].train;
    Stream out = {arena_array(a, rt_instr, s->n + more * (s->body_end - s->body)), 0, 0, 0};
    append(p, rank, &out, 0, s->body, 0);
    for (int k = 0; k <= more; k++) {
        out.body = out.n;
        append(p, rank, &out, s->body, s->body_end, k);
    }
    out.body_end = out.n;
    append(p, rank, &out, s->body_end, s->n, more);
    return out;
}

// What lies beyond the drain is left out.
static Stream shortened(Arena *a, const Plan *p, int rank, int steps)
{
    const Stream *s = &p->ranks[rank].train;
    Stream out = {.instr = arena_array(a, rt_instr, s->n)};
    for (int i = 0; i < s->n; i++)
        if ((int)s->instr[i].mb < steps * plan_step_numbers(p, rank, &s->instr[i]))
            out.instr[out.n++] = s->instr[i];
    return out;
}

Plan schedule_of_steps(Arena *a, const Plan *p, int steps)
{
    Plan q = *p;
    int more = steps - plan_stream_steps(p, false);
    q.ranks = arena_copy(a, p->ranks, sizeof *p->ranks * (size_t)p->n_ranks);
    for (int r = 0; r < p->n_ranks; r++)
        q.ranks[r].train = more > 0 ? unrolled(a, p, r, more) : shortened(a, p, r, steps);
    q.stream_steps = steps;
    return q;
}
