// Schedules as properties of random models: an interpreter of its own runs the streams in random
// interleavings, with a tag in every slot, and sees whether each instruction finds the message that it
// means, and the weights.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/simulate.h"
#include "tests/passes/random_model.h"

#include <math.h>
#include <stdio.h>

typedef struct Machine {
    const Plan *p;
    bool eval;
    int steps;
    int64_t (*tag)[64];        // [edge][slot]: the message that lies there
    int64_t *sent, **released; // [edge], [edge][rank]
    int64_t (*weights)[64]; // [rank][slot]: which update made what lies there, of all streams
    int at[64];
    // By machine, where each has several stages: whose turn it is; micro-batches between forward and backward.
    int turn[64], working[64], most[64];
} Machine;

static const Stream *stream_of(const Machine *m, int s)
{
    return m->eval ? &m->p->ranks[s].eval : &m->p->ranks[s].train;
}

static int64_t message(const Machine *m, int s, int e, const rt_instr *i)
{
    const PlanEdge *edge = &m->p->edges[e];
    int stream = m->at[s] / stream_of(m, s)->n;
    assert_int_equal((int)i->mb % edge->stride, edge->first);
    return (int64_t)stream * plan_messages(m->p, edge) + (int)i->mb / edge->stride;
}

static bool ready(const Machine *m, int s, const rt_instr *i)
{
    if (i->opcode == RT_RECV)
        return m->sent[i->edge] > message(m, s, i->edge, i);
    if (i->opcode != RT_ACQUIRE)
        return true;
    const PlanEdge *e = &m->p->edges[i->edge];
    for (int c = 0; c < e->n_consumers; c++)
        if (m->released[i->edge][e->consumers[c]] <= message(m, s, i->edge, i) - e->slots)
            return false;
    return true;
}

// The producer's first touch writes the tag; every other touch must find it.
static void compute(Machine *m, int s, const rt_instr *i)
{
    for (int k = 0; k < m->p->n_edges; k++) {
        const PlanEdge *e = &m->p->edges[k];
        uint32_t touch = e->eval == m->eval ? e->touch[s] : 0;
        if (!(touch & 1u << i->opcode) || (int)i->mb % e->stride != e->first)
            continue;
        int64_t seq = message(m, s, k, i), *tag = &m->tag[k][seq % e->slots];
        if (e->producer == s && (touch & -touch) == 1u << i->opcode)
            *tag = seq;
        assert_int_equal(*tag, seq);
    }
}

// An update makes a version from the one before it; at the end of a stream the newest becomes the first.
static void versions(Machine *m, int s, const rt_instr *i)
{
    int slots = m->p->stages[m->p->ranks[s].stage].versions,
        stream = m->at[s] / stream_of(m, s)->n;
    int64_t first = (int64_t)stream * m->p->stream_steps, *at = m->weights[s];
    if (!rt_has_version(i))
        return;
    int made = i->opcode == RT_UPDATE ? rt_version(i) - 1 : rt_version(i);
    assert_int_equal(at[made % slots], first + made);
    if (i->opcode == RT_UPDATE)
        at[rt_version(i) % slots] = first + rt_version(i);
    if (m->at[s] % stream_of(m, s)->n == stream_of(m, s)->n - 1)
        at[0] = at[m->p->stream_steps % slots];
}

// One stage of a machine at a time.
static void take_turns(Machine *m, int s, const rt_instr *i)
{
    int machines = schedule_machines(&m->p->options, m->p->n_ranks), here = s % machines;
    bool forward = i->opcode == RT_FORWARD, backward = i->opcode == RT_BACKWARD;
    if (machines == m->p->n_ranks || m->eval)
        return;
    if (i->opcode == RT_RECV && m->p->edges[i->edge].producer % machines == here &&
        !m->p->edges[i->edge].touch[s])
        m->turn[here] = s;
    if (forward || backward)
        assert_int_equal(m->turn[here], s);
    m->working[here] += forward - backward;
    m->most[here] = m->working[here] > m->most[here] ? m->working[here] : m->most[here];
}

