// What a plan costs, reckoned by hand; plans and problems that are none, each with its text.
#include "passes/planner/planner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

// 0 -> 1 -> 2 -> 3 and 0 -> 2: 100 bytes of 0 for both, 30 of 1, 7 of 2. 3 s and 6 s each on the first profile.
typedef struct Setting {
    Arena arena;
    Problem p;
    Machines *m;
    CostOptions o;
    StageChoice stages[3];
    int n_stages;
    double seconds;
} Setting;

static int users[][2] = {{1, 2}, {2}, {3}};
static int chosen[][2] = {{0}, {1, 2}, {3}};
static int machines[][2] = {{0}, {1, 2}, {3}};

static void begin(Setting *s)
{
    int sizes[] = {2, 2};
    double bytes_per_s[] = {100, 10};
    arena_reset(&s->arena);
    *s = (Setting){.arena = s->arena, .n_stages = 3};
    Arena *a = &s->arena;
    s->p = (Problem){.n = 4, .n_tensors = 3, .n_profiles = 2};
    s->p.nodes = arena_array(a, ProblemNode, 4);
    s->p.tensors = arena_array(a, ProblemTensor, 3);
    for (int v = 0; v < 4; v++)
        s->p.nodes[v] = (ProblemNode){.name = arena_printf(a, "n%d", v),
                                      .forward_s = {3, 30},
                                      .backward_s = {6, 60},
                                      .parameter_bytes = 10 * v,
                                      .activation_bytes = 5};
    double bytes[] = {100, 30, 7};
    for (int t = 0; t < 3; t++)
        s->p.tensors[t] = (ProblemTensor){t, users[t], t ? 1 : 2, bytes[t]};
    s->m = machines_alike(a, sizes, bytes_per_s, 2);
    s->m->levels[1].latency_s = 0.5;
    s->o = (CostOptions){.model = "stagecc",
                         .schedule = "1f1b",
                         .overlap = OVERLAP_TRANSFERS,
                         .state_factor = 2};
    for (int i = 0; i < 3; i++)
        s->stages[i] = (StageChoice){.nodes = chosen[i],
                                     .n_nodes = i == 1 ? 2 : 1,
                                     .machines = machines[i],
                                     .replicas = i == 1 ? 2 : 1};
}

static const char *evaluate(Setting *s)
{
    const char *why = planner_evaluate(&s->arena, &s->p, s->m, &s->o, s->stages, s->n_stages);
    s->seconds = stages_time_s(s->stages, s->n_stages);
    return why;
}

static void is(double x, double expected)
{
    if (fabs(x - expected) > 1e-12 * fmax(1, fabs(expected)))
        fail_msg("%.17g where %.17g is right", x, expected);
}

static void numbers_are_those_of_the_definitions(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s);
    assert_null(evaluate(&s));
    StageChoice *first = &s.stages[0], *middle = &s.stages[1], *last = &s.stages[2];
    is(first->forward_s, 3);
    is(first->backward_s, 6);
    is(first->compute_s, 9);
    is(first->sync_s, 0);
    is(first->in_bytes, 0);
    is(first->receive_s, 0);
    is(first->out_bytes, 100); // one tensor for two users crosses once
    // In turn to machine 1, at 100 bytes/s, and to machine 2, at 10 and with half a second.
    is(first->send_s, 2 * 100 * (0.5 / 100 + 0.5 / 10) + 2 * 0.5);
    assert_int_equal(first->in_flight, 4);
    is(first->memory_bytes, 5 * 4);
    is(first->time_s, 12);
    is(middle->compute_s, 18 / 2.0);
    is(middle->sync_s, (2 * 1 / 2.0 * 30 / 10 + 2 * 0.5) / 2); // once for two micro-batches
    is(middle->in_bytes, 100);
    is(middle->receive_s, 2 * 100 * 0.5 / 10 + 2 * 0.5 / 2); // machine 2, every other time
    is(middle->out_bytes, 7);
    is(middle->send_s, 2 * 7 * 0.5 / 10 + 2 * 0.5 / 2); // machine 1, likewise
    assert_int_equal(middle->in_flight, 2); // three machines take turns, two of them here
    is(middle->memory_bytes, (2 + 1 + 2) * 30 + 2 * 10);
    is(middle->time_s, 11);
    is(last->receive_s, 2 * 7 * (0.5 / 100 + 0.5 / 10) + 2 * 0.5);
    is(last->send_s, 0);
    assert_int_equal(last->in_flight, 1);
    is(last->memory_bytes, (1 + 1 + 2) * 30 + 5);
    is(last->time_s, 9);
    is(s.seconds, 12);
    arena_release(&s.arena);
}

