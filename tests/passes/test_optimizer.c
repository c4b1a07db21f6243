// Updates: the sums of a parameter's uses, states by name, attributes from the options.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

static const char *const tied = "graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6")
    PARAM("b", "6") PARAM("w", "6,6") PARAM("unused", "6,6") //
    "h = linear x w b\n"
    "i = linear h w\n"
    "y = linear i w b\n"
    "l = mse y t\n"
    "loss l\n";

static Case *optimized(const char *settings)
{
    Case *t = case_new(tied);
    char copy[128], *rest = copy;
    snprintf(copy, sizeof copy, "%s", settings);
    for (char *name; *copy && (name = strsep(&rest, " "));)
        assert_true(
            options_set(&t->options, name, strsep(&rest, " "), FROM_COMMAND_LINE, NO_LOC));
    case_run(t, "autodiff,optimizer");
    return t;
}

static double real(const Case *t, const char *node, AttrKey key)
{
    const Attr *a = node_attr(case_node(t, node), key);
    return !a ? -1 : a->kind == ATTR_INT ? (double)a->i : a->r;
}

// Parameters in the model's order; uses in the order of the forward nodes, though backward meets the
// last one first (w.grad is that of y).
static void uses_in_order(void **state)
{
    (void)state;
    Case *t = optimized("");
    expect_nodes(t, UPDATE_NODES | WITH_LEAVES,
                 "b.grad.sum = add b.grad_2 b.grad update from b\n"
                 "b.sgd = sgd b b.grad.sum update from b\n"
                 "w.grad.sum = add w.grad_3 w.grad_2 update from w\n"
                 "w.grad.sum_2 = add w.grad.sum w.grad update from w\n"
                 "w.sgd = sgd w w.grad.sum_2 update from w\n");
    assert_null(node_attr(case_node(t, "w.sgd"), A_MOMENTUM));
    case_free(t);
}

static void momentum(void **state)
{
    (void)state;
    Case *t = optimized("momentum 0.9 nesterov 1 weight-decay 0.01");
    expect_nodes(t, UPDATE_NODES | WITH_LEAVES,
                 "b.grad.sum = add b.grad_2 b.grad update from b\n"
                 "b.momentum = state update from b\n"
                 "b.sgd = sgd b b.grad.sum b.momentum update from b\n"
                 "w.grad.sum = add w.grad_3 w.grad_2 update from w\n"
                 "w.grad.sum_2 = add w.grad.sum w.grad update from w\n"
                 "w.momentum = state update from w\n"
                 "w.sgd = sgd w w.grad.sum_2 w.momentum update from w\n");
    assert_true(real(t, "w.sgd", A_MOMENTUM) == 0.9 && real(t, "w.sgd", A_NESTEROV) == 1);
    assert_true(real(t, "w.sgd", A_WEIGHT_DECAY) == 0.01);
    assert_string_equal(node_string(case_node(t, "w.momentum"), A_KIND), "momentum");
    case_free(t);
}

static void adam_and_adamw(void **state)
{
    (void)state;
    Case *t = optimized("optimizer adam beta1 0.8 beta2 0.99 eps 1e-6 momentum 0.9");
    assert_true(real(t, "w.adam", A_BETA1) == 0.8 && real(t, "w.adam", A_BETA2) == 0.99);
    assert_true(real(t, "w.adam", A_EPS) == 1e-6 && real(t, "w.adam", A_DECOUPLED) == -1);
    const Node *n = case_node(t, "w.adam");
    assert_string_equal(n->inputs[2]->name, "w.exp_avg");
    assert_string_equal(n->inputs[3]->name, "w.exp_avg_sq");
    case_free(t);
    t = optimized("optimizer adamw weight-decay 0.1");
    assert_true(real(t, "w.adam", A_DECOUPLED) == 1);
    assert_true(real(t, "w.adam", A_WEIGHT_DECAY) == 0.1);
    case_free(t);
}

static void updates_once(void **state)
{
    (void)state;
    Case *t = optimized("");
    int n = t->c.graph->nodes.n;
    case_run(t, "autodiff,optimizer");
    assert_int_equal(t->c.graph->nodes.n, n);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_in_order), cmocka_unit_test(momentum),
        cmocka_unit_test(adam_and_adamw), cmocka_unit_test(updates_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
