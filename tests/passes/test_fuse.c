// Groups and units on small graphs; tests/passes/test_whole.c checks fuse.c's promises on random ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "passes/values.h"
#include "tests/passes/from_text.h"

#define CONV "{stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\n"
#define NORM(n, x)                                                                             \
    n " = batch_norm " x " g g {eps=1e-5}\n" n ".1 = result " n " {index=1}\n" n               \
      ".2 = result " n " {index=2}\n" n ".u = running_update mean var " n ".1 " n              \
      ".2 {momentum=0.1, count=9}\n"

static const char *const residual = "graph net micro_batch 4\n" SAMPLE("x", "4,16,8,8")
    PARAM("w", "16,16,1,1") PARAM("g", "16") BUFFER("mean", "16") BUFFER("var", "16") //
    "t = input {shape=[4,16,8,8], dtype=\"f32\", role=\"target\"}\n"                  //
    "c1 = conv2d x w " CONV NORM("n1", "c1")                                          //
    "r1 = relu n1\n"                                                                  //
    "c2 = conv2d r1 w " CONV NORM("n2", "c2")                                         //
    "s = add n2 r1\n"                                                                 //
    "r2 = relu s\n"                                                                   //
    "l = mse r2 t\n"
    "loss l\n"
    "output r2\n";

static void residual_block(void **state)
{
    (void)state;
    Case *t = case_new(residual);
    case_run(t, "eval,autodiff,fuse,units");
    expect_nodes(t, FORWARD_NODES,
                 "c1 = conv2d x w unit 0\n"
                 "n1 = batch_norm c1 g g group 0 unit 1\n"
                 "r1 = relu n1 group 0 unit 1\n"
                 "n1.u = running_update mean var n1.1 n1.2 unit 1\n"
                 "c2 = conv2d r1 w unit 2\n"
                 "n2 = batch_norm c2 g g group 1 unit 3\n"
                 "s = add n2 r1 group 1 unit 3\n"
                 "r2 = relu s group 1 unit 3\n"
                 "n2.u = running_update mean var n2.1 n2.2 unit 3\n"
                 "l = mse r2 t unit 4\n");
    expect_nodes(t, EVAL_NODES,
                 "c1.eval = conv2d x.eval w eval from c1 unit 0\n"
                 "n1.eval = batch_norm_infer c1.eval g g mean var eval from n1 group 2 unit 1\n"
                 "r1.eval = relu n1.eval eval from r1 group 2 unit 1\n"
                 "c2.eval = conv2d r1.eval w eval from c2 unit 2\n"
                 "n2.eval = batch_norm_infer c2.eval g g mean var eval from n2 group 3 unit 3\n"
                 "s.eval = add n2.eval r1.eval eval from s group 3 unit 3\n"
                 "r2.eval = relu s.eval eval from r2 group 3 unit 3\n"
                 "l.eval = mse r2.eval t.eval eval from l unit 4\n");
    expect_nodes(t, BACKWARD_NODES,
                 "d_r2 = mse_grad r2 t seed backward from l unit 4\n"
                 "d_s = relu_grad d_r2 r2 backward from r2 group 4 unit 3\n"
                 "d_c2 = batch_norm_grad c2 d_s g n2.1 n2.2 backward from n2 group 4 unit 3\n"
                 "g.accumulate = accumulate g.grad d_g backward from n2 unit 3\n"
                 "g.accumulate_2 = accumulate g.grad_2 d_g_2 backward from n2 unit 3\n"
                 "d_w = conv2d_grad_weight r1 d_c2 backward from c2 unit 2\n"
                 "w.accumulate = accumulate w.grad d_w backward from c2 unit 2\n"
                 "d_r1 = conv2d_grad_input d_c2 w backward from c2 unit 2\n"
                 "d_r1.sum = add d_s d_r1 backward from r1 group 5 unit 1\n"
                 "d_n1 = relu_grad d_r1.sum r1 backward from r1 group 5 unit 1\n"
                 "d_c1 = batch_norm_grad c1 d_n1 g n1.1 n1.2 backward from n1 group 5 unit 1\n"
                 "g.accumulate_3 = accumulate g.grad_3 d_g_3 backward from n1 unit 1\n"
                 "g.accumulate_4 = accumulate g.grad_4 d_g_4 backward from n1 unit 1\n"
                 "d_w_2 = conv2d_grad_weight x d_c1 backward from c1 unit 0\n"
                 "w.accumulate_2 = accumulate w.grad_2 d_w_2 backward from c1 unit 0\n");
    assert_string_equal(case_node(t, "d_r1.sum")->loc.file, "test.ir");
    assert_int_equal(case_node(t, "g")->unit, 1);
    assert_int_equal(case_node(t, "n2.1")->unit, 3);
    assert_int_equal(case_node(t, "w.grad")->unit, 2);
    assert_int_equal(case_node(t, "seed")->unit, 4);
    case_free(t);
}

