// Library kernels against naive loops in double: convolutions of many shapes in the layouts that the
// layout pass would choose, matrix products of all strides, weights to disk and back, the probe.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/bf16.h"
#include "runtime/kernels/dnnl.h"
#include "runtime/rt.h"
#include "tests/kernels/numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *isa; // the library takes one a process
static int block;

// A stage with one kernel
// -------------------------------------------------------------------------------------

typedef struct Case {
    rt_kernel kernels[4];
    rt_program program;
    rt_stage stage;
} Case;

static void open_case(Case *t, int n_kernels)
{
    t->program = (rt_program){.isa = isa,
                              .threads = 1,
                              .micro_batches = t->program.micro_batches,
                              .kernels = t->kernels,
                              .n_kernels = n_kernels,
                              .backend = &rt_dnnl};
    uint8_t *arena = t->stage.arena;
    rt__stage_init(&t->stage, &t->program, 0);
    t->stage.arena = arena;
    t->stage.quiet = true;
    if (rt_dnnl.init(&t->stage))
        fail_msg("%s", t->stage.message);
}

static void close_case(Case *t)
{
    if (t->stage.error)
        fail_msg("%s", t->stage.message);
    rt_dnnl.release(&t->stage);
}

// Largest difference over largest value.
static void assert_close(const float *got, const double *want, int64_t n, const char *what)
{
    double most = 0, off = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        most = fabs(want[i]) > most ? fabs(want[i]) : most;
        off = d > off || isnan(d) ? d : off;
    }
    if (!(off <= 1e-5 * most))
        fail_msg("%s: off by %g of %g", what, off, most);
}

// Convolution
// -----------------------------------------------------------------------------------------

static rt_conv conv(int n, int c, int h, int k, int r, int stride)
{
    return (rt_conv){.n = n,
                     .c = c,
                     .h = h,
                     .w = h + 2,
                     .k = k,
                     .r = r,
                     .s = r,
                     .groups = 1,
                     .stride = {stride, stride},
                     .dilation = {1, 1},
                     .block = block};
}

static void settle(rt_conv *c)
{
    c->p = (c->h + c->padding[0] + c->padding[2] - (c->r - 1) * c->dilation[0] - 1) /
               c->stride[0] +
           1;
    c->q = (c->w + c->padding[1] + c->padding[3] - (c->s - 1) * c->dilation[1] - 1) /
               c->stride[1] +
           1;
}

static int64_t x_count(const rt_conv *c)
{
    return c->n * c->c * c->h * c->w;
}

static int64_t y_count(const rt_conv *c)
{
    return c->n * c->k * c->p * c->q;
}

static int64_t w_count(const rt_conv *c)
{
    return c->k * c->c / c->groups * c->r * c->s;
}

// Where element [n,c,pixel] of an image lies.
static int64_t at(int64_t n, int64_t c, int64_t pixel, int64_t channels, int64_t pixels,
                  int blocked)
{
    int64_t b = blocked ? block : 1;
    return ((n * (channels / b) + c / b) * pixels + pixel) * b + c % b;
}

static float *image(const float *plain, int64_t n, int64_t channels, int64_t pixels,
                    int blocked)
{
    float *out = numbers(n * channels * pixels, 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < pixels; p++)
                out[at(i, c, p, channels, pixels, blocked)] =
                    plain[(i * channels + c) * pixels + p];
    return out;
}

static float *plain_image(const float *from, int64_t n, int64_t channels, int64_t pixels,
                          int blocked)
{
    float *out = numbers(n * channels * pixels, 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < pixels; p++)
                out[(i * channels + c) * pixels + p] =
                    from[at(i, c, p, channels, pixels, blocked)];
    return out;
}

// Visit every product of the convolution: y += x w, dx += dy w, dw += x dy.
typedef struct Naive {
    const float *x, *w, *dy;
    double *y, *dx, *dw;
} Naive;

