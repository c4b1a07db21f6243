// Attention as one op: which chains are taken, what becomes of them, and that all others stay as they are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

// One line each, so that cases can replace some.
static const char *const chain[] = {
    "x = input {shape=[2,5,32], dtype=\"f32\", role=\"sample\"}",
    "t = input {shape=[2,5,32], dtype=\"f32\", role=\"target\"}",
    "n = input {shape=[2], dtype=\"i32\", role=\"sample\"}",
    "w = param {shape=[32,32], dtype=\"f32\", init=\"normal\"}",
    "q = linear x w of values",
    "k = linear x w of values",
    "v = linear x w of values",
    "qs = reshape q {shape=[2,5,2,16]} of heads",
    "qh = transpose qs {perm=[0,2,1,3]} of heads",
    "ks = reshape k {shape=[2,5,2,16]} of heads",
    "kh = transpose ks {perm=[0,2,1,3]} of heads",
    "vs = reshape v {shape=[2,5,2,16]} of heads",
    "vh = transpose vs {perm=[0,2,1,3]} of heads",
    "s = matmul qh kh {transpose_b=1} of heads",
    "c = scale s {value=0.25} of heads",
    "p = softmax c {causal=1} of weights",
    "d = dropout p {rate=0.5, stream=3} of drop",
    "m = matmul d vh of heads",
    "b = transpose m {perm=[0,2,1,3]} of heads",
    "y = reshape b {shape=[2,5,32]} of heads",
    "l = mse y t of values",
    "loss l",
    "output y"};

static bool of_16(const Options *o, int64_t features)
{
    (void)o;
    return features == 16;
}

static bool of_any(const Options *o, int64_t features)
{
    (void)o;
    (void)features;
    return true;
}

// The line that defines this name instead of the chain's own; NULL: the chain's.
static const char *instead(const char *line, const char *const *others)
{
    size_t n = strcspn(line, " ");
    for (int i = 0; others[i]; i++)
        if (!strncmp(line, others[i], n + 1))
            return others[i];
    return NULL;
}

// others: lines in place of the chain's, NULL at the end; more: what stands at its end.
static Case *chain_with(const char *const *others, const char *more)
{
    Text text = {0};
    text_puts(&text, "graph g micro_batch 2\nlayer values linear\nlayer heads matmul\n"
                     "layer weights softmax @g.c:7:3\nlayer drop dropout\n");
    for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
        const char *other = instead(chain[i], others);
        text_printf(&text, "%s\n", other ? other : chain[i]);
    }
    text_puts(&text, more);
    Case *t = case_new(text.data);
    t->c.attention = of_16;
    text_release(&text);
    return t;
}

static int count(const Case *t, Op op)
{
    int n = 0;
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        n += t->c.graph->nodes.items[i]->op == op;
    return n;
}

static void becomes_one_op(void **state)
{
    (void)state;
    Case *t = chain_with((const char *const[]){NULL}, "");
    case_run(t, "attention");
    expect_nodes(t, FORWARD_NODES,
                 "q = linear x w\n"
                 "k = linear x w\n"
                 "v = linear x w\n"
                 "weights.attention = attention q k v\n"
                 "l = mse weights.attention t\n");
    const Node *a = case_node(t, "weights.attention");
    assert_string_equal(a->layer->name, "weights");
    assert_ptr_equal(t->c.graph->output, a);
    assert_int_equal(node_int(a, A_HEADS), 2);
    assert_true(node_real(a, A_VALUE) == 0.25 && node_real(a, A_RATE) == 0.5);
    assert_int_equal(node_int(a, A_STREAM), 3);
    assert_int_equal(node_int(a, A_CAUSAL), 1);
    case_free(t);
}

