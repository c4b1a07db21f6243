// PipeDream's recurrence on graphs small enough to reckon by hand, one behaviour a test.
#include "passes/planner/pipedream.h"
#include "tests/planner/profiles.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct Node {
    const char *kind;
    double s, activation, parameters;
} Node;

// Edges are pairs of digits: "01 12".
static Problem *problem(Arena *a, const Node *nodes, int n, const char *edges)
{
    Profile profile = {0};
    for (int i = 0; i < n; i++) {
        ProfileNode node = {.id = arena_printf(a, "node%d", i),
                            .description = nodes[i].kind,
                            .forward_ms = 250 * nodes[i].s,
                            .backward_ms = 750 * nodes[i].s,
                            .activation_bytes = nodes[i].activation,
                            .parameter_bytes = nodes[i].parameters};
        vec_push(a, &profile.nodes, node);
    }
    for (; *edges; edges += edges[2] ? 3 : 2) {
        ProfileEdge e = {.from = edges[0] - '0', .to = edges[1] - '0'};
        vec_push(a, &profile.edges, e);
    }
    return problem_of_profile(a, &profile);
}

static PlanResult *plan(Arena *a, const Problem *p, const char *args)
{
    CostOptions *o = arena_new(a, CostOptions);
    Machines *m = machines_of_args(a, args, o);
    return pipedream_solve(a, p, m, o);
}

// "0 1x2 | 2 3": nodes, and replicas where there are more than one.
static char *shape(Arena *a, const PlanResult *r)
{
    char *s = "";
    for (int i = 0; i < r->n_stages; i++) {
        const StageChoice *stage = &r->stages[i];
        for (int k = 0; k < stage->n_nodes; k++)
            s = arena_printf(a, "%s%s%d", s, k ? " " : i ? " | " : "", stage->nodes[k]);
        if (stage->replicas > 1)
            s = arena_printf(a, "%sx%d", s, stage->replicas);
    }
    return s;
}

static bool near(double x, double y)
{
    return fabs(x - y) < 1e-12 * fmax(1, fabs(y));
}

#define NEAR(x, y) assert_true(near((x), (y)))
#define PLAN(p, args, time, stages)                                                            \
    do {                                                                                       \
        PlanResult *r_ = plan(&a, (p), (args));                                                \
        assert_non_null(r_);                                                                   \
        assert_true(r_->feasible);                                                             \
        NEAR(r_->pipeline_time_s, (time));                                                     \
        assert_string_equal(shape(&a, r_), (stages));                                          \
    } while (0)

static void cuts_hold_all_that_their_members_need(void **state)
{
    (void)state;
    Arena a = {0};
    // 0 -> 1 -> 3, 0 -> 2 -> 3: {0} {01} {02} {012} {0123}
    Node diamond[] = {{"a", 1, 1, 0}, {"b", 1, 10, 0}, {"c", 1, 100, 0}, {"d", 1, 1000, 0}};
    PipedreamGraph *g = pipedream_graph(&a, problem(&a, diamond, 4, "01 02 13 23"));
    PipedreamCuts *c = pipedream_cuts(&a, g, 5);
    assert_non_null(c);
    assert_int_equal(c->n, 5);
    assert_true(c->all);
    NEAR(c->seconds[1], 2);
    NEAR(c->activation_bytes[3], 111);
    // Node 0 is sent beside 1, since 2 reads it, though 2 may be before the cut.
    NEAR(c->output_bytes[0], 1);
    NEAR(c->output_bytes[1], 11);
    NEAR(c->output_bytes[2], 101);
    NEAR(c->output_bytes[3], 111);
    NEAR(c->output_bytes[4], 1000);
    // {0 1} is before {0 1 2} and not before {0 2}: a path over all five cuts is none.
    PLAN(g->problem, "-n 4 --straight_pipeline", 1, "0 | 1 | 2 | 3");
    assert_false(plan(&a, g->problem, "-n 5 --straight_pipeline")->feasible);
    assert_null(pipedream_cuts(&a, g, 4));
    arena_release(&a);
}

