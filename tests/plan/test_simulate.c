// The simulator beside formulas that hold for any pipeline, and beside a longest path through the streams
// that is computed another way.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/schedule.h"
#include "plan/simulate.h"
#include "plan/walk.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static uint64_t random_state = 1;

static int random_below(int n) // xorshift64*
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (int)((random_state * UINT64_C(0x2545f4914f6cdd1d) >> 33) % (uint32_t)n);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b)) + 1e-12;
}

// Stages alone: forward 1 s, backward 2 s.
static Plan *bare(Arena *a, int stages, int micro_batches, const char *schedule)
{
    Plan *p = arena_new(a, Plan);
    p->model = "test";
    p->options = options_default();
    p->options.batch = 4 * micro_batches;
    p->options.micro_batches = micro_batches;
    p->options.schedule = schedule;
    p->n_stages = stages;
    p->stages = arena_array(a, PlanStage, stages);
    for (int s = 0; s < stages; s++)
        p->stages[s] = (PlanStage){.id = s, .replicas = 1, .forward_s = 1, .backward_s = 2};
    return p;
}

static void add_edge(Arena *a, Plan *p, int from, int to, int made, int used)
{
    PlanEdge *e = &p->edges[p->n_edges];
    *e = (PlanEdge){.name = "e",
                    .node = p->n_edges++,
                    .producer = from,
                    .consumers = arena_copy(a, &to, sizeof to),
                    .n_consumers = 1,
                    .bytes = 100,
                    .slots = 1,
                    .stride = 1,
                    .per_step = (int)p->options.micro_batches};
    e->touch = arena_array(a, uint32_t, p->n_stages);
    e->touch[from] = (uint32_t)made;
    e->touch[to] = (uint32_t)used;
}

// Activations to the next stage, gradients back, and some activations that skip stages.
static Plan *chain(Arena *a, int stages, int micro_batches, const char *schedule, int skips)
{
    Plan *p = bare(a, stages, micro_batches, schedule);
    Arena scratch = {0};
    plan_number_ranks(a, p);
    int forward = 1 << RT_FORWARD, backward = 1 << RT_BACKWARD;
    p->edges = arena_array(a, PlanEdge, 2 * stages + skips);
    for (int s = 0; s + 1 < stages; s++) {
        add_edge(a, p, s, s + 1, forward, forward | backward);
        add_edge(a, p, s + 1, s, backward, backward);
    }
    for (int k = 0; k < skips && stages > 2; k++) {
        int from = random_below(stages - 2), to = from + 2 + random_below(stages - from - 2);
        add_edge(a, p, from, to, forward, random_below(2) ? forward : forward | backward);
    }
    schedule_write(a, &scratch, p);
    arena_release(&scratch);
    return p;
}

static const Simulation *simulate(Arena *a, const Plan *p, SimOptions o)
{
    char why[256] = "";
    const Simulation *s = simulation_run(a, p, &o, why, sizeof why);
    assert_string_equal(why, "");
    assert_non_null(s);
    return s;
}

static void bubbles_by_formula(void **state)
{
    (void)state;
    for (int stages = 1; stages <= 6; stages++)
        for (int m = 1; m <= 12; m += 1 + m / 4)
            for (int kind = 0; kind < 8; kind++) {
                Arena a = {0};
                const char *schedule = kind & 1 ? "gpipe" : "1f1b";
                const Plan *p = kind & 2 ? bare(&a, stages, m, schedule)
                                         : chain(&a, stages, m, schedule, 0);
                const Simulation *s = simulate(&a, p, (SimOptions){.steps = kind & 4 ? 3 : 1});
                double formula = (double)(stages - 1) / (m + stages - 1);
                assert_true(near(s->step_s, 3 * (m + stages - 1)));
                assert_true(near(s->bubble, formula));
                assert_true(near(s->formula, formula));
                assert_true(near(s->stages[stages - 1].busy_s, 3 * m));
                for (int i = 0; i < stages; i++) {
                    int depth = kind & 1 || m < stages - i ? m : stages - i;
                    assert_int_equal(s->stages[i].in_flight, depth);
                }
                arena_release(&a);
            }
}

