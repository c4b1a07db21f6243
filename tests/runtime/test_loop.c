// The schedule loop with a hand-written program of one to three stages: the numbers of plain SGD, and the
// same bits in every cut and schedule.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/tiny.h"

#include "runtime/device.h"
#include "runtime/initial.h"
#include "runtime/norm.h"

#include <math.h>

enum { STEPS = 8 };

typedef struct Result {
    float w[TINY_LAYERS][TINY_W];
    double losses[TINY_MAX_STEPS];
} Result;

static Result run(int stages, bool gpipe, double clip)
{
    Result r;
    TinyJob *j = tiny_job(stages, gpipe, clip);
    tiny_run_job(j);
    for (int i = 0; i < stages; i++) {
        if (j->stage[i].error)
            print_error("stage %d: %s\n", i, j->stage[i].message);
        assert_int_equal(j->stage[i].error, 0);
        assert_int_equal(j->stage[i].steps, STEPS);
    }
    tiny_result(j, r.w, r.losses);
    free(j);
    return r;
}

// The same training, written down in the obvious way.
static void reference_step(rt__data *data, rt__cursor at, double clip, float w[3][TINY_W],
                           double *loss)
{
    float dw[3][TINY_W] = {{0}};
    *loss = 0;
    for (int mb = 0; mb < TINY_M; mb++) {
        float h[4][TINY_N], sum = 0, d[TINY_N];
        rt__why why;
        assert_int_equal(
            rt__data_train(data, 0, rt__cursor_mb(at, mb, TINY_MB), TINY_MB, h[0], &why), 0);
        for (int l = 0; l < 3; l++)
            for (int i = 0; i < TINY_N; i++)
                h[l + 1][i] = h[l][i] * w[l][i % TINY_W];
        for (int i = 0; i < TINY_N; i++)
            sum += (h[3][i] - 1) * (h[3][i] - 1);
        *loss += (double)(sum / (2 * TINY_N));
        for (int i = 0; i < TINY_N; i++)
            d[i] = (h[3][i] - 1) / (TINY_N * TINY_M);
        for (int l = 2; l >= 0; l--)
            for (int i = 0; i < TINY_N; i++) {
                dw[l][i % TINY_W] += d[i] * h[l][i];
                d[i] *= w[l][i % TINY_W];
            }
    }
    double sum = 0, factor = 1;
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < TINY_W; i++)
            sum += (double)dw[l][i] * (double)dw[l][i];
    if (clip > 0 && clip / (sqrt(sum) + 1e-6) < 1)
        factor = clip / (sqrt(sum) + 1e-6);
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < TINY_W; i++)
            w[l][i] -= 0.1f * (float)factor * dw[l][i];
}

static Result reference(double clip)
{
    Result r = {0};
    Tiny *t = calloc(1, sizeof *t);
    tiny_init(t, 0, 1, false, clip);
    rt__data *data;
    rt__why why;
    rt__data_options o = {
        .spec = "synthetic:64", .inputs = &t->input, .n_inputs = 1, .seed = 1};
    assert_int_equal(rt__data_open(&data, &o, &why), 0);
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < TINY_W; i++)
            r.w[l][i] = (float)rt__initial_value(&t->tensors[2 * l], 1, (uint64_t)i);
    rt__cursor at = {0, 0};
    for (int step = 0; step < STEPS; step++) {
        reference_step(data, at, clip, r.w, &r.losses[step]);
        at = rt__cursor_next(data, at, (rt__portion){TINY_MB * TINY_M, TINY_MB});
    }
    rt__data_close(data);
    free(t);
    return r;
}

static void test_plain_sgd(void **state)
{
    (void)state;
    Result want = reference(0), have = run(1, false, 0);
    assert_memory_equal(have.w, want.w, sizeof want.w);
    assert_memory_equal(have.losses, want.losses, STEPS * sizeof *want.losses);
    assert_true(have.losses[STEPS - 1] != have.losses[0]);
}