static void naive_pixel(const rt_conv *c, const Naive *t, int64_t n, int64_t k, int64_t pixel)
{
    int64_t per = c->c / c->groups, first = k / (c->k / c->groups) * per;
    int64_t y = (n * c->k + k) * c->p * c->q + pixel;
    for (int64_t i = 0; i < per * c->r * c->s; i++) {
        int64_t ch = i / (c->r * c->s), r = i / c->s % c->r, s = i % c->s;
        int64_t row = pixel / c->q * c->stride[0] - c->padding[0] + r * c->dilation[0];
        int64_t column = pixel % c->q * c->stride[1] - c->padding[1] + s * c->dilation[1];
        if (row < 0 || row >= c->h || column < 0 || column >= c->w)
            continue;
        int64_t x = ((n * c->c + first + ch) * c->h + row) * c->w + column;
        int64_t w = k * per * c->r * c->s + i;
        t->y[y] += (double)t->x[x] * (double)t->w[w];
        t->dx[x] += (double)t->dy[y] * (double)t->w[w];
        t->dw[w] += (double)t->x[x] * (double)t->dy[y];
    }
}

static void naive_conv(const rt_conv *c, const Naive *t, const float *bias)
{
    for (int64_t i = 0; i < y_count(c); i++) {
        int64_t pixels = c->p * c->q, k = i / pixels % c->k;
        t->y[i] = bias ? (double)bias[k] : 0;
        naive_pixel(c, t, i / pixels / c->k, k, i % pixels);
    }
}

static void check_images(const rt_conv *c, const float *got, const double *want, bool x,
                         const char *what)
{
    int64_t channels = x ? c->c : c->k, pixels = x ? c->h * c->w : c->p * c->q;
    float *plain = plain_image(got, c->n, channels, pixels, x ? c->x_blocked : c->y_blocked);
    assert_close(plain, want, c->n * channels * pixels, what);
    free(plain);
}

static void run_conv(Case *t, const rt_conv *c, const Naive *want, const float *bias)
{
    rt_tensor tensor = {.name = "w",
                        .rank = 4,
                        .dim = {c->k, c->c / c->groups, c->r, c->s},
                        .bytes = w_count(c) * (int64_t)sizeof(float)};
    float *x = image(want->x, c->n, c->c, c->h * c->w, c->x_blocked);
    float *dy = image(want->dy, c->n, c->k, c->p * c->q, c->y_blocked);
    float *y = numbers(y_count(c), 7), *dx = numbers(x_count(c), 7);
    float *w = numbers(w_count(c), 7), *dw = numbers(w_count(c), 7);
    float *plain = numbers(w_count(c), 7);
    bool has_dx = c->x_blocked || !c->y_blocked;
    assert_int_equal(rt_dnnl.pack(&t->stage, &tensor, want->w, w), 0);
    rt_conv2d(&t->stage, 0, x, w, bias, y);
    rt_conv2d_grad_weight(&t->stage, 1, x, dy, dw);
    assert_int_equal(rt_dnnl.unpack(&t->stage, &tensor, dw, plain), 0);
    check_images(c, y, want->y, false, t->kernels[0].key);
    assert_close(plain, want->dw, w_count(c), t->kernels[1].key);
    if (has_dx) {
        rt_conv2d_grad_input(&t->stage, 2, dy, w, dx);
        check_images(c, dx, want->dx, true, t->kernels[2].key);
    }
    float *all[] = {x, dy, y, dx, w, dw, plain};
    for (int i = 0; i < 7; i++)
        free(all[i]);
}

static void check_conv(rt_conv c)
{
    settle(&c);
    Case t = {.program.micro_batches = 1};
    rt_conv without = c;
    without.bias = 0;
    t.kernels[0] = (rt_kernel){.key = "conv2d", .op = RT_CONV2D, .conv = c};
    t.kernels[1] =
        (rt_kernel){.key = "grad_weight", .op = RT_CONV2D_GRAD_WEIGHT, .conv = without};
    t.kernels[2] =
        (rt_kernel){.key = "grad_input", .op = RT_CONV2D_GRAD_INPUT, .conv = without};
    float *x = numbers(x_count(&c), 1), *w = numbers(w_count(&c), 2);
    float *dy = numbers(y_count(&c), 3), *bias = c.bias ? numbers(c.k, 4) : NULL;
    Naive want = {x,
                  w,
                  dy,
                  calloc((size_t)y_count(&c), sizeof(double)),
                  calloc((size_t)x_count(&c), sizeof(double)),
                  calloc((size_t)w_count(&c), sizeof(double))};
    naive_conv(&c, &want, bias);
    open_case(&t, c.x_blocked || !c.y_blocked ? 3 : 2);
    run_conv(&t, &c, &want, bias);
    close_case(&t);
    void *all[] = {x, w, dy, bias, want.y, want.dx, want.dw};
    for (int i = 0; i < 7; i++)
        free(all[i]);
}