static void step(Machine *m, int s)
{
    const rt_instr *i = &stream_of(m, s)->instr[m->at[s] % stream_of(m, s)->n];
    take_turns(m, s, i);
    versions(m, s, i);
    if (i->opcode == RT_SEND)
        m->sent[i->edge]++;
    if (i->opcode == RT_RELEASE)
        m->released[i->edge][s]++;
    if (i->opcode > RT_RELEASE)
        compute(m, s, i);
    m->at[s]++;
}

// A machine has no more micro-batches in work than the authors of interleaved 1F1B say.
static void check_machines(const Machine *m)
{
    int parts = (int)m->p->options.virtual_stages, machines = m->p->n_ranks / parts;
    for (int i = 0; i < machines && parts > 1 && !m->eval; i++) {
        int most = (parts - 1) * machines + 2 * (machines - i - 1) + 1;
        int all = parts * (int)m->p->options.micro_batches;
        assert_int_equal(m->most[i], most < all ? most : all);
    }
}

static void interpret(const Plan *p, bool eval)
{
    Arena a = {0};
    Machine m = {.p = p, .eval = eval, .steps = 3};
    m.tag = arena_alloc(&a, sizeof *m.tag * (size_t)(p->n_edges + 1));
    m.sent = arena_array(&a, int64_t, p->n_edges);
    m.released = arena_array(&a, int64_t *, p->n_edges);
    m.weights = arena_alloc(&a, sizeof *m.weights * (size_t)p->n_ranks);
    for (int e = 0; e < p->n_edges; e++) {
        assert_in_range(p->edges[e].slots, 1, 63);
        m.released[e] = arena_array(&a, int64_t, p->n_ranks);
    }
    int left = 0;
    for (int s = 0; s < p->n_ranks; s++)
        m.turn[s] = s; // the first of each machine's
    for (int s = 0; s < p->n_ranks; s++)
        left += stream_of(&m, s)->n * m.steps;
    for (int idle = 0; left;) {
        int s = random_below(p->n_ranks), end = stream_of(&m, s)->n * m.steps;
        idle++;
        assert_true(idle < 10000);
        if (m.at[s] < end &&
            ready(&m, s, &stream_of(&m, s)->instr[m.at[s] % stream_of(&m, s)->n])) {
            step(&m, s);
            left--;
            idle = 0;
        }
    }
    check_machines(&m);
    arena_release(&a);
}

// The published ones: how many micro-batches ago the weights were made that a micro-batch sees (-1: no
// versions), and how many versions live then.
typedef struct Theory {
    const char *name;
    int (*lag)(const Plan *p, int rank, int per_step);
} Theory;

static int none(const Plan *p, int rank, int per_step)
{
    (void)p, (void)rank, (void)per_step;
    return -1;
}

static int own_depth(const Plan *p, int rank, int per_step)
{
    (void)per_step;
    const PlanStage *s = &p->stages[p->ranks[rank].stage];
    int depth = (p->n_ranks - s->first_rank + s->replicas - 1) / s->replicas;
    return s->replicas * (depth - 1) + p->ranks[rank].replica;
}

static int whole_depth(const Plan *p, int rank, int per_step)
{
    (void)rank, (void)per_step;
    return p->n_stages - 1;
}

static int a_step(const Plan *p, int rank, int per_step)
{
    (void)p, (void)rank;
    return per_step;
}

enum { N_THEORIES = 6, ASYNCHRONOUS = 3 };
static const Theory theories[] = {{"gpipe", none},
                                  {"1f1b", none},
                                  {"zb-h1", none},
                                  {"pipedream", own_depth},
                                  {"pipedream-vertical", whole_depth},
                                  {"pipedream-2bw", a_step}};

static bool computes(const rt_instr *i)
{
    return i->opcode == RT_FORWARD || i->opcode == RT_BACKWARD ||
           i->opcode == RT_BACKWARD_WEIGHT || i->opcode == RT_UPDATE;
}

// What a rank has run so far, and how many micro-batches may be between what.
typedef struct Turn {
    int forward, backward, weight, updated;
    int all, own; // micro-batches of the stream, of a step
    int flight, late,
        whole; // forward to backward; the pass of the weights behind; the whole of it
    bool splits;
} Turn;