static void without_fusion(void **state)
{
    (void)state;
    Case *t = case_new(residual);
    case_run(t, "eval,autodiff,fuse");
    t->c.fuse = false;
    case_run(t, "fuse,units");
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        assert_int_equal(t->c.graph->nodes.items[i]->group, -1);
    assert_int_equal(case_node(t, "n1.u")->unit, case_node(t, "n1")->unit);
    assert_int_equal(case_node(t, "l")->unit, 7);
    case_free(t);
}

static void fuses(const char *body, const char *lines)
{
    Text text = {0};
    text_printf(&text,
                "graph g micro_batch 4\n" SAMPLE("x", "4,3,6") TARGET("t", "4,3,6")
                    PARAM("w", "6,6") PARAM("b", "6") PARAM("p", "3,6") PARAM("o", "1") //
                "%sl = mse y t\nloss l\n",
                body);
    Case *t = case_new(text.data);
    case_run(t, "autodiff,fuse");
    expect_nodes(t, FORWARD_NODES | BACKWARD_NODES, lines);
    case_free(t);
    text_release(&text);
}

// Trailing dimensions and single numbers go into a loop; leading ones do not.
static void what_broadcasts(void **state)
{
    (void)state;
    fuses("a = relu x\n"
          "c = add a b\n"
          "e = mul c p\n"
          "f = add e o\n"
          "s = slice x {axis=2, begin=0, length=1}\n"
          "h = relu x\n"
          "y = add h s\n",
          "a = relu x group 0\n"
          "c = add a b group 0\n"
          "e = mul c p group 0\n"
          "f = add e o group 0\n"
          "s = slice x\n"
          "h = relu x\n"
          "y = add h s\n"
          "l = mse y t\n");
}

// x sigmoid(x): in backward two products of one gradient stand side by side, and meet again.
static void diamonds(void **state)
{
    (void)state;
    fuses("h = linear x w\n"
          "s = sigmoid h\n"
          "y = mul h s\n",
          "h = linear x w\n"
          "s = sigmoid h group 0\n"
          "y = mul h s group 0\n"
          "l = mse y t\n"
          "d_y = mse_grad y t seed backward from l\n"
          "d_h = mul d_y s backward from y group 1\n"
          "d_s = mul d_y h backward from y group 1\n"
          "d_h_2 = sigmoid_grad d_s s backward from s group 1\n"
          "d_h.sum = add d_h d_h_2 backward from s group 1\n"
          "d_w = linear_grad_weight x d_h.sum backward from h\n"
          "w.accumulate = accumulate w.grad d_w backward from h\n");
}

// Nodes side by side that read no member stay apart in forward: they would be one unit for nothing.
// An effect between two members moves behind the group. Another shape ends it.
static void what_ends_a_group(void **state)
{
    (void)state;
    fuses("a = relu x\n"
          "c = tanh x\n"
          "d = scale c {value=2}\n"
          "v = reshape d {shape=[4,18]}\n"
          "e = scale v {value=3}\n"
          "f = relu e\n"
          "i = reshape f {shape=[4,3,6]}\n"
          "k = mul i b\n"
          "y = add k a\n",
          "a = relu x\n"
          "c = tanh x group 0\n"
          "d = scale c group 0\n"
          "v = reshape d\n"
          "e = scale v group 1\n"
          "f = relu e group 1\n"
          "i = reshape f\n"
          "k = mul i b group 2\n"
          "y = add k a group 2\n"
          "l = mse y t\n"
          "d_y = mse_grad y t seed backward from l\n"
          "d_b = mul d_y i backward from k\n"
          "d_b_2 = sum_to d_b backward from k\n"
          "b.accumulate = accumulate b.grad d_b_2 backward from k\n");
}

// A member's statistics are there only when its first loop is done.
static void statistics_stay_outside(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") PARAM("w", "6") //
                       "n = batch_norm x w w {eps=1e-5}\n"
                       "m = result n {index=1}\n"
                       "y = add n m\n"
                       "z = relu y\n"
                       "output z\n");
    case_run(t, "fuse");
    expect_nodes(t, FORWARD_NODES,
                 "n = batch_norm x w w\n"
                 "y = add n m group 0\n"
                 "z = relu y group 0\n");
    case_free(t);
}

