// --at-least: instructions that last as long as a plan says, and compute what they always do.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/tiny.h"

enum { STEPS = 8 };

static double seconds_of(TinyJob *j)
{
    int64_t begin = rt__now_ns();
    tiny_run_job(j);
    return (double)(rt__now_ns() - begin) * 1e-9;
}

static void test_times_and_numbers(void **state)
{
    (void)state;
    TinyJob *free_job = tiny_job(2, false, 0), *paced = tiny_job(2, false, 0);
    seconds_of(free_job);
    paced->options.at_least = "forward=0.002,backward=0.003,update=0.004";
    double seconds = seconds_of(paced);
    for (int i = 0; i < 2; i++)
        assert_int_equal(paced->stage[i].error, 0);
    // A stage waits at least for the first forward of the other one.
    assert_true(seconds >= STEPS * (TINY_M * (0.002 + 0.003) + 0.004 + 0.002));
    float w[2][TINY_LAYERS][TINY_W];
    double losses[2][TINY_MAX_STEPS];
    tiny_result(free_job, w[0], losses[0]);
    tiny_result(paced, w[1], losses[1]);
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    free(free_job);
    free(paced);
}

static void test_what_it_takes(void **state)
{
    (void)state;
    const char *wrong[] = {"forward",
                           "forward=",
                           "forward=x",
                           "forwards=1",
                           "forward=-1",
                           "forward=nan",
                           "forward=1;backward=1",
                           "forward=1,,"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        TinyJob *j = tiny_job(1, false, 0);
        j->options.at_least = wrong[i];
        tiny_run_job(j);
        assert_int_equal(j->stage[0].error, RT_E_INPUT);
        assert_non_null(strstr(j->stage[0].message, "--at-least takes INSTRUCTION=SECONDS"));
        free(j);
    }
}

static void fail_late(rt_stage *s, int mb)
{
    if (mb == 0)
        return;
    usleep(200000);
    rt_fail(s, RT_E_KERNEL, "the kernel says no");
}

// Whoever sleeps looks whether the job goes on: here stage 1, behind its first backward.
static void test_somebody_fails(void **state)
{
    (void)state;
    TinyJob *j = tiny_job(2, false, 0);
    j->options.at_least = "backward=60";
    j->stage[0].disturb = fail_late;
    assert_true(seconds_of(j) < 30);
    assert_int_equal(j->stage[0].error, RT_E_KERNEL);
    assert_int_equal(j->stage[1].error, RT_E_PEER);
    free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_and_numbers),
        cmocka_unit_test(test_what_it_takes),
        cmocka_unit_test(test_somebody_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
