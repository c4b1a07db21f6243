// Pooling against naive loops: windows that overlap, leave gaps, reach over the edges; blocked images
// and plain ones; NaN and infinities.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#define C_THREADS 1
#define C_BLOCK 16
#include "runtime/kernels/c_pool.h"

#include <math.h>
#include <stdlib.h>

typedef struct Image { // [planes, rows, columns] of vectors
    int64_t planes, h, w, lanes;
    float *at;
} Image;

static int64_t count(const Image *x)
{
    return x->planes * x->h * x->w * x->lanes;
}

static Image image(int64_t planes, int64_t h, int64_t w, int64_t lanes, unsigned seed)
{
    Image x = {planes, h, w, lanes, NULL};
    x.at = aligned_alloc(64, ((size_t)count(&x) * sizeof(float) + 63) / 64 * 64);
    for (int64_t i = 0; i < count(&x); i++) {
        seed = seed * 1664525u + 1013904223u;
        x.at[i] = (float)((int)(seed >> 24) - 128) / 16; // many are equal
    }
    return x;
}

static int64_t index_of(const Image *x, int64_t plane, int64_t h, int64_t w, int64_t lane)
{
    return ((plane * x->h + h) * x->w + w) * x->lanes + lane;
}

static const c_window windows[] = {
    {.planes = 3,
     .h = 7,
     .w = 9,
     .r = 3,
     .s = 3,
     .stride = {2, 2},
     .dilation = {1, 1},
     .top = 1,
     .left = 1,
     .bottom = 1,
     .right = 1},
    {.planes = 2, .h = 6, .w = 6, .r = 2, .s = 2, .stride = {2, 2}, .dilation = {1, 1}},
    {.planes = 2,
     .h = 5,
     .w = 8,
     .r = 2,
     .s = 3,
     .stride = {1, 3},
     .dilation = {1, 1},
     .left = 1,
     .right = 1,
     .count_include_pad = 1},
    {.planes = 1,
     .h = 9,
     .w = 9,
     .r = 3,
     .s = 2,
     .stride = {2, 1},
     .dilation = {2, 3},
     .top = 1,
     .bottom = 2,
     .left = 1},
    {.planes = 2,
     .h = 5,
     .w = 5,
     .r = 2,
     .s = 2,
     .stride = {2, 2},
     .dilation = {1, 1},
     .count_include_pad = 1}, // rounded up below: the last windows hang over
    {.planes = 2,
     .h = 1,
     .w = 1,
     .r = 3,
     .s = 3,
     .stride = {1, 1},
     .dilation = {1, 1},
     .top = 1,
     .left = 1,
     .bottom = 1,
     .right = 1,
     .count_include_pad = 1},
};
enum { N_WINDOWS = sizeof windows / sizeof *windows, HANGING = 4 };

static c_window sized(int i, bool dense)
{
    c_window z = windows[i];
    if (dense)
        z.dilation[0] = z.dilation[1] = 1;
    int64_t up = i == HANGING;
    z.p = (z.h + z.top + z.bottom - (z.r - 1) * z.dilation[0] - 1 + up) / z.stride[0] + 1;
    z.q = (z.w + z.left + z.right - (z.s - 1) * z.dilation[1] - 1 + up) / z.stride[1] + 1;
    return z;
}

// Where tap t of the window of output [p,q] lies; false: outside.
static bool tap(const c_window *z, int64_t p, int64_t q, int64_t t, int64_t *h, int64_t *w)
{
    *h = p * z->stride[0] - z->top + t / z->s * z->dilation[0];
    *w = q * z->stride[1] - z->left + t % z->s * z->dilation[1];
    return *h >= 0 && *h < z->h && *w >= 0 && *w < z->w;
}

static int64_t naive_largest(const c_window *z, const Image *x, const int64_t at[4])
{
    int64_t best = -1, h, w;
    for (int64_t t = 0; t < z->r * z->s; t++) {
        if (!tap(z, at[1], at[2], t, &h, &w))
            continue;
        int64_t i = index_of(x, at[0], h, w, at[3]);
        if (best < 0 || x->at[i] > x->at[best] || isnan(x->at[i]))
            best = i;
    }
    return best;
}

static double naive_divisor(const c_window *z, int64_t p, int64_t q)
{
    int64_t n = 0, h, w;
    for (int64_t t = 0; t < z->r * z->s; t++) {
        bool inside = tap(z, p, q, t, &h, &w);
        bool padded = h < z->h + z->bottom && w < z->w + z->right;
        n += z->count_include_pad ? padded : inside;
    }
    return (double)n;
}

// Calls f for every output element.
typedef void Visit(const c_window *z, const Image *x, Image *y, double *other,
                   const int64_t at[4]);

static void visit(const c_window *z, const Image *x, Image *y, double *other, Visit *f)
{
    for (int64_t i = 0; i < count(y); i++) {
        int64_t pixel = i / y->lanes;
        int64_t at[] = {pixel / y->w / y->h, pixel / y->w % y->h, pixel % y->w, i % y->lanes};
        f(z, x, y, other, at);
    }
}

