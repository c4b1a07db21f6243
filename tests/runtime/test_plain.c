// Small foundations: conversion of numbers, tensors in and out of a library's layout.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/plain.h"

#include <math.h>
#include <string.h>

static rt__why why;

static void test_bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    static const struct {
        double value;
        uint16_t bits;
    } cases[] = {
        {1, 0x3f80},
        {1 + 0x1p-8, 0x3f80},           // half way: to even
        {1 + 0x1p-7, 0x3f81},           // the next number
        {1 + 3 * 0x1p-8, 0x3f82},       // half way: to even, up
        {1 + 0x1p-8 + 0x1p-20, 0x3f81}, // just above half
        {-2.5, 0xc020},
        {INFINITY, 0x7f80},
        {3.4e38, 0x7f80}, // rounds up to infinity
        {-0.0, 0x8000},
        {0x1p-133, 0x0001},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t bits[2] = {0, 0xaaaa};
        rt__put(RT_BF16, bits, 0, cases[i].value);
        assert_int_equal(bits[0], cases[i].bits);
        assert_int_equal(bits[1], 0xaaaa);
    }
    uint16_t bits;
    rt__put(RT_BF16, &bits, 0, (double)NAN);
    assert_int_equal(bits & 0x7fc0, 0x7fc0);
}

static void test_put(void **state)
{
    (void)state;
    float f[2];
    double d[2];
    int32_t i[2];
    uint8_t u[2];
    rt__put(RT_F32, f, 1, 1.0 / 3);
    rt__put(RT_F64, d, 1, 1.0 / 3);
    rt__put(RT_I32, i, 1, -7);
    rt__put(RT_U8, u, 1, 255);
    assert_true(f[1] == 1.0f / 3 && d[1] == 1.0 / 3 && i[1] == -7 && u[1] == 255);
    assert_int_equal(rt__dtype_bytes(RT_F64), 8);
    assert_int_equal(rt__dtype_bytes(RT_BF16), 2);
    assert_string_equal(rt__dtype_name(RT_U8), "U8");
}

static void test_shapes(void **state)
{
    (void)state;
    char text[128];
    rt_tensor t = {.dtype = RT_F32, .rank = 3, .dim = {4, 0, 2}};
    assert_int_equal(rt__elements(&t), 0);
    t.dim[1] = 3;
    assert_int_equal(rt__elements(&t), 24);
    assert_int_equal(rt__plain_bytes(&t), 96);
    assert_string_equal(rt__shape_text(t.dim, 3, text), "[4,3,2]");
    t.rank = 0;
    assert_int_equal(rt__elements(&t), 1);
    assert_string_equal(rt__shape_text(t.dim, 0, text), "[]");
    int64_t many[32];
    for (int i = 0; i < 32; i++)
        many[i] = 1000000;
    rt__shape_text(many, 32, text);
    assert_true(strlen(text) < sizeof text && text[strlen(text) - 1] == ']');
}

static int fails(rt_stage *s, const rt_tensor *t, const void *from, void *to)
{
    (void)s, (void)t, (void)from, (void)to;
    return 1;
}

static void test_backend_that_fails(void **state)
{
    (void)state;
    static const rt_backend backend = {.name = "dnnl", .pack = fails, .unpack = fails};
    rt_tensor t = {.name = "conv.weight", .dtype = RT_F32, .rank = 1, .dim = {2}, .bytes = 8};
    float values[2] = {0};
    rt__memory m = {
        .tensors = &t, .n_tensors = 1, .base = (uint8_t *)values, .backend = &backend};
    float plain[2] = {1, 2};
    assert_false(rt__is_plain(&m, &t));
    assert_int_equal(rt__conversion_bytes(&m), 8);
    assert_int_equal(rt__plain_put(&m, &t, plain, &why), RT__ENVIRONMENT);
    assert_string_equal(why.text, "conv.weight: backend dnnl cannot pack it");
    assert_null(rt__plain_get(&m, &t, plain, &why));
    assert_string_equal(why.text, "conv.weight: backend dnnl cannot unpack it");
    t.kernel = -1; // not the library's after all
    assert_true(rt__is_plain(&m, &t));
    assert_int_equal(rt__conversion_bytes(&m), 0);
    assert_int_equal(rt__plain_put(&m, &t, plain, &why), 0);
    assert_ptr_equal(rt__plain_get(&m, &t, NULL, &why), values);
    assert_true(values[1] == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16_rounds_to_nearest_even),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_backend_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