static rt_conv pad(rt_conv c, int top, int left, int bottom, int right)
{
    c.padding[0] = top;
    c.padding[1] = left;
    c.padding[2] = bottom;
    c.padding[3] = right;
    return c;
}

static rt_conv blocked(rt_conv c)
{
    c.x_blocked = c.y_blocked = 1;
    return c;
}

static void convolutions_of_blocked_images(void **state)
{
    (void)state;
    rt_conv bias = blocked(pad(conv(2, 32, 7, 64, 3, 1), 1, 1, 1, 1));
    bias.bias = 1;
    check_conv(bias);
    check_conv(blocked(conv(2, 32, 6, 32, 1, 1)));
    check_conv(blocked(conv(3, 64, 8, 32, 1, 2)));
    check_conv(blocked(pad(conv(2, 16, 9, 16, 3, 2), 1, 0, 0, 1)));
    check_conv(blocked(pad(conv(1, 16, 9, 32, 5, 1), 2, 2, 2, 2)));
    check_conv(blocked(conv(4, 32, 2, 16, 2, 1)));
}

static void convolutions_with_groups_and_dilation(void **state)
{
    (void)state;
    rt_conv depthwise = blocked(pad(conv(2, 32, 7, 32, 3, 1), 1, 1, 1, 1));
    depthwise.groups = 32;
    check_conv(depthwise);
    rt_conv wide = blocked(pad(conv(2, 32, 7, 64, 3, 2), 1, 1, 1, 1));
    wide.groups = 2;
    check_conv(wide);
    rt_conv dilated = blocked(pad(conv(2, 16, 9, 32, 3, 1), 2, 2, 2, 2));
    dilated.dilation[0] = dilated.dilation[1] = 2;
    check_conv(dilated);
    depthwise.dilation[0] = 2;
    check_conv(depthwise);
    rt_conv narrow = pad(conv(2, 6, 5, 12, 3, 1), 1, 1, 1, 1);
    narrow.groups = 3;
    check_conv(narrow);
}

// Where the library has nothing for the row's layouts, tensors are copied in and out.
static void convolutions_that_need_copies(void **state)
{
    (void)state;
    rt_conv first =
        pad(conv(2, 1, 9, 32, 3, 1), 1, 1, 1, 1); // the library wants another weight
    first.y_blocked = 1;
    check_conv(first);
    check_conv(blocked(pad(conv(1, 16, 1, 32, 5, 1), 2, 2, 2, 2)));
    rt_conv stretched = blocked(pad(conv(2, 16, 7, 32, 3, 2), 3, 3, 3, 3));
    stretched.dilation[0] = stretched.dilation[1] = 3;
    check_conv(stretched);
    check_conv(pad(conv(1, 3, 14, 5, 11, 1), 5, 5, 5, 5));
}

static void convolutions_of_plain_images(void **state)
{
    (void)state;
    rt_conv first = pad(conv(2, 3, 16, 64, 7, 2), 3, 3, 3, 3);
    first.y_blocked = 1;
    first.bias = 1;
    check_conv(first);
    check_conv(pad(conv(2, 10, 8, 20, 3, 1), 1, 1, 1, 1));
    check_conv(conv(2, 32, 4, 10, 1, 1));
}

// A weight has its backward-data copy made by the first micro-batch of a step.
static void weights_are_copied_once_a_step(void **state)
{
    (void)state;
    rt_conv c = blocked(pad(conv(1, 32, 4, 32, 3, 1), 1, 1, 1, 1));
    settle(&c);
    static const int64_t first[] = {0};
    Case t = {.program = {.micro_batches = 2}};
    t.kernels[0] = (rt_kernel){.key = "conv2d", .op = RT_CONV2D, .conv = c};
    t.kernels[1] = (rt_kernel){
        .key = "grad", .op = RT_CONV2D_GRAD_INPUT, .conv = c, .weights = first, .n_weights = 1};
    float *w = numbers(w_count(&c), 1), *dy = numbers(y_count(&c), 2);
    float *dx = numbers(x_count(&c), 3), *again = numbers(x_count(&c), 4);
    size_t bytes = (size_t)x_count(&c) * sizeof *dx;
    t.stage.arena = (uint8_t *)w;
    open_case(&t, 2);
    rt_conv2d_grad_input(&t.stage, 1, dy, w, dx);
    w[5] += 1;
    t.stage.mb = 1;
    rt_conv2d_grad_input(&t.stage, 1, dy, w, again);
    assert_memory_equal(dx, again, bytes);
    t.stage.mb = 0;
    t.stage.version = 1;
    rt_conv2d_grad_input(&t.stage, 1, dy, w, again);
    assert_memory_not_equal(dx, again, bytes);
    close_case(&t);
    free(w);
    free(dy);
    free(dx);
    free(again);
}