// ZB-H1: every stage has as many micro-batches in work as the first one of 1F1B, those that it is nearer
// to the end than that one wait for their gradients of weights.
static Turn first_turn(const Plan *p, const Theory *theory, int rank)
{
    const PlanStage *stage = &p->stages[p->ranks[rank].stage];
    int per_step = (int)p->options.micro_batches, replica = p->ranks[rank].replica;
    Turn t = {.own = per_step / stage->replicas + (replica < per_step % stage->replicas)};
    t.all = t.own * p->stream_steps;
    int depth = (p->n_ranks - stage->first_rank + stage->replicas - 1) / stage->replicas;
    int whole = (p->n_ranks + stage->replicas - 1) / stage->replicas;
    depth = strcmp(theory->name, "gpipe") != 0 ? depth : t.all;
    t.splits = !strcmp(theory->name, "zb-h1");
    t.flight = depth < t.all ? depth : t.all;
    t.whole = !t.splits ? t.flight : whole < t.all ? whole : t.all;
    t.late = t.whole - t.flight;
    return t;
}

static int next_opcode(const Turn *t)
{
    if ((t->splits ? t->weight : t->backward) == (t->updated + 1) * t->own)
        return RT_UPDATE;
    if (t->splits && t->backward - t->weight > t->late)
        return RT_BACKWARD_WEIGHT;
    if (t->forward < t->all && t->forward - t->backward < t->flight)
        return RT_FORWARD;
    return t->backward < t->all ? RT_BACKWARD : RT_BACKWARD_WEIGHT;
}

static int take_turn(Turn *t, int opcode)
{
    int *count = opcode == RT_FORWARD    ? &t->forward
                 : opcode == RT_BACKWARD ? &t->backward
                 : opcode == RT_UPDATE   ? &t->updated
                                         : &t->weight;
    return (*count)++;
}

// Forwards, backwards and updates of a rank as they must be, one after the other.
static void check_order(const Plan *p, const Theory *theory, int rank)
{
    int per_step = (int)p->options.micro_batches, most = 0;
    const Stream *stream = &p->ranks[rank].train;
    const PlanStage *stage = &p->stages[p->ranks[rank].stage];
    int lag = theory->lag(p, rank, per_step);
    Turn t = first_turn(p, theory, rank);
    for (int k = 0; k < stream->n; k++) {
        const rt_instr *i = &stream->instr[k];
        if (!computes(i))
            continue;
        int expected = next_opcode(&t), turn = take_turn(&t, expected);
        assert_int_equal(i->opcode, expected);
        int mb = p->ranks[rank].replica + stage->replicas * turn;
        mb = expected == RT_UPDATE ? turn * per_step : mb;
        int version = mb > lag ? (mb - lag) / per_step : 0;
        version = expected == RT_UPDATE ? t.updated : version;
        assert_int_equal(i->mb, mb);
        assert_int_equal(rt_version(i), lag < 0 ? RT_NO_VERSION : version);
        int in_flight = t.forward - (t.splits ? t.weight : t.backward);
        most = in_flight > most ? in_flight : most;
    }
    assert_int_equal(t.forward, t.all);
    assert_int_equal(t.backward, t.all);
    assert_int_equal(t.weight, t.splits ? t.all : 0);
    assert_int_equal(t.updated, p->stream_steps);
    assert_int_equal(most, t.whole);
    assert_in_range(most, 1, stage->in_flight);
    if (lag < 0 &&
        p->ranks[rank].replica == 0) // of the most micro-batches: memory holds no more
        assert_int_equal(stage->in_flight, most);
}

static void check_orders(const Plan *p, const Theory *theory)
{
    for (int r = 0; r < p->n_ranks; r++)
        check_order(p, theory, r);
}

// From the oldest version that any later instruction reads to the newest.
static int live_versions(const Stream *s)
{
    int most = 1, updated = 0;
    for (int k = 0; k < s->n; k++) {
        int oldest = updated = s->instr[k].opcode == RT_UPDATE ? updated + 1 : updated;
        for (int later = k + 1; later < s->n; later++) {
            const rt_instr *i = &s->instr[later];
            if (computes(i) && i->opcode != RT_UPDATE && rt_version(i) < oldest)
                oldest = rt_version(i);
        }
        most = updated - oldest + 1 > most ? updated - oldest + 1 : most;
    }
    return most;
}