static void options_change_what_they_say(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s);
    StageChoice *middle = &s.stages[1];
    s.o.overlap = OVERLAP_NONE;
    assert_null(evaluate(&s));
    is(middle->time_s, 9 + 2 + 10.5 + 1.2);
    s.o.overlap = OVERLAP_ALL;
    s.p.nodes[1].parameter_bytes = 170;
    assert_null(evaluate(&s));
    is(middle->time_s, 3 + 10); // half the forward, then 190 bytes of gradients for two
    middle->recompute = true;
    assert_null(evaluate(&s));
    is(middle->compute_s, (18 + 6) / 2.0);
    is(middle->memory_bytes, (2 + 1 + 2) * 190 + 10 + 2 * 100);
    s.o.compression = 4;
    assert_null(evaluate(&s));
    is(middle->receive_s, 2 * 25 / 20.0 + 0.5);
    s.o.micro_batches = 2; // one version of weights, one synchronisation for two
    assert_null(evaluate(&s));
    is(middle->sync_s, (19 + 1) / 2.0);
    assert_int_equal(s.stages[0].in_flight, 2);
    assert_int_equal(middle->in_flight, 1);
    is(middle->memory_bytes, (1 + 1 + 2) * 190 + 10 + 1 * 100);
    s.o.micro_batches = 16;
    assert_null(evaluate(&s));
    assert_int_equal(s.stages[0].in_flight, 4);
    s.o.schedule = "gpipe";
    assert_null(evaluate(&s));
    assert_int_equal(s.stages[0].in_flight, 16);
    assert_int_equal(middle->in_flight, 8);
    s.m->types[0] = (MachineType){.speed = 2, .profile = 1};
    assert_null(evaluate(&s));
    is(s.stages[0].forward_s, 15);
    is(middle->compute_s, (180 + 60) / 2.0 / 2);
    arena_release(&s.arena);
}

// Two stages with 100 bytes between them, on r and q machines.
static void place(Setting *s, const int *first, int r, const int *second, int q)
{
    Arena *a = &s->arena;
    int nodes[2][4] = {{0}, {1, 2, 3}};
    s->n_stages = 2;
    s->stages[0] =
        (StageChoice){.nodes = arena_copy(a, nodes[0], sizeof nodes[0]), .n_nodes = 1};
    s->stages[1] =
        (StageChoice){.nodes = arena_copy(a, nodes[1], sizeof nodes[1]), .n_nodes = 3};
    s->stages[0].machines = arena_copy(a, first, sizeof *first * (size_t)r);
    s->stages[1].machines = arena_copy(a, second, sizeof *second * (size_t)q);
    s->stages[0].replicas = r;
    s->stages[1].replicas = q;
    assert_null(evaluate(s));
    is(s->stages[0].out_bytes, 100);
}