// A skip over two nodes: 0 counts once at every cut, in whichever way it gets there.
static void skips_count_once(void **state)
{
    (void)state;
    Arena a = {0};
    Node skip[] = {{"a", 1, 1, 0}, {"b", 1, 10, 0}, {"c", 1, 100, 0}, {"d", 1, 1000, 0}};
    PipedreamGraph *g = pipedream_graph(&a, problem(&a, skip, 4, "01 12 23 03"));
    PipedreamCuts *c = pipedream_cuts(&a, g, 9);
    assert_int_equal(c->n, 4);
    NEAR(c->output_bytes[1], 11);
    NEAR(c->output_bytes[2], 101);
    NEAR(c->output_bytes[3], 1000);
    arena_release(&a);
}

static void other_sources_come_with_their_users(void **state)
{
    (void)state;
    Arena a = {0};
    // 0 -> 2, 1 -> 2: {1} and {0 1} are cuts that begin with another source.
    Node join[] = {{"a", 1, 1, 0}, {"b", 1, 10, 0}, {"c", 1, 100, 0}};
    PipedreamCuts *c =
        pipedream_cuts(&a, pipedream_graph(&a, problem(&a, join, 3, "02 12")), 9);
    assert_int_equal(c->n, 2);
    assert_false(c->all);
    NEAR(c->seconds[0], 1);
    NEAR(c->seconds[1], 3);
    assert_false(plan(&a, problem(&a, join, 3, "02 12"), "-n 2")->exact);
    // A part without a way from the first source is in no cut.
    assert_null(pipedream_cuts(&a, pipedream_graph(&a, problem(&a, join, 3, "02")), 9));
    arena_release(&a);
}

static void inputs_and_unused_items_are_left_out_once(void **state)
{
    (void)state;
    Arena a = {0};
    Node nodes[] = {
        {"Input0", 9, 9, 0},         {"Linear", 1, 1, 4}, {"__getitem__(0)", 2, 2, 0},
        {"__getitem__(1)", 4, 4, 0}, {"Add", 8, 8, 0},    {"Input1", 9, 9, 0}};
    // 3 is an unused item of the item 2; 2 becomes a sink when 3 is gone, and stays.
    PipedreamGraph *g = pipedream_graph(&a, problem(&a, nodes, 6, "01 12 23 14 54"));
    assert_int_equal(g->planned[0], 1 << 1 | 1 << 2 | 1 << 4);
    int stage[] = {-1, 0, 1, -1, 2, -1};
    pipedream_place_rest(g, stage);
    assert_int_equal(stage[0], 0);
    assert_int_equal(stage[3], 1);
    assert_int_equal(stage[5], 2);
    NEAR(pipedream_single_machine(g), 11);
    PLAN(problem(&a, nodes, 6, "01 12 23 14 54"), "-n 2 --straight_pipeline", 8,
         "0 1 2 3 | 5 4");
    arena_release(&a);
}

// Four nodes of 4, 1, 1, 2 s in a row.
static const Node row[] = {
    {"a", 4, 1e9, 0}, {"b", 1, 3e9, 0}, {"c", 1, 2e9, 0}, {"d", 2, 5e9, 0}};

static void transfers_count_with_a_compression_only(void **state)
{
    (void)state;
    Arena a = {0};
    Problem *p = problem(&a, row, 4, "01 12 23");
    PLAN(p, "-n 2 --straight_pipeline", 4, "0 | 1 2 3");
    // 2 x 1e9 bytes at 0.4e9 bytes/s: 5 s. The first stage pays for nothing, the second for both.
    PLAN(p, "-n 2 -b 0.4e9 --straight_pipeline --activation_compression_ratio 1", 5,
         "0 | 1 2 3");
    PLAN(p, "-n 2 -b 0.4e9 --straight_pipeline --activation_compression_ratio 2", 4,
         "0 | 1 2 3");
    // {0} [1] {2 3} needs 2 x 3e9 / 1e9 = 6 s at its second cut; {0} [1 2] {3} 4 s.
    PLAN(p, "-n 3 --straight_pipeline --activation_compression_ratio 1", 4, "0 | 1 2 | 3");
    arena_release(&a);
}