static void check_versions(const Plan *p, const Theory *theory)
{
    int per_step = (int)p->options.micro_batches;
    for (int s = 0; s < p->n_stages; s++) {
        int lag = theory->lag(p, p->stages[s].first_rank, per_step);
        int versions = 1 + (lag + per_step - 1) / per_step;
        assert_int_equal(p->stages[s].versions, lag < 0 ? 1 : versions);
        assert_int_equal(live_versions(&p->ranks[p->stages[s].first_rank].train),
                         lag < 0 ? 1 : versions);
        if (per_step == 1 && !strcmp(theory->name, "pipedream") && p->n_ranks == p->n_stages)
            assert_int_equal(versions, p->n_stages - s); // PipeDream's own words
    }
}

// Asynchronous streams of any length between two drains.
static void check_lengths(const Plan *p, const Theory *theory)
{
    Arena a = {0};
    Plan longer = schedule_of_steps(&a, p, p->stream_steps + 1 + random_below(5));
    Plan shorter = schedule_of_steps(&a, p, 1 + random_below(p->stream_steps));
    const Plan *plans[] = {&longer, &shorter};
    for (int i = 0; i < 2; i++) {
        check_orders(plans[i], theory);
        interpret(plans[i], false);
    }
    check_versions(&longer, theory);
    arena_release(&a);
}

static void random_schedules(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        random_state = (uint64_t)round * 7919 + 1;
        Model *m = random_model(8 + random_below(16), 0);
        int kind = random_below(N_THEORIES);
        int stages = 1 + random_below(8), micro_batches = 1 + random_below(round % 2 ? 16 : 3);
        if (theories[kind].lag == a_step && micro_batches < stages - 1)
            micro_batches = stages - 1;
        m->options.clip_norm = kind < ASYNCHRONOUS && random_below(2);
        if (theories[kind].lag == own_depth && round % 3) { // each step is dealt out alike
            micro_batches = round % 2 ? 6 : 2 * (1 + random_below(4));
            random_replicas(m, round % 2 ? 3 : 2, micro_batches);
        } else if (kind < ASYNCHRONOUS && round % 3)
            random_replicas(m, 4, micro_batches);
        plan_random_model(m, stages, micro_batches, theories[kind].name);
        assert_int_equal(m->plan.n_stages, stages);
        check_orders(&m->plan, &theories[kind]);
        interpret(&m->plan, false);
        interpret(&m->plan, true);
        if (kind >= ASYNCHRONOUS)
            check_lengths(&m->plan, &theories[kind]);
        free_model(m);
    }
}

static void random_interleaved(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        random_state = (uint64_t)round * 15485863 + 1;
        int machines = 1 + random_below(4), parts = 2 + random_below(3);
        Model *m = random_model(machines * parts + random_below(16), 0);
        m->options.virtual_stages = parts;
        m->options.clip_norm = random_below(2);
        plan_random_model(m, machines * parts, machines * (1 + random_below(5)), "interleaved");
        assert_int_equal(m->plan.n_stages, machines * parts);
        interpret(&m->plan, false);
        interpret(&m->plan, true);
        free_model(m);
    }
}

// From the first forward to the last update: behind it slots may be short, as they are sized for a step.
static double first_step(const Plan *p)
{
    Arena a = {0};
    char why[256];
    const Simulation *s = simulation_run(&a, p, &(SimOptions){.steps = 1}, why, sizeof why);
    assert_non_null(s);
    double seconds = s->end_s;
    arena_release(&a);
    return seconds;
}

