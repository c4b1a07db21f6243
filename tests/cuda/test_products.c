// Products of rows: the library takes their descriptions, where it is there, though it computes nothing without a device; and
// what is asked for is what loops compute, by cublaslt.cpp, which runs here at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/bf16.h"
#include "runtime/cuda/card/algorithms.h"
#include "runtime/cuda/card/products.h"
#include "tests/kernels/numbers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { M = 5, K = 11, N = 16, A_ROW = 16, C_ROW = 24 }; // rows of a and c lie apart
enum { SHIFT = 4 };                                     // floats
static _Alignas(256) unsigned char workspace[1024];

// cublaslt.cpp hands its work over to a device.
void cu_host_later(void *stream, void (*run)(void *), void (*drop)(void *), void *user);
void cu_host_later(void *stream, void (*run)(void *), void (*drop)(void *), void *user)
{
    (void)stream;
    run(user);
    drop(user);
}

// c = a w^T + bias, as linear layers have it.
static rt_kernel row_of(rt_dtype type, rt_epilogue epilogue, int bias)
{
    return (rt_kernel){.key = "row",
                       .op = RT_MATMUL,
                       .types = {type, RT_F32, type},
                       .epilogue = epilogue,
                       .product = {.batch = {1, 1},
                                   .m = M,
                                   .n = N,
                                   .k = K,
                                   .a = {0, 0, A_ROW, 1},
                                   .b = {0, 0, 1, K},
                                   .c = {0, 0, C_ROW, 1},
                                   .bias = bias}};
}

static rt_kernel all[16];
static int n_rows;
static const int64_t no_room = 0;
static rt_cuda_kernels kernels = {.rows = all, .room = &no_room};
static rt_program program = {.model = "test", .micro_batches = 1, .kernels = &kernels};
static rt_stage stage;

static void make_rows(void)
{
    static const rt_epilogue epilogues[] = {0, RT_RELU, RT_GELU, RT_GELU_AUX};
    for (int i = 0; i < 16; i++)
        all[i] = row_of(i & 1 ? RT_BF16 : RT_F32, epilogues[i / 4], i / 2 % 2);
    n_rows = program.n_kernels = 16;
    rt__stage_init(&stage, &program, 0);
    stage.quiet = true;
}

static void descriptions_are_taken(void **state)
{
    (void)state;
    for (kernels.tf32 = 0; kernels.tf32 < 2; kernels.tf32++) {
        rt__products *made = NULL;
        int error = rt__products_open(&stage, &made, false);
        bool absent = error && strstr(stage.message, "was not found");
        rt__products_close(made);
        if (absent)
            print_message("%s\n", stage.message);
        else if (error)
            fail_msg("%s", stage.message);
    }
    kernels.tf32 = 0;
}

// Numbers
// ----------------------------------------------------------------------------------------

// At a multiple of 16 bytes, and of no more: so much is promised.
static void *tensor(int64_t n, unsigned seed, rt_dtype type)
{
    float *values = numbers(n + SHIFT, seed) + SHIFT;
    rt_bf16 *narrow = (rt_bf16 *)(void *)values;
    for (int64_t i = 0; type == RT_BF16 && i < n; i++)
        narrow[i] = rt_to_bf16(values[i]);
    return values;
}

static void drop(void *tensor)
{
    free((float *)tensor - SHIFT);
}

static double get(const void *at, rt_dtype type, int64_t i)
{
    return type == RT_BF16 ? (double)rt_to_float(((const rt_bf16 *)at)[i])
                           : (double)((const float *)at)[i];
}

static double finished(rt_epilogue epilogue, double x)
{
    switch (epilogue) {
    case RT_RELU: return x > 0 ? x : 0;
    case RT_GELU:
    case RT_GELU_AUX:
        return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case RT_SUMS: break;
    }
    return x;
}