// Evaluation drops nothing; backward reads lse and the result, and none of the scores.
static void has_a_gradient(void **state)
{
    (void)state;
    Case *t = chain_with((const char *const[]){NULL}, "");
    case_run(t, "attention,eval,autodiff");
    expect_nodes(t, EVAL_NODES,
                 "q.eval = linear x.eval w eval from q\n"
                 "k.eval = linear x.eval w eval from k\n"
                 "v.eval = linear x.eval w eval from v\n"
                 "weights.attention.eval = attention q.eval k.eval v.eval eval from "
                 "weights.attention\n"
                 "l.eval = mse weights.attention.eval t.eval eval from l\n");
    assert_true(node_real(case_node(t, "weights.attention.eval"), A_RATE) == 0);
    const Node *grad = case_node(t, "d_q");
    assert_int_equal(grad->op, OP_ATTENTION_GRAD);
    static const char *const inputs[] = {
        "d_weights.attention", "q", "k", "v", "weights.attention", "weights.attention.1"};
    for (int i = 0; i < 6; i++)
        assert_string_equal(grad->inputs[i]->name, inputs[i]);
    assert_true(node_real(grad, A_RATE) == 0.5);
    assert_int_equal(case_node(t, "d_k")->op, OP_RESULT);
    assert_int_equal(node_int(case_node(t, "d_k"), A_INDEX), 1);
    assert_int_equal(node_int(case_node(t, "d_v"), A_INDEX), 2);
    assert_int_equal(count(t, OP_SOFTMAX) + count(t, OP_TRANSPOSE), 0);
    case_free(t);
}

static void what_may_be_missing(void **state)
{
    (void)state;
    static const char *const others[][4] = {{"p = softmax s {causal=1} of weights", NULL},
                                            {"m = matmul p vh of heads", NULL},
                                            {"p = softmax c of weights", NULL},
                                            {"qs = reshape x {shape=[2,5,2,16]} of heads",
                                             "ks = reshape x {shape=[2,5,2,16]} of heads",
                                             "vs = reshape x {shape=[2,5,2,16]} of heads",
                                             NULL}};
    for (int i = 0; i < 4; i++) {
        Case *t = chain_with(others[i], "");
        case_run(t, "dce,attention");
        assert_int_equal(count(t, OP_ATTENTION), 1);
        assert_int_equal(count(t, OP_SOFTMAX), 0);
        const Node *a = case_node(t, "weights.attention");
        assert_true(node_real(a, A_VALUE) == (i == 0 ? 1 : 0.25));
        assert_true(node_real(a, A_RATE) == (i == 1 ? 0 : 0.5));
        assert_int_equal(node_int(a, A_CAUSAL), i != 2);
        assert_string_equal(a->inputs[1]->name, i == 3 ? "x" : "k");
        case_free(t);
    }
}

static void stays(Case *t, const char *what)
{
    int before = t->c.graph->nodes.n;
    case_run(t, "attention");
    if (count(t, OP_ATTENTION) || t->c.graph->nodes.n != before)
        fail_msg("%s: the chain is taken", what);
    case_free(t);
}

static void others_read_what_is_inside(void **state)
{
    (void)state;
    static const char *const inside[] = {"qs", "qh", "ks", "kh", "vs", "vh",
                                         "s",  "c",  "p",  "d",  "m",  "b"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        char reader[64];
        snprintf(reader, sizeof reader, "e = relu %s of values\n", inside[i]);
        stays(chain_with((const char *const[]){NULL}, reader), reader);
    }
    stays(chain_with((const char *const[]){"output p", NULL}, ""), "the runtime reads it");
}