// With any times, rings without bound would not be faster.
static void slots_never_stall(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        random_state = (uint64_t)round * 104729 + 1;
        Model *m = random_model(8 + random_below(16), 0);
        Plan *p = &m->plan;
        int kind = random_below(N_THEORIES), micro_batches = 1 + random_below(16);
        if (kind >= ASYNCHRONOUS && micro_batches < 6)
            micro_batches = 6;
        if (kind < ASYNCHRONOUS && round % 2)
            random_replicas(m, 3, micro_batches);
        plan_random_model(m, 2 + random_below(6), micro_batches, theories[kind].name);
        for (int times = 0; times < 10; times++) {
            int chosen[4096];
            for (int s = 0; s < p->n_stages; s++) {
                p->stages[s].forward_s = random_below(1000);
                p->stages[s].backward_s = random_below(1000);
                p->stages[s].weight_s = 0;
                if (schedule_splits(&p->options))
                    p->stages[s].weight_s = random_below((int)p->stages[s].backward_s + 1);
                p->stages[s].send_s = random_below(100);
            }
            double bounded = first_step(p);
            for (int e = 0; e < p->n_edges; e++) {
                chosen[e] = p->edges[e].slots;
                p->edges[e].slots = 1000;
            }
            assert_true(first_step(p) == bounded);
            for (int e = 0; e < p->n_edges; e++)
                p->edges[e].slots = chosen[e];
        }
        free_model(m);
    }
}

// No edge has more slots than its ends have micro-batches in flight, and one that is under way.
static void slots_are_few(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        random_state = (uint64_t)round * 31337 + 1;
        random_frozen =
            random_below(2) * 6; // stages without backward run ahead as far as they may
        Model *m = random_model(12, 0);
        random_frozen = 0;
        plan_random_model(m, 1 + random_below(6), 16, "1f1b");
        const Plan *p = &m->plan;
        for (int i = 0; i < p->n_edges; i++) {
            const PlanEdge *e = &p->edges[i];
            int most = p->stages[p->ranks[e->producer].stage].in_flight;
            for (int c = 0; c < e->n_consumers; c++)
                if (p->stages[p->ranks[e->consumers[c]].stage].in_flight > most)
                    most = p->stages[p->ranks[e->consumers[c]].stage].in_flight;
            assert_in_range(e->slots, 1, e->eval ? 2 : most + 1);
        }
        free_model(m);
    }
}

// Bubbles of balanced pipelines where transfers are free, of F, B of the inputs and W: (S - 1)(F + B + W), and
// (S - 1)(F + B - W) for ZB-H1, where W is no longer than the others; else F or B is what remains. Interleaved
// schedules wait as long with stages that take 1/V of the time.
static void predicts_the_textbook_time(void **state)
{
    (void)state;
    static const PassTimes times[] = {{1, 2, 1},    {2, 5, 2}, {3, 4, 0.5},
                                      {1, 2, 0.25}, {1, 4, 3}, {3, 4, 3}};
    static const char *const schedules[] = {"1f1b", "gpipe", "zb-h1"};
    random_state = 11;
    Model *m = random_model(12, 0);
    for (int round = 0; round < 18; round++) {
        PassTimes t = times[round / 3];
        int zero_bubble = round % 3 == 2, stages = 2 + round % 5, micro_batches = 8 + round;
        plan_random_model(m, stages, micro_batches, schedules[round % 3]);
        for (int s = 0; s < stages; s++) {
            m->plan.stages[s].forward_s = t.forward_s;
            m->plan.stages[s].backward_s = t.backward_s;
            m->plan.stages[s].weight_s = zero_bubble ? t.weight_s : 0;
            m->plan.stages[s].send_s = m->plan.stages[s].update_s = 0;
        }
        double work_s = t.forward_s + t.backward_s, bubble_s = (stages - 1) * work_s;
        if (zero_bubble)
            bubble_s = (stages - 1) * fmax(work_s - 2 * t.weight_s,
                                           fmax(t.forward_s, t.backward_s - t.weight_s));
        char why[256];
        const Simulation *s =
            simulation_run(&m->arena, &m->plan, &(SimOptions){.steps = 1}, why, sizeof why);
        assert_non_null(s);
        assert_true(s->end_s == micro_batches * work_s + bubble_s);
        assert_true(fabs(s->bubble - bubble_s / s->end_s) < 1e-12);
        assert_true(fabs(s->formula - s->bubble) < 1e-12);
    }
    free_model(m);
}

