// Products by Strassen's algorithm against sums in double: all transpositions, sizes that fill no panel and
// sizes of several blocks, bias, adding, rows apart, and the same bits with any number of threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/kernels/private/strassen.h"
#include "tests/kernels/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// form: 1: A lies transposed, 2: B. Rows are `apart` elements more than their length.
static rt_product product(int64_t m, int64_t n, int64_t k, int form, int64_t apart)
{
    rt_product p = {.batch = {1, 1}, .m = m, .n = n, .k = k, .c = {0, 0, n + apart, 1}};
    p.a[2] = form & 1 ? 1 : k + apart;
    p.a[3] = form & 1 ? m + apart : 1;
    p.b[2] = form & 2 ? 1 : n + apart;
    p.b[3] = form & 2 ? k + apart : 1;
    return p;
}

static int64_t reach(const int64_t *stride, int64_t rows, int64_t columns)
{
    return (rows - 1) * stride[2] + (columns - 1) * stride[3] + 1;
}

typedef struct Tensors {
    float *a, *b, *bias, *c;
    int64_t n_c;
} Tensors;

static Tensors make(const rt_product *p)
{
    int64_t n_c = reach(p->c, p->m, p->n);
    return (Tensors){numbers(reach(p->a, p->m, p->k), 1), numbers(reach(p->b, p->k, p->n), 2),
                     p->bias ? numbers(p->n, 3) : NULL, numbers(n_c, 4), n_c};
}

static void drop(Tensors *t)
{
    free(t->a);
    free(t->b);
    free(t->bias);
    free(t->c);
}

static void compute(const rt_product *p, Tensors *t, int threads)
{
    float *scratch = aligned_alloc(64, rt__strassen_scratch(threads));
    rt__strassen(&(StrassenCall){p, t->a, t->b, t->bias, t->c, scratch, threads});
    free(scratch);
}

static double sum(const rt_product *p, const Tensors *t, int64_t row, int64_t column)
{
    double x = p->bias ? (double)t->bias[column] : 0;
    for (int64_t k = 0; k < p->k; k++)
        x += (double)t->a[row * p->a[2] + k * p->a[3]] *
             (double)t->b[k * p->b[2] + column * p->b[3]];
    return x;
}

// Numbers are between -1 and 1: sums of k products in float are off by some 1e-8 k.
static void check(rt_product p)
{
    Tensors t = make(&p);
    float *before = numbers(t.n_c, 4);
    compute(&p, &t, 1);
    double bound = 1e-7 * (double)p.k + 1e-6;
    for (int64_t r = 0; r < p.m; r++)
        for (int64_t c = 0; c < p.c[2] && r * p.c[2] + c < t.n_c; c++) {
            int64_t i = r * p.c[2] + c;
            double old = p.add || c >= p.n ? (double)before[i] : 0;
            double want = old + (c < p.n ? sum(&p, &t, r, c) : 0);
            double off = fabs((double)t.c[i] - want);
            if (!(off <= (c < p.n ? bound : 0)))
                fail_msg("%lld x %lld x %lld at %lld, %lld: off by %g", (long long)p.m,
                         (long long)p.n, (long long)p.k, (long long)r, (long long)c, off);
        }
    free(before);
    drop(&t);
}

static void check_forms(int64_t m, int64_t n, int64_t k, int64_t apart)
{
    for (int form = 0; form < 4; form++) {
        rt_product p = product(m, n, k, form, apart);
        check(p);
        p.bias = 1;
        check(p);
        p.add = 1;
        check(p);
    }
}

static void sizes_that_fill_panels(void **state)
{
    (void)state;
    check_forms(32, 96, 32, 0);
}

static void sizes_that_fill_none(void **state)
{
    (void)state;
    check_forms(2, 2, 2, 0);
    check_forms(34, 126, 70, 0);
    check_forms(58, 66, 46, 5);
}

static void sizes_of_several_blocks(void **state)
{
    (void)state;
    check_forms(2 * 384 + 6, 104, 2 * 384 + 10, 0);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        rt_product p = product(180, 210, 70, form, 3);
        p.bias = 1;
        Tensors one = make(&p);
        compute(&p, &one, 1);
        for (int threads = 2; threads < 10; threads++) {
            Tensors more = make(&p);
            compute(&p, &more, threads);
            assert_memory_equal(one.c, more.c, (size_t)one.n_c * sizeof(float));
            drop(&more);
        }
        drop(&one);
    }
}

static void odd_sizes_do_not_suit(void **state)
{
    (void)state;
    rt_product even = product(64, 96, 32, 0, 0), odd = product(64, 96, 31, 0, 0), many = even;
    many.batch[1] = 2;
    assert_true(rt__strassen_suits(&even));
    assert_false(rt__strassen_suits(&odd));
    assert_false(rt__strassen_suits(&many));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_fill_panels),  cmocka_unit_test(sizes_that_fill_none),
        cmocka_unit_test(sizes_of_several_blocks), cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(odd_sizes_do_not_suit),
    };
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq"))
        return 77; // of a processor without it
    return cmocka_run_group_tests(tests, NULL, NULL);
}
