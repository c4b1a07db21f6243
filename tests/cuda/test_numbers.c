// What our graphs compute, by an interpreter of them (cudnn.cpp) against naive loops in double: strides, padding, groups,
// the order of tensors, the formulas of attention. The same on a card is another matter: this is what it is asked for.
#include "tests/cuda/dnn_test.h"
#include "tests/kernels/numbers.h"

#include "runtime/bf16.h"

#include <math.h>
#include <unistd.h>

static rt_stage stage;
static Dnn dnn;
static DnnKernel kernel;

// Tensors of either type
// ----------------------------------------------------------------------------------------

typedef struct Tensor {
    rt_dtype type;
    int64_t n;
    void *at;
} Tensor;

static double get(const Tensor *t, int64_t i)
{
    return t->type == RT_BF16 ? (double)rt_to_float(((rt_bf16 *)t->at)[i])
                              : (double)((float *)t->at)[i];
}

static Tensor make_tensor(rt_dtype type, int64_t n, unsigned seed)
{
    float *values = numbers(n, seed);
    if (type != RT_BF16)
        return (Tensor){type, n, values};
    rt_bf16 *narrow = malloc((size_t)n * sizeof *narrow);
    for (int64_t i = 0; i < n; i++)
        narrow[i] = rt_to_bf16(values[i]);
    free(values);
    return (Tensor){type, n, narrow};
}

// Largest difference over largest value.
static void assert_close(const Tensor *got, const double *want, double bound, const char *what)
{
    double most = 0, off = 0;
    for (int64_t i = 0; i < got->n; i++) {
        double d = fabs(get(got, i) - want[i]);
        most = fabs(want[i]) > most ? fabs(want[i]) : most;
        off = d > off || isnan(d) ? d : off;
    }
    if (!(off <= bound * most))
        fail_msg("%s: off by %g of %g", what, off, most);
}

static double *zeros(int64_t n)
{
    double *values = calloc((size_t)n, sizeof *values);
    assert_non_null(values);
    return values;
}

static void run(const Tensor tensors[], int n)
{
    void *at[DNN_TENSORS] = {0}, *workspace = malloc((size_t)kernel.workspace_bytes + 1);
    for (int i = 0; i < n; i++)
        at[i] = tensors[i].at;
    if (rt__dnn_run(&stage, &dnn, &kernel, at, workspace, NULL))
        fail_msg("%s", stage.message);
    free(workspace);
    rt__dnn_unmake(&kernel);
}

// Convolutions
// ----------------------------------------------------------------------------------------

// Where an element of an image or a weight lies.
static int64_t place(const int64_t i[4], int64_t c, int64_t h, int64_t w, bool last)
{
    return last ? ((i[0] * h + i[2]) * w + i[3]) * c + i[1]
                : ((i[0] * c + i[1]) * h + i[2]) * w + i[3];
}

typedef struct Sums {
    double *y, *dx, *dw;
} Sums;

// All products that element y[i] takes part in: y += x w, dx += dy w, dw += dy x.
static void naive_at(const rt_conv *c, const Tensor t[3], const int64_t i[4], const Sums *s)
{
    int64_t of = c->c / c->groups, first = i[1] / (c->k / c->groups) * of;
    int64_t y = place(i, c->k, c->p, c->q, c->channels_last);
    for (int64_t e = 0; e < of * c->r * c->s; e++) {
        int64_t w[] = {i[1], e / (c->r * c->s), e / c->s % c->r, e % c->s};
        int64_t x[] = {i[0], first + w[1],
                       i[2] * c->stride[0] - c->padding[0] + w[2] * c->dilation[0],
                       i[3] * c->stride[1] - c->padding[1] + w[3] * c->dilation[1]};
        if (x[2] < 0 || x[2] >= c->h || x[3] < 0 || x[3] >= c->w)
            continue;
        int64_t x_at = place(x, c->c, c->h, c->w, c->channels_last);
        int64_t w_at = place(w, of, c->r, c->s, c->channels_last);
        s->y[y] += get(&t[0], x_at) * get(&t[1], w_at);
        s->dx[x_at] += get(&t[2], y) * get(&t[1], w_at);
        s->dw[w_at] += get(&t[2], y) * get(&t[0], x_at);
    }
}

