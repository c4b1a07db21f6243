// Part of <stagecc/ref.h>: convolution and pooling, windows that slide over images [n,c,h,w]. Window
// position p covers the rows p * stride - top + r * dilation, r < kernel, and columns alike.
#ifndef STAGECC_REF_WINDOW_H
#define STAGECC_REF_WINDOW_H

typedef struct ref_window {
    int64_t n, c, h, w; // x
    int64_t k, p, q;    // y[n,k,p,q]
    int64_t r, s;       // the kernel's height and width
    int64_t stride[2], dilation[2];
    int64_t top, left, bottom, right; // padding
    int64_t groups;
    int count_include_pad;
} ref_window;

static inline int64_t ref_at(int64_t a, int64_t b, int64_t c, int64_t d, int64_t nb, int64_t nc,
                             int64_t nd)
{
    return ((a * nb + b) * nc + c) * nd + d;
}

static inline int64_t ref_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t ref_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// The least multiple of b, counted in b, that is not below a.
static inline int64_t ref_ceil(int64_t a, int64_t b)
{
    return a <= 0 ? 0 : (a + b - 1) / b;
}

// y[n,k,p,q] = b[k] + sum over c, r, s of x[n, c of k's group, ...] weight[k,c,r,s]
REF void ref_conv2d(real *y, const real *x, const real *weight, const real *b,
                    const ref_window *z)
{
    int64_t cg = z->c / z->groups, kg = z->k / z->groups;
    for (int64_t i = 0; i < z->n * z->k * z->p; i++) {
        int64_t n = i / (z->k * z->p), k = i / z->p % z->k, p = i % z->p;
        for (int64_t q0 = 0; q0 < z->q; q0 += REF_ROW) {
            int64_t q1 = ref_min(q0 + REF_ROW, z->q);
            double sum[REF_ROW];
            for (int64_t q = q0; q < q1; q++)
                sum[q - q0] = b ? (double)b[k] : 0;
            for (int64_t t = 0; t < cg * z->r * z->s; t++) {
                int64_t c = t / (z->r * z->s), r = t / z->s % z->r, s = t % z->s;
                int64_t h = p * z->stride[0] - z->top + r * z->dilation[0];
                int64_t shift =
                    s * z->dilation[1] - z->left; // column of q is q * stride + shift
                if (h < 0 || h >= z->h)
                    continue;
                const real *row = x + ref_at(n, k / kg * cg + c, h, 0, z->c, z->h, z->w);
                double weight_here = (double)weight[ref_at(k, c, r, s, cg, z->r, z->s)];
                int64_t end = ref_min(q1, ref_ceil(z->w - shift, z->stride[1]));
                for (int64_t q = ref_max(q0, ref_ceil(-shift, z->stride[1])); q < end; q++)
                    sum[q - q0] += (double)row[q * z->stride[1] + shift] * weight_here;
            }
            for (int64_t q = q0; q < q1; q++)
                y[i * z->q + q] = (real)sum[q - q0];
        }
    }
}

// dx[n,c,h,w] = sum over k, r, s of dy[n,k,p,q] weight[k,c,r,s], where window (p,q) covers (h,w)
REF void ref_conv2d_grad_input(real *dx, const real *dy, const real *weight,
                               const ref_window *z)
{
    int64_t cg = z->c / z->groups, kg = z->k / z->groups;
    for (int64_t i = 0; i < z->n * z->c * z->h; i++) {
        int64_t n = i / (z->c * z->h), c = i / z->h % z->c, h = i % z->h;
        for (int64_t w0 = 0; w0 < z->w; w0 += REF_ROW) {
            int64_t w1 = ref_min(w0 + REF_ROW, z->w);
            double sum[REF_ROW] = {0};
            for (int64_t t = 0; t < kg * z->r * z->s; t++) {
                int64_t k = c / cg * kg + t / (z->r * z->s), r = t / z->s % z->r, s = t % z->s;
                int64_t from = h + z->top - r * z->dilation[0], p = from / z->stride[0];
                int64_t shift = s * z->dilation[1] - z->left;
                if (from < 0 || from % z->stride[0] || p >= z->p)
                    continue;
                const real *row = dy + ref_at(n, k, p, 0, z->k, z->p, z->q);
                double weight_here = (double)weight[ref_at(k, c % cg, r, s, cg, z->r, z->s)];
                int64_t end = ref_min(z->q, ref_ceil(w1 - shift, z->stride[1]));
                for (int64_t q = ref_ceil(w0 - shift, z->stride[1]); q < end; q++)
                    sum[q * z->stride[1] + shift - w0] += (double)row[q] * weight_here;
            }
            for (int64_t w = w0; w < w1; w++)
                dx[i * z->w + w] = (real)sum[w - w0];
        }
    }
}

