// First values: distributions, fans, and that a value depends on (seed, name, element) alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/initial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 100000, FAN_IN = 75, FAN_OUT = 25 };

static rt__why why;

static rt_tensor tensor_of(const char *name, rt_init rule, double gain)
{
    return (rt_tensor){.name = name,
                       .role = RT_PARAM,
                       .dtype = RT_F32,
                       .rank = 1,
                       .dim = {N},
                       .bytes = 4 * N,
                       .kernel = -1,
                       .init = rule,
                       .gain = gain,
                       .fan_in = FAN_IN,
                       .fan_out = FAN_OUT};
}

static float values[N];

static void initialise(const rt_tensor *t, int64_t seed)
{
    memset(values, 0x7f, sizeof values);
    rt__memory m = {.tensors = t, .n_tensors = 1, .base = (uint8_t *)values};
    assert_int_equal(rt__initialise(&m, seed, &why), 0);
}

static double moment(int power)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += pow((double)values[i], power);
    return sum / N;
}

static double largest(void)
{
    double most = 0;
    for (int i = 0; i < N; i++)
        most = fmax(most, fabs((double)values[i]));
    return most;
}

static void within(double x, double wanted, double tolerance)
{
    if (fabs(x - wanted) > tolerance)
        fail_msg("%g is not within %g of %g", x, tolerance, wanted);
}

// The rules of PyTorch's nn.init: half-width of the uniform ones, deviation of the normal ones.
static const struct {
    rt_init rule;
    bool normal;
    double spread; // for gain 1.5
} rules[] = {
    {RT_INIT_NORMAL, true, 1.5},
    {RT_INIT_UNIFORM, false, 1.5},
    {RT_INIT_KAIMING_NORMAL, true, 0.17320508075688773},  // 1.5 / sqrt(75)
    {RT_INIT_KAIMING_UNIFORM, false, 0.3},                // 1.5 sqrt(3/75)
    {RT_INIT_XAVIER_NORMAL, true, 0.21213203435596426},   // 1.5 sqrt(2/100)
    {RT_INIT_XAVIER_UNIFORM, false, 0.36742346141747667}, // 1.5 sqrt(6/100)
};

static void test_distributions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        rt_tensor t = tensor_of("conv.weight", rules[i].rule, 1.5);
        double s = rules[i].spread, root = sqrt(N);
        initialise(&t, 1);
        if (rules[i].normal) { // moments of a normal distribution, within 5 deviations
            within(moment(1), 0, 5 * s / root);
            within(moment(2), s * s, 5 * s * s * sqrt(2) / root);
            within(moment(4), 3 * pow(s, 4), 5 * pow(s, 4) * sqrt(96) / root);
            assert_true(largest() > 3.5 * s && largest() < 6 * s);
        } else {
            within(moment(1), 0, 5 * s / sqrt(3) / root);
            within(moment(2), s * s / 3, 5 * s * s * sqrt(4.0 / 45) / root);
            assert_true(largest() <= s && largest() > 0.999 * s);
        }
    }
}

static void test_neighbours_are_independent(void **state)
{
    (void)state;
    rt_tensor t = tensor_of("w", RT_INIT_NORMAL, 1);
    initialise(&t, 1);
    for (int lag = 1; lag <= 4; lag++) {
        double sum = 0;
        for (int i = 0; i + lag < N; i++)
            sum += (double)values[i] * (double)values[i + lag];
        within(sum / N, 0, 5 / sqrt(N));
    }
}

static void test_constant(void **state)
{
    (void)state;
    rt_tensor t = tensor_of("bn.gamma", RT_INIT_CONSTANT, 0.75);
    initialise(&t, 1);
    for (int i = 0; i < N; i++)
        assert_true(values[i] == 0.75f);
}

static void test_depends_on_name_seed_and_element(void **state)
{
    (void)state;
    rt_tensor a = tensor_of("a", RT_INIT_NORMAL, 1), b = tensor_of("b", RT_INIT_NORMAL, 1);
    for (uint64_t i = 0; i < 100; i++) {
        double value = rt__initial_value(&a, 1, i);
        assert_true(value == rt__initial_value(&a, 1, i));
        assert_true(value != rt__initial_value(&a, 2, i));
        assert_true(value != rt__initial_value(&b, 1, i));
        assert_true(value != rt__initial_value(&a, 1, i + 1));
    }
    initialise(&a, 1);
    for (int i = 0; i < N; i++)
        assert_true(values[i] == (float)rt__initial_value(&a, 1, (uint64_t)i));
    // These bits are what every checkpoint and every comparison starts from.
    static const char *const first[4] = {"1.136823", "-0.287039", "2.734077", "-1.250026"};
    for (uint64_t i = 0; i < 4; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.6f", rt__initial_value(&a, 1, i));
        assert_string_equal(text, first[i]);
    }
}

