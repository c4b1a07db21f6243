// Part of <stagecc/ref.h>: softmax and losses.
#ifndef STAGECC_REF_LOSS_H
#define STAGECC_REF_LOSS_H

// Over rows of n elements; with `causal` (the rows of a square, from 0) row i sees columns 0 .. i. lengths
// may be NULL, else each sample has `each` rows that see so many columns; rows that see none are zero.
REF void ref_softmax(real *y, const real *x, const int32_t *lengths, int64_t each, int64_t rows,
                     int64_t n, int64_t causal)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = causal && r % causal + 1 < n ? r % causal + 1 : n;
        if (lengths && lengths[r / each] < seen)
            seen = lengths[r / each];
        const real *row = x + r * n;
        double largest = (double)row[0], sum = 0;
        for (int64_t i = 1; i < seen; i++)
            largest = (double)row[i] > largest ? (double)row[i] : largest;
        for (int64_t i = 0; i < seen; i++)
            sum += exp((double)row[i] - largest);
        for (int64_t i = 0; i < n; i++)
            y[r * n + i] = i < seen ? (real)(exp((double)row[i] - largest) / sum) : 0;
    }
}

// x[n,before,length,after] -> y, zero where the index along `length` is lengths[n] or more.
REF void ref_mask(real *y, const real *x, const int32_t *lengths, int64_t n, int64_t before,
                  int64_t length, int64_t after)
{
    for (int64_t i = 0; i < n * before * length * after; i++)
        y[i] = i / after % length < lengths[i / after / length / before] ? x[i] : 0;
}

REF void ref_softmax_grad(real *dx, const real *dy, const real *y, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            sum += (double)dy[i] * (double)y[i];
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            dx[i] = (real)((double)y[i] * ((double)dy[i] - sum));
    }
}

static inline double ref_log_sum_exp(const real *row, int64_t n)
{
    double largest = (double)row[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        largest = (double)row[i] > largest ? (double)row[i] : largest;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)row[i] - largest);
    return largest + log(sum);
}

// The mean over the rows whose label is not negative; lse[rows] may be NULL. A label that is no class
// makes the loss NaN, which stops the run. The wanted distribution is 1 - smoothing at the label, and
// smoothing shared by all classes (Szegedy et al., "Rethinking the Inception Architecture", 2016).
REF void ref_cross_entropy(real *loss, real *lse, const real *logits, const int32_t *labels,
                           int64_t rows, int64_t classes, double smoothing)
{
    double sum = 0;
    int64_t counted = 0;
    for (int64_t r = 0; r < rows; r++) {
        double l = ref_log_sum_exp(logits + r * classes, classes);
        if (lse)
            lse[r] = (real)l;
        if (labels[r] < 0)
            continue;
        double label =
            labels[r] < classes ? (double)logits[r * classes + labels[r]] : (double)NAN;
        double mean = 0;
        for (int64_t i = 0; i < classes; i++)
            mean += (double)logits[r * classes + i] / (double)classes;
        sum += l - (1 - smoothing) * label - smoothing * mean;
        counted++;
    }
    *loss = (real)(sum / (double)counted);
}

REF void ref_cross_entropy_grad(real *dlogits, const real *logits, const int32_t *labels,
                                const real *lse, const real *dloss, int64_t rows,
                                int64_t classes, double smoothing)
{
    int64_t counted = 0;
    for (int64_t r = 0; r < rows; r++)
        counted += labels[r] >= 0;
    for (int64_t i = 0; i < rows * classes; i++) {
        int64_t r = i / classes;
        double wanted =
            (1 - smoothing) * (i % classes == labels[r]) + smoothing / (double)classes;
        double d = exp((double)logits[i] - (double)lse[r]) - wanted;
        dlogits[i] = labels[r] < 0 ? 0 : (real)(d * (double)*dloss / (double)counted);
    }
}

// The mean of (x - t)^2.
REF void ref_mse(real *loss, const real *x, const real *t, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)x[i] - (double)t[i]) * ((double)x[i] - (double)t[i]);
    *loss = (real)(sum / (double)n);
}

REF void ref_mse_grad(real *dx, const real *x, const real *t, const real *dloss, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = (real)(2 * ((double)x[i] - (double)t[i]) / (double)n * (double)*dloss);
}

#endif