static void finish_at(const rt_conv *c, const int64_t i[4], const Tensor *b, bool relu,
                      double *y)
{
    double *at = &y[place(i, c->k, c->p, c->q, c->channels_last)];
    *at += c->bias ? get(b, i[1]) : 0;
    *at = relu && *at < 0 ? 0 : *at;
}

static void naive(const rt_conv *c, const Tensor t[4], bool relu, const Sums *s)
{
    for (int64_t e = 0; e < c->n * c->k * c->p * c->q; e++) {
        int64_t i[] = {e / (c->k * c->p * c->q), e / (c->p * c->q) % c->k, e / c->q % c->p,
                       e % c->q};
        naive_at(c, t, i, s);
        finish_at(c, i, &t[3], relu, s->y);
    }
}

// One kernel on copies of the tensors, of which it may write one.
static Tensor computed(rt_kernel row, const Tensor t[4], bool tf32)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn, .tf32 = tf32};
    int out = row.op == RT_CONV2D ? 2 : row.op == RT_CONV2D_GRAD_INPUT ? 0 : 1;
    Tensor all[] = {t[0], t[1], t[2], t[3]};
    all[out] = make_tensor(t[out].type, t[out].n, 9);
    if (rt__dnn_convolution_kernel(&m, &row, &kernel))
        fail_msg("%s", stage.message);
    run(all, 4);
    return all[out];
}

static void check_conv(rt_conv conv, rt_dtype type, bool relu, const char *implementation)
{
    rt_kernel row = dnn_row("conv", RT_CONV2D, conv, type);
    const rt_conv *c = &row.conv;
    int64_t n_x = c->n * c->c * c->h * c->w, n_w = c->k * c->c / c->groups * c->r * c->s;
    int64_t n_y = c->n * c->k * c->p * c->q;
    Tensor t[] = {make_tensor(type, n_x, 1), make_tensor(type, n_w, 2),
                  make_tensor(type, n_y, 3), make_tensor(RT_F32, c->k, 4)};
    Sums want = {zeros(n_y), zeros(n_x), zeros(n_w)};
    double *results[] = {want.y, want.dx, want.dw};
    naive(c, t, relu, &want);
    for (rt_kernel_op op = RT_CONV2D; op <= RT_CONV2D_GRAD_WEIGHT; op++) {
        row.op = op;
        row.implementation = op == RT_CONV2D ? implementation : NULL;
        row.conv.bias = op == RT_CONV2D ? conv.bias : 0;
        row.epilogue = relu && op == RT_CONV2D ? RT_RELU : 0;
        Tensor got = computed(row, t, false);
        assert_close(&got, results[op - RT_CONV2D], type == RT_BF16 ? 1e-2 : 1e-5, "conv");
        free(got.at);
        free(results[op - RT_CONV2D]);
    }
    for (int i = 0; i < 4; i++)
        free(t[i].at);
}

static rt_conv odd(void)
{
    return (rt_conv){.n = 2,
                     .c = 6,
                     .h = 9,
                     .w = 7,
                     .k = 4,
                     .r = 3,
                     .s = 2,
                     .groups = 2,
                     .stride = {2, 1},
                     .padding = {1, 0, 2, 1},
                     .dilation = {1, 2},
                     .channels_last = 1};
}

static void convolutions_are_those_of_loops(void **state)
{
    static const rt_dtype types[] = {RT_F32, RT_BF16};
    (void)state;
    for (int i = 0; i < 2; i++) {
        rt_dtype type = types[i];
        rt_conv c = odd();
        check_conv(c, type, false, NULL);
        c.bias = 1;
        check_conv(c, type, false, NULL);
        check_conv(c, type, true, NULL);
        check_conv(c, type, true, "e0 + e0"); // in two graphs
        c.bias = 0;
        check_conv(c, type, true, "e0 + e0");
        c.channels_last = 0;
        check_conv(c, type, true, NULL);
    }
}