// Memory of a library's own layout: twice as large, every element followed by a hole.
static int spread_out(rt_stage *s, const rt_tensor *t, const void *plain, void *packed)
{
    (void)s;
    for (int64_t i = 0; i < rt__elements(t); i++)
        ((float *)packed)[2 * i] = ((const float *)plain)[i];
    return 0;
}

static int gather(rt_stage *s, const rt_tensor *t, const void *packed, void *plain)
{
    (void)s;
    for (int64_t i = 0; i < rt__elements(t); i++)
        ((float *)plain)[i] = ((const float *)packed)[2 * i];
    return 0;
}

// Other stages, other offsets, another layout, an odd number of elements: the same values.
static void test_independent_of_cut_and_layout(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    static const rt_backend backend = {.name = "wide", .pack = spread_out, .unpack = gather};
    rt_tensor both[2] = {tensor_of("a", RT_INIT_KAIMING_NORMAL, 1),
                         tensor_of("b", RT_INIT_XAVIER_UNIFORM, 1)};
    float together[32], alone[32], wide[32], plain[COUNT];
    for (int i = 0; i < 2; i++) {
        both[i].dim[0] = COUNT;
        both[i].offset = 64 * i;
        both[i].bytes = 4 * COUNT;
    }
    rt__memory m = {.tensors = both, .n_tensors = 2, .base = (uint8_t *)together};
    assert_int_equal(rt__initialise(&m, 3, &why), 0);
    rt_tensor second = both[1];
    alone[COUNT] = 77;
    second.offset = 0;
    m = (rt__memory){.tensors = &second, .n_tensors = 1, .base = (uint8_t *)alone};
    assert_int_equal(rt__initialise(&m, 3, &why), 0);
    assert_memory_equal(alone, together + 16, 4 * COUNT);
    assert_true(alone[COUNT] == 77);
    second.kernel = 0;
    second.bytes = 8 * COUNT;
    m = (rt__memory){
        .tensors = &second, .n_tensors = 1, .base = (uint8_t *)wide, .backend = &backend};
    assert_int_equal(rt__initialise(&m, 3, &why), 0);
    assert_true(wide[1] == 0); // holes are cleared
    assert_memory_equal(rt__plain_get(&m, &second, plain, &why), alone, 4 * COUNT);
}

static void test_roles_and_types(void **state)
{
    (void)state;
    rt_tensor t = tensor_of("w.grad", RT_INIT_CONSTANT, 1);
    t.role = RT_ACCUMULATOR;
    initialise(&t, 1);
    assert_true(largest() == 0);
    t.role = RT_STATE;
    t.gain = 0;
    initialise(&t, 1);
    assert_true(largest() == 0);
    double wide[2];
    rt_tensor d = {.name = "a",
                   .dtype = RT_F64,
                   .rank = 1,
                   .dim = {2},
                   .bytes = 16,
                   .kernel = -1,
                   .init = RT_INIT_NORMAL,
                   .gain = 1};
    rt__memory m = {.tensors = &d, .n_tensors = 1, .base = (uint8_t *)wide};
    assert_int_equal(rt__initialise(&m, 1, &why), 0);
    assert_true(wide[0] == rt__initial_value(&d, 1, 0));
}

static void test_needs_a_fan(void **state)
{
    (void)state;
    rt_tensor t = tensor_of("fc.weight", RT_INIT_KAIMING_UNIFORM, 1);
    t.fan_in = 0;
    rt__memory m = {.tensors = &t, .n_tensors = 1, .base = (uint8_t *)values};
    assert_int_equal(rt__initialise(&m, 1, &why), RT__INPUT);
    assert_string_equal(why.text, "fc.weight: its initial values need a fan-in");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_neighbours_are_independent),
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_depends_on_name_seed_and_element),
        cmocka_unit_test(test_independent_of_cut_and_layout),
        cmocka_unit_test(test_roles_and_types),
        cmocka_unit_test(test_needs_a_fan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