static void interleaving_shortens_the_bubble(void **state)
{
    (void)state;
    random_state = 13;
    for (int round = 0; round < 12; round++) {
        int machines = 2 + round % 3, parts = 2 + round % 2,
            micro_batches = machines * (1 + round / 2);
        Model *m = random_model(machines * parts, 0);
        m->options.virtual_stages = parts;
        plan_random_model(m, machines * parts, micro_batches, "interleaved");
        for (int s = 0; s < machines * parts; s++) {
            m->plan.stages[s].forward_s = 1;
            m->plan.stages[s].backward_s = 2;
            m->plan.stages[s].send_s = m->plan.stages[s].update_s = 0;
        }
        char why[256];
        const Simulation *s =
            simulation_run(&m->arena, &m->plan, &(SimOptions){.steps = 1}, why, sizeof why);
        assert_non_null(s);
        assert_true(s->end_s == micro_batches * parts * 3 + (machines - 1) * 3);
        assert_true(fabs(s->bubble - (machines - 1) * 3 / s->end_s) < 1e-12);
        assert_true(fabs(s->formula - s->bubble) < 1e-12);
        free_model(m);
    }
}

static void refuses(const Plan *p, const char *what)
{
    char why[512] = "nothing";
    bool good = plan_verify_streams(p, false, why, sizeof why);
    if (good || !strstr(why, what))
        fail_msg("expected \"%s\", got \"%s\"", what, why);
}

// The first instruction of the stream that is this one.
static rt_instr *find_instr(Plan *p, int rank, rt_opcode opcode, uint32_t mb)
{
    rt_instr *i = p->ranks[rank].train.instr;
    while (i->opcode != opcode || i->mb != mb)
        i++;
    return i;
}

static void swap(rt_instr *a, rt_instr *b)
{
    rt_instr kept = *a;
    *a = *b;
    *b = kept;
}

static void verifier_counts_weight_passes(void **state)
{
    (void)state;
    random_state = 5;
    Model *m = random_model(12, 0);
    plan_random_model(m, 3, 6, "zb-h1");
    Plan *p = &m->plan;
    char why[256];
    assert_true(plan_verify_streams(p, false, why, sizeof why));
    p->stages[2].in_flight--;
    refuses(p, "more than 2 micro-batches in flight");
    p->stages[2].in_flight++;
    swap(find_instr(p, 0, RT_BACKWARD, 1), find_instr(p, 0, RT_BACKWARD_WEIGHT, 1));
    refuses(p, "its backward has not run");
    swap(find_instr(p, 0, RT_BACKWARD, 1), find_instr(p, 0, RT_BACKWARD_WEIGHT, 1));
    swap(find_instr(p, 1, RT_BACKWARD_WEIGHT, 2), find_instr(p, 1, RT_BACKWARD_WEIGHT, 3));
    refuses(p, "micro-batches out of order");
    swap(find_instr(p, 1, RT_BACKWARD_WEIGHT, 2), find_instr(p, 1, RT_BACKWARD_WEIGHT, 3));
    swap(find_instr(p, 1, RT_BACKWARD_WEIGHT, 5), find_instr(p, 1, RT_UPDATE, 0));
    refuses(p, "gradients of 1 micro-batches are missing");
    swap(find_instr(p, 1, RT_BACKWARD_WEIGHT, 5), find_instr(p, 1, RT_UPDATE, 0));
    p->options.schedule = "1f1b";
    refuses(p, "the schedule does not split backward");
    free_model(m);
}

static int find_opcode(const Stream *s, int from, rt_opcode opcode)
{
    while (from < s->n && s->instr[from].opcode != opcode)
        from++;
    return from;
}

static void move_instr(Stream *s, int from, int to)
{
    rt_instr i = s->instr[from];
    for (; from < to; from++)
        s->instr[from] = s->instr[from + 1];
    for (; from > to; from--)
        s->instr[from] = s->instr[from - 1];
    s->instr[to] = i;
}

