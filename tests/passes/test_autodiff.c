// The structure of gradients: who adds what in which order. Their numbers are tested on compiled
// programs (tests/ops).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

static void differentiates(const char *body, const char *backward)
{
    Text text = {0};
    text_printf(&text, "graph g micro_batch 4\n%sloss l\n", body);
    Case *t = case_new(text.data);
    case_run(t, "autodiff");
    expect_nodes(t, BACKWARD_NODES, backward);
    case_free(t);
    text_release(&text);
}

// Users of h in order: a, b, c (twice), d. Contributions come from d to a.
static void last_user_first(void **state)
{
    (void)state;
    differentiates(SAMPLE("x", "4,6") TARGET("t", "4,6") PARAM("w", "6,6") //
                   "h = linear x w\n"
                   "a = relu h\n"
                   "b = sigmoid h\n"
                   "c = mul h h\n"
                   "d = tanh h\n"
                   "ab = add a b\n"
                   "abc = add ab c\n"
                   "s = add abc d\n"
                   "l = mse s t\n",
                   "d_s = mse_grad s t seed backward from l\n"
                   "d_h = tanh_grad d_s d backward from d\n"
                   "d_h_2 = mul d_s h backward from c\n"
                   "d_h.sum = add d_h d_h_2 backward from c\n"
                   "d_h_3 = mul d_s h backward from c\n"
                   "d_h.sum_2 = add d_h.sum d_h_3 backward from c\n"
                   "d_h_4 = sigmoid_grad d_s b backward from b\n"
                   "d_h.sum_3 = add d_h.sum_2 d_h_4 backward from b\n"
                   "d_h_5 = relu_grad d_s a backward from a\n"
                   "d_h.sum_4 = add d_h.sum_3 d_h_5 backward from a\n"
                   "d_w = linear_grad_weight x d_h.sum_4 backward from h\n"
                   "w.accumulate = accumulate w.grad d_w backward from h\n");
}

// Weights first, and each gradient is added up before the next one is made.
static void accumulates_at_once(void **state)
{
    (void)state;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6")
                           PARAM("w", "6,6") PARAM("b", "6") //
                       "h = linear x w b\n"
                       "y = linear h w b\n"
                       "l = mse y t\n"
                       "loss l\n");
    t->options.micro_batches = 8;
    case_run(t, "autodiff");
    expect_nodes(t, BACKWARD_NODES | WITH_LEAVES,
                 "seed = share backward\n"
                 "d_y = mse_grad y t seed backward from l\n"
                 "d_b = bias_grad d_y backward from y\n"
                 "b.grad = accumulator backward from b\n"
                 "b.accumulate = accumulate b.grad d_b backward from y\n"
                 "d_w = linear_grad_weight h d_y backward from y\n"
                 "w.grad = accumulator backward from w\n"
                 "w.accumulate = accumulate w.grad d_w backward from y\n"
                 "d_h = linear_grad_input d_y w backward from y\n"
                 "d_b_2 = bias_grad d_h backward from h\n"
                 "b.grad_2 = accumulator backward from b\n"
                 "b.accumulate_2 = accumulate b.grad_2 d_b_2 backward from h\n"
                 "d_w_2 = linear_grad_weight x d_h backward from h\n"
                 "w.grad_2 = accumulator backward from w\n"
                 "w.accumulate_2 = accumulate w.grad_2 d_w_2 backward from h\n");
    assert_true(node_real(case_node(t, "seed"), A_VALUE) == 1.0 / 8);
    case_free(t);
}

static void only_behind_parameters(void **state)
{
    (void)state;
    differentiates("ids = input {shape=[4], dtype=\"i32\", role=\"sample\"}\n" //
                   SAMPLE("x", "4,6") TARGET("t", "4,6") PARAM("table", "9,6") PARAM("v", "6")
                       BUFFER("c", "6") //
                   "e = embedding ids table\n"
                   "k = tanh x\n"
                   "a = add e k\n"
                   "s = mul a v\n"
                   "z = mul s c\n"
                   "u = relu t\n"
                   "l = mse z u\n",
                   "d_z = mse_grad z u seed backward from l\n"
                   "d_s = mul d_z c backward from z\n"
                   "d_a = mul d_s v backward from s\n"
                   "d_v = mul d_s a backward from s\n"
                   "d_v_2 = sum_to d_v backward from s\n"
                   "v.accumulate = accumulate v.grad d_v_2 backward from s\n"
                   "d_table = embedding_grad ids d_a backward from e\n"
                   "table.accumulate = accumulate table.grad d_table backward from e\n");
}

