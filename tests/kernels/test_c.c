// The kernels of <stagecc/c.h> against those of <stagecc/ref.h> in double, over sizes with and without
// remainders of vectors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#define REAL double
#include <stagecc/ref.h>
#define C_THREADS 2
#include <stagecc/c.h>

#include <stdlib.h>

// A tensor in both types.
typedef struct Both {
    float *f;
    double *d;
    int64_t n;
} Both;

static uint64_t drawn;

static Both empty(int64_t n)
{
    Both b = {NULL, calloc((size_t)n, sizeof *b.d), n};
    b.f = aligned_alloc(64, ((size_t)n * sizeof *b.f + 63) / 64 * 64);
    assert_non_null(b.f);
    assert_non_null(b.d);
    for (int64_t i = 0; i < n; i++)
        b.f[i] = 7;
    return b;
}

// Uniform in [middle - 1, middle + 1).
static Both draw(int64_t n, float middle)
{
    Both b = empty(n);
    for (int64_t i = 0; i < n; i++) {
        b.f[i] = middle + 2 * rt_uniform(9, drawn++) - 1;
        b.d[i] = (double)b.f[i];
    }
    return b;
}

static void release(Both *b)
{
    free(b->f);
    free(b->d);
}

static void release_all(Both **all)
{
    for (; *all; all++)
        release(*all);
}
#define RELEASE(...) release_all((Both *[]){__VA_ARGS__, NULL})

static void close_to(const char *what, const Both *b, double limit)
{
    double scale = 1e-30, worst = 0;
    for (int64_t i = 0; i < b->n; i++) {
        scale = fmax(scale, fabs(b->d[i]));
        worst = fmax(worst, fabs((double)b->f[i] - b->d[i]));
        if (isnan(b->f[i]) != isnan(b->d[i]))
            worst = INFINITY;
    }
    if (!(worst <= limit * scale))
        fail_msg("%s of %lld: off by %g of %g", what, (long long)b->n, worst, scale);
}

// Sums
// ----------------------------------------------------------------------------------------------

static const int64_t lengths[] = {1, 2, 15, 16, 17, 33, 64, 100, 513};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static void test_sums(void **state)
{
    (void)state;
    for (int k = 0; k < N_LENGTHS; k++) {
        int64_t n = lengths[k], before = 3, after = 5;
        Both x = draw(before * n * after, 1), sums = empty(n), columns = empty(n);
        ref_bias_grad(sums.d, x.d, before, n, after);
        c_sum_channels(sums.f, x.f, before, n, after);
        close_to("channels", &sums, 1e-6);
        ref_bias_grad(columns.d, x.d, before * after, n, 1);
        c_sum_columns(columns.f, x.f, before * after, n);
        close_to("columns", &columns, 1e-6);
        RELEASE(&x, &sums, &columns);
    }
}

static void test_blocks(void **state)
{
    (void)state;
    for (int64_t block = 8; block <= 16; block += 8)
        for (int64_t pixels = 1; pixels < 40; pixels += 6) {
            int64_t n = 2, c = 3 * block;
            Both x = draw(n * c * pixels, 0), y = empty(x.n), back = empty(x.n), sum = empty(c);
            ref_reorder(y.d, x.d, n, c, pixels, block, 1);
            c_block(y.f, x.f, n * c / block, pixels, block);
            close_to("block", &y, 0);
            ref_reorder(back.d, y.d, n, c, pixels, block, 0);
            c_unblock(back.f, y.f, n * c / block, pixels, block);
            close_to("unblock", &back, 0);
            ref_bias_grad(sum.d, x.d, n, c, pixels);
            c_sum_blocks(sum.f, y.f, n, c, pixels, block);
            close_to("sums of blocks", &sum, 1e-6);
            RELEASE(&x, &y, &back, &sum);
        }
}

// Norms
// ----------------------------------------------------------------------------------------------

