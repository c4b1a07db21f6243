// Scores: weighted means, ranks with ties, ignored labels, padding.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/bf16.h"
#include "runtime/device.h"
#include "runtime/evaluate.h"

#include <math.h>
#include <string.h>

enum { CLASSES = 7 };

// Rows whose label has 0, 1, 4 and 5 classes before it.
static const float logits[4][CLASSES] = {
    {0, 9, 1, 2, 3, 4, 5}, {8, 9, 1, 2, 3, 4, 5}, {1, 9, 8, 7, 6, 5, 0}, {1, 9, 8, 7, 6, 5, 0}};
static const int32_t labels[4] = {1, 0, 5, 0};

static void near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12))
        fail_msg("%.17g is not %.17g", a, b);
}

static void add(rt__score *score, const rt__predictions *p, double loss, int64_t samples)
{
    rt__hits hits;
    rt__host.score(NULL, &hits, p);
    rt__score_add(score, &hits, loss, samples);
}

static void test_ranks(void **state)
{
    (void)state;
    double wide[4][CLASSES];
    rt_bf16 narrow[4][CLASSES];
    for (int row = 0; row < 4; row++)
        for (int c = 0; c < CLASSES; c++) {
            wide[row][c] = (double)logits[row][c];
            narrow[row][c] = rt_to_bf16(logits[row][c]);
        }
    const void *const by_type[] = {[RT_F32] = logits, [RT_F64] = wide, [RT_BF16] = narrow};
    for (int dtype = RT_F32; dtype <= RT_BF16; dtype++) {
        rt__score score;
        rt__predictions p = {.logits = by_type[dtype],
                             .type = (rt_dtype)dtype,
                             .labels = labels,
                             .rows = 4,
                             .classes = CLASSES,
                             .row = CLASSES};
        rt__score_reset(&score);
        add(&score, &p, 2.5, 4);
        near(score.top1, 0.25);
        near(score.top5, 0.75);
        near(score.loss, 2.5);
        assert_int_equal(score.rows, 4);
        assert_int_equal(score.samples, 4);
    }
}

static void test_ties_go_to_the_lower_class(void **state)
{
    (void)state;
    static const float equal[3][CLASSES] = {{0}, {0}, {0}};
    static const int32_t own[3] = {0, 4, 5};
    rt__score score;
    rt__predictions p = {equal, RT_F32, own, 3, CLASSES, CLASSES};
    rt__score_reset(&score);
    add(&score, &p, 0, 3);
    assert_int_equal(score.hits1, 1); // class 0
    assert_int_equal(score.hits5, 2); // classes 0 and 4
}

// What lies between is larger than all of them.
static void test_rows_that_lie_apart(void **state)
{
    (void)state;
    static const float row[2][4] = {{1, 0, 9, 9}, {0, 1, 9, 9}};
    static const int32_t own[2] = {0, 1};
    rt__score score;
    rt__predictions p = {row, RT_F32, own, 2, 2, 4};
    rt__score_reset(&score);
    add(&score, &p, 0, 2);
    assert_int_equal(score.hits1, 2);
}

static void test_few_classes(void **state)
{
    (void)state;
    static const float row[2][2] = {{NAN, 1}, {1, NAN}};
    static const int32_t own[2] = {0, 0};
    rt__score score;
    rt__predictions p = {row, RT_F32, own, 2, 2, 2};
    rt__score_reset(&score);
    add(&score, &p, 0, 2);
    assert_int_equal(score.hits1, 1); // what is not a number is never right, and beats nothing
    assert_int_equal(score.hits5, 1);
}

// 5 valid rows in 3 micro-batches of 2, 4 rows in the last ones ignored: as if it were one batch.
static void test_weights(void **state)
{
    (void)state;
    static const float two[2][2] = {{1, 0}, {1, 0}};
    static const int32_t both[2] = {0, 1}, one[2] = {1, -1}, none[2] = {-1, -100};
    rt__score score;
    rt__predictions p = {two, RT_F32, both, 2, 2, 2};
    rt__score_reset(&score);
    near(score.loss, 0);
    add(&score, &p, 1.0, 2);
    add(&score, &p, 2.0, 2);
    p.labels = one;
    add(&score, &p, 4.0, 1);
    p.labels = none;
    add(&score, &p, (double)NAN, 0); // a mean of nothing
    near(score.loss, (2 * 1.0 + 2 * 2.0 + 4.0) / 5);
    near(score.top1, 2.0 / 5);
    near(score.top5, 1);
    assert_int_equal(score.rows, 5);
    assert_int_equal(score.samples, 5);
}

// In a stage
// ----------------------------------------------------------------------------------------------

enum { MB = 2 };
static uint8_t scratch[256];

