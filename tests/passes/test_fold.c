// fold and dce: what may go, and what must stay.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

static void folds(const char *body, const char *lines)
{
    Text text = {0};
    text_printf(&text, "graph g micro_batch 4\n" SAMPLE("x", "4,6") "%s", body);
    Case *t = case_new(text.data);
    case_run(t, "fold,dce");
    expect_nodes(t, FORWARD_NODES, lines);
    case_free(t);
    text_release(&text);
}

static void computes_nothing(void **state)
{
    (void)state;
    folds("a = scale x {value=1}\n"
          "b = dropout a {rate=0, stream=1}\n"
          "c = reshape b {shape=[4,6]}\n"
          "d = concat c {axis=1}\n"
          "e = slice d {axis=1, begin=0, length=6}\n"
          "f = pad e {axis=0, begin=0, length=4}\n"
          "y = relu f\n"
          "output y\n",
          "y = relu x\n");
}

static void keeps_what_computes(void **state)
{
    (void)state;
    folds("a = scale x {value=2}\n"
          "b = scale a {value=0.5}\n" // other bits than x where 2 x overflows
          "c = dropout b {rate=0.5, stream=1}\n"
          "d = concat c c {axis=1}\n"
          "e = slice d {axis=1, begin=1, length=6}\n"
          "output e\n",
          "a = scale x\n"
          "b = scale a\n"
          "c = dropout b\n"
          "d = concat c c\n"
          "e = slice d\n");
}

static void views_look_at_the_root(void **state)
{
    (void)state;
    folds("a = reshape x {shape=[4,2,3]}\n"
          "b = reshape a {shape=[24]}\n"
          "c = reshape b {shape=[4,6]}\n"
          "d = reshape b {shape=[2,12]}\n"
          "y = relu d\n"
          "z = add c x\n"
          "output y\n",
          "d = reshape x\n"
          "y = relu d\n");
}

static void transposes_join(void **state)
{
    (void)state;
    folds("a = reshape x {shape=[4,2,3]}\n"
          "b = transpose a {perm=[1,2,0]}\n"
          "c = transpose b {perm=[1,2,0]}\n" // together [2,0,1]
          "d = transpose c {perm=[1,2,0]}\n" // all three: nothing
          "y = concat d a {axis=0}\n"
          "output y\n",
          "a = reshape x\n"
          "d = reshape x\n"
          "y = concat d a\n");
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,2,3") //
                       "b = transpose x {perm=[1,2,0]}\n"
                       "c = transpose b {perm=[0,2,1]}\n"
                       "output c\n");
    case_run(t, "fold,dce");
    expect_nodes(t, FORWARD_NODES, "c = transpose x\n");
    const int64_t *perm = node_ints(case_node(t, "c"), A_PERM);
    assert_true(perm[0] == 1 && perm[1] == 0 && perm[2] == 2);
    case_free(t);
}

static void transposes_that_move_nothing(void **state)
{
    (void)state;
    folds("s = reshape x {shape=[1,3,4,1,2]}\n"
          "v = transpose s {perm=[3,1,0,2,4]}\n"
          "w = relu v\n"
          "k = transpose w {perm=[0,2,1,3,4]}\n" // 3 and 1
          "l = transpose k {perm=[0,1,3,2,4]}\n" // 3 and 4: they change places
          "m = relu l\n"
          "output m\n",
          "v = reshape x\n"
          "w = relu v\n"
          "k = reshape w\n"
          "l = transpose k\n"
          "m = relu l\n");
}

static void results_follow(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6")
                           TARGET("t", "4,6") "y = relu x\n"
                                              "p = scale y {value=1}\n"
                                              "m = mse p t\n"
                                              "l = scale m {value=1}\n"
                                              "loss l\n"
                                              "output p\n");
    case_run(t, "fold,dce");
    assert_string_equal(t->c.graph->loss->name, "m");
    assert_string_equal(t->c.graph->output->name, "y");
    expect_nodes(t, FORWARD_NODES, "y = relu x\nm = mse y t\n");
    case_free(t);
}

static void effects_stay(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") SAMPLE("unused", "4,6")
                           PARAM("gamma", "6") PARAM("lost", "6") BUFFER("mean", "6")
                               BUFFER("var", "6") //
                       "n = batch_norm x gamma gamma {eps=1e-5}\n"
                       "n.1 = result n {index=1}\n"
                       "n.2 = result n {index=2}\n"
                       "u = running_update mean var n.1 n.2 {momentum=0.1, count=4}\n"
                       "dead = relu n\n"
                       "y = tanh x\n"
                       "output y\n");
    case_run(t, "dce");
    expect_nodes(t, FORWARD_NODES | WITH_LEAVES,
                 "x = input\n"
                 "gamma = param\n"
                 "mean = buffer\n"
                 "var = buffer\n"
                 "n = batch_norm x gamma gamma\n"
                 "n.1 = result n\n"
                 "n.2 = result n\n"
                 "u = running_update mean var n.1 n.2\n"
                 "y = tanh x\n");
    case_free(t);
}

// After all passes nothing is dead, so dce on the printed graph takes nothing.
static void spares_later_phases(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6")
                           PARAM("w", "6,6") //
                       "h = linear x w\n"
                       "d = dropout h {rate=0.5, stream=1}\n"
                       "m = mse d t\n"
                       "loss m\n"
                       "output d\n");
    case_run(t, NULL);
    int n = t->c.graph->nodes.n;
    case_run(t, "dce");
    assert_int_equal(t->c.graph->nodes.n, n);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(computes_nothing),
                                       cmocka_unit_test(keeps_what_computes),
                                       cmocka_unit_test(views_look_at_the_root),
                                       cmocka_unit_test(transposes_join),
                                       cmocka_unit_test(transposes_that_move_nothing),
                                       cmocka_unit_test(results_follow),
                                       cmocka_unit_test(effects_stay),
                                       cmocka_unit_test(spares_later_phases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