static void other_chains(void **state)
{
    (void)state;
    static const struct {
        const char *what, *lines[6];
    } cases[] = {
        {"lengths", {"p = softmax c n {causal=1} of weights"}},
        {"scores of a tensor with itself", {"s = matmul qh qh {transpose_b=1} of heads"}},
        {"keys turned beforehand",
         {"kh = transpose ks {perm=[0,2,3,1]} of heads", "s = matmul qh kh of heads"}},
        {"queries turned",
         {"qh = transpose qs {perm=[0,2,3,1]} of heads",
          "s = matmul qh kh {transpose_a=1, transpose_b=1} of heads"}},
        {"values turned",
         {"vh = transpose vs {perm=[0,2,3,1]} of heads",
          "m = matmul d vh {transpose_b=1} of heads"}},
        {"features of a head apart", {"b = transpose m {perm=[0,2,3,1]} of heads"}},
        {"the result has other dimensions",
         {"y = reshape b {shape=[2,160]} of heads",
          "t = input {shape=[2,160], dtype=\"f32\", role=\"target\"}"}},
        {"heads of other steps",
         {"qs = reshape q {shape=[2,2,5,16]} of heads",
          "ks = reshape k {shape=[2,2,5,16]} of heads",
          "vs = reshape v {shape=[2,2,5,16]} of heads"}},
        {"values of more features",
         {"v = concat x x {axis=2} of values", "vs = reshape v {shape=[2,5,2,32]} of heads",
          "y = reshape b {shape=[2,5,64]} of heads",
          "t = input {shape=[2,5,64], dtype=\"f32\", role=\"target\"}"}},
        {"queries of fewer features",
         {"q = slice x {axis=2, begin=0, length=16} of values",
          "k = slice x {axis=2, begin=16, length=16} of values",
          "qs = reshape q {shape=[2,5,2,8]} of heads",
          "ks = reshape k {shape=[2,5,2,8]} of heads"}},
        {"values not turned", {"vh = reshape vs {shape=[2,2,5,16]} of heads"}},
        {"no turning back", {"b = reshape m {shape=[2,5,2,16]} of heads"}},
        {"no softmax", {"p = sigmoid c of weights"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Case *t = chain_with(cases[i].lines, "");
        t->c.attention = of_any;
        stays(t, cases[i].what);
    }
}

static void keys_of_another_length(void **state)
{
    (void)state;
    static const char *const others[] = {
        "n = input {shape=[2,7,32], dtype=\"f32\", role=\"sample\"}",
        "k = linear n w of values",
        "v = linear n w of values",
        "ks = reshape k {shape=[2,7,2,16]} of heads",
        "vs = reshape v {shape=[2,7,2,16]} of heads",
        NULL};
    stays(chain_with(others, ""), "keys of another length");
}

// As many steps as a head has features: products of turned factors have the same shape.
static void turned_factors_of_one_shape(void **state)
{
    (void)state;
    static const char *const products[][2] = {
        {"s = matmul qh kh {transpose_b=1} of heads", "m = matmul d vh of heads"},
        {"s = matmul qh kh of heads", "m = matmul d vh of heads"},
        {"s = matmul qh kh {transpose_a=1, transpose_b=1} of heads",
         "m = matmul d vh of heads"},
        {"s = matmul qh kh {transpose_b=1} of heads",
         "m = matmul d vh {transpose_b=1} of heads"},
        {"s = matmul qh kh {transpose_b=1} of heads",
         "m = matmul d vh {transpose_a=1} of heads"}};
    for (int i = 0; i < 5; i++) {
        const char *const others[] = {
            "x = input {shape=[2,16,32], dtype=\"f32\", role=\"sample\"}",
            "t = input {shape=[2,16,32], dtype=\"f32\", role=\"target\"}",
            "qs = reshape q {shape=[2,16,2,16]} of heads",
            "ks = reshape k {shape=[2,16,2,16]} of heads",
            "vs = reshape v {shape=[2,16,2,16]} of heads",
            "y = reshape b {shape=[2,16,32]} of heads",
            products[i][0],
            products[i][1],
            NULL};
        Case *t = chain_with(others, "");
        case_run(t, "attention");
        assert_int_equal(count(t, OP_ATTENTION), i == 0);
        case_free(t);
    }
}

static void not_asked_for(void **state)
{
    (void)state;
    static const char *const eights[] = {"qs = reshape q {shape=[2,5,4,8]} of heads",
                                         "ks = reshape k {shape=[2,5,4,8]} of heads",
                                         "vs = reshape v {shape=[2,5,4,8]} of heads", NULL};
    Case *t = chain_with((const char *const[]){NULL}, "");
    t->c.attention = NULL;
    stays(t, "a backend that does not ask");
    stays(chain_with(eights, ""), "heads that the backend does not take");
    t = chain_with((const char *const[]){NULL}, "");
    case_run(t, "eval");
    stays(t, "a graph that was printed behind `eval`");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(becomes_one_op),
                                       cmocka_unit_test(has_a_gradient),
                                       cmocka_unit_test(what_may_be_missing),
                                       cmocka_unit_test(others_read_what_is_inside),
                                       cmocka_unit_test(other_chains),
                                       cmocka_unit_test(keys_of_another_length),
                                       cmocka_unit_test(turned_factors_of_one_shape),
                                       cmocka_unit_test(not_asked_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
