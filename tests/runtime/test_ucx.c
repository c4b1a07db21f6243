// Messages over the network that are not what is due: each ends the stage that was sent it, with a word
// about what came.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/job.h"

static const int to_both[] = {1, 2};
static const rt_edge edges[] = {{"conv3", 0, to_both, 2, 320, 3, 1, 4, 0, 0}};
static const rt_edge wider[] = {{"conv3", 0, to_both, 2, 384, 3, 1, 4, 0, 0}};

static rt_program program(void)
{
    return (rt_program){.abi = RT_ABI,
                        .plan_hash = "1",
                        .n_stages = STAGES,
                        .edges = edges,
                        .n_edges = 1,
                        .in_flight = 1};
}

static void *send_one(void *user)
{
    Part *p = user;
    p->error = rt__send(&p->stage, 0, 0);
    while (!p->error && !rt__check_abort(&p->stage)) {
        rt__progress(&p->stage);
        usleep(1000);
    }
    return NULL;
}

// Stage 1 receives what stage 0 sends after `spoil`.
static void check(void (*spoil)(TestJob *j), const char *complaint)
{
    static const Placement apart = {"apart", {0, 1, 2}};
    rt_program p = program();
    TestJob *j = job_open(&apart, &p);
    rt_stage *s = &j->part[1].stage;
    pthread_t id;
    spoil(j);
    pthread_create(&id, NULL, send_one, &j->part[0]);
    assert_int_equal(rt__recv(s, 0, 0), RT_E_PEER);
    assert_string_equal(s->message, complaint);
    rt__abort(s);
    pthread_join(id, NULL);
    job_close(j);
}

static void other_job(TestJob *j)
{
    j->memory[0]->job++;
}

static void other_plan(TestJob *j)
{
    j->part[0].program.plan_hash = "2";
}

static void other_step(TestJob *j)
{
    rt_stage *s = &j->part[0].stage;
    s->run_step = 7;
    atomic_store(&s->edges[0].published->value, 28);
    for (int c = 0; c < 2; c++)
        atomic_store(&s->edges[0].released[c].value, 28);
}

static void other_size(TestJob *j)
{
    j->part[0].program.edges = wider;
}

static void test_refused(void **state)
{
    (void)state;
    check(other_job,
          "stage 1 was sent a message of another job (number 0 of edge 0 from stage 0)");
    check(other_plan, "stage 1 was sent a message of another plan (build all programs again) "
                      "(number 0 of edge 0 from stage 0)");
    check(other_step,
          "stage 1 was sent a message out of order (number 28 of edge 0 from stage 0)");
    check(other_size,
          "stage 1 was sent a message of another size (number 0 of edge 0 from stage 0)");
}

int main(void)
{
#ifdef STAGECC_UCX
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    puts("this build has no UCX");
    return 77;
#endif
}
