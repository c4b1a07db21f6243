// How fast a worker is believed to be, of times that waver.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/master/belief.h"

#include <math.h>
#include <stdint.h>

static uint64_t seed;

// Between -1 and 1, the same ones every time.
static double chance(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(int64_t)seed / 9223372036854775808.0;
}

// So many times of a worker of this speed, each off by up to this share of it. Returns after how many it was first believed
// to be another one; 0: never.
static int hear(Belief *b, double speed, double wavers, int times)
{
    int first = 0;
    for (int i = 1; i <= times; i++)
        if (belief_heard(b, speed * exp(wavers * chance())) && !first)
            first = i;
    return first;
}

static void believes_the_first_time(void **state)
{
    (void)state;
    Belief b = {0};
    assert_true(belief_speed(&b) == 0);
    assert_true(belief_heard(&b, 700));
    assert_float_equal(belief_speed(&b), 700, 1e-6);
    assert_false(belief_heard(&b, 700));
}

// What a worker's speed becomes, behind 10 times of 1000: by how many times it is noticed, and how exactly known 10 later.
static const struct {
    double speed, wavers;
    int least, most; // 0: never in 1000
} changes[] = {
    {500, 0.05, 2, 2}, {250, 0.05, 2, 2},  {2000, 0.05, 2, 2},
    {700, 0.05, 2, 4}, {800, 0.05, 3, 15}, {1250, 0.05, 3, 15},
    {930, 0.03, 0, 0}, {1070, 0.03, 0, 0}, {1000, 0.15, 0, 0},
};

static void notices_what_has_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (seed = 0; seed < 50; seed++) {
            uint64_t begin = seed;
            Belief b;
            belief_begin(&b, 1000);
            assert_int_equal(hear(&b, 1000, changes[i].wavers, 10), 0);
            int n = hear(&b, changes[i].speed, changes[i].wavers, changes[i].most ? 20 : 1000);
            assert_in_range(n, changes[i].least, changes[i].most);
            double off = belief_speed(&b) / changes[i].speed - 1;
            assert_true(fabs(off) <= changes[i].wavers);
            seed = begin;
        }
}

// Its first half was as fast as before.
static void a_time_of_both_speeds_spoils_nothing(void **state)
{
    (void)state;
    Belief b = {0};
    hear(&b, 1000, 0, 10);
    assert_false(belief_heard(&b, 667));
    assert_true(belief_heard(&b, 500));
    assert_float_equal(belief_speed(&b), 500, 1);
}

static void one_time_alone_is_none(void **state)
{
    (void)state;
    Belief b = {0};
    hear(&b, 1000, 0, 10);
    for (int i = 0; i < 20; i++) {
        assert_false(belief_heard(&b, 200));
        assert_int_equal(hear(&b, 1000, 0, 9), 0);
    }
    assert_float_equal(belief_speed(&b), 1000, 60);
}

// On a machine that does other things, too.
static void learns_how_far_times_are_apart(void **state)
{
    (void)state;
    int noticed = 0;
    for (uint64_t run = 0; run < 50; run++) {
        Belief b = {0};
        seed = run;
        hear(&b, 1000, 0.8, 40);
        noticed += hear(&b, 1000, 0.8, 50) > 0;
        hear(&b, 400, 0.8, 25);
        assert_true(belief_speed(&b) < 700);
    }
    assert_in_range(noticed, 0, 10);
}

static void what_it_does_now_counts_more(void **state)
{
    (void)state;
    Belief b = {0};
    hear(&b, 1000, 0, 20);
    belief_loosen(&b);
    hear(&b, 900, 0, 8);
    assert_true(belief_speed(&b) < 920);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(believes_the_first_time),
        cmocka_unit_test(notices_what_has_changed),
        cmocka_unit_test(a_time_of_both_speeds_spoils_nothing),
        cmocka_unit_test(one_time_alone_is_none),
        cmocka_unit_test(learns_how_far_times_are_apart),
        cmocka_unit_test(what_it_does_now_counts_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