// Two stages on three machines: the replicas of the last stage share both what they compute and send.
static void replicas_share_transfers(void **state)
{
    (void)state;
    Arena a = {0};
    Node two[] = {{"a", 2, 2e9, 1e15}, {"b", 4, 7e9, 0}};
    PLAN(problem(&a, two, 2, "01"), "-n 3", 2, "0 | 1x2");
    PLAN(problem(&a, two, 2, "01"), "-n 3 -b 0.5e9 --activation_compression_ratio 1", 4,
         "0 | 1x2");
    PlanResult *r =
        plan(&a, problem(&a, two, 2, "01"), "-n 3 -b 0.5e9 --activation_compression_ratio 1");
    NEAR(r->stages[0].send_s, 0);
    NEAR(r->stages[0].time_s, 2);
    NEAR(r->stages[1].receive_s, 4);
    // The middle stage sends alone what the last one receives with two: 2 x 3e9 / 1e9.
    Node three[] = {{"a", 5, 1e9, 1e15}, {"b", 5, 3e9, 1e15}, {"c", 10, 0, 0}};
    PLAN(problem(&a, three, 3, "01 12"), "-n 4 --activation_compression_ratio 1", 6,
         "0 | 1 | 2x2");
    arena_release(&a);
}

static void gradients_are_shared_between_replicas(void **state)
{
    (void)state;
    Arena a = {0};
    Node one[] = {{"a", 6, 0, 3e9}};
    // (6 + 4 x 2 x 3 / 3) / 3 and (6 + 4 x 1 x 3 / 2) / 2
    PLAN(problem(&a, one, 1, ""), "-n 3", 14.0 / 3, "0x3");
    PLAN(problem(&a, one, 1, ""), "-n 2", 6, "0x2");
    Node two[] = {{"a", 6, 0, 1e12}, {"b", 8, 0, 3e9}};
    // the last stage on 2: (8 + 4 x 1 x 3 / 2) / 2
    PLAN(problem(&a, two, 2, "01"), "-n 3", 7, "0 | 1x2");
    arena_release(&a);
}

static void all_machines_are_used_unless_told(void **state)
{
    (void)state;
    Arena a = {0};
    Node heavy[] = {{"a", 1, 0, 1e9}};
    // (1 + 4 x 1 / 2) / 2 on two, (1 + 4 x 2 / 3) / 3 on three: one machine alone is faster.
    PLAN(problem(&a, heavy, 1, ""), "-n 2", 1.5, "0x2");
    PLAN(problem(&a, heavy, 1, ""), "-n 3", 11.0 / 9, "0x3");
    PLAN(problem(&a, heavy, 1, ""), "-n 3 --use_fewer_machines", 1, "0");
    // Equal times: fewer machines.
    Node even[] = {{"a", 4, 0, 1e12}, {"b", 2, 0, 1e12}, {"c", 2, 0, 1e12}};
    PLAN(problem(&a, even, 3, "01 12"), "-n 3", 4, "0 | 1 | 2");
    PLAN(problem(&a, even, 3, "01 12"), "-n 3 --use_fewer_machines", 4, "0 | 1 2");
    PlanResult *r = plan(&a, problem(&a, even, 3, "01 12"), "-n 3 --use_fewer_machines");
    assert_int_equal(r->machines_used, 2);
    // Straight pipelines with more machines than layers are none.
    assert_false(plan(&a, problem(&a, even, 3, "01 12"), "-n 4 --straight_pipeline")->feasible);
    arena_release(&a);
}