static void test_layer_norm(void **state)
{
    (void)state;
    for (int k = 0; k < N_LENGTHS; k++) {
        int64_t rows = 5, c = lengths[k];
        Both x = draw(rows * c, 3), dy = draw(rows * c, 0), g = draw(c, 1), b = draw(c, 0);
        Both y = empty(x.n), mean = empty(rows), rstd = empty(rows);
        Both dx = empty(x.n), dg = empty(c), db = empty(c);
        ref_layer_norm(y.d, mean.d, rstd.d, x.d, g.d, b.d, rows, c, 1e-3);
        c_layer_norm(y.f, mean.f, rstd.f, x.f, g.f, b.f, rows, c, 1e-3);
        close_to("layer norm", &y, 2e-6);
        close_to("its mean", &mean, 1e-6);
        close_to("its rstd", &rstd, 1e-5);
        ref_layer_norm_grad(dx.d, dg.d, db.d, x.d, dy.d, g.d, mean.d, rstd.d, rows, c);
        c_layer_norm_grad(dx.f, dy.f, x.f, g.f, mean.f, rstd.f, rows, c);
        c_layer_norm_grad_params(dg.f, db.f, dy.f, x.f, mean.f, rstd.f, rows, c);
        if (c > 2) { // of one or two elements, nothing is left but rounding
            close_to("its dx", &dx, 1e-5);
            close_to("its dgamma", &dg, 1e-5);
        }
        close_to("its dbeta", &db, 1e-6);
        RELEASE(&x, &dy, &g, &b, &y, &mean, &rstd, &dx, &dg, &db);
    }
}

// A run of channels side by side, rows of `width`: statistics, and gradients as generated code has them.
static void test_norm_run(void **state)
{
    (void)state;
    for (int64_t width = 1; width <= 64; width += 7) {
        int64_t rows = 37;
        Both x = draw(rows * width, 2), dy = draw(rows * width, 0);
        Both g = draw(width, 1), b = draw(width, 0), y = empty(x.n), dx = empty(x.n);
        Both mean = empty(width), var = empty(width), dg = empty(width), db = empty(width);
        static c_norm k;
        static c_norm_grad q;
        ref_batch_norm(y.d, mean.d, var.d, x.d, g.d, b.d, rows, width, 1, 1e-3);
        c_norm_clear(&k, width);
        c_norm_add(&k, 0, x.f, width, 20, width);
        c_norm_add(&k, 0, x.f + 20 * width, width, rows - 20, width);
        c_norm_ready(&k, mean.f, var.f, g.f, b.f, (double)rows, 1e-3, width);
        ref_batch_norm_grad(dx.d, dg.d, db.d, x.d, dy.d, g.d, mean.d, var.d, rows, width, 1,
                            1e-3);
        c_norm_grad_begin(&q, mean.f, var.f, g.f, b.f, 1e-3, width);
        c_norm_grad_add(&q, 0, dy.f, width, x.f, width, rows, width);
        c_norm_grad_ready(&q, dg.f, db.f, var.f, (double)rows, 1e-3, width);
        for (int64_t i = 0; i < x.n; i++) {
            int64_t l = i % width;
            y.f[i] = c_norm_at(&k, l, x.f[i]);
            dx.f[i] = c_norm_grad_at(&q, l, dy.f[i], x.f[i]);
            assert_true(c_norm_again(&q, l, x.f[i]) == y.f[i]);
        }
        close_to("batch norm", &y, 2e-6);
        close_to("its mean", &mean, 1e-6);
        close_to("its var", &var, 1e-6);
        close_to("its dx", &dx, 1e-5);
        close_to("its dgamma", &dg, 1e-5);
        close_to("its dbeta", &db, 1e-6);
        RELEASE(&x, &dy, &g, &b, &y, &dx, &mean, &var, &dg, &db);
    }
}

// A mean far from 0: sums of squares in double do not lose the variance.
static void test_far_mean(void **state)
{
    (void)state;
    Both x = draw(INT64_C(16) * 1000, 1000), mean = empty(16), var = empty(16), y = empty(x.n);
    float one[16], zero[16] = {0};
    for (int i = 0; i < 16; i++)
        one[i] = 1;
    double ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, zeros[16] = {0};
    ref_batch_norm(y.d, mean.d, var.d, x.d, ones, zeros, 1000, 16, 1, 1e-5);
    static c_norm k;
    c_norm_clear(&k, 16);
    c_norm_add(&k, 0, x.f, 16, 1000, 16);
    c_norm_ready(&k, mean.f, var.f, one, zero, 1000, 1e-5, 16);
    close_to("mean", &mean, 1e-7);
    close_to("var", &var, 1e-6);
    RELEASE(&x, &mean, &var, &y);
}