static void assert_near(double got, double want, rt_dtype type)
{
    if (!(fabs(got - want) <= (type == RT_BF16 ? 1e-2 : 1e-5) * (1 + fabs(want))))
        fail_msg("%g, not %g", got, want);
}

static void check_kernel(rt__products *made, int row, const rt_kernel *k)
{
    rt_dtype type = k->types[0];
    bool beside = k->epilogue == RT_GELU_AUX;
    void *a = tensor(M * A_ROW, 1, type), *w = tensor(N * K, 2, type), *b = tensor(N, 3, type);
    void *c = tensor(M * C_ROW, 4, type), *aux = tensor(M * C_ROW, 5, type);
    void *before = tensor(M * C_ROW, 4, type);
    rt__products_run(&stage, made, row, &(rt__operands){a, w, b, c, beside ? aux : NULL},
                     workspace, NULL);
    assert_int_equal(stage.error, 0);
    for (int64_t i = 0; i < M * C_ROW; i++) {
        int64_t m = i / C_ROW, n = i % C_ROW;
        if (n >= N) { // between rows nothing is written
            assert_true(get(c, type, i) == get(before, type, i));
            continue;
        }
        double sum = k->product.bias ? get(b, type, n) : 0;
        for (int64_t j = 0; j < K; j++)
            sum += get(a, type, m * A_ROW + j) * get(w, type, n * K + j);
        assert_near(get(c, type, i), finished(k->epilogue, sum), type);
        if (beside)
            assert_near(get(aux, type, i), sum, type);
    }
    void *tensors[] = {a, w, b, c, aux, before};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        drop(tensors[i]);
}

// bare: without bias and epilogue.
static void check_plain(rt__products *made, int row, bool bare)
{
    rt_kernel k = all[row];
    k.epilogue = bare ? 0 : k.epilogue;
    k.product.bias = bare ? 0 : k.product.bias;
    check_kernel(made, row, &k);
}

static void products_are_those_of_loops(void **state)
{
    rt__products *made = NULL;
    (void)state;
    setenv("STAGECC_CUDA_LIBS", HOST_LIBRARIES, 1);
    if (rt__products_open(&stage, &made, true))
        fail_msg("%s", stage.message);
    for (int i = 0; i < n_rows; i++)
        check_kernel(made, i, &all[i]);
    rt__products_close(made);
}

// A row's result, which the caller drops.
static void *result_of(int row, int tf32)
{
    rt__products *made = NULL;
    rt_dtype type = all[row].types[0];
    void *a = tensor(M * A_ROW, 1, type), *w = tensor(N * K, 2, type), *b = tensor(N, 3, type);
    void *c = tensor(M * C_ROW, 4, type), *aux = tensor(M * C_ROW, 5, type);
    bool beside = all[row].epilogue == RT_GELU_AUX;
    kernels.tf32 = tf32;
    if (rt__products_open(&stage, &made, true))
        fail_msg("%s", stage.message);
    kernels.tf32 = 0;
    rt__products_run(&stage, made, row, &(rt__operands){a, w, b, c, beside ? aux : NULL},
                     workspace, NULL);
    assert_int_equal(stage.error, 0);
    rt__products_close(made);
    void *tensors[] = {a, w, b, aux};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        drop(tensors[i]);
    return c;
}

// Floats in their first 10 bits, and nothing else.
static void tf32_is_of_floats(void **state)
{
    (void)state;
    for (int row = 0; row < n_rows; row++) {
        rt_dtype type = all[row].types[0];
        void *exact = result_of(row, 0), *fast = result_of(row, 1);
        bool same = true;
        for (int64_t i = 0; i < M * C_ROW; i++) {
            double want = get(exact, type, i), got = get(fast, type, i);
            same &= got == want;
            assert_true(fabs(got - want) <= 4e-3 * (1 + fabs(want)));
        }
        assert_int_equal(same, type == RT_BF16);
        drop(exact);
        drop(fast);
    }
}

// Steps of a recurrence
// ----------------------------------------------------------------------------------------