// Floats in their first 10 bits, and nothing else.
static void tf32_is_of_floats(void **state)
{
    static const rt_dtype types[] = {RT_F32, RT_BF16};
    (void)state;
    for (int i = 0; i < 2; i++)
        for (rt_kernel_op op = RT_CONV2D; op <= RT_CONV2D_GRAD_WEIGHT; op++) {
            rt_kernel row = dnn_row("conv", op, odd(), types[i]);
            const rt_conv *c = &row.conv;
            Tensor t[] = {make_tensor(types[i], c->n * c->c * c->h * c->w, 1),
                          make_tensor(types[i], c->k * c->c / c->groups * c->r * c->s, 2),
                          make_tensor(types[i], c->n * c->k * c->p * c->q, 3),
                          {.type = RT_F32}};
            Tensor exact = computed(row, t, false), fast = computed(row, t, true);
            double *want = zeros(exact.n);
            bool same = true;
            for (int64_t e = 0; e < exact.n; e++) {
                want[e] = get(&exact, e);
                same &= get(&fast, e) == want[e];
            }
            assert_int_equal(same, types[i] == RT_BF16);
            assert_close(&fast, want, 2e-3, "in tf32");
            void *all[] = {exact.at, fast.at, want, t[0].at, t[1].at, t[2].at};
            for (size_t k = 0; k < sizeof all / sizeof *all; k++)
                free(all[k]);
        }
}

// Sums for a norm, of what is stored, beside a convolution as it is.
static void sums_are_those_of_loops(void **state)
{
    rt_conv c = odd();
    (void)state;
    c.groups = 1;
    c.k = 8;
    rt_kernel row = dnn_row("sums", RT_CONV2D, c, RT_BF16);
    c = row.conv;
    int64_t n_y = c.n * c.k * c.p * c.q;
    Tensor t[] = {make_tensor(RT_BF16, c.n * c.c * c.h * c.w, 1),
                  make_tensor(RT_BF16, c.k * c.c * c.r * c.s, 2),
                  make_tensor(RT_BF16, n_y, 3),
                  make_tensor(RT_F32, c.k, 4),
                  make_tensor(RT_F32, c.k, 5),
                  make_tensor(RT_F32, c.k, 6)};
    Sums want = {zeros(n_y), zeros(t[0].n), zeros(t[1].n)};
    double *sums = zeros(c.k), *squares = zeros(c.k);
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    naive(&c, t, false, &want);
    row.epilogue = RT_SUMS;
    if (rt__dnn_convolution_kernel(&m, &row, &kernel))
        fail_msg("%s", stage.message);
    assert_int_equal(kernel.form, 0);
    run(t, 6);
    assert_close(&t[DNN_Y - 1], want.y, 1e-2, "y");
    for (int64_t i = 0; i < n_y; i++) {
        double v = get(&t[DNN_Y - 1], i);
        sums[i % c.k] += v;
        squares[i % c.k] += v * v;
    }
    assert_close(&t[DNN_SUM - 1], sums, 1e-5, "sums");
    assert_close(&t[DNN_SQUARES - 1], squares, 1e-5, "sums of squares");
    double *all[] = {want.y, want.dx, want.dw, sums, squares};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (int i = 0; i < 6; i++)
        free(t[i].at);
}

