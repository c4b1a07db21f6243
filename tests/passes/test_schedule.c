// Schedules as properties of random models: an interpreter of its own runs the streams in random
// interleavings, with a tag in every slot, and sees whether each instruction finds the message that it
// means, and the weights.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/random_model.h"

#include <stdio.h>

typedef struct Machine {
    const Plan *p;
    bool eval;
    int steps;
    int64_t (*tag)[64];        // [edge][slot]: the message that lies there
    int64_t *sent, **released; // [edge], [edge][rank]
    int64_t (*weights)[64]; // [rank][slot]: which update made what lies there, of all streams
    int at[64];
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

static void step(Machine *m, int s)
{
    const rt_instr *i = &stream_of(m, s)->instr[m->at[s] % stream_of(m, s)->n];
    versions(m, s, i);
    if (i->opcode == RT_SEND)
        m->sent[i->edge]++;
    if (i->opcode == RT_RELEASE)
        m->released[i->edge][s]++;
    if (i->opcode > RT_RELEASE)
        compute(m, s, i);
    m->at[s]++;
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

enum { N_THEORIES = 5, ASYNCHRONOUS = 2 };
static const Theory theories[] = {{"gpipe", none},
                                  {"1f1b", none},
                                  {"pipedream", own_depth},
                                  {"pipedream-vertical", whole_depth},
                                  {"pipedream-2bw", a_step}};

static bool computes(const rt_instr *i)
{
    return i->opcode == RT_FORWARD || i->opcode == RT_BACKWARD || i->opcode == RT_UPDATE;
}

// Forwards, backwards and updates of a rank as they must be, one after the other.
static void check_orders(const Plan *p, const Theory *theory)
{
    int per_step = (int)p->options.micro_batches;
    for (int r = 0; r < p->n_ranks; r++) {
        const Stream *stream = &p->ranks[r].train;
        int s = p->ranks[r].stage, replica = p->ranks[r].replica;
        const PlanStage *stage = &p->stages[s];
        int own = per_step / stage->replicas + (replica < per_step % stage->replicas);
        int all = own * p->stream_steps, behind = p->n_ranks - stage->first_rank;
        int depth = (behind + stage->replicas - 1) / stage->replicas;
        depth = strcmp(theory->name, "gpipe") != 0 ? depth : all;
        int lag = theory->lag(p, r, per_step), forward = 0, backward = 0, updated = 0;
        int flight = depth < all ? depth : all;
        for (int k = 0; k < stream->n; k++) {
            const rt_instr *i = &stream->instr[k];
            if (!computes(i))
                continue;
            int expected =
                forward < all && forward - backward < flight ? RT_FORWARD : RT_BACKWARD;
            if (backward == (updated + 1) * own)
                expected = RT_UPDATE;
            assert_int_equal(i->opcode, expected);
            int turn = expected == RT_FORWARD ? forward++ : backward;
            backward += expected == RT_BACKWARD;
            int mb =
                expected == RT_UPDATE ? updated++ * per_step : replica + stage->replicas * turn;
            int version = mb > lag ? (mb - lag) / per_step : 0;
            version = expected == RT_UPDATE ? updated : version;
            assert_int_equal(i->mb, mb);
            assert_int_equal(rt_version(i), lag < 0 ? RT_NO_VERSION : version);
        }
        assert_int_equal(forward, all);
        assert_int_equal(backward, all);
        assert_int_equal(updated, p->stream_steps);
        assert_in_range(flight, 1, stage->in_flight);
    }
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

// As the runtime leaves out what lies beyond the drain.
static Plan shortened(Arena *a, const Plan *p, int steps)
{
    Plan q = *p;
    q.ranks = arena_copy(a, p->ranks, sizeof *p->ranks * (size_t)p->n_ranks);
    q.stream_steps = steps;
    for (int r = 0; r < p->n_ranks; r++) {
        const Stream *from = &p->ranks[r].train;
        Stream *to = &q.ranks[r].train;
        *to = (Stream){.instr = arena_array(a, rt_instr, from->n)};
        for (int k = 0; k < from->n; k++)
            if ((int)from->instr[k].mb < steps * plan_step_numbers(p, r, &from->instr[k]))
                to->instr[to->n++] = from->instr[k];
    }
    return q;
}

// Asynchronous streams of any length between two drains.
static void check_lengths(const Plan *p, const Theory *theory)
{
    Arena a = {0};
    Plan longer = schedule_unrolled(&a, p, p->stream_steps + 1 + random_below(5));
    Plan shorter = shortened(&a, p, 1 + random_below(p->stream_steps));
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
                p->stages[s].send_s = random_below(100);
            }
            double bounded = plan_simulate(p);
            for (int e = 0; e < p->n_edges; e++) {
                chosen[e] = p->edges[e].slots;
                p->edges[e].slots = 1000;
            }
            assert_true(plan_simulate(p) == bounded);
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

// The bubbles of a balanced pipeline: (M + S - 1) (f + b) where transfers are free.
static void predicts_the_textbook_time(void **state)
{
    (void)state;
    random_state = 11;
    Model *m = random_model(12, 0);
    for (int gpipe = 0; gpipe < 2; gpipe++) {
        plan_random_model(m, 4, 8, gpipe ? "gpipe" : "1f1b");
        for (int s = 0; s < 4; s++) {
            m->plan.stages[s].forward_s = 1;
            m->plan.stages[s].backward_s = 2;
            m->plan.stages[s].send_s = m->plan.stages[s].update_s = 0;
        }
        assert_true(plan_simulate(&m->plan) == (8 + 4 - 1) * 3);
    }
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

static void refuses(const Plan *p, const char *what)
{
    char why[512] = "nothing";
    bool good = plan_verify_streams(p, false, why, sizeof why);
    if (good || !strstr(why, what))
        fail_msg("expected \"%s\", got \"%s\"", what, why);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_schedules), cmocka_unit_test(slots_never_stall),
        cmocka_unit_test(slots_are_few), cmocka_unit_test(parts_are_checked),
        cmocka_unit_test(predicts_the_textbook_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