// dweight[k,c,r,s] = sum over n, p, q of x dy
REF void ref_conv2d_grad_weight(real *dweight, const real *x, const real *dy,
                                const ref_window *z)
{
    int64_t cg = z->c / z->groups, kg = z->k / z->groups;
    for (int64_t i = 0; i < z->k * cg * z->r * z->s; i++) {
        int64_t k = i / (cg * z->r * z->s), c = i / (z->r * z->s) % cg;
        int64_t r = i / z->s % z->r, s = i % z->s, shift = s * z->dilation[1] - z->left;
        double sum = 0;
        for (int64_t t = 0; t < z->n * z->p; t++) {
            int64_t n = t / z->p, p = t % z->p;
            int64_t h = p * z->stride[0] - z->top + r * z->dilation[0];
            if (h < 0 || h >= z->h)
                continue;
            const real *row = x + ref_at(n, k / kg * cg + c, h, 0, z->c, z->h, z->w);
            const real *grad = dy + ref_at(n, k, p, 0, z->k, z->p, z->q);
            int64_t end = ref_min(z->q, ref_ceil(z->w - shift, z->stride[1]));
            for (int64_t q = ref_ceil(-shift, z->stride[1]); q < end; q++)
                sum += (double)row[q * z->stride[1] + shift] * (double)grad[q];
        }
        dweight[i] = (real)sum;
    }
}

// Pooling: planes are the pairs (n, c), and k = c.
// ----------------------------------------------------------------------------------------------

// The largest value of each window, the first of equals, NaN above all; argmax is its place h * w.
REF void ref_max_pool2d(real *y, int32_t *argmax, const real *x, const ref_window *z)
{
    for (int64_t i = 0; i < z->n * z->c * z->p * z->q; i++) {
        const real *plane = x + i / (z->p * z->q) * z->h * z->w;
        int64_t p = i / z->q % z->p, q = i % z->q, best = -1;
        for (int64_t r = 0; r < z->r; r++)
            for (int64_t s = 0; s < z->s; s++) {
                int64_t h = p * z->stride[0] - z->top + r * z->dilation[0];
                int64_t w = q * z->stride[1] - z->left + s * z->dilation[1];
                int64_t at = h * z->w + w;
                if (h < 0 || h >= z->h || w < 0 || w >= z->w)
                    continue;
                if (best < 0 || plane[at] > plane[best] || isnan(plane[at]))
                    best = at;
            }
        y[i] = best < 0 ? (real)-INFINITY : plane[best];
        if (argmax)
            argmax[i] = (int32_t)best;
    }
}

REF void ref_max_pool2d_grad(real *dx, const real *dy, const int32_t *argmax,
                             const ref_window *z)
{
    memset(dx, 0, (size_t)(z->n * z->c * z->h * z->w) * sizeof *dx);
    for (int64_t i = 0; i < z->n * z->c * z->p * z->q; i++)
        if (argmax[i] >= 0)
            dx[i / (z->p * z->q) * z->h * z->w + argmax[i]] += dy[i];
}

// What a window of an average covers of the image, and what it divides by.
typedef struct ref_area {
    int64_t h0, h1, w0, w1, count;
} ref_area;

static inline ref_area ref_area_of(const ref_window *z, int64_t p, int64_t q)
{
    ref_area a = {.h0 = p * z->stride[0] - z->top, .w0 = q * z->stride[1] - z->left};
    a.h1 = ref_min(a.h0 + z->r, z->h + z->bottom);
    a.w1 = ref_min(a.w0 + z->s, z->w + z->right);
    int64_t padded = (a.h1 - a.h0) * (a.w1 - a.w0);
    a.h0 = ref_max(a.h0, 0);
    a.w0 = ref_max(a.w0, 0);
    a.h1 = ref_min(a.h1, z->h);
    a.w1 = ref_min(a.w1, z->w);
    a.count = z->count_include_pad ? padded : ref_max(a.h1 - a.h0, 0) * ref_max(a.w1 - a.w0, 0);
    return a;
}

REF void ref_avg_pool2d(real *y, const real *x, const ref_window *z)
{
    for (int64_t i = 0; i < z->n * z->c * z->p * z->q; i++) {
        const real *plane = x + i / (z->p * z->q) * z->h * z->w;
        ref_area a = ref_area_of(z, i / z->q % z->p, i % z->q);
        double sum = 0;
        for (int64_t h = a.h0; h < a.h1; h++)
            for (int64_t w = a.w0; w < a.w1; w++)
                sum += (double)plane[h * z->w + w];
        y[i] = (real)(sum / (double)a.count);
    }
}

REF void ref_avg_pool2d_grad(real *dx, const real *dy, const ref_window *z)
{
    memset(dx, 0, (size_t)(z->n * z->c * z->h * z->w) * sizeof *dx);
    for (int64_t i = 0; i < z->n * z->c * z->p * z->q; i++) {
        real *plane = dx + i / (z->p * z->q) * z->h * z->w;
        ref_area a = ref_area_of(z, i / z->q % z->p, i % z->q);
        for (int64_t h = a.h0; h < a.h1; h++)
            for (int64_t w = a.w0; w < a.w1; w++)
                plane[h * z->w + w] += (real)((double)dy[i] / (double)a.count);
    }
}

// y[planes] = the mean of each plane's `pixels`.
REF void ref_global_avg_pool(real *y, const real *x, int64_t planes, int64_t pixels)
{
    for (int64_t i = 0; i < planes; i++) {
        double sum = 0;
        for (int64_t j = 0; j < pixels; j++)
            sum += (double)x[i * pixels + j];
        y[i] = (real)(sum / (double)pixels);
    }
}

REF void ref_global_avg_pool_grad(real *dx, const real *dy, int64_t planes, int64_t pixels)
{
    for (int64_t i = 0; i < planes * pixels; i++)
        dx[i] = (real)((double)dy[i / pixels] / (double)pixels);
}

#endif