// A program's table of rows, one of which is no convolution.
static void rows_of_a_program(void **state)
{
    rt_conv conv = dnn_conv(1, 4, 5, 3, 3);
    rt_kernel rows[] = {{.key = "a product", .op = RT_MATMUL},
                        dnn_row("conv", RT_CONV2D, conv, RT_F32)};
    const rt_conv *c = &rows[1].conv;
    int64_t n[] = {c->c * c->h * c->w, c->k * c->c * c->r * c->s, c->k * c->p * c->q};
    Tensor t[4] = {{0}};
    Sums want = {zeros(n[2]), zeros(n[0]), zeros(n[1])};
    rt__convolutions *made = NULL;
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        t[i] = make_tensor(RT_F32, n[i], i);
    naive(c, t, false, &want);
    if (rt__convolutions_open(&stage, rows, 2, &(rt__convolutions_options){0}, &made))
        fail_msg("%s", stage.message);
    void *at[DNN_TENSORS] = {t[0].at, t[1].at, t[2].at};
    void *workspace = malloc((size_t)rt__convolutions_workspace(made));
    rt__convolutions_run(&stage, made, 1, at, workspace, NULL);
    free(workspace);
    assert_int_equal(stage.error, 0);
    assert_close(&t[2], want.y, 1e-5, "row 1");
    rt__convolutions_close(made);
    for (int i = 0; i < 3; i++)
        free(t[i].at);
    free(want.y);
    free(want.dx);
    free(want.dw);
}

// Attention
// --------------------------------------------------------------------------------------------

enum { N = 2, HEADS = 3, T = 5, SIZE = 4, ROW = HEADS * SIZE };

static rt_kernel attention_row(rt_kernel_op op, bool causal)
{
    return (rt_kernel){
        .key = "attention",
        .op = op,
        .types = {RT_BF16, RT_BF16, RT_BF16},
        .attention = {
            .n = N, .heads = HEADS, .t = T, .size = SIZE, .scale = 0.5f, .causal = causal}};
}

// Element [n, t, head, e] of a tensor of heads.
static int64_t of_head(int64_t head, int64_t t, int64_t e) // head: of all samples
{
    return ((head / HEADS * T + t) * HEADS + head % HEADS) * SIZE + e;
}

static double dot(const Tensor *a, const Tensor *b, int64_t head, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t e = 0; e < SIZE; e++)
        sum += get(a, of_head(head, i, e)) * get(b, of_head(head, j, e));
    return sum;
}

// Shares of position i, which sees so many, and the logarithm of the sum of its exponentials.
static double shares(const Tensor t[], double scale, int64_t head, int64_t i, int64_t seen,
                     double p[T])
{
    double sum = 0;
    for (int64_t j = 0; j < seen; j++)
        sum += p[j] = exp(scale * dot(&t[DNN_Q - 1], &t[DNN_K - 1], head, i, j));
    for (int64_t j = 0; j < seen; j++)
        p[j] /= sum;
    return log(sum);
}

typedef struct Wanted {
    bool causal;
    double *o, *lse, *dq, *dk, *dv;
} Wanted;

static void naive_row(const Tensor t[], double scale, int64_t head, int64_t i, const Wanted *w)
{
    double p[T], dp[T], sum = 0;
    int64_t seen = w->causal ? i + 1 : T;
    w->lse[head * T + i] = shares(t, scale, head, i, seen, p);
    for (int64_t j = 0; j < seen; j++) {
        dp[j] = dot(&t[DNN_DO - 1], &t[DNN_V - 1], head, i, j);
        sum += p[j] * dp[j];
    }
    for (int64_t j = 0; j < seen; j++)
        for (int64_t e = 0; e < SIZE; e++) {
            int64_t at_i = of_head(head, i, e), at_j = of_head(head, j, e);
            double d = scale * p[j] * (dp[j] - sum);
            w->o[at_i] += p[j] * get(&t[DNN_V - 1], at_j);
            w->dv[at_j] += p[j] * get(&t[DNN_DO - 1], at_i);
            w->dq[at_i] += d * get(&t[DNN_K - 1], at_j);
            w->dk[at_j] += d * get(&t[DNN_Q - 1], at_i);
        }
}

