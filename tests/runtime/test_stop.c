// How a job ends before its end: signals, losses and gradients that are not finite, stages that fail.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/tiny.h"

#include <math.h>

static void assert_errors(const TinyJob *j, const int *want)
{
    for (int i = 0; i < j->n_stages; i++) {
        if (j->stage[i].error != want[i])
            print_error("stage %d: %s\n", i, j->stage[i].message);
        assert_int_equal(j->stage[i].error, want[i]);
    }
}

// Rounds
// ------------------------------------------------------------------------------------------

// Whoever has begun a round before the stop may end it, and all the others follow.
static void test_rounds(void **state)
{
    (void)state;
    TinyJob *j = tiny_job(2, false, 0);
    int fd = rt__segment_new(&j->stage[0].program);
    rt_stage s[2];
    for (int i = 0; i < 2; i++) {
        rt__stage_init(&s[i], &j->stage[i].program, 0);
        assert_int_equal(rt__transport_open(&s[i], fd), 0);
    }
    assert_true(rt__begin_round(&s[0], false));
    assert_true(rt__begin_round(&s[1], false));
    assert_true(rt__begin_round(&s[0], false)); // stage 0 is one ahead
    assert_true(rt__begin_round(&s[1], true));  // the signal: stage 1 follows to round 2
    assert_false(rt__begin_round(&s[0], false));
    assert_false(rt__begin_round(&s[1], false));
    assert_int_equal(s[0].rounds, 2);
    assert_int_equal(s[1].rounds, 2);
    for (int i = 0; i < 2; i++)
        rt__transport_close(&s[i]);
    close(fd);
    free(j);
}

static void stop_at_step_3(rt_stage *s, int mb)
{
    if (s->step == 3 && mb == 1)
        atomic_fetch_or(&s->segment->rounds, SEGMENT_STOP);
}

static void test_all_stop_at_the_same_step(void **state)
{
    (void)state;
    for (int stages = 1; stages <= 3; stages++)
        for (int who = 0; who < stages; who++) {
            TinyJob *j = tiny_job(stages, false, 0);
            j->options.steps = 1000000;
            j->stage[who].disturb = stop_at_step_3;
            tiny_run_job(j);
            for (int i = 0; i < stages; i++) {
                assert_int_equal(j->stage[i].error, RT_E_INTERRUPTED);
                assert_int_equal(j->stage[i].steps, j->stage[0].steps);
                assert_in_range(j->stage[i].steps, 4, 5);
            }
            free(j);
        }
}

// Numbers
// -----------------------------------------------------------------------------------------

// A huge weight in l1: its own products are finite still, those of l2 overflow.
static void spoil_l1(rt_stage *s, int mb)
{
    if (s->step == 2 && mb == 1)
        for (int i = 0; i < TINY_W; i++)
            tiny_w(s, 1)[i] = 1e38f;
}

static void test_first_trouble_is_named(void **state)
{
    (void)state;
    static const int want[3][3] = {
        {RT_E_LOSS, 0, 0}, {RT_E_PEER, RT_E_LOSS, 0}, {RT_E_PEER, RT_E_PEER, RT_E_LOSS}};
    for (int stages = 1; stages <= 3; stages++) {
        TinyJob *j = tiny_job(stages, true, 0);
        for (int i = 0; i < stages; i++)
            if (j->stage[i].first <= 1 && j->stage[i].last >= 1)
                j->stage[i].disturb = spoil_l1;
        tiny_run_job(j);
        assert_errors(j, want[stages - 1]);
        const char *message = j->stage[stages - 1].message;
        char want_message[256];
        snprintf(want_message, sizeof want_message,
                 "the loss of micro-batch 1 is inf at step 3; first trouble: forward of l2 "
                 "(tiny.c:3), micro-batch 1, stage %d",
                 stages - 1);
        assert_string_equal(message, want_message);
        free(j);
    }
}