static void memory_counts_micro_batches_behind(void **state)
{
    (void)state;
    Arena a = {0};
    Node two[] = {{"a", 1, 10, 20}, {"b", 1, 30, 40}, {"c", 1, 5, 5}};
    Problem *p = problem(&a, two, 3, "01 12");
    // Straight on 3: the first stage holds 2 x 30, the second 70, the last nothing.
    const char *memory = "-n 3 --straight_pipeline --use_memory_constraint -s";
    PLAN(p, arena_printf(&a, "%s 70", memory), 1, "0 | 1 | 2");
    PlanResult *r = plan(&a, p, arena_printf(&a, "%s 69", memory));
    assert_false(r->feasible);
    assert_non_null(strstr(r->why, "69 bytes"));
    r = plan(&a, p, arena_printf(&a, "%s 1000", memory));
    NEAR(r->stages[0].memory_bytes, 60);
    NEAR(r->stages[1].memory_bytes, 70);
    NEAR(r->stages[2].memory_bytes, 0);
    assert_int_equal(r->stages[0].in_flight, 3);
    // One stage on all machines always fits; on 1 + 2 the first stage needs 60, on 2 + 1 it needs 30.
    PLAN(p, "-n 3 --use_memory_constraint -s 1", (3 + 4 * 2 * 65 / 3e9) / 3, "0 1 2x3");
    // The middle stage on 2 before the last one on 1 holds 1/2 of a micro-batch, rounded up.
    Node middle[] = {{"a", 1, 0, 1}, {"b", 2, 20, 0}, {"c", 1, 0, 1}};
    p = problem(&a, middle, 3, "01 12");
    memory = "-n 4 -b 1 --use_memory_constraint -s";
    PLAN(p, arena_printf(&a, "%s 20", memory), 1, "0 | 1x2 | 2");
    assert_true(plan(&a, p, arena_printf(&a, "%s 19", memory))->pipeline_time_s > 1.1);
    Node uneven[] = {{"a", 2, 10, 1e9}, {"b", 1, 10, 1e9}};
    PLAN(problem(&a, uneven, 2, "01"), "-n 2 --use_memory_constraint -s 1000000010", 2,
         "0 | 1");
    PLAN(problem(&a, uneven, 2, "01"), "-n 2 --use_memory_constraint -s 1000000009", 3.5,
         "0 1x2");
    arena_release(&a);
}

static void pipelines_are_replicated_over_servers(void **state)
{
    (void)state;
    Arena a = {0};
    Node two[] = {{"a", 4, 4e9, 1e9}, {"b", 4, 4e9, 1e9}};
    Problem *p = problem(&a, two, 2, "01");
    // At 1e12 bytes/s within a server 0 | 1 takes 4 s on two machines. Two of these: the gradients of all
    // 2e9 bytes at 1e9 bytes/s, by the 2 machines within: (4 + 4 x 2 / 2 / 2) / 2. A cut between servers: 8 s.
    const char *args = "-n 2 2 -b 1e12 1e9 --activation_compression_ratio 1";
    PLAN(p, args, 3, "0x2 | 1x2");
    PlanResult *r = plan(&a, p, args);
    assert_int_equal(r->stages[0].machines[0], 0);
    assert_int_equal(r->stages[0].machines[1], 2);
    assert_int_equal(r->stages[1].machines[0], 1);
    assert_int_equal(r->stages[1].machines[1], 3);
    NEAR(r->stages[1].time_s, 3);
    NEAR(r->stages[1].compute_s, 2);
    NEAR(r->stages[1].sync_s, 1);
    // n_in is the machines of the level below, not of all below: the third level halves, like the second,
    // which makes (4 + 4 x 2e-3 / 4 / 2) / 2 of the 4 s.
    PLAN(p, "-n 2 2 2 -b 1e12 2e12 1e9 --activation_compression_ratio 1", (2.0005 + 2) / 2,
         "0x4 | 1x4");
    // Data parallel: (8 + 4) / 2 on two, then by 2 machines within (... + 4 x 2 / 2 / 2) / 2.
    NEAR(plan(&a, p, "-n 2 2 -b 1e9 1e9")->data_parallel_time_s, ((8 + 4.0) / 2 + 2) / 2);
    arena_release(&a);
}

