// The eval nodes: batch norm with running statistics, no dropout, no effects.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

#define NORM                                                                                   \
    "n = batch_norm x g b {eps=1e-3}\n"                                                        \
    "n.1 = result n {index=1}\n"                                                               \
    "n.2 = result n {index=2}\n"                                                               \
    "u = running_update mean var n.1 n.2 {momentum=0.1, count=4}\n"
#define LEAVES                                                                                 \
    SAMPLE("x", "4,6")                                                                         \
    TARGET("t", "4,6") PARAM("g", "6") PARAM("b", "6") BUFFER("mean", "6") BUFFER("var", "6")

static Case *evaluated(const char *body)
{
    Text text = {0};
    text_printf(&text, "graph g micro_batch 4\n%s", body);
    Case *t = case_new(text.data);
    case_run(t, "eval");
    text_release(&text);
    return t;
}

static void as_inference_needs_it(void **state)
{
    (void)state;
    Case *t = evaluated(LEAVES NORM "d = dropout n {rate=0.5, stream=1}\n"
                                    "e = dropout d {rate=0.5, stream=2}\n"
                                    "v = reshape e {shape=[6,4]}\n"
                                    "w = reshape v {shape=[4,6]}\n"
                                    "y = add w b\n"
                                    "l = mse y t\n"
                                    "dead = relu d\n"
                                    "loss l\noutput y\n");
    expect_nodes(t, EVAL_NODES | WITH_LEAVES,
                 "x.eval = input eval from x\n"
                 "t.eval = input eval from t\n"
                 "n.eval = batch_norm_infer x.eval g b mean var eval from n\n"
                 "v.eval = reshape n.eval eval from v\n"
                 "w.eval = reshape v.eval eval from w\n"
                 "y.eval = add w.eval b eval from y\n"
                 "l.eval = mse y.eval t.eval eval from l\n");
    assert_true(node_real(case_node(t, "n.eval"), A_EPS) == 1e-3);
    int n = t->c.graph->nodes.n;
    case_run(t, "eval"); // it has them
    assert_int_equal(t->c.graph->nodes.n, n);
    case_free(t);
}

// The predictions are a dropout: they need a node of their own all the same.
static void predictions_have_a_twin(void **state)
{
    (void)state;
    Case *t = evaluated(LEAVES "h = add x b\n"
                               "y = dropout h {rate=0.5, stream=1}\n"
                               "l = mse y t\n"
                               "loss l\noutput y\n");
    expect_nodes(t, EVAL_NODES,
                 "h.eval = add x.eval b eval from h\n"
                 "l.eval = mse h.eval t.eval eval from l\n"
                 "y.eval = reshape h.eval eval from y\n");
    case_free(t);
}

// Who reads mean or variance of a batch norm gets the running ones; a batch norm without running
// statistics takes those of the batch.
static void statistics(void **state)
{
    (void)state;
    Case *t = evaluated(LEAVES NORM "y = mul n n.2\n"
                                    "k = batch_norm y g b {eps=1e-5}\n"
                                    "k.1 = result k {index=1}\n"
                                    "z = add k k.1\n"
                                    "output z\n");
    expect_nodes(t, EVAL_NODES | WITH_LEAVES,
                 "x.eval = input eval from x\n"
                 "n.eval = batch_norm_infer x.eval g b mean var eval from n\n"
                 "y.eval = mul n.eval var eval from y\n"
                 "k.eval = batch_norm y.eval g b eval from k\n"
                 "k.1.eval = result k.eval eval from k.1\n"
                 "z.eval = add k.eval k.1.eval eval from z\n");
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_inference_needs_it),
                                       cmocka_unit_test(predictions_have_a_twin),
                                       cmocka_unit_test(statistics)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