// A loss of two terms: one seed, and one path through the scale.
static void losses_add_up(void **state)
{
    (void)state;
    differentiates(SAMPLE("x", "4,6") TARGET("t", "4,6") PARAM("w", "6,6") //
                   "h = linear x w\n"
                   "m = mse h t\n"
                   "r = mse h x\n"
                   "q = scale r {value=0.25}\n"
                   "l = add m q\n",
                   "d_r = scale seed backward from q\n"
                   "d_h = mse_grad h x d_r backward from r\n"
                   "d_h_2 = mse_grad h t seed backward from m\n"
                   "d_h.sum = add d_h d_h_2 backward from m\n"
                   "d_w = linear_grad_weight x d_h.sum backward from h\n"
                   "w.accumulate = accumulate w.grad d_w backward from h\n");
}

static void products(void **state)
{
    (void)state;
    static const char *const expect[2][2] = {
        {"d_b = matmul a d_y backward from y\nd_a = matmul d_y b backward from y\n",
         "d_b = matmul d_y a backward from y\nd_a = matmul d_y b backward from y\n"},
        {"d_b = matmul a d_y backward from y\nd_a = matmul b d_y backward from y\n",
         "d_b = matmul d_y a backward from y\nd_a = matmul b d_y backward from y\n"}};
    for (int ta = 0; ta < 2; ta++)
        for (int tb = 0; tb < 2; tb++) {
            Text body = {0}, lines = {0};
            text_printf(&body,
                        SAMPLE("x", "4,2,3") SAMPLE("z", "4,3,5") TARGET("t", "4,2,5")
                            PARAM("v", "1") //
                        "a0 = mul x v\nb0 = mul z v\n"
                        "a = %s\nb = %s\n"
                        "y = matmul a b {transpose_a=%d, transpose_b=%d}\n"
                        "l = mse y t\n",
                        ta ? "transpose a0 {perm=[0,2,1]}" : "scale a0 {value=2}",
                        tb ? "transpose b0 {perm=[0,2,1]}" : "scale b0 {value=2}", ta, tb);
            text_printf(&lines, "d_y = mse_grad y t seed backward from l\n%s", expect[ta][tb]);
            text_puts(&lines, tb ? "d_b0 = transpose d_b backward from b\n"
                                 : "d_b0 = scale d_b backward from b\n");
            text_puts(&lines, ta ? "d_a0 = transpose d_a backward from a\n"
                                 : "d_a0 = scale d_a backward from a\n");
            text_puts(&lines, "d_v = mul d_b0 z backward from b0\n"
                              "d_v_2 = sum_to d_v backward from b0\n"
                              "v.accumulate = accumulate v.grad d_v_2 backward from b0\n"
                              "d_v_3 = mul d_a0 x backward from a0\n"
                              "d_v_4 = sum_to d_v_3 backward from a0\n"
                              "v.accumulate_2 = accumulate v.grad_2 d_v_4 backward from a0\n");
            differentiates(body.data, lines.data);
            text_release(&body);
            text_release(&lines);
        }
}