// Backward in parts: each bucket behind its own, nothing else between them.
static void parts_are_checked(void **state)
{
    (void)state;
    random_state = 77;
    Model *m = random_model(16, 0);
    random_replicas(m, 1, 4);
    m->replicas[0] = 2;
    m->c.bucket_bytes = 256;
    plan_random_model(m, 2, 4, "1f1b");
    const Plan *p = &m->plan;
    Stream *s = &p->ranks[0].train;
    char why[512];
    assert_true(p->stages[0].n_parts > 2);
    assert_true(plan_verify_streams(p, false, why, sizeof why));
    int part = find_opcode(s, 0, RT_BACKWARD_PART);
    int put = find_opcode(s, part, RT_REDUCE_PUT), last = find_opcode(s, part, RT_BACKWARD);
    assert_true(put < last && last < s->n);

    move_instr(s, part, put);
    refuses(p, "gradients of 1 micro-batches are missing");
    move_instr(s, put, part);

    int forward = find_opcode(s, 0, RT_FORWARD);
    while (find_opcode(s, forward + 1, RT_FORWARD) < part)
        forward = find_opcode(s, forward + 1, RT_FORWARD);
    move_instr(s, part, forward);
    refuses(p, "");
    move_instr(s, forward, part);

    move_instr(s, part, s->n - 1);
    s->n--;
    refuses(p, "");
    s->n++;
    move_instr(s, s->n - 1, part);
    s->instr[part].opcode = RT_BACKWARD;
    refuses(p, "");
    s->instr[part].opcode = RT_BACKWARD_PART;
    assert_true(plan_verify_streams(p, false, why, sizeof why));
    free_model(m);
}

// As another command finds it.
static Plan *read_again(Model *m)
{
    char *text = plan_to_json(&m->plan);
    Plan *p = plan_from_json(&m->arena, "plan.json", text);
    free(text);
    assert_non_null(p);
    assert_int_equal(plan_hash(p), plan_hash(&m->plan));
    return p;
}

// A replica has its share of the micro-batches, however many there are.
static void plans_with_replicas_are_read(void **state)
{
    (void)state;
    static const char *const schedules[] = {"pipedream", "1f1b", "zb-h1"};
    for (int i = 0; i < 6; i++) {
        random_state = 31;
        Model *m = random_model(12, 0);
        int stages = i % 2 ? 3 : 1;
        random_replicas(m, 1, 48);
        m->replicas[stages - 1] = 3;
        plan_random_model(m, stages, 48, schedules[i / 2]);
        read_again(m);
        free_model(m);
    }
}

// One bucket of gradients is one part of backward, whether plan.json says so or not.
static void gradients_wait_for_backward(void **state)
{
    (void)state;
    random_state = 77;
    Model *m = random_model(16, 0);
    random_replicas(m, 1, 4);
    m->replicas[0] = 2;
    m->c.bucket_bytes = 1 << 20;
    plan_random_model(m, 2, 4, "1f1b");
    assert_int_equal(m->plan.stages[0].n_parts, 1);
    Plan *plans[] = {&m->plan, read_again(m)};
    for (int i = 0; i < 2; i++) {
        const Plan *p = plans[i];
        Stream *s = &p->ranks[1].train; // the bucket is the other's
        int last = 0, put = s->n - 1;
        for (int k = 0; k < s->n; k++)
            last = s->instr[k].opcode == RT_BACKWARD ? k : last;
        while (put > last && s->instr[put].opcode != RT_REDUCE_PUT)
            put--;
        assert_true(put > last);
        assert_int_equal(s->instr[put - 1].opcode, RT_ACQUIRE);
        move_instr(s, put - 1, last);
        move_instr(s, put, last + 1);
        refuses(p, "gradients of 1 micro-batches are missing");
    }
    free_model(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_schedules),
                                       cmocka_unit_test(random_interleaved),
                                       cmocka_unit_test(slots_never_stall),
                                       cmocka_unit_test(slots_are_few),
                                       cmocka_unit_test(parts_are_checked),
                                       cmocka_unit_test(plans_with_replicas_are_read),
                                       cmocka_unit_test(gradients_wait_for_backward),
                                       cmocka_unit_test(predicts_the_textbook_time),
                                       cmocka_unit_test(interleaving_shortens_the_bubble),
                                       cmocka_unit_test(verifier_counts_weight_passes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
