// Replicas add up the sums of their rounds, over every transport.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/job.h"

#include "runtime/random.h"
#include "runtime/round.h"

#include <math.h>

enum { SUMS = 10, MICRO_BATCHES = 8, STEPS = 300 };

// From each to the two others. (The three stages of the job play the replicas of one.)
static const int to[] = {0, 1, 2};
#define EDGE(from, at)                                                                         \
    {                                                                                          \
        "batch norm", from, &to[at], 1, SUMS * 8, 2, 1, 0, 0, -1                               \
    }
static const rt_edge edges[] = {EDGE(0, 1), EDGE(0, 2), EDGE(1, 0),
                                EDGE(1, 2), EDGE(2, 0), EDGE(2, 1)};

static TestJob *open_replicas(void **state)
{
    rt_program p = {.abi = RT_ABI,
                    .plan_hash = "1",
                    .n_stages = STAGES,
                    .edges = edges,
                    .n_edges = 6,
                    .sums = SUMS,
                    .micro_batch = 1,
                    .micro_batches = MICRO_BATCHES,
                    .in_flight = 1};
    TestJob *j = job_open(*state, &p);
    for (int i = 0; i < STAGES; i++) {
        rt_stage *s = &j->part[i].stage;
        s->replica = i;
        s->replicas = STAGES;
        s->stream_steps = 1;
        assert_int_equal(rt__round_open(s), 0);
    }
    return j;
}

static void close_replicas(TestJob *j)
{
    for (int i = 0; i < STAGES; i++)
        rt__round_close(&j->part[i].stage);
    job_close(j);
}

// Of very different sizes, so that their sum tells in which order they were added.
static double term(int step, int mb, int64_t k)
{
    uint64_t bits = rt_mix((uint64_t)((step * MICRO_BATCHES + mb) * SUMS) + (uint64_t)k);
    return ldexp((double)(int32_t)bits, (int)(bits >> 32 & 63));
}

static bool right(const double *sums, int64_t n, int step, int mb, int64_t all)
{
    int first = mb / STAGES * STAGES;
    for (int64_t k = 0; k < n; k++) {
        double want = 0;
        for (int r = 0; r < STAGES && first + r < all; r++)
            want += term(step, first + r, k);
        if (memcmp(&want, &sums[k], sizeof want) != 0)
            return false;
    }
    return true;
}

// Steps of 8 micro-batches, whose last round has two, and of fewer. Several exchanges to a micro-batch, of
// several lengths.
static void *run_steps(void *user)
{
    Part *p = user;
    rt_stage *s = &p->stage;
    for (int step = 0; step < STEPS && !p->error; step++) {
        s->last_samples = step % 3 ? MICRO_BATCHES : 1 + step % MICRO_BATCHES;
        for (int mb = s->replica; mb < s->last_samples; mb += STAGES)
            for (int64_t n = SUMS; n > 0 && !p->error; n -= 4) {
                double *sums = rt_sums(s) + (SUMS - n);
                for (int64_t k = 0; k < n; k++)
                    sums[k] = term(step, mb, k);
                if (p->naps && rt_mix((uint64_t)step * 7 + (uint64_t)mb) % p->naps == 0)
                    usleep(200);
                rt_add_round(s, mb, sums, n);
                p->error = (int)s->error;
                if (!p->error && !right(sums, n, step, mb, s->last_samples))
                    p->error = -1;
            }
    }
    if (!p->error)
        p->error = rt__barrier(s, "the end");
    return NULL;
}

static void all_have_the_sums_of_the_round(void **state)
{
    static const unsigned naps[][STAGES] = {{0, 0, 0}, {30, 0, 0}, {60, 40, 50}};
    for (size_t round = 0; round < sizeof naps / sizeof *naps; round++) {
        TestJob *j = open_replicas(state);
        for (int i = 0; i < STAGES; i++) {
            j->part[i].naps = naps[round][i];
            pthread_create(&j->part[i].thread, NULL, run_steps, &j->part[i]);
        }
        for (int i = 0; i < STAGES; i++)
            pthread_join(j->part[i].thread, NULL);
        for (int i = 0; i < STAGES; i++)
            assert_int_equal(j->part[i].error, 0);
        close_replicas(j);
    }
}

static void rounds_end_with_the_step(void **state)
{
    TestJob *j = open_replicas(state);
    rt_stage *s = &j->part[0].stage;
    s->last_samples = MICRO_BATCHES;
    assert_int_equal(rt_round(s, 0), 3);
    assert_int_equal(rt_round(s, 5), 3);
    assert_int_equal(rt_round(s, 6), 2);
    s->stream_steps = 2; // without a flush, the next step's
    assert_int_equal(rt_round(s, 6), 3);
    s->last_samples = 2;
    assert_int_equal(rt_round(s, 9), 1);
    close_replicas(j);
}

// Who computes on without the others is told why, and is left alone from then on.
static void missing_replica_is_named(void **state)
{
    TestJob *j = open_replicas(state);
    rt_stage *s = &j->part[1].stage;
    s->last_samples = MICRO_BATCHES;
    s->timeout_ns = 1000000;
    rt_add_round(s, 1, rt_sums(s), 4);
    assert_int_equal(s->error, RT_E_TIMEOUT);
    bool apart = job_apart(j); // then a connection is what comes first
    assert_non_null(strstr(s->message, apart ? " from stage 0 (step 1)"
                                             : " s for a message of batch norm from stage 0"));
    rt_add_round(s, 1, rt_sums(s), 4);
    assert_int_equal(s->error, RT_E_TIMEOUT);
    s->error = RT_E_NONE; // so that it closes as all do
    close_replicas(j);
}

int main(void)
{
    int failed = 0;
    Placement *p;
    for (int i = 0; (p = job_placement(i)); i++) {
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(all_have_the_sums_of_the_round, p),
            cmocka_unit_test_prestate(rounds_end_with_the_step, p),
            cmocka_unit_test_prestate(missing_replica_is_named, p),
        };
        failed += cmocka_run_group_tests_name(p->name, tests, NULL, NULL);
    }
    return failed;
}
