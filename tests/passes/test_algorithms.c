// Which convolutions Winograd's algorithm computes, and which products Strassen's: forward and gradients by one rule.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

// One convolution of a 32-channel image made by another one, micro-batch n, h x h pixels.
typedef struct Model {
    int n, h, channels, kernel, stride, padding, dilation, groups;
} Model;

static const Model usual = {4, 16, 32, 3, 1, 1, 1, 1};

static Case *model(Model m, int block)
{
    char text[1024];
    snprintf(text, sizeof text,
             "graph net micro_batch %d block %d\n"
             "layer first conv2d\nlayer conv conv2d\n"
             "x = input {shape=[%d,16,%d,%d], dtype=\"f32\", role=\"sample\"}\n"
             "t = param {shape=[1], dtype=\"f32\", init=\"normal\"} of first\n"
             "v = param {shape=[%d,16,1,1], dtype=\"f32\", init=\"normal\"} of first\n"
             "w = param {shape=[%d,%d,%d,%d], dtype=\"f32\", init=\"normal\"} of conv\n"
             "c = conv2d x v {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]} of first\n"
             "y = conv2d c w {stride=[%d,%d], padding=[%d,%d,%d,%d], dilation=[%d,%d], "
             "groups=%d} of conv\n"
             "m = mul y t of conv\nf = reshape m {shape=[-1]} of conv\nl = mse f f of conv\n"
             "loss l\n",
             m.n, block, m.n, m.h, m.h, m.channels, m.channels, m.channels / m.groups, m.kernel,
             m.kernel, m.stride, m.stride, m.padding, m.padding, m.padding, m.padding,
             m.dilation, m.dilation, m.groups);
    Case *t = case_new(text);
    t->c.images = IMAGES_BLOCKED;
    return t;
}

// How many nodes bear the mark, of conv2d, conv2d_grad_input, conv2d_grad_weight of `conv` (and its eval twin).
static int marked(Case *t)
{
    int n = 0;
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        n += node_int(t->c.graph->nodes.items[i], A_FAST) == 1;
    return n;
}

static int count_and_free(Case *t)
{
    case_run(t, "eval,autodiff,layout,algorithms");
    int n = marked(t);
    case_free(t);
    return n;
}

static int run(Model m, int block, const char *algorithms)
{
    Case *t = model(m, block);
    t->options.algorithms = algorithms;
    return count_and_free(t);
}

static void marks_all_kernels_of_a_convolution(void **state)
{
    (void)state;
    Case *t = model(usual, 16);
    case_run(t, "eval,autodiff,layout,algorithms");
    assert_int_equal(marked(t), 4);
    assert_int_equal(node_int(case_node(t, "y"), A_FAST), 1);
    assert_int_equal(node_int(case_node(t, "c"), A_FAST), 0); // 1 x 1
    case_free(t);
}

static void leaves_alone_what_it_does_not_suit(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        Model m;
        int block, expected;
    } rows[] = {
        {"as it is", {4, 16, 32, 3, 1, 1, 1, 1}, 16, 4},
        {"stride", {4, 16, 32, 3, 2, 1, 1, 1}, 16, 0},
        {"no padding", {4, 16, 32, 3, 1, 0, 1, 1}, 16, 0},
        {"dilation", {4, 16, 32, 3, 1, 1, 2, 1}, 16, 0},
        {"5 x 5", {4, 16, 32, 5, 1, 1, 1, 1}, 16, 0},
        {"groups", {4, 16, 32, 3, 1, 1, 1, 2}, 16, 0},
        {"few channels", {4, 16, 16, 3, 1, 1, 1, 1}, 16, 0},
        {"plain images", {4, 16, 40, 3, 1, 1, 1, 1}, 16, 0},
        {"AVX2", {4, 16, 32, 3, 1, 1, 1, 1}, 8, 0},
        {"16 tiles", {1, 16, 32, 3, 1, 1, 1, 1}, 16, 0},
        {"25 tiles", {1, 20, 32, 3, 1, 1, 1, 1}, 16, 4},
        {"tiles of 5 x 5 pixels, mostly empty", {64, 5, 32, 3, 1, 1, 1, 1}, 16, 0},
        {"7 x 7", {8, 7, 32, 3, 1, 1, 1, 1}, 16, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (run(rows[i].m, rows[i].block, "auto") != rows[i].expected)
            fail_msg("%s: not %d nodes", rows[i].what, rows[i].expected);
}

static void can_be_turned_off(void **state)
{
    (void)state;
    assert_int_equal(run(usual, 16, "direct"), 0);
}

// x[rows,in] w[out,in], and the square of the result by itself.
static int products(int n_rows, int in, int out)
{
    char text[1024];
    snprintf(text, sizeof text,
             "graph net micro_batch %d block 16\nlayer fc linear\n"
             "x = input {shape=[%d,%d], dtype=\"f32\", role=\"sample\"}\n"
             "v = param {shape=[%d], dtype=\"f32\", init=\"normal\"} of fc\n"
             "w = param {shape=[%d,%d], dtype=\"f32\", init=\"normal\"} of fc\n"
             "m = mul x v of fc\ny = linear m w of fc\n"
             "s = matmul y y {transpose_b=1} of fc\nl = mse s s of fc\nloss l\n",
             n_rows, n_rows, in, in, out, in);
    Case *t = case_new(text);
    t->c.images = IMAGES_BLOCKED;
    return count_and_free(t);
}

static void marks_large_products(void **state)
{
    (void)state;
    assert_int_equal(products(512, 768, 514),
                     4 + 4); // with two gradients and an eval twin each
    assert_int_equal(products(512, 767, 514), 4);
    assert_int_equal(products(512, 510, 514), 4);
    assert_int_equal(products(511, 768, 514), 0);
}

// A printed graph may bear marks that do not hold any more.
static void forgets_old_marks(void **state)
{
    (void)state;
    Case *t = model(usual, 16);
    case_run(t, "eval,autodiff,layout,algorithms");
    t->options.algorithms = "direct";
    case_run(t, "algorithms");
    assert_int_equal(marked(t), 0);
    case_free(t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_all_kernels_of_a_convolution),
        cmocka_unit_test(leaves_alone_what_it_does_not_suit),
        cmocka_unit_test(marks_large_products),
        cmocka_unit_test(can_be_turned_off),
        cmocka_unit_test(forgets_old_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