enum { SAMPLES = 3, STEPS = 4 };

// How far a step's product is off at most.
static double step_is_off(rt__products *made, const rt_cuda_product *p)
{
    double *want = calloc((size_t)(p->m * p->n), sizeof *want), worst = 0;
    for (int64_t i = 0; i < p->m * p->n; i++) {
        int64_t row = i / p->n, j = i % p->n;
        want[i] = (double)p->more[row * p->more_apart + j];
        for (int64_t k = 0; k < p->k; k++)
            want[i] += (double)p->x[row * p->x_apart + k] *
                       (double)p->w[p->turned ? j * p->k + k : k * p->n + j];
    }
    rt__products_step(&stage, made, p, workspace, NULL);
    if (stage.error)
        fail_msg("%s", stage.message);
    for (int64_t i = 0; i < p->m * p->n; i++) {
        double got = (double)p->out[i / p->n * p->out_apart + i % p->n];
        worst = fmax(worst, fabs(got - want[i]) / (1 + fabs(want[i])));
        assert_true(fabs(got) < INFINITY);
    }
    free(want);
    return worst;
}

// All that an LSTM with h features asks for: forward from states y, and sums g, into room; backward in g.
static void check_steps(int64_t h, int tf32)
{
    rt__products *made = NULL;
    double off = 0;
    const int64_t wide = 4 * h, y_apart = STEPS * 2 * h, g_apart = STEPS * wide;
    float *y = tensor(SAMPLES * y_apart, 1, RT_F32), *g = tensor(SAMPLES * g_apart, 2, RT_F32);
    float *w = tensor(wide * h, 3, RT_F32), *room = tensor(SAMPLES * wide, 4, RT_F32);
    kernels.tf32 = tf32;
    program.n_kernels = 0;
    if (rt__products_open(&stage, &made, true))
        fail_msg("%s", stage.message);
    for (int64_t t = 1; t < STEPS; t++) {
        const float *before = y + (t - 1) * 2 * h;
        float *own = g + t * wide, *back = own - wide;
        const rt_cuda_product forward = {room,    own,     before, w, wide, g_apart,
                                         y_apart, SAMPLES, wide,   h, 1};
        const rt_cuda_product backward = {back,    back,    own, w,    g_apart, g_apart,
                                          g_apart, SAMPLES, h,   wide, 0};
        off = fmax(off, fmax(step_is_off(made, &forward), step_is_off(made, &backward)));
    }
    if (!(tf32 ? off > 1e-5 && off <= 4e-3 : off <= 1e-5))
        fail_msg("off by %g, with tf32: %d", off, tf32);
    rt__products_close(made);
    program.n_kernels = n_rows;
    kernels.tf32 = 0;
    float *tensors[] = {y, g, w, room};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        drop(tensors[i]);
}

static void steps_are_products(void **state)
{
    static const int64_t features[] = {1, 5, 18, 37, 48};
    (void)state;
    for (int i = 0; i < 2 * 5; i++)
        check_steps(features[i / 2], i % 2);
}

