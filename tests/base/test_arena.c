// The arena and the growing arrays that live in it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static void test_zeroed_aligned_apart(void **state)
{
    (void)state;
    Arena a = {0};
    char *last = NULL;
    for (size_t n = 0; n < 3000; n++) {
        char *p = arena_alloc(&a, n);
        assert_true((uintptr_t)p % _Alignof(max_align_t) == 0);
        assert_true(is_zero(p, n));
        memset(p, 0xff, n);
        if (last && n > 1)
            assert_true((uint8_t)last[0] == 0xff && (uint8_t)last[n - 2] == 0xff);
        last = p;
    }
    arena_release(&a);
    assert_null(a.chunk);
}

static void test_larger_than_a_chunk(void **state)
{
    (void)state;
    Arena a = {0};
    char *big = arena_alloc(&a, (size_t)40 << 20);
    assert_true(is_zero(big, (size_t)40 << 20));
    memset(big, 1, (size_t)40 << 20);
    char *small = arena_alloc(&a, 16);
    assert_true(is_zero(small, 16));
    assert_int_equal(a.total, ((size_t)40 << 20) + 16);
    arena_release(&a);
}

static void test_reset_forgets_and_zeroes_again(void **state)
{
    (void)state;
    Arena a = {0};
    for (int round = 0; round < 3; round++) {
        char *p = arena_alloc(&a, 5000);
        assert_true(is_zero(p, 5000));
        memset(p, 0xff, 5000);
        arena_reset(&a);
        assert_int_equal(a.total, 0);
    }
    char *first = arena_alloc(&a, 100);
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 100), first); // the chunk is used again
    arena_reset(&(Arena){0});                      // nothing there: fine
    arena_release(&a);
    arena_release(&a);
}

static void test_text(void **state)
{
    (void)state;
    Arena a = {0};
    assert_string_equal(arena_strdup(&a, ""), "");
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    char *wide = arena_printf(&a, "%100000d", 1);
    assert_int_equal(strlen(wide), 100000);
    int numbers[3] = {1, 2, 3};
    int *copy = arena_copy(&a, numbers, sizeof numbers);
    numbers[0] = 9;
    assert_int_equal(copy[0], 1);
    assert_non_null(arena_copy(&a, NULL, 0));
    assert_int_equal(arena_array(&a, int, 5)[4], 0);
    arena_release(&a);
}

static void test_vec(void **state)
{
    (void)state;
    Arena a = {0};
    VEC(int) v = {0};
    for (int i = 0; i < 10000; i++) {
        vec_push(&a, &v, 3 * i);
        assert_int_equal(v.n, i + 1);
        assert_true(v.cap >= v.n && v.cap < 2 * v.n + 8);
    }
    for (int i = 0; i < v.n; i++)
        assert_int_equal(v.items[i], 3 * i);
    assert_true(a.total < 4 * 10000 * sizeof(int)); // grows by doubling
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_aligned_apart),
        cmocka_unit_test(test_larger_than_a_chunk),
        cmocka_unit_test(test_reset_forgets_and_zeroes_again),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_vec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
