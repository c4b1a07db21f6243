// Part of <stagecc/ref.h>: matrix products and embeddings.
#ifndef STAGECC_REF_MATRIX_H
#define STAGECC_REF_MATRIX_H

// y[rows,out] = x[rows,in] w[out,in]^T + b[out]; b may be NULL.
REF void ref_linear(real *y, const real *x, const real *w, const real *b, int64_t rows,
                    int64_t in, int64_t out)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = b ? (double)b[o] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += (double)x[r * in + i] * (double)w[o * in + i];
            y[r * out + o] = (real)sum;
        }
}

// One row of a product: y[j] = sum over k of a[k * a_step] b[k * b_step + j * b_next].
static inline void ref_row(real *y, const real *a, int64_t a_step, const real *b,
                           int64_t b_step, int64_t b_next, int64_t n, int64_t terms)
{
    for (int64_t j0 = 0; j0 < n; j0 += REF_ROW) {
        int64_t width = n - j0 < REF_ROW ? n - j0 : REF_ROW;
        double sum[REF_ROW] = {0};
        for (int64_t k = 0; k < terms; k++)
            for (int64_t j = 0; j < width; j++)
                sum[j] += (double)a[k * a_step] * (double)b[k * b_step + (j0 + j) * b_next];
        for (int64_t j = 0; j < width; j++)
            y[j0 + j] = (real)sum[j];
    }
}

// dx[rows,in] = dy[rows,out] w[out,in]
REF void ref_linear_grad_input(real *dx, const real *dy, const real *w, int64_t rows,
                               int64_t in, int64_t out)
{
    for (int64_t r = 0; r < rows; r++)
        ref_row(dx + r * in, dy + r * out, 1, w, in, 1, in, out);
}

// dw[out,in] = dy[rows,out]^T x[rows,in]
REF void ref_linear_grad_weight(real *dw, const real *x, const real *dy, int64_t rows,
                                int64_t in, int64_t out)
{
    for (int64_t o = 0; o < out; o++)
        ref_row(dw + o * in, dy + o, out, x, in, 1, in, rows);
}

// y[batch,m,n] = a b, where a is [batch,m,k] or, transposed, [batch,k,m], and b alike.
REF void ref_matmul(real *y, const real *a, const real *b, int64_t batch, int64_t m, int64_t k,
                    int64_t n, int transpose_a, int transpose_b)
{
    for (int64_t z = 0; z < batch; z++)
        for (int64_t i = 0; i < m; i++)
            ref_row(y + (z * m + i) * n, a + z * m * k + (transpose_a ? i : i * k),
                    transpose_a ? m : 1, b + z * k * n, transpose_b ? 1 : n,
                    transpose_b ? k : 1, n, k);
}

// Sum of dy[before,channels,after] over all but the channel.
REF void ref_bias_grad(real *db, const real *dy, int64_t before, int64_t channels,
                       int64_t after)
{
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0;
        for (int64_t i = 0; i < before; i++)
            for (int64_t j = 0; j < after; j++)
                sum += (double)dy[(i * channels + c) * after + j];
        db[c] = (real)sum;
    }
}

// y[n,width] = table[ids[n]], zeros where the id is `padding`. An id that is none makes its row NaN,
// which stops the run.
REF void ref_embedding(real *y, const int32_t *ids, const real *table, int64_t n, int64_t rows,
                       int64_t width, int64_t padding)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width; j++) {
            bool known = ids[i] >= 0 && ids[i] < rows;
            real value = known ? table[ids[i] * width + j] : (real)NAN;
            y[i * width + j] = known && ids[i] == padding ? 0 : value;
        }
}

// dtable[rows,width] = 0, then row ids[i] += dy[i], in ascending order of i; not row `padding`.
REF void ref_embedding_grad(real *dtable, const int32_t *ids, const real *dy, int64_t n,
                            int64_t rows, int64_t width, int64_t padding)
{
    memset(dtable, 0, (size_t)(rows * width) * sizeof *dtable);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < width && ids[i] >= 0 && ids[i] < rows && ids[i] != padding; j++)
            dtable[ids[i] * width + j] += dy[i * width + j];
}

#endif