// NaN without any exception, as in a data file: there is no suspect, but a place.
static void plant_nan(rt_stage *s, int mb)
{
    if (s->step == 1 && mb == 2) {
        float *x = tiny_h(s, mb, 0);
        uint32_t quiet = 0x7fc00000;
        memcpy(x, &quiet, sizeof quiet);
    }
}

static void test_nan_in_data(void **state)
{
    (void)state;
    TinyJob *j = tiny_job(1, false, 0);
    j->stage[0].disturb = plant_nan;
    tiny_run_job(j);
    assert_int_equal(j->stage[0].error, RT_E_LOSS);
    assert_string_equal(
        j->stage[0].message,
        "the loss of micro-batch 2 is nan at step 2; noticed in: forward of loss "
        "(tiny.c:4), stage 0");
    free(j);
}

static void spoil_gradient(rt_stage *s, int mb)
{
    if (s->step == 4 && mb == 3) {
        volatile float huge = 3e38f; // raises the flag, as a kernel would
        tiny_dw(s, 0)[1] = huge * 10;
    }
}

static void test_gradient(void **state)
{
    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        TinyJob *j = tiny_job(2, false, clip);
        j->stage[0].disturb = spoil_gradient;
        tiny_run_job(j);
        assert_int_equal(j->stage[0].error, RT_E_LOSS);
        assert_int_equal(j->stage[1].error, RT_E_PEER);
        assert_string_equal(j->stage[1].message, "stage 0 has failed");
        assert_memory_equal(j->stage[0].message,
                            "the gradient of l0.weight.grad is not finite at step 5", 54);
        free(j);
    }
}

// Failures
// --------------------------------------------------------------------------------------

static void fail_at_step_2(rt_stage *s, int mb)
{
    if (s->step == 2 && mb == 0)
        rt_fail(s, RT_E_KERNEL, "the kernel says no");
}

static void test_a_failing_stage_stops_all(void **state)
{
    (void)state;
    for (int who = 0; who < 3; who++) {
        TinyJob *j = tiny_job(3, false, 0);
        j->stage[who].disturb = fail_at_step_2;
        int64_t begin = rt__now_ns();
        tiny_run_job(j);
        assert_true(rt__now_ns() - begin < 1000000000);
        for (int i = 0; i < 3; i++)
            assert_int_equal(j->stage[i].error, i == who ? RT_E_KERNEL : RT_E_PEER);
        free(j);
    }
}

static void sleep_long(rt_stage *s, int mb)
{
    if (s->step == 2 && mb == 0)
        usleep(700000);
}

static void test_a_stage_that_hangs(void **state)
{
    (void)state;
    TinyJob *j = tiny_job(2, false, 0);
    j->timeout_ns = 300000000;
    j->stage[0].disturb = sleep_long;
    tiny_run_job(j);
    assert_int_equal(j->stage[1].error, RT_E_TIMEOUT);
    assert_int_equal(j->stage[0].error, RT_E_PEER);
    assert_non_null(
        strstr(j->stage[1].message, " for a message of act 0-1 from stage 0 (step 3)"));
    assert_non_null(
        strstr(j->stage[1].message, "stage 0 is in forward of micro-batch 0, step 3"));
    free(j);
}

static void test_a_stage_that_never_comes(void **state)
{
    (void)state;
    TinyJob *j = tiny_job(2, false, 0);
    j->timeout_ns = 200000000;
    j->alone = 1;
    tiny_run_job(j);
    assert_int_equal(j->stage[1].error, RT_E_TIMEOUT);
    assert_non_null(strstr(j->stage[1].message, "stage 0 has not started yet"));
    free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_all_stop_at_the_same_step),
        cmocka_unit_test(test_first_trouble_is_named),
        cmocka_unit_test(test_nan_in_data),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_a_failing_stage_stops_all),
        cmocka_unit_test(test_a_stage_that_hangs),
        cmocka_unit_test(test_a_stage_that_never_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