// The same formula with all micro-batches between two drains, whatever the step; and once the pipeline
// is full and before it drains, no stage ever waits.
static void no_bubbles_between_drains(void **state)
{
    (void)state;
    static const char *const names[] = {"pipedream", "pipedream-vertical", "pipedream-2bw"};
    static const int drains[] = {24, 2,
                                 1}; // more steps than a stream is written for, and fewer
    for (int stages = 1; stages <= 6; stages++)
        for (int kind = 0; kind < 27; kind++) {
            Arena a = {0};
            int m = kind / 3 % 3 == 0 ? 5 : kind / 3 % 3 == 1 ? 6 : kind % 3 == 2 ? 8 : 1;
            int drain = drains[kind / 9], all = drain * m;
            Plan *p = chain(&a, stages, m, names[kind % 3], 0);
            p->options.drain_every = drain;
            const Simulation *s = simulate(&a, p, (SimOptions){.steps = 1, .events = true});
            assert_int_equal(s->plan->stream_steps, drain);
            assert_true(near(s->step_s * drain, 3 * (all + stages - 1)));
            assert_true(near(s->formula, (double)(stages - 1) / (all + stages - 1)));
            assert_true(near(s->bubble, s->formula));
            double last[8] = {0};
            for (int64_t i = 0; i < s->n_events; i++) {
                const SimEvent *e = &s->events[i];
                if (e->mb > 2 * (uint32_t)stages &&
                    e->mb + 2 * (uint32_t)stages < (uint32_t)all)
                    assert_true(near(e->begin_s, last[e->worker]));
                last[e->worker] = e->end_s;
            }
            arena_release(&a);
        }
}

// The way of the streams that takes longest, from the order in which the verifier visits them.
typedef struct Longest {
    const Plan *p;
    double *now, **done;
} Longest;

static void visit(void *user, const WalkStep *step)
{
    Longest *l = user;
    const PlanStage *s = &l->p->stages[step->rank];
    double *now = &l->now[step->rank];
    for (int i = 0; i < step->n_waits; i++)
        *now = fmax(*now, l->done[step->waits[i].rank][step->waits[i].at]);
    int op = step->instr->opcode;
    *now += op == RT_FORWARD    ? s->forward_s + s->send_s / 2
            : op == RT_BACKWARD ? s->backward_s + s->send_s / 2
            : op == RT_UPDATE   ? s->update_s
                                : 0;
    l->done[step->rank][step->at] = *now;
}

static double longest_path(Arena *a, const Plan *p, int steps)
{
    Longest l = {p, arena_array(a, double, p->n_stages), arena_array(a, double *, p->n_stages)};
    char why[256];
    double end = 0;
    for (int s = 0; s < p->n_stages; s++)
        l.done[s] = arena_array(a, double, p->ranks[s].train.n *steps);
    assert_true(plan_walk(&(Walk){.plan = p, .steps = steps, .visit = visit, .user = &l}, why,
                          sizeof why));
    for (int s = 0; s < p->n_stages; s++)
        end = fmax(end, l.now[s]);
    return end;
}

static Plan *random_plan(Arena *a)
{
    Plan *p = chain(a, 1 + random_below(7), 1 + random_below(9),
                    random_below(2) ? "1f1b" : "gpipe", random_below(4));
    for (int s = 0; s < p->n_stages; s++) {
        p->stages[s].forward_s = random_below(100) * 1e-3;
        p->stages[s].backward_s = random_below(100) * 1e-3;
        p->stages[s].send_s = random_below(3) ? 0 : random_below(20) * 1e-3;
        p->stages[s].update_s = random_below(50) * 1e-3;
    }
    return p;
}

static double work_of(const Plan *p, int stage)
{
    const PlanStage *s = &p->stages[stage];
    return (double)p->options.micro_batches * (s->forward_s + s->backward_s + s->send_s) +
           s->update_s;
}