static void attend(rt_kernel_op op, bool causal, Tensor t[], int n)
{
    rt_kernel row = attention_row(op, causal);
    if (rt__dnn_attention(&(DnnMaker){.stage = &stage, .dnn = &dnn}, &row, &kernel))
        fail_msg("%s", stage.message);
    run(t, n);
}

static void check_attention(bool causal)
{
    const int64_t n = (int64_t)N * T * ROW, rows = (int64_t)N * HEADS * T;
    Tensor t[DNN_TENSORS];
    Wanted w = {causal, zeros(n), zeros(rows), zeros(n), zeros(n), zeros(n)};
    for (unsigned i = 0; i < DNN_TENSORS; i++)
        t[i] = i == DNN_LSE - 1 ? make_tensor(RT_F32, rows, i) : make_tensor(RT_BF16, n, i);
    for (int64_t head = 0; head < rows / T; head++)
        for (int64_t i = 0; i < T; i++)
            naive_row(t, 0.5, head, i, &w);
    attend(RT_ATTENTION, causal, t, DNN_LSE);
    assert_close(&t[DNN_O - 1], w.o, 1e-2, "o");
    assert_close(&t[DNN_LSE - 1], w.lse, 1e-5, "lse");
    attend(RT_ATTENTION_GRAD, causal, t, DNN_TENSORS);
    assert_close(&t[DNN_DQ - 1], w.dq, 2e-2, "dq");
    assert_close(&t[DNN_DK - 1], w.dk, 2e-2, "dk");
    assert_close(&t[DNN_DV - 1], w.dv, 2e-2, "dv");
    double *all[] = {w.o, w.lse, w.dq, w.dk, w.dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    for (int i = 0; i < DNN_TENSORS; i++)
        free(t[i].at);
}

static void attention_is_that_of_loops(void **state)
{
    (void)state;
    check_attention(true);
    check_attention(false);
}

// A library without an engine for it: the program has a kernel of its own.
static void attention_may_be_missing(void **state)
{
    (void)state;
    rt_kernel rows[] = {attention_row(RT_ATTENTION, true)};
    rt__convolutions *made = NULL;
    setenv("FAKE_CUDNN_LACKS", "products", 1);
    int error = rt__convolutions_open(&stage, rows, 1, &(rt__convolutions_options){0}, &made);
    unsetenv("FAKE_CUDNN_LACKS");
    if (error)
        fail_msg("%s", stage.message);
    assert_int_equal(rt__convolutions_kernel(made, 0)->n_plans, 0);
    assert_int_equal(rt__convolutions_workspace(made), 0);
    rt__convolutions_close(made);
}

// This library's fallbacks are those that its heuristics name anyway.
static void names_are_told_once(void **state)
{
    char names[8][DNN_IMPLEMENTATIONS] = {""};
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    rt_kernel row = dnn_exact_row();
    DnnWish wish = rt__dnn_wish(&row, false);
    (void)state;
    setenv("FAKE_CUDNN_MS", "1,1,1", 1);
    assert_int_equal(rt__dnn_names(&m, &wish, 0, names, 8), 3);
    assert_string_equal(names[2], "e12");
    unsetenv("FAKE_CUDNN_MS");
}

int main(void)
{
    if (access(HOST_LIBRARIES "/libcudnn.so.9", R_OK)) {
        printf("there was no C++ compiler for the interpreter\n");
        return 77;
    }
    setenv("STAGECC_CUDA_LIBS", HOST_LIBRARIES, 1);
    dnn_stage(&stage);
    if (rt__dnn_open(&stage, &dnn, NULL)) {
        printf("%s\n", stage.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {DNN_TEST(convolutions_are_those_of_loops),
                                       DNN_TEST(tf32_is_of_floats),
                                       DNN_TEST(sums_are_those_of_loops),
                                       DNN_TEST(rows_of_a_program),
                                       DNN_TEST(attention_is_that_of_loops),
                                       DNN_TEST(attention_may_be_missing),
                                       DNN_TEST(names_are_told_once)};
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rt__dnn_close(&dnn);
    return failures;
}