static rt_program program_of(int64_t classes)
{
    return (rt_program){.micro_batch = MB,
                        .micro_batches = 2,
                        .loss_offset = 0,
                        .eval_loss_offset = 0,
                        .eval_logits_offset = classes ? 64 : -1,
                        .classes = classes,
                        .rows = MB,
                        .eval_labels_edge = RT_NO_EDGE,
                        .eval_labels_offset = 128,
                        .real = RT_F32};
}

static rt_input label = {.name = "y", .is_target = 1, .dtype = RT_I32, .rank = 1, .dim = {MB}};

static void stage_open(rt_stage *s, const rt_program *p, const char *spec)
{
    rt__why why;
    memset(s, 0, sizeof *s);
    s->program = p;
    s->device = &rt__host;
    s->scratch = scratch;
    s->options.test_data = spec;
    rt__data_options o = {
        .spec = spec, .inputs = &label, .n_inputs = 1, .classes = 2, .seed = 1};
    assert_int_equal(rt__data_open(&s->test, &o, &why), 0);
    assert_int_equal(rt__evaluate_open(s), 0);
    rt__evaluate_begin(s);
}

static void stage_close(rt_stage *s)
{
    rt__evaluate_close(s);
    rt__data_close(s->test);
    assert_null(s->score);
}

static void put_scratch(float loss, int first, int second)
{
    const float rows[MB][2] = {{1, 0}, {1, 0}};
    const int32_t own[MB] = {first, second};
    memcpy(scratch, &loss, sizeof loss);
    memcpy(scratch + 64, rows, sizeof rows);
    memcpy(scratch + 128, own, sizeof own);
}

static void test_stage(void **state)
{
    (void)state;
    rt_program p = program_of(2);
    rt_stage s;
    stage_open(&s, &p, "synthetic:5,2");
    put_scratch(1, 0, 1);
    assert_int_equal(rt__evaluate_mb(&s, 0), 0);
    assert_int_equal(rt__evaluate_mb(&s, 1), 0);
    assert_int_equal(rt__evaluate_end_batch(&s), 0);
    rt__evaluate_begin_batch(&s);
    s.eval_first = 4;
    put_scratch(4, 0, -1);
    assert_int_equal(rt__evaluate_mb(&s, 0), 0);
    put_scratch(NAN, -1, -1);
    assert_int_equal(rt__evaluate_mb(&s, 1), 0); // nothing but padding
    assert_int_equal(rt__evaluate_end_batch(&s), 0);
    near(s.score->loss, (4 + 4) / 5.0);
    near(s.score->top1, 3 / 5.0);
    assert_int_equal(s.score->samples, 5);
    rt__evaluate_begin(&s);
    assert_int_equal(s.score->rows, 0);
    s.eval_first = 2;
    put_scratch(INFINITY, 0, 1);
    assert_int_equal(rt__evaluate_mb(&s, 0), RT_E_LOSS);
    assert_string_equal(s.message,
                        "evaluation: the loss of the micro-batch at sample 2 is not finite");
    stage_close(&s);
}

// A loss without labels counts every sample, so an incomplete micro-batch is left out, and its samples come one
// by one.
static void test_stage_without_labels(void **state)
{
    (void)state;
    rt_program p = program_of(0);
    rt_stage s;
    stage_open(&s, &p, "synthetic:3,2");
    put_scratch(1.5f, 0, 0);
    assert_int_equal(rt__evaluate_mb(&s, 0), 0);
    put_scratch(100, 0, 0);
    assert_int_equal(rt__evaluate_mb(&s, 1), 0);
    assert_int_equal(rt__evaluate_end_batch(&s), 0);
    near(s.score->loss, 1.5);
    assert_int_equal(s.score->samples, 2);
    s.alone = true;
    s.eval_first = 2;
    rt__evaluate_begin_batch(&s);
    put_scratch(3, 0, 0);
    assert_int_equal(rt__evaluate_mb(&s, 0), 0);
    put_scratch(100, 0, 0);
    assert_int_equal(rt__evaluate_mb(&s, 1), 0); // behind the last sample
    assert_int_equal(rt__evaluate_end_batch(&s), 0);
    near(s.score->loss, (2 * 1.5 + 3) / 3);
    assert_int_equal(s.score->samples, 3);
    stage_close(&s);
}

static void test_stage_without_loss(void **state)
{
    (void)state;
    rt_program p = {.loss_offset = -1};
    rt_stage s = {.program = &p};
    assert_int_equal(rt__evaluate_open(&s), 0);
    rt__evaluate_begin(&s);
    assert_null(s.score);
    rt__evaluate_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_ties_go_to_the_lower_class),
        cmocka_unit_test(test_rows_that_lie_apart),
        cmocka_unit_test(test_few_classes),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_stage),
        cmocka_unit_test(test_stage_without_labels),
        cmocka_unit_test(test_stage_without_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