static void as_long_as_the_longest_path(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        Arena a = {0};
        random_state = (uint64_t)round * 7919 + 1;
        Plan *p = random_plan(&a);
        int steps = 1 + random_below(3);
        for (int e = 0; e < p->n_edges; e++) // fewer than chosen: stages wait for slots, too
            if (random_below(3) == 0 && p->edges[e].slots > 2)
                p->edges[e].slots--;
        char why[256];
        if (!plan_walk(&(Walk){.plan = p, .steps = steps}, why, sizeof why))
            for (int e = 0; e < p->n_edges; e++) // too few
                p->edges[e].slots = (int)p->options.micro_batches;
        const Simulation *s = simulate(&a, p, (SimOptions){.steps = steps});
        assert_true(near(s->end_s, longest_path(&a, p, steps)));
        for (int i = 0; i < p->n_stages; i++) {
            assert_true(s->step_s > work_of(p, i) * (1 - 1e-9));
            assert_true(near(s->stages[i].busy_s, work_of(p, i)));
            assert_true(near(s->stages[i].busy_s + s->stages[i].wait_s, s->step_s));
            assert_true(near(s->stages[i].shared_s, 0));
        }
        arena_release(&a);
    }
}

static void no_faster_when_times_grow(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        Arena a = {0};
        random_state = (uint64_t)round * 104729 + 1;
        Plan *p = random_plan(&a);
        double before = simulate(&a, p, (SimOptions){.steps = 2})->end_s;
        PlanStage *s = &p->stages[random_below(p->n_stages)];
        double *which[] = {&s->forward_s, &s->backward_s, &s->send_s, &s->update_s};
        *which[random_below(4)] += random_below(50) * 1e-3;
        assert_true(simulate(&a, p, (SimOptions){.steps = 2})->end_s >= before * (1 - 1e-12));
        arena_release(&a);
    }
}

static void cores_are_shared(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        Arena a = {0};
        random_state = (uint64_t)round * 31337 + 1;
        Plan *p = random_plan(&a);
        double all = 0, alone = simulate(&a, p, (SimOptions){.steps = 1})->end_s;
        for (int i = 0; i < p->n_stages; i++)
            all += work_of(p, i);
        // One core is never idle, and as many as there are stages are enough.
        const Simulation *one = simulate(&a, p, (SimOptions){.steps = 1, .cores = 1});
        assert_true(near(one->end_s, all));
        assert_true(all == 0 || near(one->cores_busy, 1));
        SimOptions many = {.steps = 1, .cores = p->n_stages};
        assert_true(near(simulate(&a, p, many)->end_s, alone));
        SimOptions two = {.steps = 1, .cores = 2};
        double shared = simulate(&a, p, two)->end_s;
        assert_true(shared >= fmax(alone, all / 2) * (1 - 1e-9) && shared <= all * (1 + 1e-9));
        // Threads count: two of each stage on four cores are one on two.
        p->options.threads = 2;
        two.cores = 4;
        assert_true(near(simulate(&a, p, two)->end_s, shared));
        arena_release(&a);
    }
}

// Two stages on one core: while both run, each takes twice as long.
static void shares_are_even(void **state)
{
    (void)state;
    Arena a = {0};
    const Plan *p = chain(&a, 2, 2, "gpipe", 0);
    SimOptions o = {.steps = 1, .cores = 1, .events = true};
    const Simulation *s = simulate(&a, p, o);
    // forward 0 of stage 0 alone until 1; then forward 1 and forward 0 of stage 1 until 3.
    assert_int_equal(s->n_events, 8);
    assert_true(near(s->events[0].end_s, 1));
    assert_true(near(s->events[1].end_s, 3) && near(s->events[1].begin_s, 1));
    assert_true(near(s->events[2].end_s, 3) && near(s->events[2].begin_s, 1));
    assert_true(s->stages[0].shared_s > 0.9);
    arena_release(&a);
}

// On one host programs that run at once slow each other down, as was measured: in full where as many run as were
// measured, by a share of it where fewer do, and never one alone or on a host of its own.
static void programs_beside_slow_down(void **state)
{
    (void)state;
    Arena a = {0};
    Plan *p = (Plan *)(uintptr_t)chain(&a, 2, 2, "gpipe", 0);
    p->beside_programs = 2;
    p->beside_slowdown = 1.5;
    SimOptions o = {.steps = 1, .cores = 2, .events = true};
    const Simulation *s = simulate(&a, p, o);
    // forward 0 of stage 0 alone until 1; then forward 1 and forward 0 of stage 1 until 2.5.
    assert_true(near(s->events[0].end_s, 1));
    assert_true(near(s->events[1].end_s, 2.5) && near(s->events[2].end_s, 2.5));
    p->beside_programs = 3;
    assert_true(near(simulate(&a, p, o)->events[2].end_s, 2.25));
    o.cores = 1; // turns are taken: nobody is beside anybody
    assert_true(near(simulate(&a, p, o)->events[2].end_s, 3));
    o.cores = 0;
    assert_true(near(simulate(&a, p, o)->events[2].end_s, 2));
    arena_release(&a);
}

