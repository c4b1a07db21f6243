// Part of <stagecc/c.h>, for each type of elements: the sums of batch norm, and layer norm.

// Rows of `width` channels side by side, `row` elements apart.
C_INLINE void C_T(c_norm_add)(c_norm *k, int64_t first, const C_REAL *x, int64_t row,
                              int64_t rows, int64_t width)
{
    C_T(c_column_products)(k->sum + first, k->squares + first, x, row, x, row, rows, width);
}

// A row of one channel.
C_INLINE void C_T(c_norm_add_row)(c_norm *k, int64_t first, const C_REAL *x, int64_t n)
{
    C_T(c_row_products)(k->sum + first, k->squares + first, x, x, n);
}

C_INLINE void C_T(c_norm_grad_add)(c_norm_grad *k, int64_t first, const C_REAL *dy,
                                   int64_t dy_row, const C_REAL *x, int64_t x_row, int64_t rows,
                                   int64_t width)
{
    C_T(c_column_products)
    (k->sum + first, k->product + first, dy, dy_row, x, x_row, rows, width);
}

C_INLINE void C_T(c_norm_grad_add_row)(c_norm_grad *k, int64_t first, const C_REAL *dy,
                                       const C_REAL *x, int64_t n)
{
    C_T(c_row_products)(k->sum + first, k->product + first, dy, x, n);
}

// Layer norm
// ----------------------------------------------------------------------------------------------

// x[rows,c] -> y, mean[rows], rstd[rows] = 1 / sqrt(variance + eps).
C_KERNEL void C_T(c_layer_norm)(C_REAL *y, float *mean, float *rstd, const C_REAL *x,
                                const float *gamma, const float *beta, int64_t rows, int64_t c,
                                double eps)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const C_REAL *row = x + r * c;
        C_REAL *out = y + r * c;
        double sum = 0, squares = 0;
        C_T(c_row_products)(&sum, &squares, row, row, c);
        double middle = sum / (double)c, variance = squares / (double)c - middle * middle;
        float m = (float)middle;
        float scale = (float)(1 / sqrt((variance < 0 ? 0 : variance) + eps));
        C_SIMD
        for (int64_t k = 0; k < c; k++)
            out[k] = C_PUT((C_GET(row[k]) - m) * scale * gamma[k] + beta[k]);
        if (mean)
            mean[r] = m;
        if (rstd)
            rstd[r] = scale;
    }
}

// With g = dy gamma: sums of g and of g x over a row.
C_INLINE void C_T(c_layer_norm_sums)(double *sum, double *product, const C_REAL *dy,
                                     const C_REAL *x, const float *gamma, int64_t c)
{
    for (int64_t at = 0; at < c; at += C_ROW_CHUNK) {
        C_REAL g[C_ROW_CHUNK];
        int64_t n = c - at < C_ROW_CHUNK ? c - at : C_ROW_CHUNK;
        C_SIMD
        for (int64_t k = 0; k < n; k++)
            g[k] = C_PUT(C_GET(dy[at + k]) * gamma[at + k]);
        C_T(c_row_products)(sum, product, g, x + at, n);
    }
}

// With xh = (x - mean) rstd: dx = rstd (g - mean of g - xh mean of (g xh)).
C_KERNEL void C_T(c_layer_norm_grad)(C_REAL *dx, const C_REAL *dy, const C_REAL *x,
                                     const float *gamma, const float *mean, const float *rstd,
                                     int64_t rows, int64_t c)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const C_REAL *grad = dy + r * c, *row = x + r * c;
        C_REAL *out = dx + r * c;
        float m = mean[r], scale = rstd[r];
        double sum = 0, product = 0;
        C_T(c_layer_norm_sums)(&sum, &product, grad, row, gamma, c);
        double sum_xh = (product - (double)m * sum) * (double)scale;
        float offset = (float)(sum / (double)c);
        float slope = (float)(sum_xh / (double)c * (double)scale);
        C_SIMD
        for (int64_t k = 0; k < c; k++)
            out[k] = C_PUT(
                ((C_GET(grad[k]) * gamma[k] - offset) - (C_GET(row[k]) - m) * slope) * scale);
    }
}

// dgamma = sum of dy xh, dbeta = sum of dy, over the rows; either may be NULL.
C_KERNEL void C_T(c_layer_norm_grad_params)(float *dgamma, float *dbeta, const C_REAL *dy,
                                            const C_REAL *x, const float *mean,
                                            const float *rstd, int64_t rows, int64_t c)
{
    C_PARALLEL
    for (int64_t at = 0; at < c; at += C_COLUMNS) {
        double sum[C_COLUMNS] = {0}, product[C_COLUMNS] = {0};
        int64_t n = c - at < C_COLUMNS ? c - at : C_COLUMNS;
        for (int64_t r = 0; r < rows; r++) {
            const C_REAL *row = x + r * c + at;
            C_REAL xh[C_COLUMNS];
            C_SIMD
            for (int64_t k = 0; k < n; k++)
                xh[k] = C_PUT((C_GET(row[k]) - mean[r]) * rstd[r]);
            C_T(c_column_products)(sum, product, dy + r * c + at, c, xh, C_COLUMNS, 1, n);
        }
        for (int64_t k = 0; k < n; k++) {
            if (dgamma)
                dgamma[at + k] = (float)product[k];
            if (dbeta)
                dbeta[at + k] = (float)sum[k];
        }
    }
}
