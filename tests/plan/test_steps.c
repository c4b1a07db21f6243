// What ranks did in their steps, on its way through the job's memory: which steps agents choose, and that they never read half
// of one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/steps.h"

#include <pthread.h>
#include <stdlib.h>

static void write_step(StepKept *kept, int64_t step)
{
    StepPicture p = {.step = step, .n = (uint32_t)(step % 7)};
    step_write(&kept[step_roundness(step)], &p);
}

static void takes_the_roundest(void **state)
{
    (void)state;
    static StepKept kept[STEPS_KEPT];
    StepPicture p = {0};
    int64_t newest;
    assert_int_equal(step_choose(kept, 0, &newest), -1);
    for (int64_t step = 1; step <= 13; step++)
        write_step(kept, step);
    int chosen = step_choose(kept, 0, &newest);
    assert_true(step_read(&p, &kept[chosen]));
    assert_int_equal(p.step, 8);
    assert_int_equal(newest, 13);
    chosen = step_choose(kept, 8, &newest);
    assert_true(step_read(&p, &kept[chosen]));
    assert_int_equal(p.step, 12);
    chosen = step_choose(kept, 12, &newest);
    assert_true(step_read(&p, &kept[chosen]));
    assert_int_equal(p.step, 13);
    assert_int_equal(step_choose(kept, 13, &newest), -1);
    assert_int_equal(newest, 13);
    assert_int_equal(step_roundness(INT64_C(1) << 40), STEPS_KEPT - 1);
}

// Several agents look when they like, each `most` steps or sooner; each multiple of the next power of two is taken by all.
static void all_take_the_same(void **state)
{
    (void)state;
    enum { AGENTS = 5, STEPS = 3000 };
    srand(1);
    for (int most = 1; most <= 200; most = most * 3 + 1) {
        static StepKept kept[STEPS_KEPT];
        static int taken[STEPS + 1];
        int64_t seen[AGENTS] = {0}, looks[AGENTS] = {0}, power = 1;
        memset(kept, 0, sizeof kept);
        memset(taken, 0, sizeof taken);
        while (power < most)
            power *= 2;
        for (int64_t step = 1; step <= STEPS; step++) {
            write_step(kept, step);
            for (int a = 0; a < AGENTS; a++) {
                if (step < looks[a])
                    continue;
                looks[a] = step + 1 + rand() % most;
                StepPicture p = {0};
                int chosen = step_choose(kept, seen[a], &seen[a]);
                assert_true(chosen >= 0 && step_read(&p, &kept[chosen]));
                taken[p.step]++;
            }
        }
        for (int64_t step = power; step <= STEPS - most; step += power)
            assert_int_equal(taken[step], AGENTS);
    }
}

typedef struct Race {
    StepKept kept;
    _Atomic bool ends;
} Race;

// All of a picture says the same.
static void *write_many(void *user)
{
    Race *r = user;
    static StepPicture p;
    for (int64_t k = 1; !atomic_load(&r->ends); k++) {
        p = (StepPicture){.step = k, .begin_ns = k, .end_ns = k, .n = (uint32_t)k % STEP_SPANS};
        for (uint32_t i = 0; i < p.n; i++)
            p.spans[i] = (StepSpan){.begin_ns = k, .end_ns = k, .mb = (uint32_t)k};
        step_write(&r->kept, &p);
    }
    return NULL;
}

static void reads_whole_ones(void **state)
{
    (void)state;
    static Race race;
    static StepPicture p;
    pthread_t id;
    pthread_create(&id, NULL, write_many, &race);
    for (int read = 0; read < 3000;) {
        if (!step_read(&p, &race.kept))
            continue;
        read++;
        assert_true(p.begin_ns == p.step && p.end_ns == p.step);
        assert_int_equal(p.n, p.step % STEP_SPANS);
        for (uint32_t i = 0; i < p.n; i++)
            assert_true(p.spans[i].begin_ns == p.step && p.spans[i].end_ns == p.step);
    }
    atomic_store(&race.ends, true);
    pthread_join(id, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_roundest),
        cmocka_unit_test(all_take_the_same),
        cmocka_unit_test(reads_whole_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