// In the steady state a stage of r replicas passes r micro-batches on in the time that one takes.
static void replicas_take_turns(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        Arena a = {0};
        random_state = (uint64_t)round * 2237 + 1;
        Plan *p = bare(&a, 1 + random_below(5), 1, "1f1b");
        bool balanced = round % 2;
        double slowest = 0;
        p->asynchronous = true;
        for (int i = 0; i < p->n_stages; i++) {
            PlanStage *s = &p->stages[i];
            s->replicas = balanced ? 1 + round / 2 % 4 : 1 + random_below(4);
            s->forward_s = balanced ? 0.5 : 0.1 + random_below(100) * 1e-2;
            s->backward_s = 2 * s->forward_s;
            slowest = fmax(slowest, 3 * s->forward_s / s->replicas);
        }
        const Simulation *s = simulate(&a, p, (SimOptions){.micro_batches = 600});
        // 1F1B keeps few micro-batches in flight: too few where replicas are many before one and few
        // behind, whose backward stands behind the next forward of its replica.
        assert_true(s->step_s > slowest * (1 - 1e-9));
        assert_true(s->step_s < slowest * (balanced ? 1 + 1e-9 : 3));
        assert_true(s->formula < 0);
        arena_release(&a);
    }
}

static void replicas_meet_before_an_update(void **state)
{
    (void)state;
    Arena a = {0};
    Plan *p = bare(&a, 1, 5, "1f1b");
    p->stages[0].replicas = 2;
    p->stages[0].sync_s = 0.1; // by micro-batch: five of them an update
    const Simulation *s = simulate(&a, p, (SimOptions){.steps = 3});
    assert_true(near(s->step_s, 3 * 3 + 0.5)); // the first has three micro-batches
    assert_int_equal(s->n_waits, 1);
    assert_true(near(s->waits[0].seconds, 1.5)); // the second waits three seconds for it
    s = simulate(&a, p, (SimOptions){.steps = 3, .micro_batches = 10});
    assert_true(near(s->step_s, 5 * 3 + 0.5));
    p->overlap = "all";
    assert_true(near(simulate(&a, p, (SimOptions){.steps = 3})->step_s, 3 * 3));
    arena_release(&a);
}

// What the cost model makes of transfers is the pace of the simulation.
static void transfers_as_the_cost_model_says(void **state)
{
    (void)state;
    static const char *const overlaps[] = {"none", "transfers", "all"};
    for (int round = 0; round < 60; round++) {
        Arena a = {0};
        random_state = (uint64_t)round * 911 + 1;
        int n = 2 + random_below(4), kind = round % 3;
        Plan *p = bare(&a, n, 1, "1f1b");
        p->asynchronous = true;
        p->overlap = overlaps[kind];
        for (int i = 0; i < n; i++)
            p->stages[i].replicas = 1 + random_below(2);
        double slowest = 0;
        for (int i = 0; i < n; i++) {
            PlanStage *s = &p->stages[i];
            double bytes_s = random_below(60) * 0.1; // of one direction
            if (i + 1 < n) {
                s->send_s = 2 * bytes_s / s->replicas;
                s[1].receive_s = 2 * bytes_s / s[1].replicas;
            }
            s->sync_s = s->replicas > 1 ? random_below(10) * 0.1 : 0;
            double compute = 3.0 / s->replicas, links = fmax(s->send_s, s->receive_s);
            slowest = fmax(slowest, kind == 0   ? compute + s->sync_s + s->send_s + s->receive_s
                                    : kind == 1 ? fmax(compute + s->sync_s, links)
                                                : fmax(fmax(compute, s->sync_s), links));
        }
        double pace = simulate(&a, p, (SimOptions){.micro_batches = 800})->step_s;
        assert_true(pace > slowest * 0.995); // rounds of unlike length are cut off anywhere
        // Without overlap 1F1B's few micro-batches in flight leave gaps.
        assert_true(pace < slowest * (kind ? 1.6 : 2));
        arena_release(&a);
    }
}

