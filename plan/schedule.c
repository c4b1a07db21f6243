// From an order of micro-batches to the streams of all stages. The order is the schedule's; what
// stands around a FORWARD or BACKWARD follows from the edges alone: before an instruction a stage
// receives what it touches first and acquires what it writes, after it releases what it touched last
// and sends what it wrote. Releases come before sends: whoever hears of a message then knows that its
// sender holds nothing older, which saves a slot (plan/slots.c).
#include "plan/schedule.h"

#include "base/diag.h"
#include "base/vec.h"

#include <string.h>

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int flight_1f1b(int stages, int stage, int micro_batches)
{
    return least(micro_batches, stages - stage);
}

static int flight_gpipe(int stages, int stage, int micro_batches)
{
    (void)stages, (void)stage;
    return micro_batches;
}

void schedule_alternate(int flight, int micro_batches, rt_instr *out)
{
    for (int i = 0; i < micro_batches + flight - 1; i++) {
        int back = i - (flight - 1);
        if (i < micro_batches)
            *out++ = (rt_instr){RT_FORWARD, RT_NO_EDGE, (uint32_t)i};
        if (back >= 0)
            *out++ = (rt_instr){RT_BACKWARD, RT_NO_EDGE, (uint32_t)back};
    }
}

// Narayanan et al., "PipeDream", SOSP 2019, with the flush of "Memory-Efficient Pipeline-Parallel DNN
// Training", ICML 2021.
static void order_1f1b(int stages, int stage, int micro_batches, rt_instr *out)
{
    schedule_alternate(flight_1f1b(stages, stage, micro_batches), micro_batches, out);
}

// Huang et al., "GPipe", NeurIPS 2019; backward in ascending order, so that gradients add up as in
// every other schedule.
static void order_gpipe(int stages, int stage, int micro_batches, rt_instr *out)
{
    (void)stages, (void)stage;
    schedule_alternate(micro_batches, micro_batches, out);
}

const ScheduleInfo schedule_info[] = {
    {"1f1b", "one forward, one backward in turn: few micro-batches in flight", flight_1f1b,
     order_1f1b},
    {"gpipe", "all forwards, then all backwards: every micro-batch in flight", flight_gpipe,
     order_gpipe},
};
const int n_schedules = sizeof schedule_info / sizeof *schedule_info;

const ScheduleInfo *schedule_find(const char *name)
{
    for (int i = 0; i < n_schedules; i++)
        if (!strcmp(schedule_info[i].name, name))
            return &schedule_info[i];
    return NULL;
}

typedef VEC(rt_instr) InstrList;

typedef struct Writer {
    Arena *arena;
    const Plan *plan;
    int stage;
    bool eval;
    int *mine, n_mine; // edges that this stage touches in these streams
    InstrList out;
} Writer;

static int first_touch(int touch)
{
    return touch & -touch;
}

static int last_touch(int touch)
{
    while (touch & (touch - 1))
        touch &= touch - 1;
    return touch;
}

// Appends `opcode` for every edge that this stage consumes (or produces) and that `bit` begins (or
// ends).
static void messages(Writer *w, rt_opcode opcode, bool producer, int (*end)(int), int bit,
                     uint32_t mb)
{
    for (int k = 0; k < w->n_mine; k++) {
        const PlanEdge *e = &w->plan->edges[w->mine[k]];
        if ((e->producer == w->stage) == producer && end(e->touch[w->stage]) == bit)
            vec_push(w->arena, &w->out,
                     ((rt_instr){(uint8_t)opcode, (uint16_t)w->mine[k], mb}));
    }
}

static void run(Writer *w, rt_opcode opcode, uint32_t mb)
{
    int bit = 1 << opcode;
    messages(w, RT_RECV, false, first_touch, bit, mb);
    messages(w, RT_ACQUIRE, true, first_touch, bit, mb);
    vec_push(w->arena, &w->out, ((rt_instr){(uint8_t)opcode, RT_NO_EDGE, mb}));
    messages(w, RT_RELEASE, false, last_touch, bit, mb);
    messages(w, RT_SEND, true, first_touch, bit, mb);
}

static Writer writer(Arena *perm, Arena *scratch, const Plan *p, int stage, bool eval)
{
    Writer w = {.arena = perm, .plan = p, .stage = stage, .eval = eval};
    w.mine = arena_array(scratch, int, p->n_edges);
    for (int e = 0; e < p->n_edges; e++)
        if (p->edges[e].eval == eval && p->edges[e].touch[stage])
            w.mine[w.n_mine++] = e;
    return w;
}

// The stage that owns the inputs reads them just before it needs them.
static Stream write_train(Arena *perm, Arena *scratch, const Plan *p, const ScheduleInfo *s,
                          int stage)
{
    Writer w = writer(perm, scratch, p, stage, false);
    int micro_batches = (int)p->options.micro_batches;
    rt_instr *order = arena_array(scratch, rt_instr, 2 * micro_batches);
    s->order(p->n_stages, stage, micro_batches, order);
    for (int i = 0; i < 2 * micro_batches; i++) {
        if (stage == 0 && order[i].opcode == RT_FORWARD)
            run(&w, RT_LOAD, order[i].mb);
        run(&w, order[i].opcode, order[i].mb);
    }
    if (p->norm_parts) {
        run(&w, RT_NORM_GATHER, 0);
        run(&w, RT_NORM_APPLY, 0);
    }
    run(&w, RT_UPDATE, 0);
    return (Stream){w.out.items, w.out.n};
}

static Stream write_eval(Arena *perm, Arena *scratch, const Plan *p, int stage)
{
    Writer w = writer(perm, scratch, p, stage, true);
    for (uint32_t mb = 0; mb < (uint32_t)p->options.micro_batches; mb++) {
        if (stage == 0)
            run(&w, RT_LOAD, mb);
        run(&w, RT_EVAL, mb);
    }
    return (Stream){w.out.items, w.out.n};
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
    const ScheduleInfo *s = schedule_find(p->options.schedule);
    CHECK(s, "schedule", "no generator for %s", p->options.schedule);
    for (int i = 0; i < p->n_stages; i++) {
        PlanStage *stage = &p->stages[i];
        stage->in_flight = s->in_flight(p->n_stages, i, (int)p->options.micro_batches);
        stage->train = write_train(perm, scratch, p, s, i);
        stage->eval = write_eval(perm, scratch, p, i);
    }
    edges_choose_slots(scratch, p);
    choose_eval_slots(p);
}

// A message a micro-batch, but for those of the clip norm.
void schedule_micro_batches(Arena *perm, Arena *scratch, Plan *p, int micro_batches)
{
    p->options.batch = p->options.batch / p->options.micro_batches * micro_batches;
    p->options.micro_batches = micro_batches;
    for (int e = 0; e < p->n_edges; e++)
        if (p->edges[e].node >= 0)
            p->edges[e].per_step = micro_batches;
    schedule_write(perm, scratch, p);
    for (int i = 0; i < p->n_stages; i++) {
        PlanStage *s = &p->stages[i];
        s->edge_bytes = 0;
        for (int e = 0; e < p->n_edges; e++)
            if (p->edges[e].producer == s->id)
                s->edge_bytes += p->edges[e].slots * ((p->edges[e].bytes + 63) / 64 * 64);
    }
}