// Servers of four machines with 10 bytes/s each; 12.5 bytes/s and 0.5 s between servers, which have one such link or
// as many as machines.
static void what_machines_share_is_as_busy_as_all_of_them(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s);
    int sizes[] = {4, 2}, all[] = {0, 1, 2, 3, 4, 5, 6, 7};
    double bytes_per_s[] = {10, 12.5};
    s.m = machines_alike(&s.arena, sizes, bytes_per_s, 2);
    s.m->levels[1].latency_s = 0.5;
    const StageChoice *first = &s.stages[0], *second = &s.stages[1];
    place(&s, all, 4, all + 4,
          4); // a server each: 5 s by their own links, 16 s by the server's
    is(first->send_s, 2 * 100 / 12.5 + 2 * 0.5 / 4);
    is(second->receive_s, 2 * 100 / 12.5 + 2 * 0.5 / 4);
    place(&s, all, 1, all + 4, 1); // one machine cannot use more than its own
    is(first->send_s, 2 * 100 / 10.0 + 2 * 0.5);
    place(&s, all, 1, all + 4, 4);
    is(first->send_s, 2 * 100 / 10.0 + 2 * 0.5);
    is(second->receive_s, 2 * 100 / 12.5 + 2 * 0.5 / 4);
    place(&s, all, 3, all + 3,
          3); // 0 meets 3 in its own server; two of three micro-batches leave it
    is(first->send_s, 2 * 100 * 2 / 3.0 / 12.5 + 2 * 0.5 / 3);
    is(second->receive_s, 2 * 100 * 2 / 3.0 / 12.5 + 2 * 0.5 / 3);
    place(&s, all, 2, all + 2, 3); // each meets each of three, one of them in the other server
    is(first->send_s, 2 * 100 / 2.0 / 10 + 2 * 0.5 / 2);
    is(second->receive_s, 2 * 100 / 3.0 / 10 + 2 * 0.5 / 3);
    s.m->levels[1].per_device = true;
    place(&s, all, 4, all + 4, 4);
    is(first->send_s, 2 * 100 / 4.0 / 10 + 2 * 0.5 / 4);
    arena_release(&s.arena);
}

// Who meets whom is what counts: with as many replicas, one only ever meets the same other.
static void replicas_that_never_meet_pay_for_no_link_between_them(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s); // pairs of machines, 100 bytes/s within and 10 between them
    int one[] = {0, 2}, beside[] = {1, 3}, across[] = {3, 1};
    place(&s, one, 2, beside, 2);
    is(s.stages[0].send_s, 2 * 100 / 2.0 / 100);
    is(s.stages[1].receive_s, 2 * 100 / 2.0 / 100);
    is(s.stages[1].sync_s, (2 * 1 / 2.0 * 60 / 10 + 2 * 0.5) / 2); // its ring is between pairs
    place(&s, one, 2, across, 2);
    is(s.stages[0].send_s, 2 * 100 / 2.0 / 10 + 2 * 0.5 / 2);
    arena_release(&s.arena);
}

// Machines 0 and 1 on host 0, one each on hosts 1 and 2.
static void hosts_have_links_of_their_own(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s);
    int on[] = {0, 0, 1, 2}, all[] = {0, 1, 2, 3};
    double bytes_per_s[] = {100, 10, 5, 10, 100, 20, 5, 20, 100};
    s.m->host = on;
    s.m->n_hosts = 3;
    s.m->link = arena_array(&s.arena, MachineLevel, 9);
    for (int i = 0; i < 9; i++)
        s.m->link[i] = (MachineLevel){.bytes_per_s = bytes_per_s[i], .per_device = i % 4 == 0};
    const StageChoice *first = &s.stages[0], *second = &s.stages[1];
    place(&s, all, 2, all + 2,
          2); // host 0 sends to one and then to the other, which receive side by side
    is(first->send_s, 2 * 100 * (0.5 / 10 + 0.5 / 5));
    is(second->receive_s, 2 * 100 * 0.5 / 5);
    is(first->sync_s, 0); // no parameters
    is(second->sync_s, (2 * 1 / 2.0 * 60 / 20) / 2);
    s.m->link[1].per_device = s.m->link[3].per_device = true;
    s.m->link[2].per_device = s.m->link[6].per_device = true;
    place(&s, all, 2, all + 2, 2);
    is(first->send_s, 2 * 100 * 0.5 / 5);
    place(&s, all, 1, all + 1, 3); // the slowest link of the ring is the one that closes it
    is(second->sync_s, (2 * 2 / 3.0 * 60 / 5) / 3);
    is(first->send_s, 2 * 100 * (1 / 100.0 + 1 / 10.0 + 1 / 5.0) / 3);
    arena_release(&s.arena);
}

#define REFUSED(s, text) assert_string_equal(evaluate(s), (text))

