// exp, log, tanh and erf against the C library's in double: every 1013th float, ends and specials.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/kernels/math.h"
#include "runtime/random.h"

#include <math.h>
#include <stdbool.h>

typedef float Function(float x);
typedef double Exact(double x);

// Distance in units of the last place of the wanted float; 1e9: not even of its kind.
static double error(double wanted, float got)
{
    float rounded = (float)wanted;
    if (isnan(wanted))
        return isnan(got) ? 0 : 1e9;
    if (isinf(rounded) || isinf(got))
        return rounded == got ? 0 : 1e9;
    int exponent;
    frexp(wanted, &exponent);
    return fabs((double)got - wanted) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void check(const char *name, Function *f, Exact *exact, double limit)
{
    double worst = 0;
    float at = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << 32; i += 1013) {
        float x = rt_float((uint32_t)i);
        double e = error(exact((double)x), f(x));
        if (e > worst) {
            worst = e;
            at = x;
        }
    }
    if (worst > limit)
        fail_msg("%s is %g units off at %a, %g are allowed", name, worst, (double)at, limit);
}

static void test_accuracy(void **state)
{
    (void)state;
    check("exp", rt_exp, exp, 1);
    check("log", rt_log, log, 1);
    check("tanh", rt_tanh, tanh, 2.3);
    check("erf", rt_erf, erf, 1);
}

static void test_specials(void **state)
{
    (void)state;
    static const float at[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-45f, 1, 3.4e38f};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        double x = (double)at[i];
        assert_true(error(exp(x), rt_exp(at[i])) <= 1);
        assert_true(error(log(x), rt_log(at[i])) <= 1);
        assert_true(error(tanh(x), rt_tanh(at[i])) <= 1);
        assert_true(error(erf(x), rt_erf(at[i])) <= 1);
    }
    assert_true(signbit(rt_tanh(-0.0f)) && signbit(rt_erf(-0.0f)));
    assert_true(rt_exp(88.72f) < INFINITY && rt_exp(88.73f) == INFINITY);
    assert_true(rt_exp(-103.9f) > 0 && rt_exp(-104.1f) == 0);
    assert_true(rt_tanh(20) == 1 && rt_erf(-6) == -1);
}

// Every result is an exact multiple of 2^-24 below 1, and neighbours are strangers.
static void test_uniform(void **state)
{
    (void)state;
    enum { N = 100000 };
    double sum = 0, squares = 0, pairs = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = (double)rt_uniform(42, i) - 0.5;
        assert_true(u >= -0.5 && u < 0.5 && ldexp(u, 24) == floor(ldexp(u, 24)));
        sum += u;
        squares += u * u;
        pairs += u * last;
        last = u;
    }
    assert_true(fabs(sum / N) < 4 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 12) < 4 * sqrt(1.0 / 180 / N));
    assert_true(fabs(pairs / N) < 4.0 / 12 / sqrt(N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
