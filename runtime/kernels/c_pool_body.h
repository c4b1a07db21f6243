// The functions of c_pool.h for vectors of C_LANES channels, and for one type of elements; included once for
// each width and type. An image's vectors are read and written by c_get and c_put; within they are of floats.

typedef float C_POOL(c_reals) __attribute__((vector_size(4 * C_LANES), may_alias));
typedef int32_t C_POOL(c_ints) __attribute__((vector_size(4 * C_LANES), may_alias));
#define REALS C_POOL(c_reals)
#define INTS C_POOL(c_ints)

C_INLINE REALS C_POOL(c_get)(const C_REAL *x, int64_t vector)
{
    float lane[C_LANES];
    REALS v;
    for (int l = 0; l < C_LANES; l++)
        lane[l] = C_GET(x[vector * C_LANES + l]);
    memcpy(&v, lane, sizeof v);
    return v;
}

C_INLINE void C_POOL(c_put)(C_REAL *x, int64_t vector, REALS v)
{
    float lane[C_LANES];
    memcpy(lane, &v, sizeof v);
    C_SIMD
    for (int l = 0; l < C_LANES; l++)
        x[vector * C_LANES + l] = C_PUT(lane[l]);
}

C_INLINE void C_POOL(c_gain)(C_REAL *x, int64_t vector, REALS v)
{
    C_POOL(c_put)(x, vector, C_POOL(c_get)(x, vector) + v);
}

// where ? a : b, lane by lane
C_INLINE REALS C_POOL(c_pick)(INTS where, REALS a, REALS b)
{
    return (REALS)(((INTS)a & where) | ((INTS)b & ~where));
}

// The largest of a window, the first of equals, NaN above all; *argmax: its tap, -1 for none.
C_INLINE REALS C_POOL(c_largest)(INTS *argmax, const C_REAL *plane, const c_window *z,
                                 c_taps rows, c_taps columns)
{
    REALS best = (REALS){0} - __builtin_inff();
    INTS at = (INTS){0} - 1;
    for (int64_t r = rows.begin; r < rows.end; r++) {
        int64_t row = (rows.from + r * z->dilation[0]) * z->w + columns.from;
        for (int64_t s = columns.begin; s < columns.end; s++) {
            REALS v = C_POOL(c_get)(plane, row + s * z->dilation[1]);
            INTS more = (v > best) | (v != v) | (at < 0);
            best = C_POOL(c_pick)(more, v, best);
            at = (at & ~more) | (((INTS){0} + (int32_t)(r * z->s + s)) & more);
        }
    }
    *argmax = at;
    return best;
}

// argmax: NULL where nobody wants it.
C_KERNEL void C_POOL(c_max_pool2d)(C_REAL *y, int32_t *argmax, const C_REAL *x,
                                   const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes * z->p; i++) {
        const C_REAL *plane = x + i / z->p * z->h * z->w * C_LANES;
        c_taps rows = c_rows_of(z, i % z->p);
        for (int64_t q = 0; q < z->q; q++) {
            INTS at;
            C_POOL(c_put)
            (y, i * z->q + q, C_POOL(c_largest)(&at, plane, z, rows, c_columns_of(z, q)));
            if (argmax)
                ((INTS *)argmax)[i * z->q + q] = at;
        }
    }
}

// Windows add to dx in the order in which they lie in the image.
C_KERNEL void C_POOL(c_max_pool2d_grad)(C_REAL *dx, const C_REAL *dy, const int32_t *argmax,
                                        const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes; i++) {
        C_REAL *plane = dx + i * z->h * z->w * C_LANES;
        memset(plane, 0, (size_t)(z->h * z->w * C_LANES) * sizeof *plane);
        for (int64_t j = 0; j < z->p * z->q; j++) {
            REALS g = C_POOL(c_get)(dy, i * z->p * z->q + j);
            INTS at = ((const INTS *)argmax)[i * z->p * z->q + j];
            c_taps rows = c_rows_of(z, j / z->q), columns = c_columns_of(z, j % z->q);
            for (int64_t r = rows.begin; r < rows.end; r++) {
                int64_t row = (rows.from + r * z->dilation[0]) * z->w + columns.from;
                for (int64_t s = columns.begin; s < columns.end; s++) {
                    INTS here = at == (INTS){0} + (int32_t)(r * z->s + s);
                    C_POOL(c_gain)(plane, row + s * z->dilation[1], (REALS)((INTS)g & here));
                }
            }
        }
    }
}

C_KERNEL void C_POOL(c_avg_pool2d)(C_REAL *y, const C_REAL *x, const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes * z->p; i++) {
        const C_REAL *plane = x + i / z->p * z->h * z->w * C_LANES;
        c_taps rows = c_rows_of(z, i % z->p);
        for (int64_t q = 0; q < z->q; q++) {
            c_taps columns = c_columns_of(z, q);
            REALS sum = {0};
            for (int64_t r = rows.begin; r < rows.end; r++)
                for (int64_t s = columns.begin; s < columns.end; s++)
                    sum += C_POOL(c_get)(plane, (rows.from + r) * z->w + columns.from + s);
            C_POOL(c_put)(y, i * z->q + q, sum / c_area_of(z, &rows, &columns));
        }
    }
}

C_KERNEL void C_POOL(c_avg_pool2d_grad)(C_REAL *dx, const C_REAL *dy, const c_window *z)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->planes; i++) {
        C_REAL *plane = dx + i * z->h * z->w * C_LANES;
        memset(plane, 0, (size_t)(z->h * z->w * C_LANES) * sizeof *plane);
        for (int64_t j = 0; j < z->p * z->q; j++) {
            c_taps rows = c_rows_of(z, j / z->q), columns = c_columns_of(z, j % z->q);
            REALS g = C_POOL(c_get)(dy, i * z->p * z->q + j) / c_area_of(z, &rows, &columns);
            for (int64_t r = rows.begin; r < rows.end; r++)
                for (int64_t s = columns.begin; s < columns.end; s++)
                    C_POOL(c_gain)(plane, (rows.from + r) * z->w + columns.from + s, g);
        }
    }
}

// Four sums side by side: the mean of each plane's `pixels`.
C_KERNEL void C_POOL(c_global_avg_pool)(C_REAL *y, const C_REAL *x, int64_t planes,
                                        int64_t pixels)
{
    C_PARALLEL
    for (int64_t i = 0; i < planes; i++) {
        const C_REAL *plane = x + i * pixels * C_LANES;
        REALS sum[4] = {{0}, {0}, {0}, {0}};
        int64_t j = 0;
        for (; j + 4 <= pixels; j += 4) {
            sum[0] += C_POOL(c_get)(plane, j);
            sum[1] += C_POOL(c_get)(plane, j + 1);
            sum[2] += C_POOL(c_get)(plane, j + 2);
            sum[3] += C_POOL(c_get)(plane, j + 3);
        }
        for (int64_t rest = pixels % 4; rest > 0; rest--, j++)
            sum[0] += C_POOL(c_get)(plane, j);
        C_POOL(c_put)(y, i, ((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)pixels);
    }
}

C_KERNEL void C_POOL(c_global_avg_pool_grad)(C_REAL *dx, const C_REAL *dy, int64_t planes,
                                             int64_t pixels)
{
    C_PARALLEL
    for (int64_t i = 0; i < planes; i++) {
        REALS g = C_POOL(c_get)(dy, i) / (float)pixels;
        for (int64_t j = 0; j < pixels; j++)
            C_POOL(c_put)(dx, i * pixels + j, g);
    }
}

#undef REALS
#undef INTS
