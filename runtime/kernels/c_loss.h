// Part of <stagecc/c.h>, for each type of elements: softmax, mask and losses.

// Over rows of n elements; with `causal` (the rows of a square, from 0) row i sees columns 0 .. i. lengths
// may be NULL, else each sample has `each` rows that see so many columns; rows that see none are zero.
C_KERNEL void C_T(c_softmax)(C_REAL *y, const C_REAL *x, const int32_t *lengths, int64_t each,
                             int64_t rows, int64_t n, int64_t causal)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = causal && r % causal + 1 < n ? r % causal + 1 : n;
        if (lengths && lengths[r / each] < seen)
            seen = lengths[r / each] < 0 ? 0 : lengths[r / each];
        const C_REAL *row = x + r * n;
        C_REAL *out = y + r * n;
        float largest = C_T(c_row_max)(row, seen);
        C_SIMD
        for (int64_t i = 0; i < seen; i++)
            out[i] = C_PUT(rt_exp(C_GET(row[i]) - largest));
        float factor = (float)(1 / C_T(c_row_sum)(out, seen));
        C_SIMD
        for (int64_t i = 0; i < seen; i++)
            out[i] = C_PUT(C_GET(out[i]) * factor);
        if (seen < n)
            memset(out + seen, 0, (size_t)(n - seen) * sizeof *out);
    }
}

// x[n,before,length,after] -> y, zero where the index along `length` is lengths[n] or more.
C_KERNEL void C_T(c_mask)(C_REAL *y, const C_REAL *x, const int32_t *lengths, int64_t n,
                          int64_t before, int64_t length, int64_t after)
{
    C_PARALLEL
    for (int64_t r = 0; r < n * before; r++) {
        int64_t kept = lengths[r / before] < length ? lengths[r / before] : length;
        C_REAL *out = y + r * length * after;
        kept = (kept < 0 ? 0 : kept) * after;
        memcpy(out, x + r * length * after, (size_t)kept * sizeof *out);
        memset(out + kept, 0, (size_t)(length * after - kept) * sizeof *out);
    }
}

C_KERNEL void C_T(c_softmax_grad)(C_REAL *dx, const C_REAL *dy, const C_REAL *y, int64_t rows,
                                  int64_t n)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const C_REAL *grad = dy + r * n, *p = y + r * n;
        C_REAL *out = dx + r * n;
        double sum = 0, product = 0;
        C_T(c_row_products)(&sum, &product, grad, p, n);
        float mean = (float)product;
        C_SIMD
        for (int64_t i = 0; i < n; i++)
            out[i] = C_PUT(C_GET(p[i]) * (C_GET(grad[i]) - mean));
    }
}

// Log of the sum of exp.
C_INLINE double C_T(c_log_sum_exp)(const C_REAL *row, int64_t n)
{
    float largest = C_T(c_row_max)(row, n), e[C_CHUNK];
    double sum = 0;
    for (int64_t at = 0; at < n; at += C_CHUNK) {
        int64_t m = n - at < C_CHUNK ? n - at : C_CHUNK;
        C_SIMD
        for (int64_t i = 0; i < m; i++)
            e[i] = rt_exp(C_GET(row[at + i]) - largest);
        sum += c_row_sum(e, m);
    }
    return (double)largest + log(sum);
}

// The mean over the rows whose label is not negative; lse[rows] may be NULL. A label that is no class
// makes the loss NaN, which stops the run. The wanted distribution is 1 - smoothing at the label, and
// smoothing shared by all classes (Szegedy et al., "Rethinking the Inception Architecture", 2016).
C_KERNEL void C_T(c_cross_entropy)(float *loss, float *lse, const C_REAL *logits,
                                   const int32_t *labels, int64_t rows, int64_t classes,
                                   double smoothing)
{
    double sum = 0, term[C_TERMS];
    int64_t counted = 0;
    for (int64_t at = 0; at < rows; at += C_TERMS) {
        int64_t n = rows - at < C_TERMS ? rows - at : C_TERMS;
        C_PARALLEL
        for (int64_t i = 0; i < n; i++) {
            const C_REAL *row = logits + (at + i) * classes;
            double l = C_T(c_log_sum_exp)(row, classes);
            int32_t label = labels[at + i];
            if (lse)
                lse[at + i] = (float)l;
            double there = label < 0         ? 0
                           : label < classes ? (double)C_GET(row[label])
                                             : (double)__builtin_nanf("");
            double mean = smoothing > 0 ? C_T(c_row_sum)(row, classes) / (double)classes : 0;
            term[i] = label < 0 ? 0 : l - (1 - smoothing) * there - smoothing * mean;
        }
        for (int64_t i = 0; i < n; i++) {
            sum += term[i];
            counted += labels[at + i] >= 0;
        }
    }
    *loss = (float)(sum / (double)counted);
}

C_KERNEL void C_T(c_cross_entropy_grad)(C_REAL *dlogits, const C_REAL *logits,
                                        const int32_t *labels, const float *lse,
                                        const float *dloss, int64_t rows, int64_t classes,
                                        double smoothing)
{
    int64_t counted = 0;
    for (int64_t r = 0; r < rows; r++)
        counted += labels[r] >= 0;
    float each = (float)((double)*dloss / (double)counted);
    float shared = (float)(smoothing / (double)classes), top = (float)(1 - smoothing) + shared;
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const C_REAL *row = logits + r * classes;
        C_REAL *out = dlogits + r * classes;
        int32_t label = labels[r];
        float shift = lse[r], factor = label < 0 ? 0 : each;
        C_SIMD
        for (int64_t i = 0; i < classes; i++)
            out[i] = C_PUT((rt_exp(C_GET(row[i]) - shift) - shared) * factor);
        if (label >= 0 && label < classes)
            out[label] = C_PUT((rt_exp(C_GET(row[label]) - shift) - top) * each);
    }
}

// The mean of (x - t)^2.
C_KERNEL void C_T(c_mse)(float *loss, const C_REAL *x, const float *t, int64_t n)
{
    double sum = 0, term[C_TERMS];
    for (int64_t at = 0; at < n; at += C_TERMS * C_CHUNK) {
        int64_t left = (n - at + C_CHUNK - 1) / C_CHUNK;
        int64_t chunks = left < C_TERMS ? left : C_TERMS;
        C_PARALLEL
        for (int64_t k = 0; k < chunks; k++) {
            int64_t first = at + k * C_CHUNK, m = n - first < C_CHUNK ? n - first : C_CHUNK;
            float d[C_CHUNK];
            double unused = 0;
            C_SIMD
            for (int64_t i = 0; i < m; i++)
                d[i] = C_GET(x[first + i]) - t[first + i];
            term[k] = 0;
            c_row_products(&unused, &term[k], d, d, m);
        }
        for (int64_t k = 0; k < chunks; k++)
            sum += term[k];
    }
    *loss = (float)(sum / (double)n);
}

C_KERNEL void C_T(c_mse_grad)(C_REAL *dx, const C_REAL *x, const float *t, const float *dloss,
                              int64_t n)
{
    float factor = (float)(2 * (double)*dloss / (double)n);
    C_PARALLEL
    for (int64_t at = 0; at < n; at += C_CHUNK) {
        int64_t end = n - at < C_CHUNK ? n : at + C_CHUNK;
        C_SIMD
        for (int64_t i = at; i < end; i++)
            dx[i] = C_PUT((C_GET(x[i]) - t[i]) * factor);
    }
}