static void check_largest(const c_window *z, const Image *x, Image *y, double *dx,
                          const int64_t at[4])
{
    int64_t best = naive_largest(z, x, at);
    float got = y->at[index_of(y, at[0], at[1], at[2], at[3])];
    assert_true(best >= 0);
    if (got != x->at[best] && !(isnan(got) && isnan(x->at[best])))
        fail_msg("the largest of a window is %g, not %g", (double)got, (double)x->at[best]);
    dx[best] += 0.5 * (double)(at[1] + at[2] + 1); // as the test's dy
}

static void check_mean(const c_window *z, const Image *x, Image *y, double *dx,
                       const int64_t at[4])
{
    double sum = 0, n = naive_divisor(z, at[1], at[2]);
    int64_t h, w;
    for (int64_t t = 0; t < z->r * z->s; t++) {
        if (!tap(z, at[1], at[2], t, &h, &w))
            continue;
        sum += (double)x->at[index_of(x, at[0], h, w, at[3])];
        dx[index_of(x, at[0], h, w, at[3])] += 0.5 * (double)(at[1] + at[2] + 1) / n;
    }
    float got = y->at[index_of(y, at[0], at[1], at[2], at[3])];
    assert_float_equal(got, (float)(sum / n), 1e-5);
}

static void set_gradient(const Image *y)
{
    for (int64_t i = 0; i < count(y); i++)
        y->at[i] = 0.5f * (float)(i / y->lanes / y->w % y->h + i / y->lanes % y->w + 1);
}

static void check_gradient(const Image *dx, const double *want)
{
    for (int64_t i = 0; i < count(dx); i++)
        assert_float_equal(dx->at[i], (float)want[i], 1e-5);
}

static void check_max(const c_window *z, int64_t lanes, bool odd_values)
{
    Image x = image(z->planes, z->h, z->w, lanes, 1),
          dx = image(z->planes, z->h, z->w, lanes, 2);
    Image y = image(z->planes, z->p, z->q, lanes, 3),
          arg = image(z->planes, z->p, z->q, lanes, 4);
    double *want = calloc((size_t)count(&x), sizeof *want);
    for (int64_t i = 0; odd_values && i < count(&x); i += 5)
        x.at[i] = i % 2 ? NAN : -INFINITY;
    int32_t *argmax = (int32_t *)(void *)arg.at;
    bool blocked = lanes > 1;
    (blocked ? c_max_pool2d_blocked : c_max_pool2d_plain)(y.at, argmax, x.at, z);
    visit(z, &x, &y, want, check_largest);
    set_gradient(&y);
    (blocked ? c_max_pool2d_grad_blocked : c_max_pool2d_grad_plain)(dx.at, y.at, argmax, z);
    check_gradient(&dx, want);
    free(x.at);
    free(dx.at);
    free(y.at);
    free(arg.at);
    free(want);
}

static void check_average(const c_window *z, int64_t lanes)
{
    Image x = image(z->planes, z->h, z->w, lanes, 1),
          dx = image(z->planes, z->h, z->w, lanes, 2);
    Image y = image(z->planes, z->p, z->q, lanes, 3);
    double *want = calloc((size_t)count(&x), sizeof *want);
    bool blocked = lanes > 1;
    (blocked ? c_avg_pool2d_blocked : c_avg_pool2d_plain)(y.at, x.at, z);
    visit(z, &x, &y, want, check_mean);
    set_gradient(&y);
    (blocked ? c_avg_pool2d_grad_blocked : c_avg_pool2d_grad_plain)(dx.at, y.at, z);
    check_gradient(&dx, want);
    free(x.at);
    free(dx.at);
    free(y.at);
    free(want);
}

static void largest_values(void **state)
{
    (void)state;
    for (int i = 0; i < N_WINDOWS; i++) {
        c_window z = sized(i, false);
        for (int odd = 0; odd < 2; odd++) {
            check_max(&z, 16, odd != 0);
            check_max(&z, 1, odd != 0);
        }
    }
}

static void averages(void **state)
{
    (void)state;
    for (int i = 0; i < N_WINDOWS; i++) {
        c_window z = sized(i, true);
        check_average(&z, 16);
        check_average(&z, 1);
    }
}

static void check_global(int64_t lanes)
{
    Image x = image(3, 5, 7, lanes, 1), y = image(3, 1, 1, lanes, 2),
          dx = image(3, 5, 7, lanes, 3);
    (lanes > 1 ? c_global_avg_pool_blocked : c_global_avg_pool_plain)(y.at, x.at, 3, 35);
    (lanes > 1 ? c_global_avg_pool_grad_blocked : c_global_avg_pool_grad_plain)(dx.at, y.at, 3,
                                                                                35);
    for (int64_t i = 0; i < count(&y); i++) {
        double sum = 0;
        for (int64_t j = 0; j < 35; j++)
            sum += (double)x.at[(i / lanes * 35 + j) * lanes + i % lanes];
        assert_float_equal(y.at[i], (float)(sum / 35), 1e-5);
        for (int64_t j = 0; j < 35; j++)
            assert_float_equal(dx.at[(i / lanes * 35 + j) * lanes + i % lanes], y.at[i] / 35,
                               0);
    }
    free(x.at);
    free(y.at);
    free(dx.at);
}

static void global_averages(void **state)
{
    (void)state;
    check_global(16);
    check_global(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_values),
        cmocka_unit_test(averages),
        cmocka_unit_test(global_averages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