static void what_is_no_plan_is_refused(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s);
    s.stages[1].n_nodes = 1;
    REFUSED(&s, "n2 is in no stage");
    s.stages[1].n_nodes = 2;
    int twice[] = {3, 0}, none[] = {4}, negative[] = {-1}, same[] = {1, 1}, far[] = {4};
    s.stages[2].nodes = twice;
    s.stages[2].n_nodes = 2;
    REFUSED(&s, "n0 is in two stages");
    s.stages[2].n_nodes = 1;
    s.stages[2].nodes = none;
    REFUSED(&s, "stage 2 has node 4 of 4");
    s.stages[2].nodes = negative;
    REFUSED(&s, "stage 2 has node -1 of 4");
    // 0 and 2 before 1, which lies between them
    int around[] = {0, 2}, between[] = {1};
    begin(&s);
    s.stages[0].nodes = around;
    s.stages[0].n_nodes = 2;
    s.stages[1].nodes = between;
    s.stages[1].n_nodes = 1;
    REFUSED(&s, "n2 uses n1, which a later stage makes");
    begin(&s);
    ProblemPair pair = {2, 3};
    s.p.together = &pair;
    s.p.n_together = 1;
    REFUSED(&s, "n2 and n3 are in different stages");
    begin(&s);
    s.stages[1].machines = same;
    REFUSED(&s, "machine 1 is taken twice, or there is none");
    s.stages[1].machines = machines[1];
    s.stages[2].machines = far;
    REFUSED(&s, "machine 4 is taken twice, or there is none");
    s.stages[2].machines = negative;
    REFUSED(&s, "machine -1 is taken twice, or there is none");
    begin(&s);
    s.stages[2].replicas = 0;
    REFUSED(&s, "stage 2 has no nodes or no machines");
    begin(&s);
    s.o.memory_bytes = 170;
    assert_null(evaluate(&s));
    s.o.memory_bytes = 169;
    REFUSED(&s, "stage 1 needs 170 bytes, its machines have 169");
    MachineType types[] = {{.speed = 1}, {.speed = 1, .memory_bytes = 124}};
    s.o.memory_bytes = 170;
    s.m->types = types;
    s.m->n_types = 2;
    s.m->type[3] = 1;
    REFUSED(&s, "stage 2 needs 125 bytes, its machines have 124");
    types[1] = (MachineType){.speed = 1, .profile = 1};
    assert_null(evaluate(&s));
    s.m->type[2] = 1;
    REFUSED(&s, "stage 1 is on machines with different profiles");
    arena_release(&s.arena);
}

static void what_is_no_problem_is_refused(void **state)
{
    (void)state;
    Setting s = {0};
    begin(&s);
    Arena *a = &s.arena;
    assert_null(problem_check(a, &s.p));
    s.p.nodes[2].backward_s[1] = -1;
    assert_string_equal(problem_check(a, &s.p), "n2: its time is not finite and positive");
    s.p.nodes[2].backward_s[1] = NAN;
    assert_non_null(problem_check(a, &s.p));
    s.p.nodes[2].backward_s[1] = 0;
    s.p.nodes[1].activation_bytes = INFINITY;
    assert_string_equal(problem_check(a, &s.p), "n1: its size is not finite and positive");
    s.p.nodes[1].activation_bytes = 0;
    s.p.tensors[0].bytes = -1;
    assert_string_equal(problem_check(a, &s.p),
                        "n0: its tensor's size is not finite and positive");
    s.p.tensors[0].bytes = 0;
    int back[] = {1};
    s.p.tensors[2].users = back;
    assert_string_equal(problem_check(a, &s.p), "n1 is part of a cycle");
    arena_release(&s.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_the_definitions),
        cmocka_unit_test(options_change_what_they_say),
        cmocka_unit_test(what_machines_share_is_as_busy_as_all_of_them),
        cmocka_unit_test(replicas_that_never_meet_pay_for_no_link_between_them),
        cmocka_unit_test(hosts_have_links_of_their_own),
        cmocka_unit_test(what_is_no_plan_is_refused),
        cmocka_unit_test(what_is_no_problem_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
