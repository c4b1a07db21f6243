// Part of <stagecc/c.h>, for each type of elements: sums in double.

// Sums over a row.
C_INLINE double C_T(c_row_sum)(const C_REAL *x, int64_t n)
{
    c_wide a = {0}, b = {0};
    int64_t whole = n - n % C_PAIR;
    for (int64_t i = 0; i < whole; i += C_PAIR) {
        a += C_T(c_widen)(x + i);
        b += C_T(c_widen)(x + i + C_WIDE);
    }
    double sum = c_total(a + b);
    for (int64_t i = whole; i < n; i++)
        sum += (double)C_GET(x[i]);
    return sum;
}

// Sum of x[i] and sum of x[i] y[i].
C_INLINE void C_T(c_row_products)(double *sum, double *product, const C_REAL *x,
                                  const C_REAL *y, int64_t n)
{
    c_wide sa = {0}, sb = {0}, pa = {0}, pb = {0};
    int64_t whole = n - n % C_PAIR;
    for (int64_t i = 0; i < whole; i += C_PAIR) {
        c_wide xa = C_T(c_widen)(x + i), xb = C_T(c_widen)(x + i + C_WIDE);
        sa += xa;
        sb += xb;
        pa += xa * C_T(c_widen)(y + i);
        pb += xb * C_T(c_widen)(y + i + C_WIDE);
    }
    double s = c_total(sa + sb), p = c_total(pa + pb);
    for (int64_t i = whole; i < n; i++) {
        s += (double)C_GET(x[i]);
        p += (double)C_GET(x[i]) * (double)C_GET(y[i]);
    }
    *sum += s;
    *product += p;
}

// NaN is larger than nothing.
C_INLINE float C_T(c_row_max)(const C_REAL *x, int64_t n)
{
    float lane[C_PAIR];
    for (int i = 0; i < C_PAIR; i++)
        lane[i] = C_GET(x[0]);
    int64_t whole = n - n % C_PAIR;
#if defined __AVX512F__
    c_floats largest = _mm512_loadu_ps(lane);
    for (int64_t i = 0; i < whole; i += C_PAIR)
        largest = _mm512_max_ps(C_T(c_take)(x + i), largest);
    _mm512_storeu_ps(lane, largest);
#elif defined __AVX2__
    c_floats largest = _mm256_loadu_ps(lane);
    for (int64_t i = 0; i < whole; i += C_PAIR)
        largest = _mm256_max_ps(C_T(c_take)(x + i), largest);
    _mm256_storeu_ps(lane, largest);
#else
    for (int64_t i = 0; i < whole; i++)
        lane[i % C_PAIR] = C_GET(x[i]) > lane[i % C_PAIR] ? C_GET(x[i]) : lane[i % C_PAIR];
#endif
    for (int64_t i = whole; i < n; i++)
        lane[0] = C_GET(x[i]) > lane[0] ? C_GET(x[i]) : lane[0];
    for (int i = 1; i < C_PAIR; i++)
        lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
    return lane[0];
}

// As c_row_products for each of `width` columns; rows begin so many elements apart in x and in y.
C_INLINE void C_T(c_column_products)(double *sum, double *product, const C_REAL *x,
                                     int64_t x_row, const C_REAL *y, int64_t y_row,
                                     int64_t rows, int64_t width)
{
    int64_t whole = width - width % C_PAIR;
    for (int64_t l = 0; l < whole; l += C_PAIR) {
        c_wide sa = c_load(sum + l), sb = c_load(sum + l + C_WIDE);
        c_wide pa = c_load(product + l), pb = c_load(product + l + C_WIDE);
        for (int64_t r = 0; r < rows; r++) {
            const C_REAL *xr = x + r * x_row + l, *yr = y + r * y_row + l;
            c_wide xa = C_T(c_widen)(xr), xb = C_T(c_widen)(xr + C_WIDE);
            sa += xa;
            sb += xb;
            pa += xa * C_T(c_widen)(yr);
            pb += xb * C_T(c_widen)(yr + C_WIDE);
        }
        c_store(sum + l, sa);
        c_store(sum + l + C_WIDE, sb);
        c_store(product + l, pa);
        c_store(product + l + C_WIDE, pb);
    }
    for (int64_t l = whole; l < width; l++)
        for (int64_t r = 0; r < rows; r++) {
            sum[l] += (double)C_GET(x[r * x_row + l]);
            product[l] += (double)C_GET(x[r * x_row + l]) * (double)C_GET(y[r * y_row + l]);
        }
}

// y[width] = the sums of the columns of x.
C_INLINE void C_T(c_column_sum)(float *y, const C_REAL *x, int64_t row, int64_t rows,
                                int64_t width)
{
    int64_t whole = width - width % C_PAIR;
    for (int64_t l = 0; l < whole; l += C_PAIR) {
        c_wide a = {0}, b = {0};
        for (int64_t r = 0; r < rows; r++) {
            a += C_T(c_widen)(x + r * row + l);
            b += C_T(c_widen)(x + r * row + l + C_WIDE);
        }
        for (int i = 0; i < C_WIDE; i++) {
            y[l + i] = (float)a[i];
            y[l + C_WIDE + i] = (float)b[i];
        }
    }
    for (int64_t l = whole; l < width; l++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)C_GET(x[r * row + l]);
        y[l] = (float)sum;
    }
}