// Behind a cut between servers a stage pays for its gradients without n_in.
static void servers_follow_one_another(void **state)
{
    (void)state;
    Arena a = {0};
    Node nodes[] = {{"a", 4, 1e9, 1e15}, {"b", 8, 1e11, 1e9}, {"c", 8, 1, 1e9}};
    Problem *p = problem(&a, nodes, 3, "01 12");
    const char *args =
        "-n 2 3 -b 1e12 1e9 --use_fewer_machines --activation_compression_ratio 1";
    // 0 in one server, 1 | 2 with 8 s in two: (8 + 4 x 2e9 / 2e9) / 2.
    PLAN(p, args, 6, "0 | 1x2 | 2x2");
    PlanResult *r = plan(&a, p, args);
    assert_int_equal(r->machines_used, 5);
    assert_int_equal(r->stages[0].machines[0], 0);
    assert_int_equal(r->stages[1].machines[0], 2);
    assert_int_equal(r->stages[1].machines[1], 4);
    assert_int_equal(r->stages[2].machines[1], 5);
    NEAR(r->stages[1].receive_s, 1);   // 2 x 1e9 / 2e9
    NEAR(r->stages[2].receive_s, 0.1); // 2 x 1e11 / 1e12 by two servers
    // The first stage of the servers' pipeline receives: 2 x 7e9 / 2e9.
    p->nodes[0].activation_bytes = 7e9;
    PLAN(p, args, 7, "0 | 1x2 | 2x2");
    arena_release(&a);
}

static void pinned_nodes_stay_together(void **state)
{
    (void)state;
    Arena a = {0};
    Problem *p = problem(&a, row, 4, "01 12 23");
    ProblemPair pair = {0, 1};
    p->together = &pair;
    p->n_together = 1;
    PLAN(p, "-n 2 --straight_pipeline", 5, "0 1 | 2 3");
    arena_release(&a);
}

static void long_chains_are_left_to_others(void **state)
{
    (void)state;
    Arena a = {0};
    enum { N = 5000 };
    Problem p = {.n = N, .n_tensors = N - 1};
    p.nodes = arena_array(&a, ProblemNode, N);
    p.tensors = arena_array(&a, ProblemTensor, N);
    int *user = arena_array(&a, int, N);
    for (int i = 0; i < N; i++) {
        user[i] = i + 1;
        p.tensors[i] = (ProblemTensor){.producer = i, .users = &user[i], .n_users = 1};
    }
    assert_null(plan(&a, &p, "-n 4"));
    p.n = 1000;
    p.n_tensors = 999;
    assert_non_null(plan(&a, &p, "-n 4"));
    assert_null(plan(&a, &p, "-n 1024"));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_hold_all_that_their_members_need),
        cmocka_unit_test(skips_count_once),
        cmocka_unit_test(other_sources_come_with_their_users),
        cmocka_unit_test(inputs_and_unused_items_are_left_out_once),
        cmocka_unit_test(transfers_count_with_a_compression_only),
        cmocka_unit_test(replicas_share_transfers),
        cmocka_unit_test(gradients_are_shared_between_replicas),
        cmocka_unit_test(all_machines_are_used_unless_told),
        cmocka_unit_test(memory_counts_micro_batches_behind),
        cmocka_unit_test(pipelines_are_replicated_over_servers),
        cmocka_unit_test(servers_follow_one_another),
        cmocka_unit_test(pinned_nodes_stay_together),
        cmocka_unit_test(long_chains_are_left_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