static void memory_of_what_is_in_flight(void **state)
{
    (void)state;
    Arena a = {0};
    Plan *p = chain(&a, 3, 2, "1f1b", 0);
    for (int i = 0; i < 3; i++) {
        p->stages[i].persistent_bytes = 1000;
        p->stages[i].slot_bytes = 10;
        p->stages[i].process_bytes = 100000;
    }
    const Simulation *s = simulate(&a, p, (SimOptions){.steps = 1});
    assert_int_equal(s->stages[0].memory_bytes, 101020);
    assert_int_equal(s->stages[2].memory_bytes, 101010);
    s = simulate(&a, p, (SimOptions){.steps = 1, .micro_batches = 8});
    assert_int_equal(s->plan->options.batch, 32);
    int64_t edges = s->plan->stages[0].edge_bytes;
    assert_true(edges >= 3 * 128); // a slot is as long as a cache line or two
    assert_int_equal(s->stages[0].memory_bytes, 101030 + edges);
    assert_int_equal(p->options.micro_batches, 2); // the given plan stays
    arena_release(&a);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    Arena a = {0};
    char why[256];
    Plan *p = bare(&a, 2, 8, "1f1b");
    SimOptions o = {.steps = 1, .limit = 16};
    assert_null(simulation_run(&a, p, &o, why, sizeof why));
    assert_non_null(strstr(why, "are too many, 16 are allowed"));
    p = chain(&a, 2, 2, "1f1b", 0);
    for (int i = 0; i < p->ranks[1].train.n; i++) // no gradient ever comes
        if (p->ranks[1].train.instr[i].opcode == RT_SEND)
            p->ranks[1].train.instr[i].opcode = RT_LOAD;
    assert_null(simulation_run(&a, p, &(SimOptions){.steps = 1}, why, sizeof why));
    assert_string_equal(
        why, "deadlock: stage 0, replica 0, step 1, waits for stage 1 with recv e mb 0");
    arena_release(&a);
}

static void timelines(void **state)
{
    (void)state;
    Arena a = {0};
    Text trace = {0}, svg = {0};
    const Plan *p = bare(&a, 300, 100, "1f1b");
    SimOptions o = {.steps = 1, .events = true};
    const Simulation *s = simulate(&a, p, o);
    assert_int_equal(s->n_events, 300 * 200);
    timeline_trace(&trace, s, 5000);
    json_error_t error;
    json_t *root = json_loads(trace.data, 0, &error);
    assert_non_null(root);
    json_t *events = json_object_get(root, "traceEvents");
    assert_int_equal(json_array_size(events), 2 * 300 + 5000);
    assert_int_equal(json_integer_value(json_object_get(root, "events_left_out")), 55000);
    json_t *last = json_array_get(events, 2 * 300 + 4999);
    assert_string_equal(json_string_value(json_object_get(last, "ph")), "X");
    assert_true(json_real_value(json_object_get(last, "dur")) >= 1e6);
    timeline_svg(&svg, s);
    assert_true(svg.length < 6 << 20);
    assert_non_null(strstr(svg.data, "20000 of 60000 events, 200 of 300 rows"));
    assert_string_equal(svg.data + svg.length - 7, "</svg>\n");
    json_decref(root);
    text_release(&trace);
    text_release(&svg);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bubbles_by_formula),
                                       cmocka_unit_test(no_bubbles_between_drains),
                                       cmocka_unit_test(as_long_as_the_longest_path),
                                       cmocka_unit_test(no_faster_when_times_grow),
                                       cmocka_unit_test(cores_are_shared),
                                       cmocka_unit_test(programs_beside_slow_down),
                                       cmocka_unit_test(shares_are_even),
                                       cmocka_unit_test(replicas_take_turns),
                                       cmocka_unit_test(replicas_meet_before_an_update),
                                       cmocka_unit_test(transfers_as_the_cost_model_says),
                                       cmocka_unit_test(memory_of_what_is_in_flight),
                                       cmocka_unit_test(says_what_is_wrong),
                                       cmocka_unit_test(timelines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