// Matrix products
// -------------------------------------------------------------------------------------

static int64_t reach(const rt_product *p, const int64_t *s, int64_t rows, int64_t columns)
{
    return (p->batch[0] - 1) * s[0] + (p->batch[1] - 1) * s[1] + (rows - 1) * s[2] +
           (columns - 1) * s[3] + 1;
}

static void naive_product(const rt_product *p, const float *a, const float *b,
                          const float *bias, double *c)
{
    int64_t n = p->batch[0] * p->batch[1] * p->m * p->n;
    for (int64_t i = 0; i < n; i++) {
        int64_t column = i % p->n, row = i / p->n % p->m, mat = i / p->n / p->m;
        int64_t i0 = mat / p->batch[1], i1 = mat % p->batch[1];
        double *to = &c[i0 * p->c[0] + i1 * p->c[1] + row * p->c[2] + column * p->c[3]];
        double sum = (p->add ? *to : 0) + (bias ? (double)bias[column] : 0);
        for (int64_t k = 0; k < p->k; k++)
            sum += (double)a[i0 * p->a[0] + i1 * p->a[1] + row * p->a[2] + k * p->a[3]] *
                   (double)b[i0 * p->b[0] + i1 * p->b[1] + k * p->b[2] + column * p->b[3]];
        *to = sum;
    }
}

static void check_product(rt_product p)
{
    Case t = {.program.micro_batches = 1};
    t.kernels[0] = (rt_kernel){.key = "matmul", .op = RT_MATMUL, .product = p};
    int64_t n = reach(&p, p.c, p.m, p.n);
    float *a = numbers(reach(&p, p.a, p.m, p.k), 1), *b = numbers(reach(&p, p.b, p.k, p.n), 2);
    float *bias = p.bias ? numbers(p.n, 3) : NULL, *c = numbers(n, 4);
    double *want = calloc((size_t)n, sizeof *want);
    for (int64_t i = 0; i < n; i++)
        want[i] = (double)c[i];
    naive_product(&p, a, b, bias, want);
    open_case(&t, 1);
    rt_matmul(&t.stage, 0, a, b, bias, c);
    assert_close(c, want, n, "matmul");
    close_case(&t);
    free(a);
    free(b);
    free(bias);
    free(c);
    free(want);
}

static void products_of_all_transpositions(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int64_t m = 33, n = 47, k = 21;
        rt_product p = {.batch = {1, 1}, .m = m, .n = n, .k = k, .c = {m * n, m * n, n, 1}};
        p.a[0] = p.a[1] = m * k;
        p.b[0] = p.b[1] = k * n;
        p.a[2] = i & 1 ? 1 : k;
        p.a[3] = i & 1 ? m : 1;
        p.b[2] = i & 2 ? 1 : n;
        p.b[3] = i & 2 ? k : 1;
        check_product(p);
        p.bias = 1;
        check_product(p);
        p.bias = 0;
        p.add = 1;
        check_product(p);
    }
}

static void products_of_batches(void **state)
{
    (void)state;
    int64_t t = 20, heads = 3, d = 16, width = heads * d;
    rt_product scores = {.batch = {1, 6}, // q k^T of [6, t, d]
                         .m = t,
                         .n = t,
                         .k = d,
                         .a = {6 * t * d, t * d, d, 1},
                         .b = {6 * t * d, t * d, 1, d},
                         .c = {6 * t * t, t * t, t, 1}};
    check_product(scores);
    rt_product heads_apart = {.batch = {2, heads}, // the same of [2, t, heads, d], in place
                              .m = t,
                              .n = t,
                              .k = d,
                              .a = {t * width, d, width, 1},
                              .b = {t * width, d, 1, width},
                              .c = {heads * t * t, t * t, t, 1}};
    check_product(heads_apart);
    rt_product vector = {.batch = {1, 1},
                         .m = 1,
                         .n = 1,
                         .k = 7,
                         .a = {7, 7, 7, 1},
                         .b = {7, 7, 1, 1},
                         .c = {1, 1, 1, 1}};
    check_product(vector);
}

