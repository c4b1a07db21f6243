// When another plan is worth a change: training that is played, with what forecasts say and what is true of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/master/worth.h"

#include <math.h>

enum { PAUSE = 3 }; // steps until what was decided has come about

typedef struct Play {
    Worth worth;
    uint64_t step, last_step;
    int64_t now_ns;
    double step_s;    // now, in truth
    double change_s;  // that a change takes
    int changes;      // so far
    uint64_t changed; // the last one's step
    uint64_t apart;   // steps between two changes, at least
} Play;

static Play begin(void)
{
    Play p = {.last_step = 100000, .apart = UINT64_MAX, .step_s = 0.5, .change_s = 0.5};
    worth_epoch(&p.worth, 0, 0);
    return p;
}

static void commit(Play *p)
{
    p->now_ns += (int64_t)(1e9 * p->step_s);
    worth_step(&p->worth, ++p->step, p->now_ns);
}

// Another plan promises to save this share of a step's time, and saves `truth` of it; a change to it is made when it is due.
static WorthVerdict run(Play *p, double promises, double truth)
{
    commit(p);
    WorthOffer offer = {1, 1 - promises, p->change_s, p->step, p->last_step};
    WorthVerdict verdict = worth_look(&p->worth, &offer);
    if (verdict < WORTH_CHANGING)
        return verdict;
    for (int i = 0; i < PAUSE; i++)
        commit(p);
    worth_epoch(&p->worth, p->step, promises);
    p->step_s *= 1 - truth;
    if (p->changes++ && p->step - p->changed < p->apart)
        p->apart = p->step - p->changed;
    p->changed = p->step;
    return verdict;
}

static void train(Play *p, int steps, double promises, double truth)
{
    for (uint64_t end = p->step + (uint64_t)steps; p->step < end;)
        run(p, promises, truth);
}

// Steps until the first change, of what is promised and true.
static int until_change(double promises)
{
    Play p = begin();
    train(&p, 50, 0, 0);
    for (int i = 0; i < 1000 && !p.changes; i++)
        run(&p, promises, 0);
    return p.changes ? (int)p.changed - 50 - PAUSE : 0;
}

static void the_more_it_saves_the_sooner(void **state)
{
    (void)state;
    assert_in_range(until_change(0.5), 2, 3);
    assert_in_range(until_change(0.36), 2, 4);
    assert_in_range(until_change(0.2), 5, 8);
    assert_in_range(until_change(0.1), 18, 25);
    assert_in_range(until_change(0.06), 50, 70);
    assert_int_equal(until_change(0.04), 0);
    assert_int_equal(until_change(-0.5), 0);
}

// So that they are there when the change is due.
static void programs_of_what_is_likely_are_built(void **state)
{
    (void)state;
    Play p = begin();
    train(&p, 50, 0, 0);
    assert_int_equal(run(&p, 0.36, 0), WORTH_BUILDING);
    p = begin();
    train(&p, 50, 0, 0);
    assert_int_equal(run(&p, 0.08, 0), WORTH_THOUGHT);
    WorthVerdict verdict = WORTH_THOUGHT;
    int steps = 0;
    for (; verdict == WORTH_THOUGHT; steps++)
        verdict = run(&p, 0.08, 0);
    assert_int_equal(verdict, WORTH_BUILDING);
    assert_in_range(steps, 5, 12);
}

static void what_wavers_moves_nobody(void **state)
{
    (void)state;
    Play p = begin();
    for (int i = 0; i < 2000; i++)
        run(&p, i % 6 < 2 ? 0.1 : -0.02, 0);
    assert_int_equal(p.changes, 0);
}

static void what_is_saved_has_to_pay_for_the_change(void **state)
{
    (void)state;
    Play p = begin();
    p.change_s = 20;
    p.last_step = 130;
    train(&p, 120, 0.3, 0.3); // 0.15 s a step
    assert_int_equal(p.changes, 0);
    p = begin();
    p.change_s = 20;
    p.last_step = 1000;
    train(&p, 20, 0.3, 0.3);
    assert_int_equal(p.changes, 1);
}

// Programs that take each other's processors: forecasts say that work should move, and it makes no difference.
static void broken_promises_are_believed_less(void **state)
{
    (void)state;
    for (int percent = 6; percent < 70; percent += 2) {
        double promises = 0.01 * percent;
        Play p = begin();
        train(&p, 200, promises, 0);
        assert_int_equal(p.changes, 1);
        train(&p, 3000, promises, 0);
        assert_true(p.apart > 200);
    }
}

static void it_is_tried_again_some_time(void **state)
{
    (void)state;
    Play p = begin();
    train(&p, 100, 0.3, 0);
    assert_int_equal(p.changes, 1);
    train(&p, 1500, 0, 0);
    train(&p, 20, 0.3, 0.3);
    assert_int_equal(p.changes, 2);
}

// A worker is slower, and later as fast as before: what it brought has been seen to be true.
static void kept_promises_count(void **state)
{
    (void)state;
    Play p = begin();
    train(&p, 50, 0, 0);
    train(&p, 20, 0.3, 0.3);
    assert_int_equal(p.changes, 1);
    train(&p, 40, 0, 0);
    worth_news(&p.worth);
    train(&p, 20, 0.09, 0.09);
    assert_int_equal(p.changes, 2);
}

// A worker becomes slower just when another plan has begun: it is not known what that would have brought.
static void what_happens_meanwhile_is_not_held_against_it(void **state)
{
    (void)state;
    for (int news = 0; news < 2; news++) {
        Play p = begin();
        train(&p, 50, 0, 0);
        train(&p, 6, 0.3, -0.3);
        assert_int_equal(p.changes, 1);
        train(&p, 5, 0, 0);
        if (news)
            worth_news(&p.worth);
        for (int i = 0; i < 45 && p.changes == 1; i++)
            run(&p, 0.4, 0.4);
        assert_int_equal(p.changes, 1 + news);
    }
}

// With the speeds that the change was for, a little more is no reason for another one.
static void soon_it_takes_news(void **state)
{
    (void)state;
    Play p = begin();
    train(&p, 50, 0, 0);
    train(&p, 20, 0.3, 0.3);
    worth_news(&p.worth); // of its own programs, not judged yet
    train(&p, 150, 0.09, 0.09);
    assert_int_equal(p.changes, 1);
    train(&p, 100, 0.09, 0.09);
    assert_int_equal(p.changes, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_it_saves_the_sooner),
        cmocka_unit_test(programs_of_what_is_likely_are_built),
        cmocka_unit_test(what_wavers_moves_nobody),
        cmocka_unit_test(what_is_saved_has_to_pay_for_the_change),
        cmocka_unit_test(broken_promises_are_believed_less),
        cmocka_unit_test(it_is_tried_again_some_time),
        cmocka_unit_test(kept_promises_count),
        cmocka_unit_test(what_happens_meanwhile_is_not_held_against_it),
        cmocka_unit_test(soon_it_takes_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
