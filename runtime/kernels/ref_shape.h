// Part of <stagecc/ref.h>: what only moves elements, broadcasting, and its gradient.
#ifndef STAGECC_REF_SHAPE_H
#define STAGECC_REF_SHAPE_H

// Strides of up to two tensors that are read while a third, of shape dim, is walked in order.
typedef struct ref_walk {
    int rank;
    int64_t dim[RT_MAX_RANK], a[RT_MAX_RANK], b[RT_MAX_RANK];
} ref_walk;

static inline int64_t ref_count(const ref_walk *z)
{
    int64_t n = 1;
    for (int d = 0; d < z->rank; d++)
        n *= z->dim[d];
    return n;
}

// Offset of element i of the walk in a tensor with these strides.
static inline int64_t ref_offset(const ref_walk *z, const int64_t *stride, int64_t i)
{
    int64_t at = 0;
    for (int d = z->rank - 1; d >= 0; d--) {
        at += i % z->dim[d] * stride[d];
        i /= z->dim[d];
    }
    return at;
}

// y = a + b, y = a * b; the stride of a dimension along which an input repeats is 0.
REF void ref_add_broadcast(real *y, const real *a, const real *b, const ref_walk *z)
{
    int64_t n = ref_count(z);
    for (int64_t i = 0; i < n; i++)
        y[i] = a[ref_offset(z, z->a, i)] + b[ref_offset(z, z->b, i)];
}

REF void ref_mul_broadcast(real *y, const real *a, const real *b, const ref_walk *z)
{
    int64_t n = ref_count(z);
    for (int64_t i = 0; i < n; i++)
        y[i] = a[ref_offset(z, z->a, i)] * b[ref_offset(z, z->b, i)];
}

// y[i] = sum over the walk `summed` of x, from where `kept` puts i; strides in a.
REF void ref_sum_to(real *y, const real *x, const ref_walk *kept, const ref_walk *summed)
{
    int64_t n = ref_count(kept), terms = ref_count(summed);
    for (int64_t i = 0; i < n; i++) {
        const real *from = x + ref_offset(kept, kept->a, i);
        double sum = 0;
        for (int64_t k = 0; k < terms; k++)
            sum += (double)from[ref_offset(summed, summed->a, k)];
        y[i] = (real)sum;
    }
}

// y walks over x in another order of dimensions.
REF void ref_transpose(real *y, const real *x, const ref_walk *z)
{
    int64_t n = ref_count(z);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[ref_offset(z, z->a, i)];
}

// Copies `rows` runs of `length` elements between tensors whose rows are so many elements apart:
// concat, slice and pad.
REF void ref_copy_rows(real *y, int64_t y_row, const real *x, int64_t x_row, int64_t rows,
                       int64_t length)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(y + r * y_row, x + r * x_row, (size_t)length * sizeof *y);
}

REF void ref_zero(real *y, int64_t n)
{
    memset(y, 0, (size_t)n * sizeof *y);
}

// Between [n,c,pixels] and blocks of channels [n,c/block,pixels,block].
REF void ref_reorder(real *y, const real *x, int64_t n, int64_t c, int64_t pixels,
                     int64_t block, int to_blocked)
{
    for (int64_t i = 0; i < n * c * pixels; i++) {
        int64_t k = i / pixels % c, pixel = i % pixels, sample = i / (c * pixels);
        int64_t at = ((sample * (c / block) + k / block) * pixels + pixel) * block + k % block;
        if (to_blocked)
            y[at] = x[i];
        else
            y[i] = x[at];
    }
}

#endif