// Losses
// ----------------------------------------------------------------------------------------------

static void test_softmax(void **state)
{
    (void)state;
    for (int k = 0; k < N_LENGTHS; k++)
        for (int causal = 0; causal < 2; causal++) {
            int64_t n = lengths[k], rows = causal ? 2 * n : 4;
            Both x = draw(rows * n, 0), dy = draw(rows * n, 0), y = empty(x.n), dx = empty(x.n);
            ref_softmax(y.d, x.d, NULL, 1, rows, n, causal ? n : 0);
            c_softmax(y.f, x.f, NULL, 1, rows, n, causal ? n : 0);
            close_to("softmax", &y, 1e-6);
            ref_softmax_grad(dx.d, dy.d, y.d, rows, n);
            c_softmax_grad(dx.f, dy.f, y.f, rows, n);
            if (n > 1)
                close_to("its gradient", &dx, 1e-5);
            RELEASE(&x, &dy, &y, &dx);
        }
}

// Two samples, of which one sees nothing and the other all but one column.
static void test_lengths(void **state)
{
    (void)state;
    for (int k = 0; k < N_LENGTHS; k++) {
        int64_t n = lengths[k];
        const int32_t seen[] = {0, (int32_t)n - 1};
        Both x = draw(6 * n, 0), y = empty(x.n);
        ref_softmax(y.d, x.d, seen, 3, 6, n, 0);
        c_softmax(y.f, x.f, seen, 3, 6, n, 0);
        if (n > 1)
            close_to("softmax of a part", &y, 1e-6);
        for (int64_t i = 0; i < y.n; i++)
            if (i < 3 * n || i % n == n - 1)
                assert_true(y.f[i] == 0);
        ref_mask(y.d, x.d, seen, 2, 1, n, 3);
        c_mask(y.f, x.f, seen, 2, 1, n, 3);
        close_to("what a mask leaves", &y, 0);
        ref_mask(y.d, x.d, seen, 2, 3, n, 1);
        c_mask(y.f, x.f, seen, 2, 3, n, 1);
        close_to("what a mask leaves of rows", &y, 0);
        RELEASE(&x, &y);
    }
}

static void test_cross_entropy(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * N_LENGTHS; k++) {
        double smoothing = k < N_LENGTHS ? 0 : 0.1;
        int64_t rows = 300, classes = lengths[k % N_LENGTHS];
        int32_t labels[300];
        for (int i = 0; i < rows; i++)
            labels[i] = i % 7 == 3 ? -1 : (int32_t)(i % classes);
        Both x = draw(rows * classes, 0), loss = empty(1), lse = empty(rows), dx = empty(x.n);
        float half = 0.5f;
        double half_d = 0.5;
        ref_cross_entropy(loss.d, lse.d, x.d, labels, rows, classes, smoothing);
        c_cross_entropy(loss.f, lse.f, x.f, labels, rows, classes, smoothing);
        close_to("lse", &lse, 1e-6);
        ref_cross_entropy_grad(dx.d, x.d, labels, lse.d, &half_d, rows, classes, smoothing);
        c_cross_entropy_grad(dx.f, x.f, labels, lse.f, &half, rows, classes, smoothing);
        if (classes > 1) {
            close_to("cross entropy", &loss, 1e-6);
            close_to("its gradient", &dx, 1e-5);
        }
        labels[299] = (int32_t)classes; // no class: the run must stop
        c_cross_entropy(loss.f, NULL, x.f, labels, rows, classes, smoothing);
        assert_true(isnan(loss.f[0]));
        RELEASE(&x, &loss, &lse, &dx);
    }
}

static void test_mse(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 300000; n = n * 7 + 1) {
        Both x = draw(n, 0), t = draw(n, 0), loss = empty(1), dx = empty(n);
        float two = 2;
        double two_d = 2;
        ref_mse(loss.d, x.d, t.d, n);
        c_mse(loss.f, x.f, t.f, n);
        close_to("mse", &loss, 1e-6);
        ref_mse_grad(dx.d, x.d, t.d, &two_d, n);
        c_mse_grad(dx.f, x.f, t.f, &two, n);
        close_to("its gradient", &dx, 1e-6);
        RELEASE(&x, &t, &loss, &dx);
    }
}