// What is said while products are made under a setting of the library's. The caller closes them.
static rt__products *opened(const char *setting, const char *value, char said[2048])
{
    rt__products *made = NULL;
    setenv(setting, value, 1);
    stage.quiet = false;
    stage.report_fd = memfd_create("report", 0);
    if (rt__products_open(&stage, &made, true))
        fail_msg("%s", stage.message);
    memset(said, 0, 2048);
    assert_true(pread(stage.report_fd, said, 2047, 0) >= 0);
    close(stage.report_fd);
    stage.quiet = true;
    unsetenv(setting);
    return made;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

// Then the library multiplies alone, and whoever calls finishes it; it is said once.
static void epilogues_may_be_missing(void **state)
{
    char said[2048];
    (void)state;
    rt__products *made = opened("FAKE_LT_BARE", "1", said);
    assert_int_equal(count(said, "\"warning\""), 1);
    assert_int_equal(count(said, "has no algorithm that adds the bias"), 1);
    assert_int_equal(count(said, "`row` and others"), 1);
    for (int i = 0; i < n_rows; i++) {
        bool more = all[i].epilogue || all[i].product.bias;
        assert_int_equal(rt__product_is_bare(made, i), more);
        check_plain(made, i, more);
    }
    rt__products_close(made);
    made = opened("FAKE_LT_BARE_OF_ANOTHER_TEST", "1", said);
    assert_string_equal(said, "");
    rt__products_close(made);
}

// Calls have the bytes that their algorithms want; there is no algorithm that wants more than there are.
static void workspaces_are_given(void **state)
{
    char most[32];
    rt__products *made = NULL;
    (void)state;
    snprintf(most, sizeof most, "%zu", sizeof workspace);
    setenv("FAKE_LT_WORKSPACE", most, 1);
    products_are_those_of_loops(NULL);
    check_steps(8, 0);
    snprintf(most, sizeof most, "%d", RT__PRODUCT_WORKSPACE + 1);
    setenv("FAKE_LT_WORKSPACE", most, 1);
    assert_int_equal(rt__products_open(&stage, &made, true), RT_E_KERNEL);
    assert_non_null(strstr(stage.message, "no algorithm"));
    stage.error = 0;
    rt__products_close(made);
    unsetenv("FAKE_LT_WORKSPACE");
}

// Names are those of this library: a row that names one has it, and any other name is replaced, which is said once.
static void algorithms_have_names(void **state)
{
    static char text[3][LT_NAME];
    char *const names[] = {text[0], text[1], text[2]};
    char said[2048], other[LT_NAME];
    (void)state;
    setenv("FAKE_LT_MS", "1,1,1,1,1", 1);
    setenv("FAKE_LT_VERSION", "130102", 1);
    rt__products *made = opened("FAKE_LT_OF_ANOTHER_TEST", "1", said);
    assert_int_equal(rt__products_names(made, 0, names, 3), 3);
    assert_int_equal(rt__products_names(made, 0, names, 2), 2);
    assert_int_equal(strncmp(text[2], "lt 13.1 02", 10), 0);
    assert_int_equal(strlen(text[2]), strlen("lt 13.1 ") + 128);
    assert_true(rt__products_take(made, 0, text[2]));
    rt__products_close(made);
    all[0].implementation = text[2];
    rt__products_close(opened("FAKE_LT_REFUSES", "1", said));
    assert_string_equal(said, "");
    rt__products_close(opened("FAKE_LT_REFUSES", "2", said));
    assert_int_equal(count(said, "does not take its algorithm"), 1);
    rt__products_close(opened("FAKE_LT_VERSION", "130200", said));
    assert_int_equal(count(said, "does not take its algorithm"), 1);
    setenv("FAKE_LT_VERSION", "130102", 1);
    for (int bad = 0; bad < 4; bad++) {
        memcpy(other, text[2], sizeof other);
        if (bad < 3)
            other[bad == 0 ? 0 : bad == 1 ? 20 : 135] = bad == 2 ? '\0' : 'z';
        else
            strcat(other, "0"); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
        all[0].implementation = other;
        rt__products_close(opened("FAKE_LT_OF_ANOTHER_TEST", "1", said));
        assert_int_equal(count(said, "does not take its algorithm"), 1);
    }
    all[0].implementation = NULL;
    unsetenv("FAKE_LT_MS");
    unsetenv("FAKE_LT_VERSION");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions_are_taken), cmocka_unit_test(products_are_those_of_loops),
        cmocka_unit_test(tf32_is_of_floats),      cmocka_unit_test(steps_are_products),
        cmocka_unit_test(workspaces_are_given),   cmocka_unit_test(epilogues_may_be_missing),
        cmocka_unit_test(algorithms_have_names)};
    make_rows();
    if (access(HOST_LIBRARIES, R_OK)) {
        printf("there was no C++ compiler for the library of this test\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
