// Part of <stagecc/c.h>: sums of floats in double, side by side in explicit lanes, because compilers
// neither may reorder a sum nor keep arrays of partial sums in registers.
#ifndef STAGECC_C_VECTOR_H
#define STAGECC_C_VECTOR_H

// A vector of C_WIDE doubles, as wide as the machine has them, and how to make one of floats.
#if defined __AVX512F__
#include <immintrin.h>
enum { C_WIDE = 8 };
typedef double c_wide __attribute__((vector_size(64)));
C_INLINE c_wide c_widen(const float *x)
{
    return (c_wide)_mm512_cvtps_pd(_mm256_loadu_ps(x));
}
#elif defined __AVX__
#include <immintrin.h>
enum { C_WIDE = 4 };
typedef double c_wide __attribute__((vector_size(32)));
C_INLINE c_wide c_widen(const float *x)
{
    return (c_wide)_mm256_cvtps_pd(_mm_loadu_ps(x));
}
#else
enum { C_WIDE = 2 };
typedef double c_wide __attribute__((vector_size(16)));
C_INLINE c_wide c_widen(const float *x)
{
    return (c_wide){(double)x[0], (double)x[1]};
}
#endif

// Two vectors at a time hide the latency of an addition; C_COLUMNS columns are summed up at a time.
enum { C_PAIR = 2 * C_WIDE, C_COLUMNS = 64 };

// The sum of all lanes: halves upon each other.
C_INLINE double c_total(c_wide v)
{
    double lane[C_WIDE];
    memcpy(lane, &v, sizeof lane);
    for (int width = C_WIDE / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

C_INLINE c_wide c_load(const double *x)
{
    c_wide v;
    memcpy(&v, x, sizeof v);
    return v;
}

C_INLINE void c_store(double *x, c_wide v)
{
    memcpy(x, &v, sizeof v);
}

// Sums over a row.
C_INLINE double c_row_sum(const float *x, int64_t n)
{
    c_wide a = {0}, b = {0};
    int64_t whole = n - n % C_PAIR;
    for (int64_t i = 0; i < whole; i += C_PAIR) {
        a += c_widen(x + i);
        b += c_widen(x + i + C_WIDE);
    }
    double sum = c_total(a + b);
    for (int64_t i = whole; i < n; i++)
        sum += (double)x[i];
    return sum;
}

// Sum of x[i] and sum of x[i] y[i].
C_INLINE void c_row_products(double *sum, double *product, const float *x, const float *y,
                             int64_t n)
{
    c_wide sa = {0}, sb = {0}, pa = {0}, pb = {0};
    int64_t whole = n - n % C_PAIR;
    for (int64_t i = 0; i < whole; i += C_PAIR) {
        c_wide xa = c_widen(x + i), xb = c_widen(x + i + C_WIDE);
        sa += xa;
        sb += xb;
        pa += xa * c_widen(y + i);
        pb += xb * c_widen(y + i + C_WIDE);
    }
    double s = c_total(sa + sb), p = c_total(pa + pb);
    for (int64_t i = whole; i < n; i++) {
        s += (double)x[i];
        p += (double)x[i] * (double)y[i];
    }
    *sum += s;
    *product += p;
}

// NaN is larger than nothing.
C_INLINE float c_row_max(const float *x, int64_t n)
{
    float lane[C_PAIR];
    for (int i = 0; i < C_PAIR; i++)
        lane[i] = x[0];
    int64_t whole = n - n % C_PAIR;
#if defined __AVX512F__
    __m512 largest = _mm512_loadu_ps(lane);
    for (int64_t i = 0; i < whole; i += C_PAIR)
        largest = _mm512_max_ps(_mm512_loadu_ps(x + i), largest);
    _mm512_storeu_ps(lane, largest);
#elif defined __AVX__
    __m256 largest = _mm256_loadu_ps(lane);
    for (int64_t i = 0; i < whole; i += C_PAIR)
        largest = _mm256_max_ps(_mm256_loadu_ps(x + i), largest);
    _mm256_storeu_ps(lane, largest);
#else
    for (int64_t i = 0; i < whole; i++)
        lane[i % C_PAIR] = x[i] > lane[i % C_PAIR] ? x[i] : lane[i % C_PAIR];
#endif
    for (int64_t i = whole; i < n; i++)
        lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    for (int i = 1; i < C_PAIR; i++)
        lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
    return lane[0];
}

// As c_row_products for each of `width` columns; rows begin so many elements apart in x and in y.
C_INLINE void c_column_products(double *sum, double *product, const float *x, int64_t x_row,
                                const float *y, int64_t y_row, int64_t rows, int64_t width)
{
    int64_t whole = width - width % C_PAIR;
    for (int64_t l = 0; l < whole; l += C_PAIR) {
        c_wide sa = c_load(sum + l), sb = c_load(sum + l + C_WIDE);
        c_wide pa = c_load(product + l), pb = c_load(product + l + C_WIDE);
        for (int64_t r = 0; r < rows; r++) {
            const float *xr = x + r * x_row + l, *yr = y + r * y_row + l;
            c_wide xa = c_widen(xr), xb = c_widen(xr + C_WIDE);
            sa += xa;
            sb += xb;
            pa += xa * c_widen(yr);
            pb += xb * c_widen(yr + C_WIDE);
        }
        c_store(sum + l, sa);
        c_store(sum + l + C_WIDE, sb);
        c_store(product + l, pa);
        c_store(product + l + C_WIDE, pb);
    }
    for (int64_t l = whole; l < width; l++)
        for (int64_t r = 0; r < rows; r++) {
            sum[l] += (double)x[r * x_row + l];
            product[l] += (double)x[r * x_row + l] * (double)y[r * y_row + l];
        }
}

// y[width] = the sums of the columns of x.
C_INLINE void c_column_sum(float *y, const float *x, int64_t row, int64_t rows, int64_t width)
{
    int64_t whole = width - width % C_PAIR;
    for (int64_t l = 0; l < whole; l += C_PAIR) {
        c_wide a = {0}, b = {0};
        for (int64_t r = 0; r < rows; r++) {
            a += c_widen(x + r * row + l);
            b += c_widen(x + r * row + l + C_WIDE);
        }
        for (int i = 0; i < C_WIDE; i++) {
            y[l + i] = (float)a[i];
            y[l + C_WIDE + i] = (float)b[i];
        }
    }
    for (int64_t l = whole; l < width; l++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)x[r * row + l];
        y[l] = (float)sum;
    }
}

// Writes n floats to y, which no cache will hold until they are read: half the traffic of a store, which
// reads the line first. Both lie at multiples of the machine's vectors, and n is one. Other threads
// see them after c_stream_end.
C_INLINE void c_stream(float *y, const float *x, int64_t n)
{
#if defined __AVX512F__
    for (int64_t i = 0; i < n; i += 16)
        _mm512_stream_ps(y + i, _mm512_loadu_ps(x + i));
#elif defined __AVX__
    for (int64_t i = 0; i < n; i += 8)
        _mm256_stream_ps(y + i, _mm256_loadu_ps(x + i));
#else
    memcpy(y, x, (size_t)n * sizeof *y);
#endif
}

C_INLINE void c_stream_end(void)
{
#if defined __AVX__
    _mm_sfence();
#endif
}

#endif