// bf16
// ----------------------------------------------------------------------------------------------

static void *narrowed(const float *x, int64_t n, rt_dtype type)
{
    float *copy = calloc((size_t)n, sizeof *copy);
    for (int64_t i = 0; i < n; i++)
        if (type == RT_BF16)
            ((rt_bf16 *)(void *)copy)[i] = rt_to_bf16(x[i]);
        else
            copy[i] = x[i];
    return copy;
}

// c[m,n] (+)= a b from operands of these types; a weight has a copy where there are micro-batches.
static void check_narrow_product(rt_product p, const rt_dtype types[3], int micro_batches)
{
    static const int64_t first[] = {0};
    bool weight = types[1] == RT_F32;
    int64_t n_a = reach(&p, p.a, p.m, p.k), n_b = reach(&p, p.b, p.k, p.n);
    int64_t n_c = reach(&p, p.c, p.m, p.n);
    float *a = numbers(n_a, 1), *b = numbers(n_b, 2), *c = numbers(n_c, 4);
    double *want = calloc((size_t)n_c, sizeof *want), off = 0, all = 0;
    for (int64_t i = 0; i < n_c; i++)
        want[i] = (double)c[i];
    naive_product(&p, a, b, NULL, want);
    void *a1 = narrowed(a, n_a, types[0]), *b1 = narrowed(b, n_b, types[1]);
    void *c1 = narrowed(c, n_c, types[2]);
    Case t = {.program.micro_batches = micro_batches};
    t.stage.arena = b1;
    t.kernels[0] = (rt_kernel){.key = "matmul",
                               .op = RT_MATMUL,
                               .types = {types[0], types[1], types[2]},
                               .weights = first,
                               .n_weights = weight,
                               .product = p};
    open_case(&t, 1);
    rt_matmul(&t.stage, 0, a1, b1, NULL, c1);
    for (int64_t i = 0; i < n_c; i++) {
        double d = types[2] == RT_BF16 ? (double)rt_to_float(((rt_bf16 *)c1)[i])
                                       : (double)((float *)c1)[i];
        off += (d - want[i]) * (d - want[i]);
        all += want[i] * want[i];
    }
    if (!(sqrt(off / all) <= 1e-2))
        fail_msg("matmul in bf16: off by %g", sqrt(off / all));
    close_case(&t);
    void *owned[] = {a, b, c, want, a1, b1, c1};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

static void products_in_bf16(void **state)
{
    (void)state;
    if (block != 16)
        return; // the library has them with AVX-512
    rt_product forward = {.batch = {1, 1},
                          .m = 33,
                          .n = 47,
                          .k = 64,
                          .a = {2112, 2112, 64, 1},
                          .b = {3008, 3008, 1, 64},
                          .c = {1551, 1551, 47, 1}};
    rt_product gradient = forward;
    gradient.add = 1;
    gradient.a[2] = 1;
    gradient.a[3] = 33;
    for (int micro_batches = 1; micro_batches <= 2; micro_batches++)
        check_narrow_product(forward, (rt_dtype[]){RT_BF16, RT_F32, RT_BF16}, micro_batches);
    check_narrow_product(forward, (rt_dtype[]){RT_BF16, RT_BF16, RT_BF16}, 1);
    check_narrow_product(gradient, (rt_dtype[]){RT_BF16, RT_BF16, RT_F32}, 1);
}

// Forward's first micro-batch makes the copy with which the gradient works, too.
static void products_share_a_copy(void **state)
{
    (void)state;
    enum { M = 4, N = 32, K = 16 };
    if (block != 16)
        return;
    static const int64_t first[] = {0};
    static const rt_dtype types[] = {RT_BF16, RT_F32, RT_BF16};
    const rt_product product[] = {{.batch = {1, 1},
                                   .m = M,
                                   .n = N,
                                   .k = K,
                                   .a = {M * K, M * K, K, 1},
                                   .b = {N * K, N * K, 1, K},
                                   .c = {M * N, M * N, N, 1}},
                                  {.batch = {1, 1},
                                   .m = M,
                                   .n = K,
                                   .k = N,
                                   .a = {M * N, M * N, N, 1},
                                   .b = {N * K, N * K, K, 1},
                                   .c = {M * K, M * K, K, 1}}};
    Case t = {.program = {.micro_batches = 2}};
    for (int i = 0; i < 2; i++) {
        t.kernels[i] = (rt_kernel){.key = "matmul",
                                   .op = RT_MATMUL,
                                   .product = product[i],
                                   .weights = first,
                                   .n_weights = 1};
        memcpy(t.kernels[i].types, types, sizeof types);
    }
    float *w = numbers(N * K, 1);
    rt_bf16 x[M * K] = {{0}}, y[M * N], dy[M * N], dx[M * K], again[M * K];
    for (int i = 0; i < M * N; i++)
        dy[i] = rt_to_bf16(1);
    t.stage.arena = (uint8_t *)w;
    open_case(&t, 2);
    rt_matmul(&t.stage, 0, x, w, NULL, y);
    w[5] += 1;
    t.stage.mb = 1;
    rt_matmul(&t.stage, 1, dy, w, NULL, dx);
    t.stage.mb = 0;
    rt_matmul(&t.stage, 1, dy, w, NULL, again);
    for (int i = 0; i < M * K; i++)
        assert_int_equal(dx[i].bits != again[i].bits, i % K == 5);
    close_case(&t);
    free(w);
}

// The rest
// --------------------------------------------------------------------------------------------

static void another_implementation_is_refused(void **state)
{
    (void)state;
    rt_conv c = blocked(conv(1, 16, 4, 16, 1, 1));
    settle(&c);
    Case t = {.program = {.micro_batches = 1, .isa = isa, .threads = 1, .n_kernels = 1}};
    t.kernels[0] =
        (rt_kernel){.key = "conv", .implementation = "abacus", .op = RT_CONV2D, .conv = c};
    t.program.kernels = t.kernels;
    t.program.backend = &rt_dnnl;
    rt__stage_init(&t.stage, &t.program, 0);
    t.stage.quiet = true;
    assert_int_equal(rt_dnnl.init(&t.stage), RT_E_KERNEL);
    assert_non_null(strstr(t.stage.message, "was made for oneDNN's `abacus` as `conv`"));
    rt_dnnl.release(&t.stage);
}

static void the_probe_writes_every_kernel(void **state)
{
    (void)state;
    rt_conv c = blocked(conv(1, 16, 4, 32, 3, 1));
    settle(&c);
    Case t = {.program.micro_batches = 1};
    t.kernels[0] = (rt_kernel){.key = "one", .op = RT_CONV2D, .conv = c};
    t.kernels[1] = (rt_kernel){.key = "two", .op = RT_CONV2D_GRAD_INPUT, .conv = c};
    char path[] = "/tmp/stagecc_kernels_XXXXXX", text[2048] = "";
    close(mkstemp(path));
    open_case(&t, 2);
    assert_int_equal(rt_dnnl.probe(&t.stage, path), 0);
    close_case(&t);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    unlink(path);
    assert_non_null(strstr(text, "{\"key\": \"one\", \"implementation\": \"jit"));
    assert_non_null(strstr(text, "\"key\": \"two\""));
    assert_non_null(strstr(text, "\"weight_bytes\": 18432"));
}

static int run_all(const char *name, int channels)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_blocked_images),
        cmocka_unit_test(convolutions_with_groups_and_dilation),
        cmocka_unit_test(convolutions_that_need_copies),
        cmocka_unit_test(convolutions_of_plain_images),
        cmocka_unit_test(weights_are_copied_once_a_step),
        cmocka_unit_test(products_of_all_transpositions),
        cmocka_unit_test(products_of_batches),
        cmocka_unit_test(products_in_bf16),
        cmocka_unit_test(products_share_a_copy),
        cmocka_unit_test(another_implementation_is_refused),
        cmocka_unit_test(the_probe_writes_every_kernel),
    };
    isa = name;
    block = channels;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int status = 0;
    if (__builtin_cpu_supports("avx512f") && !fork())
        return run_all("avx512", 16);
    if (__builtin_cpu_supports("avx512bf16") && !fork())
        return run_all("avx512_bf16", 16);
    while (wait(&status) > 0)
        if (status)
            return 1;
    return __builtin_cpu_supports("avx2") ? run_all("avx2", 8) : 0;
}