// Norm parts are added per tensor: not to the bit what the reference adds.
static void test_clipping(void **state)
{
    (void)state;
    Result want = reference(0.05), have = run(1, false, 0.05), loose = run(1, false, 1e6);
    Result without = run(1, false, 0);
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < TINY_W; i++)
            assert_true(fabsf(have.w[l][i] - want.w[l][i]) < 1e-6f);
    assert_memory_not_equal(have.w, without.w, sizeof have.w);
    assert_memory_equal(loose.w, without.w, sizeof loose.w);
}

static void test_same_bits(void **state)
{
    (void)state;
    Result one = run(1, false, 0.05);
    for (int stages = 1; stages <= 3; stages++)
        for (int gpipe = 0; gpipe < 2; gpipe++) {
            Result r = run(stages, gpipe, 0.05);
            assert_memory_equal(r.w, one.w, sizeof one.w);
            assert_memory_equal(r.losses, one.losses, STEPS * sizeof *one.losses);
        }
}

// A parameter with several uses: squares of the sum, not sums of squares.
static void test_norm_of_shared_parameter(void **state)
{
    (void)state;
    float memory[2][2500];
    double want = 0;
    rt_tensor tensors[2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 2500; i++)
            memory[k][i] = (float)((i * 37 + k * 11) % 101 - 50) * 0.01f;
        tensors[k] = (rt_tensor){.role = RT_ACCUMULATOR,
                                 .dtype = RT_F32,
                                 .offset = k * (int64_t)sizeof memory[0],
                                 .bytes = sizeof memory[0],
                                 .norm_index = 1};
    }
    for (int i = 0; i < 2500; i++)
        want += pow((double)(memory[0][i] + memory[1][i]), 2);
    rt_program p = {.tensors = tensors, .n_tensors = 2, .norm_parts = 3};
    rt_stage s = {.program = &p, .device = &rt__host, .arena = (uint8_t *)memory};
    double part = 0;
    assert_int_equal(rt__norm_open(&s), 0);
    rt__norm_part(&s, 1, &part);
    assert_true(fabs(part - want) < 1e-9 * want);
    rt__norm_close(&s);
}

// Dropout's numbers depend on seed, stream, step and micro-batch, and on nothing else.
static void test_random_keys(void **state)
{
    (void)state;
    rt_program p = {.micro_batches = 4};
    rt_stage a = {.program = &p, .seed = 1, .step = 3}, b = a, c = a;
    c.seed = 2;
    a.run_step = 5;
    assert_true(rt_random_key(&a, 7, 1) == rt_random_key(&b, 7, 1));
    assert_true(rt_random_key(&a, 7, 1) != rt_random_key(&c, 7, 1));
    assert_true(rt_random_key(&a, 7, 1) != rt_random_key(&a, 7, 2));
    assert_true(rt_random_key(&a, 7, 1) != rt_random_key(&a, 8, 1));
    assert_true(rt_random_key(&a, 7, 1) == rt_random_key(&a, 7, 5)); // of a later step
    b.step = 4;
    assert_true(rt_random_key(&a, 7, 1) != rt_random_key(&b, 7, 1));
}

static void test_evaluation(void **state)
{
    (void)state;
    for (int stages = 1; stages <= 3; stages++) {
        TinyJob *j = tiny_job(stages, false, 0);
        j->options.test_data = "synthetic:21"; // two and a half batches, and a sample alone
        j->options.eval_every = 3;
        tiny_run_job(j);
        for (int i = 0; i < stages; i++) {
            assert_int_equal(j->stage[i].error, 0);
            assert_int_equal(j->stage[i].stage.eval_batch, 3 * 4); // after steps 3, 6 and 8
        }
        free(j);
    }
}

static void test_bad_data(void **state)
{
    (void)state;
    TinyJob *j = tiny_job(2, false, 0);
    j->options.data = "synthetic:1";
    tiny_run_job(j);
    assert_int_equal(j->stage[0].error, RT_E_INPUT);
    assert_string_equal(
        j->stage[0].message,
        "synthetic:1: 1 samples do not fill a micro-batch of 2, and this model's loss "
        "counts every sample: use more samples or smaller micro-batches");
    free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_sgd),   cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_norm_of_shared_parameter),
        cmocka_unit_test(test_random_keys), cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_bad_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