// A residual stream: the sum at the first user joins the loop of the maker.
static void sums_join_the_maker(void **state)
{
    (void)state;
    fuses("h = linear x w\n"
          "d = dropout h {rate=0.1, stream=1}\n"
          "r = add d x\n"
          "i = linear r w\n"
          "g = gelu i\n"
          "y = add g r\n",
          "h = linear x w\n"
          "d = dropout h group 0\n"
          "r = add d x group 0\n"
          "i = linear r w\n"
          "g = gelu i group 1\n"
          "y = add g r group 1\n"
          "l = mse y t\n"
          "d_y = mse_grad y t seed backward from l\n"
          "d_i = gelu_grad d_y i backward from g\n"
          "d_w = linear_grad_weight r d_i backward from i\n"
          "w.accumulate = accumulate w.grad d_w backward from i\n"
          "d_r = linear_grad_input d_i w backward from i\n"
          "d_r.sum = add d_y d_r backward from d group 2\n"
          "d_h = dropout d_r.sum backward from d group 2\n"
          "d_w_2 = linear_grad_weight x d_h backward from h\n"
          "w.accumulate_2 = accumulate w.grad_2 d_w_2 backward from h\n");
}

static bool relu_or_gelu(const Node *n, const Node *next, bool kept)
{
    (void)n;
    return next->op == OP_GELU || (next->op == OP_RELU && !kept);
}

// A linear layer that gelu's gradient reads is a head of gelu, but not of relu; what follows joins their loop, and their
// unit.
static void heads(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6")
                           PARAM("w", "6,6") //
                       "a = linear x w\n"
                       "b = relu a\n"
                       "c = linear b w\n"
                       "d = gelu c\n"
                       "e = scale d {value=2}\n"
                       "f = linear e w\n"
                       "h = relu f\n"
                       "y = add h f\n"
                       "l = mse y t\nloss l\n");
    t->c.heads = relu_or_gelu;
    case_run(t, "eval,autodiff,fuse,units");
    expect_nodes(t, FORWARD_NODES,
                 "a = linear x w group 0 unit 0\n"
                 "b = relu a group 0 unit 0\n"
                 "c = linear b w group 1 unit 1\n"
                 "d = gelu c group 1 unit 1\n"
                 "e = scale d group 1 unit 1\n"
                 "f = linear e w unit 2\n"
                 "h = relu f group 2 unit 3\n"
                 "y = add h f group 2 unit 3\n"
                 "l = mse y t unit 4\n");
    Values v = values_of(&t->arena, t->c.graph);
    assert_true(value_internal(&v, case_node(t, "a")) &&
                !value_internal(&v, case_node(t, "c")));
    assert_false(value_internal(&v, case_node(t, "d"))); // by the library, and e reads it
    assert_true(value_internal(&v, case_node(t, "c.eval")));
    case_free(t);
}

static void printed_groups_stay(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") //
                       "a = relu x\n"
                       "b = relu a\n"
                       "c = relu b group 3\n"
                       "d = relu c group 3\n"
                       "output d\n");
    case_run(t, "fuse,units");
    expect_nodes(t, FORWARD_NODES,
                 "a = relu x unit 0\nb = relu a unit 1\n"
                 "c = relu b group 3 unit 2\nd = relu c group 3 unit 2\n");
    case_free(t);
}

// A view counts to what computes before it, and a parameter behind a view to who computes with it.
static void units_of_views(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6")
                           PARAM("w", "36") //
                       "v = reshape w {shape=[6,6]}\n"
                       "a = softmax x\n"
                       "r = reshape a {shape=[24]}\n"
                       "k = softmax r\n"
                       "q = reshape k {shape=[4,6]}\n"
                       "y = linear q v\n"
                       "l = mse y t\n"
                       "loss l\n");
    case_run(t, NULL);
    expect_nodes(t, FORWARD_NODES,
                 "v = reshape w unit 0\n"
                 "a = softmax x unit 0\n"
                 "r = reshape a unit 0\n"
                 "k = softmax r unit 1\n"
                 "q = reshape k unit 1\n"
                 "y = linear q v unit 2\n"
                 "l = mse y t unit 3\n");
    assert_int_equal(case_node(t, "w")->unit, 2);
    assert_int_equal(case_node(t, "w.sgd")->unit, 2);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(residual_block),          cmocka_unit_test(without_fusion),
        cmocka_unit_test(what_broadcasts),         cmocka_unit_test(diamonds),
        cmocka_unit_test(what_ends_a_group),       cmocka_unit_test(sums_join_the_maker),
        cmocka_unit_test(statistics_stay_outside), cmocka_unit_test(heads),
        cmocka_unit_test(printed_groups_stay),     cmocka_unit_test(units_of_views)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
