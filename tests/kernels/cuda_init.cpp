// First values: the bits that runtime/initial.c gives, plain and with channels last.
#include <stagecc/cu_init.cuh>

#include "tests/kernels/cuda_test.h"

extern "C" {
#include "runtime/initial.h"
}

enum { SEED = 12345 };

static rt_tensor tensor_of(rt_init rule)
{
    rt_tensor t = {};
    t.name = "block3.conv2.weight";
    t.init = rule;
    t.gain = 1.5;
    t.fan_in = 75;
    t.fan_out = 25;
    return t;
}

static void same(const char *what, const Tensor<float> &t)
{
    int64_t other = 0;
    for (int64_t i = 0; i < t.n; i++)
        other += !(t.f[i] == (float)t.d[(size_t)i]); // nor is it NaN, which nobody has written
    printf("%-40s %7lld elements, %lld other bits\n", what, (long long)t.n, (long long)other);
    failed |= other != 0;
}

static void test_rule(const char *what, rt_init rule, int64_t n)
{
    const rt_tensor tensor = tensor_of(rule);
    Tensor<float> t(n);
    for (int64_t i = 0; i < n; i++)
        t.d[(size_t)i] = rt__initial_value(&tensor, SEED, (uint64_t)i);
    in_orders(what, {t}, [&] { cu_draw(NULL, t.f, rt__draw_of(&tensor, SEED), n, 1, 1); });
    same(what, t);
}

static void test_channels_last(int64_t k, int64_t channels, int64_t pixels)
{
    const rt_tensor tensor = tensor_of(RT_INIT_KAIMING_NORMAL);
    Tensor<float> t(k * channels * pixels);
    for (int64_t i = 0; i < t.n; i++) {
        const int64_t row = i / pixels / channels, c = i / pixels % channels, p = i % pixels;
        t.d[(size_t)((row * pixels + p) * channels + c)] =
            rt__initial_value(&tensor, SEED, (uint64_t)i);
    }
    in_orders("channels last", {t},
              [&] { cu_draw(NULL, t.f, rt__draw_of(&tensor, SEED), t.n, channels, pixels); });
    same("channels last", t);
}

int main()
{
    for (int64_t n : {1, 2, 7, 30001}) { // the last of several blocks
        test_rule("constant", RT_INIT_CONSTANT, n);
        test_rule("normal", RT_INIT_NORMAL, n);
        test_rule("uniform", RT_INIT_UNIFORM, n);
        test_rule("kaiming_normal", RT_INIT_KAIMING_NORMAL, n);
        test_rule("kaiming_uniform", RT_INIT_KAIMING_UNIFORM, n);
        test_rule("xavier_normal", RT_INIT_XAVIER_NORMAL, n);
        test_rule("xavier_uniform", RT_INIT_XAVIER_UNIFORM, n);
    }
    test_channels_last(5, 3, 9);
    test_channels_last(7, 1, 25);
    test_channels_last(2, 64, 9);
    return failed;
}