// Statistics, argmax and lse are outputs of forward nodes and stand right behind them.
static void images(void **state)
{
    (void)state;
    Case *t = case_new(
        "graph g micro_batch 4\n" SAMPLE("x", "4,3,8,8") PARAM("w", "6,3,3,3") PARAM("g", "6")
            PARAM("b", "6") //
        "t = input {shape=[4], dtype=\"i32\", role=\"target\"}\n"
        "c = conv2d x w b {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
        "n = batch_norm c g b {eps=1e-5}\n"
        "r = relu n\n"
        "d = dropout r {rate=0.5, stream=7}\n"
        "p = max_pool2d d {kernel=[2,2], stride=[2,2], padding=[0,0,0,0], dilation=[1,1]}\n"
        "q = avg_pool2d p {kernel=[2,2], stride=[2,2], padding=[0,0,0,0]}\n"
        "s = slice q {axis=1, begin=1, length=4}\n"
        "k = concat s q {axis=1}\n"
        "a = global_avg_pool k\n"
        "f = reshape a {shape=[4,10]}\n"
        "l = cross_entropy f t\n"
        "loss l\n");
    case_run(t, "autodiff");
    expect_nodes(t, FORWARD_NODES | BACKWARD_NODES | WITH_LEAVES,
                 "x = input\nw = param\ng = param\nb = param\nt = input\n"
                 "c = conv2d x w b\n"
                 "n = batch_norm c g b\n"
                 "n.1 = result n\n"
                 "n.2 = result n\n"
                 "r = relu n\n"
                 "d = dropout r\n"
                 "p = max_pool2d d\n"
                 "p.1 = result p\n"
                 "q = avg_pool2d p\n"
                 "s = slice q\n"
                 "k = concat s q\n"
                 "a = global_avg_pool k\n"
                 "f = reshape a\n"
                 "l = cross_entropy f t\n"
                 "l.1 = result l\n"
                 "seed = share backward\n"
                 "d_f = cross_entropy_grad f t l.1 seed backward from l\n"
                 "d_a = reshape d_f backward from f\n"
                 "d_k = global_avg_pool_grad d_a backward from a\n"
                 "d_s = slice d_k backward from k\n"
                 "d_q = slice d_k backward from k\n"
                 "d_q_2 = pad d_s backward from s\n"
                 "d_q.sum = add d_q d_q_2 backward from s\n"
                 "d_p = avg_pool2d_grad d_q.sum backward from q\n"
                 "d_d = max_pool2d_grad d_p p.1 backward from p\n"
                 "d_r = dropout d_d backward from d\n"
                 "d_n = relu_grad d_r r backward from r\n"
                 "d_c = batch_norm_grad c d_n g n.1 n.2 backward from n\n"
                 "d_g = result d_c backward from n\n"
                 "g.grad = accumulator backward from g\n"
                 "g.accumulate = accumulate g.grad d_g backward from n\n"
                 "d_b = result d_c backward from n\n"
                 "b.grad = accumulator backward from b\n"
                 "b.accumulate = accumulate b.grad d_b backward from n\n"
                 "d_b_2 = bias_grad d_c backward from c\n"
                 "b.grad_2 = accumulator backward from b\n"
                 "b.accumulate_2 = accumulate b.grad_2 d_b_2 backward from c\n"
                 "d_w = conv2d_grad_weight x d_c backward from c\n"
                 "w.grad = accumulator backward from w\n"
                 "w.accumulate = accumulate w.grad d_w backward from c\n");
    assert_int_equal(node_int(case_node(t, "d_r"), A_STREAM), 7);
    assert_int_equal(node_int(case_node(t, "d_q"), A_BEGIN), 4);
    assert_int_equal(node_int(case_node(t, "d_b_2"), A_AXIS), 1);
    case_free(t);
}

static void nothing_to_learn(void **state)
{
    (void)state;
    differentiates(SAMPLE("x", "4,6") TARGET("t", "4,6") PARAM("w", "6,6") //
                   "h = relu x\nl = mse h t\n",
                   "");
}

static void says_what_has_no_gradient(void **state)
{
    (void)state;
    char *text;
    size_t size;
    Case *t = case_new("graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,1")
                           PARAM("w", "6,6") //
                       "h = linear x w\n"
                       "p = sum_to h {shape=[4,1]}\n"
                       "l = mse p t\n"
                       "loss l\n");
    FILE *f = open_memstream(&text, &size);
    diag_output(f, false);
    assert_false(passes_run(&t->c, &(PassOptions){0}));
    fclose(f);
    diag_output(stderr, false);
    diag_reset();
    assert_non_null(strstr(text, "test.ir:6:1: error: sum_to has no gradient"));
    free(text);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_user_first),  cmocka_unit_test(accumulates_at_once),
        cmocka_unit_test(images),           cmocka_unit_test(only_behind_parameters),
        cmocka_unit_test(losses_add_up),    cmocka_unit_test(products),
        cmocka_unit_test(nothing_to_learn), cmocka_unit_test(says_what_has_no_gradient)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
