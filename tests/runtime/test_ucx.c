// Messages over the network that are not what is due: each ends the stage that was sent it, with a word
// about what came. But messages of another job are nobody's business.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifdef STAGECC_UCX
#include "runtime/ucx/ucx.h"
#endif
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
    check(other_plan, "stage 1 was sent a message of another plan (build all programs again) "
                      "(number 0 of edge 0 from stage 0)");
    check(other_step,
          "stage 1 was sent a message out of order (number 28 of edge 0 from stage 0)");
    check(other_size,
          "stage 1 was sent a message of another size (number 0 of edge 0 from stage 0)");
}

// Until stage 1 of the new job has what stage 0 of the old one sent to the port of its own old peer.
static void let_both_go_on(rt_stage *old, rt_stage *new)
{
    for (int i = 0; i < 300; i++, usleep(1000)) {
        rt__progress(old);
        rt__progress(new);
    }
}

// Stage 0 of an older job stood still while its peers were replaced, and finds their port taken by the new stage 1, to which it
// says hello, sends a message and dies, before the new stage 0 does any of it.
static void test_stray(void **state)
{
    (void)state;
    static const Placement apart = {"apart", {0, 1, 2}};
    rt_program p = program();
    TestJob *old = job_new(&apart, &p), *j = job_open(&apart, &p);
    rt_stage *stray = &old->part[0].stage, *s = &j->part[1].stage;
    float sent = 42, *slot;
    old->memory[0]->job = 4710;
    assert_int_equal(rt__transport_open(stray, old->part[0].fd), 0);
    memcpy(&segment_addresses(old->memory[0])[1], &segment_addresses(j->memory[1])[1],
           sizeof(SegmentAddress));
    memcpy(&segment_addresses(old->memory[0])[2], &segment_addresses(j->memory[1])[2],
           sizeof(SegmentAddress));
    assert_int_equal(rt__send(stray, 0, 0), 0);
    let_both_go_on(stray, s);
    assert_false(s->ucx->peers[0].heard);
    assert_int_equal(atomic_load(&s->edges[0].published->value), 0);
    rt__transport_close(stray);
    slot = rt__slot(&j->part[0].stage, 0, 0);
    *slot = sent;
    pthread_t id;
    pthread_create(&id, NULL, send_one, &j->part[0]);
    assert_int_equal(rt__recv(s, 0, 0), 0);
    slot = rt__slot(s, 0, 0);
    assert_true(*slot == sent);
    assert_true(s->ucx->peers[0].heard);
    rt_fail(s, RT_E_PEER, "the end");
    rt__abort(s);
    pthread_join(id, NULL);
    job_close(j);
    for (int i = 0; i < STAGES; i++) {
        munmap(old->memory[i], old->bytes);
        close(old->part[i].fd);
    }
    free(old);
}

int main(void)
{
#ifdef STAGECC_UCX
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_stray)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    puts("this build has no UCX");
    return 77;
#endif
}
