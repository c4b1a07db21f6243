// Schedules as properties of random models: an interpreter of its own runs the streams in random
// interleavings, with a tag in every slot, and sees whether each instruction finds the message that it
// means.
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
    int64_t *sent, **released; // [edge], [edge][stage]
    int at[64];
} Machine;

static const Stream *stream_of(const Machine *m, int s)
{
    return m->eval ? &m->p->stages[s].eval : &m->p->stages[s].train;
}

static int64_t message(const Machine *m, int s, int e, const rt_instr *i)
{
    int step = m->at[s] / stream_of(m, s)->n, per_step = m->p->edges[e].per_step;
    return (int64_t)step * per_step + (per_step == 1 ? 0 : i->mb);
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
        int touch = e->eval == m->eval ? e->touch[s] : 0;
        if (!(touch & 1 << i->opcode))
            continue;
        int64_t seq = message(m, s, k, i), *tag = &m->tag[k][seq % e->slots];
        if (e->producer == s && (touch & -touch) == 1 << i->opcode)
            *tag = seq;
        assert_int_equal(*tag, seq);
    }
}

static void step(Machine *m, int s)
{
    const rt_instr *i = &stream_of(m, s)->instr[m->at[s] % stream_of(m, s)->n];
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
    for (int e = 0; e < p->n_edges; e++) {
        assert_in_range(p->edges[e].slots, 1, 63);
        m.released[e] = arena_array(&a, int64_t, p->n_stages);
    }
    int left = 0;
    for (int s = 0; s < p->n_stages; s++)
        left += stream_of(&m, s)->n * m.steps;
    for (int idle = 0; left;) {
        int s = random_below(p->n_stages), end = stream_of(&m, s)->n * m.steps;
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

static void check_orders(const Plan *p, int micro_batches, bool gpipe)
{
    for (int s = 0; s < p->n_stages; s++) {
        int forward = 0, backward = 0, most = 0;
        for (int k = 0; k < p->stages[s].train.n; k++) {
            const rt_instr *i = &p->stages[s].train.instr[k];
            if (i->opcode == RT_FORWARD)
                assert_int_equal(i->mb, forward++);
            if (i->opcode == RT_BACKWARD)
                assert_int_equal(i->mb, backward++);
            most = forward - backward > most ? forward - backward : most;
        }
        assert_int_equal(forward, micro_batches);
        assert_int_equal(backward, micro_batches);
        int depth = p->n_stages - s;
        assert_int_equal(most, gpipe || micro_batches < depth ? micro_batches : depth);
        assert_int_equal(most, p->stages[s].in_flight);
    }
}

static void random_schedules(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        random_state = (uint64_t)round * 7919 + 1;
        Model *m = random_model(8 + random_below(16), 0);
        bool gpipe = random_below(2);
        int stages = 1 + random_below(8), micro_batches = 1 + random_below(16);
        m->options.clip_norm = random_below(2);
        plan_random_model(m, stages, micro_batches, gpipe ? "gpipe" : "1f1b");
        assert_int_equal(m->plan.n_stages, stages);
        check_orders(&m->plan, micro_batches, gpipe);
        interpret(&m->plan, false);
        interpret(&m->plan, true);
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
        plan_random_model(m, 2 + random_below(6), 1 + random_below(16),
                          random_below(2) ? "1f1b" : "gpipe");
        for (int times = 0; times < 10; times++) {
            int chosen[1024];
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
            int most = p->stages[e->producer].in_flight;
            for (int c = 0; c < e->n_consumers; c++)
                if (p->stages[e->consumers[c]].in_flight > most)
                    most = p->stages[e->consumers[c]].in_flight;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_schedules), cmocka_unit_test(slots_never_stall),
        cmocka_unit_test(slots_are_few), cmocka_unit_test(predicts_the_textbook_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
