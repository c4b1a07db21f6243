// The functions of c_pool.h for vectors of C_LANES channels; included once for each width.

typedef float C_POOL(c_reals) __attribute__((vector_size(4 * C_LANES), may_alias));
typedef int32_t C_POOL(c_ints) __attribute__((vector_size(4 * C_LANES), may_alias));
#define REALS C_POOL(c_reals)
#define INTS C_POOL(c_ints)

// where ? a : b, lane by lane
C_INLINE REALS C_POOL(c_pick)(INTS where, REALS a, REALS b)
{
    return (REALS)(((INTS)a & where) | ((INTS)b & ~where));
}

// The largest of a window, the first of equals, NaN above all; *argmax: its tap, -1 for none.
C_INLINE REALS C_POOL(c_largest)(INTS *argmax, const REALS *plane, const c_window *z,
                                 c_taps rows, c_taps columns)
{
    REALS best = (REALS){0} - __builtin_inff();
    INTS at = (INTS){0} - 1;
    for (int64_t r = rows.begin; r < rows.end; r++) {
        const REALS *row = plane + (rows.from + r * z->dilation[0]) * z->w + columns.from;
        for (int64_t s = columns.begin; s < columns.end; s++) {
            REALS v = row[s * z->dilation[1]];
            INTS more = (v > best) | (v != v) | (at < 0);
            best = C_POOL(c_pick)(more, v, best);
            at = (at & ~more) | (((INTS){0} + (int32_t)(r * z->s + s)) & more);
        }
    }
    *argmax = at;
    return best;
}

// argmax: NULL where nobody wants it.
C_KERNEL void C_POOL(c_max_pool2d)(float *y, int32_t *argmax, const float *x, const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes * z->p; i++) {
        const REALS *plane = (const REALS *)x + i / z->p * z->h * z->w;
        c_taps rows = c_rows_of(z, i % z->p);
        for (int64_t q = 0; q < z->q; q++) {
            INTS at;
            ((REALS *)y)[i * z->q + q] =
                C_POOL(c_largest)(&at, plane, z, rows, c_columns_of(z, q));
            if (argmax)
                ((INTS *)argmax)[i * z->q + q] = at;
        }
    }
}

// Windows add to dx in the order in which they lie in the image.
C_KERNEL void C_POOL(c_max_pool2d_grad)(float *dx, const float *dy, const int32_t *argmax,
                                        const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes; i++) {
        REALS *plane = (REALS *)dx + i * z->h * z->w;
        memset(plane, 0, (size_t)(z->h * z->w) * sizeof *plane);
        for (int64_t j = 0; j < z->p * z->q; j++) {
            REALS g = ((const REALS *)dy)[i * z->p * z->q + j];
            INTS at = ((const INTS *)argmax)[i * z->p * z->q + j];
            c_taps rows = c_rows_of(z, j / z->q), columns = c_columns_of(z, j % z->q);
            for (int64_t r = rows.begin; r < rows.end; r++) {
                REALS *row = plane + (rows.from + r * z->dilation[0]) * z->w + columns.from;
                for (int64_t s = columns.begin; s < columns.end; s++)
                    row[s * z->dilation[1]] +=
                        (REALS)((INTS)g & (at == (INTS){0} + (int32_t)(r * z->s + s)));
            }
        }
    }
}

C_KERNEL void C_POOL(c_avg_pool2d)(float *y, const float *x, const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes * z->p; i++) {
        const REALS *plane = (const REALS *)x + i / z->p * z->h * z->w;
        c_taps rows = c_rows_of(z, i % z->p);
        for (int64_t q = 0; q < z->q; q++) {
            c_taps columns = c_columns_of(z, q);
            REALS sum = {0};
            for (int64_t r = rows.begin; r < rows.end; r++)
                for (int64_t s = columns.begin; s < columns.end; s++)
                    sum += plane[(rows.from + r) * z->w + columns.from + s];
            ((REALS *)y)[i * z->q + q] = sum / c_area_of(z, &rows, &columns);
        }
    }
}

C_KERNEL void C_POOL(c_avg_pool2d_grad)(float *dx, const float *dy, const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes; i++) {
        REALS *plane = (REALS *)dx + i * z->h * z->w;
        memset(plane, 0, (size_t)(z->h * z->w) * sizeof *plane);
        for (int64_t j = 0; j < z->p * z->q; j++) {
            c_taps rows = c_rows_of(z, j / z->q), columns = c_columns_of(z, j % z->q);
            REALS g = ((const REALS *)dy)[i * z->p * z->q + j] / c_area_of(z, &rows, &columns);
            for (int64_t r = rows.begin; r < rows.end; r++)
                for (int64_t s = columns.begin; s < columns.end; s++)
                    plane[(rows.from + r) * z->w + columns.from + s] += g;
        }
    }
}

// Four sums side by side: the mean of each plane's `pixels`.
C_KERNEL void C_POOL(c_global_avg_pool)(float *y, const float *x, int64_t planes,
                                        int64_t pixels)
{
    C_PARALLEL
    for (int64_t i = 0; i < planes; i++) {
        const REALS *plane = (const REALS *)x + i * pixels;
        REALS sum[4] = {{0}, {0}, {0}, {0}};
        int64_t j = 0;
        for (; j + 4 <= pixels; j += 4) {
            sum[0] += plane[j];
            sum[1] += plane[j + 1];
            sum[2] += plane[j + 2];
            sum[3] += plane[j + 3];
        }
        for (int64_t rest = pixels - j; rest > 0; rest--, j++)
            sum[0] += plane[j];
        ((REALS *)y)[i] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)pixels;
    }
}

C_KERNEL void C_POOL(c_global_avg_pool_grad)(float *dx, const float *dy, int64_t planes,
                                             int64_t pixels)
{
    C_PARALLEL
    for (int64_t i = 0; i < planes; i++) {
        REALS g = ((const REALS *)dy)[i] / (float)pixels;
        for (int64_t j = 0; j < pixels; j++)
            ((REALS *)dx)[i * pixels + j] = g;
    }
}

#undef REALS
#undef INTS
