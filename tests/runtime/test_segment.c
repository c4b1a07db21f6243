// Who may enter a job's memory, and at which step all stages of a job stop.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/job.h"

static const int to_both[] = {1, 2};
static const rt_edge edges[] = {{"conv3", 0, to_both, 2, 320, 3, 1, 4, 0, 0}};

static rt_program program(int stage, int n_stages, const char *plan)
{
    return (rt_program){.abi = RT_ABI,
                        .plan_hash = plan,
                        .stage = stage,
                        .n_stages = n_stages,
                        .edges = edges,
                        .n_edges = 1,
                        .in_flight = 1};
}

static void test_other_plan(void **state)
{
    (void)state;
    rt_program p = program(0, STAGES, "1"), q = program(1, STAGES, "2"), r = program(1, 2, "1");
    int fd = rt__segment_new(&p);
    rt_stage a, b, c;
    rt__stage_init(&a, &p, 0);
    assert_int_equal(rt__transport_open(&a, fd), 0);
    rt__stage_init(&b, &q, 0);
    assert_int_equal(rt__transport_open(&b, fd), RT_E_INPUT);
    assert_string_equal(b.message, "stage 1 was built from another plan than plan.json: "
                                   "build all programs again");
    rt__stage_init(&c, &r, 0);
    assert_int_equal(rt__transport_open(&c, fd), RT_E_INPUT);
    rt__transport_close(&a);
    rt__transport_close(&b);
    rt__transport_close(&c);
    close(fd);
}

static void *release_hold(void *user)
{
    TestJob *j = user;
    usleep(30000);
    for (int i = 0; i < 2; i++)
        atomic_store(&j->memory[i]->rounds, SEGMENT_STOP | 3);
    return NULL;
}

// On several hosts a signal is a wish. Once the launcher holds all hosts, nobody begins a step that no
// stage of its own host has begun, until it is known how far the first of all has come.
static void test_stop_on_several_hosts(void **state)
{
    (void)state;
    static const Placement apart = {"apart", {0, 1, 2}};
    rt_program p = program(0, STAGES, "1");
    TestJob *j = job_new(&apart, &p);
    rt_stage *a = &j->part[0].stage, *b = &j->part[1].stage;
    pthread_t id;
    for (int i = 0; i < 2; i++)
        assert_int_equal(rt__segment_open(&j->part[i].stage, j->part[i].fd), 0);
    for (int round = 1; round <= 3; round++)
        assert_true(rt__begin_round(a, false));
    assert_true(rt__begin_round(b, true));
    assert_int_equal(atomic_load(&j->memory[1]->rounds), SEGMENT_WANTED | 1);
    for (int i = 0; i < 2; i++)
        atomic_fetch_or(&j->memory[i]->rounds, SEGMENT_HOLD);
    pthread_create(&id, NULL, release_hold, j);
    int64_t begin = rt__now_ns();
    assert_true(rt__begin_round(b, false)); // waits, then follows to 3
    assert_true(rt__now_ns() - begin > 20000000);
    assert_true(rt__begin_round(b, false));
    assert_false(rt__begin_round(b, false));
    assert_false(rt__begin_round(a, false));
    assert_int_equal(a->rounds, b->rounds);
    pthread_join(id, NULL);
    for (int i = 0; i < STAGES; i++) {
        rt__segment_close(&j->part[i].stage);
        close(j->part[i].fd);
        munmap(j->memory[i], j->bytes);
    }
    free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_plan),
        cmocka_unit_test(test_stop_on_several_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