// Recurrence and attention
// ----------------------------------------------------------------------------------------------

typedef struct Recurrence {
    int64_t n, t, h;
    int reverse;
    const int32_t *lengths; // NULL: all steps count
    bool zeros;             // before the first step
} Recurrence;

static void check_lstm(const Recurrence *c)
{
    int64_t rows = c->n * c->t, h = c->h;
    const ref_lstm_sizes of_ref = {c->n, c->t, h, c->reverse};
    const c_lstm_sizes of_c = {c->n, c->t, h, c->reverse};
    Both g = draw(rows * 4 * h, 0), w = draw(4 * h * h, 0), s0 = draw(c->n * 2 * h, 0),
         dy = draw(rows * 2 * h, 0), y = empty(dy.n), gates = empty(g.n), dg = empty(g.n),
         ds0 = empty(s0.n), hs = empty(rows * h);
    const double *s0_d = c->zeros ? NULL : s0.d;
    const float *s0_f = c->zeros ? NULL : s0.f;
    ref_lstm(y.d, NULL, g.d, w.d, s0_d, c->lengths, &of_ref);
    c_lstm(y.f, NULL, g.f, w.f, s0_f, c->lengths, &of_c);
    close_to("an LSTM that forgets its gates", &y, 1e-5);
    ref_lstm(y.d, gates.d, g.d, w.d, s0_d, c->lengths, &of_ref);
    c_lstm(y.f, gates.f, g.f, w.f, s0_f, c->lengths, &of_c);
    close_to("LSTM", &y, 1e-5);
    close_to("its gates", &gates, 1e-5);
    ref_lstm_grad(dg.d, ds0.d, hs.d, dy.d, gates.d, y.d, w.d, s0_d, c->lengths, &of_ref);
    c_lstm_grad(dg.f, ds0.f, hs.f, dy.f, gates.f, y.f, w.f, s0_f, c->lengths, &of_c);
    close_to("the gradient of its gates", &dg, 1e-5);
    close_to("of its first state", &ds0, 1e-5);
    close_to("what each step saw", &hs, 1e-5);
    c_lstm_grad(dg.f, NULL, NULL, dy.f, gates.f, y.f, w.f, s0_f, c->lengths, &of_c);
    close_to("the gradient of its gates alone", &dg, 1e-5);
    RELEASE(&g, &w, &s0, &dy, &y, &gates, &dg, &ds0, &hs);
}

static void test_lstm(void **state)
{
    (void)state;
    const int32_t some[] = {3, 0, 2, 1, 3, 2, 0, 1, 3, 1, 2};
    for (int64_t h = 1; h < 70; h += h < 15 ? 7 : 17) // 1, 8, 15, 32, 49, 66
        for (int way = 0; way < 8; way++)
            check_lstm(&(Recurrence){11, 3, h, way & 1, way & 2 ? some : NULL, way & 4});
}

static void test_additive_score(void **state)
{
    (void)state;
    for (int k = 0; k < N_LENGTHS; k++) {
        int64_t h = lengths[k];
        const ref_additive of_ref = {2, 3, 4, h};
        const c_additive of_c = {2, 3, 4, h};
        Both q = draw(6 * h, 0), keys = draw(8 * h, 0), v = draw(h, 0), dy = draw(24, 0),
             y = empty(24), dq = empty(q.n), dk = empty(keys.n), dv = empty(h);
        ref_additive_score(y.d, q.d, keys.d, v.d, &of_ref);
        c_additive_score(y.f, q.f, keys.f, v.f, &of_c);
        close_to("additive scores", &y, 1e-6);
        ref_additive_score_grad(dq.d, dk.d, dv.d, dy.d, q.d, keys.d, v.d, &of_ref);
        c_additive_score_grad(dq.f, dk.f, dv.f, dy.f, q.f, keys.f, v.f, &of_c);
        close_to("the gradient of their queries", &dq, 1e-5);
        close_to("of their keys", &dk, 1e-5);
        close_to("of their weight", &dv, 1e-5);
        RELEASE(&q, &keys, &v, &dy, &y, &dq, &dk, &dv);
    }
}

// Moves and updates
// ----------------------------------------------------------------------------------------------

