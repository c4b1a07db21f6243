// Weights that are tied across stages: each of them holds and updates its copy; gradients of the uses are exchanged.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

// w is used in units 0 and 2, two of which are cut apart; u in one alone.
static const char *const model = "graph t micro_batch 4 block 8\n" SAMPLE("x", "4,8")
    TARGET("t", "4,8") PARAM("w", "8,8") PARAM("u", "8,8") "a = linear x w\n"
                                                           "b = linear a u\n"
                                                           "c = linear b w\n"
                                                           "l = mse c t\n"
                                                           "loss l\noutput c\n";

static Case *planned(const char *schedule, int stages)
{
    static const int cuts[] = {0, 1};
    Case *t = case_new(model);
    t->options.schedule = schedule;
    t->options.momentum = 0.5;
    t->options.clip_norm = 1;
    t->c.stages = stages;
    t->c.fixed_cuts = cuts;
    case_run(t, NULL);
    return t;
}

static PlaceKind place(const Case *t, int stage, const char *name)
{
    return t->plan.stages[stage].places[case_node(t, name)->id].kind;
}

// All of the parameter is in both of its stages, and nothing of it in the one between.
static void every_user_has_a_copy(void **state)
{
    (void)state;
    static const char *const names[] = {"w", "w.grad", "w.grad_2", "w.momentum"};
    Case *t = planned("1f1b", 3);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(place(t, 0, names[i]), PLACE_PERSISTENT);
        assert_int_equal(place(t, 1, names[i]), PLACE_NONE);
        assert_int_equal(place(t, 2, names[i]), PLACE_PERSISTENT);
    }
    assert_int_equal(place(t, 0, "w.grad.sum"), PLACE_SCRATCH);
    assert_int_equal(place(t, 2, "w.grad.sum"), PLACE_SCRATCH);
    assert_int_equal(place(t, 1, "u.momentum"), PLACE_PERSISTENT);
    assert_int_equal(place(t, 0, "u"), PLACE_NONE);
    case_free(t);
}

// Each use's gradients go from its stage to the other: 8 x 8 numbers.
static void gradients_are_exchanged(void **state)
{
    (void)state;
    Case *t = planned("gpipe", 3);
    assert_int_equal(t->plan.n_shares, 2);
    for (int i = 0; i < 2; i++) {
        const PlanEdge *e = &t->plan.edges[t->plan.shares[i].edge];
        const Node *use = t->c.graph->nodes.items[t->plan.shares[i].node];
        assert_string_equal(e->name, use->name);
        assert_int_equal(e->bytes, 8 * 8 * 4);
        assert_int_equal(e->producer, use->unit == 0 ? 0 : 2);
        assert_int_equal(e->n_consumers, 1);
        assert_int_equal(e->consumers[0], 2 - e->producer);
    }
    case_free(t);
}

static void nobody_updates_before_that(void **state)
{
    (void)state;
    char why[256];
    Case *t = planned("1f1b", 3);
    Stream *s = &t->plan.ranks[2].train;
    int get = 0;
    assert_true(plan_verify_streams(&t->plan, false, why, sizeof why));
    while (s->instr[get].opcode != RT_SHARE_GET)
        get++;
    memmove(&s->instr[get], &s->instr[get + 1], sizeof *s->instr * (size_t)(--s->n - get));
    assert_false(plan_verify_streams(&t->plan, false, why, sizeof why));
    assert_non_null(strstr(why, "w.grad_2 have not been exchanged"));
    case_free(t);
}

// Where updates do not wait for other stages, users of a parameter stay together.
static void asynchronous_ones_stay_together(void **state)
{
    (void)state;
    Case *t = case_new(model);
    t->options.schedule = "pipedream";
    t->options.batch = 4 * t->options.micro_batches;
    t->c.stages = 2;
    t->plan = (Plan){.model = "test", .cost_source = "estimate", .options = t->options};
    FILE *nowhere = fopen("/dev/null", "w");
    diag_output(nowhere, false);
    assert_false(passes_run(&t->c, &(PassOptions){0}));
    assert_true(t->c.no_plan);
    diag_output(stderr, false);
    diag_reset();
    fclose(nowhere);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_user_has_a_copy),
                                       cmocka_unit_test(gradients_are_exchanged),
                                       cmocka_unit_test(nobody_updates_before_that),
                                       cmocka_unit_test(asynchronous_ones_stay_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
