// A job's memory as a launcher or an agent makes it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/job.h"

static PlanUnit units[1] = {{.name = "fc"}};
static PlanStage stages[1] = {{.replicas = 1}};
static PlanRank ranks[1] = {{.stage = 0}};

static Plan one_stage(void)
{
    Plan p = {.model = "m",
              .units = units,
              .n_units = 1,
              .stages = stages,
              .n_stages = 1,
              .ranks = ranks,
              .n_ranks = 1};
    p.options = options_default();
    return p;
}

static void assert_limits(const JobMemory *m, uint64_t begin, uint64_t update)
{
    assert_true(atomic_load(&m->header->may_begin.value) == begin);
    assert_true(atomic_load(&m->header->may_update.value) == update);
}

static void test_limits_only_grow(void **state)
{
    (void)state;
    Plan plan = one_stage();
    JobMemory m;
    assert_int_equal(job_memory_init(&m, &plan), 0);
    assert_limits(&m, UINT64_MAX, UINT64_MAX);
    assert_int_equal(m.header->supervised, 0);
    job_supervise(&m, 5, 4);
    assert_limits(&m, 5, 4);
    assert_int_equal(m.header->supervised, 1);
    job_allow(&m, 7, 6);
    assert_limits(&m, 7, 6);
    job_allow(&m, 6, 7); // each for itself
    assert_limits(&m, 7, 7);
    job_memory_release(&m);
}

static void test_who_waits_for_the_master(void **state)
{
    (void)state;
    Plan plan = one_stage();
    char text[128];
    SegmentStatus s = {.pid = 1, .opcode = RT_UPDATE, .waiting = SEGMENT_WAITS_FOR_MASTER};
    s.step = 12;
    assert_string_equal(job_doing(&s, &plan, text, sizeof text),
                        "waiting for the master, 12 steps done");
    s.waiting = SEGMENT_WAITS_FOR_RANK;
    assert_string_equal(job_doing(&s, &plan, text, sizeof text),
                        "in update of micro-batch 0, step 13");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits_only_grow),
                                       cmocka_unit_test(test_who_waits_for_the_master)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