static void test_turn(void **state)
{
    (void)state;
    for (int64_t rows = 1; rows < 40; rows += 6)
        for (int64_t columns = 1; columns < 40; columns += 9) {
            Both x = draw(rows * columns, 0), y = empty(x.n);
            ref_walk walk = {2, {columns, rows}, .a = {1, columns}};
            ref_transpose(y.d, x.d, &walk);
            c_turn_rows(y.f, rows, x.f, columns, rows, columns);
            close_to("transpose", &y, 0);
            RELEASE(&x, &y);
        }
}

static void test_embedding(void **state)
{
    (void)state;
    const int32_t ids[] = {3, 0, 3, -1, 4, 5, 1};
    Both table = draw(INT64_C(5) * 19, 0), y = empty(INT64_C(7) * 19),
         dy = draw(INT64_C(7) * 19, 0), grad = empty(INT64_C(5) * 19);
    for (int64_t padding = -1; padding < 4; padding += 4) { // none, and the id that comes twice
        ref_embedding(y.d, ids, table.d, 7, 5, 19, padding);
        c_embedding(y.f, ids, table.f, 7, 5, 19, padding);
        close_to("embedding", &y, 0);
        assert_true((y.f[0] == 0) == (padding == 3));
        assert_true(isnan(y.f[INT64_C(3) * 19]));
        ref_embedding_grad(grad.d, ids, dy.d, 7, 5, 19, padding);
        c_embedding_grad(grad.f, ids, dy.f, 7, 5, 19, padding, 1);
        close_to("its gradient", &grad, 1e-6);
        for (int64_t i = 0; i < grad.n; i++)
            grad.d[i] *= 2;
        c_embedding_grad(grad.f, ids, dy.f, 7, 5, 19, padding, 0);
        close_to("two of them", &grad, 1e-6);
    }
    RELEASE(&table, &y, &dy, &grad);
}

static void test_updates(void **state)
{
    (void)state;
    const ref_adam_options o = {0.9, 0.99, 1e-6, 0.1, 1};
    const c_adam_options same = {0.9, 0.99, 1e-6, 0.1, 1};
    for (int64_t n = 1; n < 40000; n = n * 5 + 3) {
        Both p = draw(n, 0), g = draw(n, 0), m = draw(n, 0), v = draw(n, 1.5f);
        Both sum = draw(n, 0);
        ref_accumulate(sum.d, g.d, n, 0);
        c_accumulate(sum.f, g.f, n, 0);
        close_to("a sum", &sum, 1e-6);
        ref_accumulate(sum.d, g.d, n, 1);
        c_accumulate(sum.f, g.f, n, 1);
        close_to("a first sum", &sum, 0);
        ref_sgd(p.d, g.d, m.d, n, 0.1, 0.5, 0.9, 1, 0.01, 0);
        c_sgd_momentum(p.f, g.f, m.f, n, 0.1f, 0.5f, 0.9f, 0.01f, 1, 0);
        ref_sgd(p.d, g.d, NULL, n, 0.1, 0.5, 0, 0, 0.01, 0);
        c_sgd(p.f, g.f, n, 0.1f, 0.5f, 0.01f, 0);
        ref_adam(p.d, g.d, m.d, v.d, n, 0.01, 1, 3, 0, &o);
        c_adam(p.f, g.f, m.f, v.f, n, 0.01, 1, 3, 0, &same);
        close_to("a parameter", &p, 1e-6);
        close_to("momentum", &m, 1e-6);
        close_to("second moment", &v, 1e-6);
        RELEASE(&p, &g, &m, &v, &sum);
    }
}

static void test_stream(void **state)
{
    (void)state;
    Both x = draw(64, 0), y = empty(64);
    c_stream(y.f, x.f, 64);
    c_stream_end();
    memcpy(y.d, x.d, sizeof *x.d * 64);
    close_to("what went past the cache", &y, 0);
    RELEASE(&x, &y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),           cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_layer_norm),     cmocka_unit_test(test_norm_run),
        cmocka_unit_test(test_far_mean),       cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_cross_entropy),  cmocka_unit_test(test_mse),
        cmocka_unit_test(test_turn),           cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_updates),        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_lengths),        cmocka_unit_test(test_lstm),
        cmocka_unit_test(test_additive_score),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
