// Part of <stagecc/c.h>, for each type of elements: what moves elements or sums them up.

// Copies `rows` runs of `length` elements between tensors whose rows are so many elements apart:
// concat, slice and pad.
C_KERNEL void C_T(c_copy_rows)(C_REAL *y, int64_t y_row, const C_REAL *x, int64_t x_row,
                               int64_t rows, int64_t length)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++)
        memcpy(y + r * y_row, x + r * x_row, (size_t)length * sizeof *y);
}

// The same for planes of rows.
C_KERNEL void C_T(c_copy_planes)(C_REAL *y, const C_REAL *x, const c_planes *z, int64_t length)
{
    C_PARALLEL
    for (int64_t i = 0; i < z->count[0] * z->count[1]; i++) {
        int64_t a = i / z->count[1], b = i % z->count[1];
        C_REAL *to = y + a * z->y[0] + b * z->y[1];
        const C_REAL *from = x + a * z->x[0] + b * z->x[1];
        for (int64_t r = 0; r < z->rows; r++)
            memcpy(to + r * z->y[2], from + r * z->x[2], (size_t)length * sizeof *y);
    }
}

C_KERNEL void C_T(c_zero)(C_REAL *y, int64_t n)
{
    memset(y, 0, (size_t)n * sizeof *y);
}

// y[columns][rows] = x[rows][columns] transposed; rows of either are so many elements apart.
C_INLINE void C_T(c_turn)(C_REAL *y, int64_t y_row, const C_REAL *x, int64_t x_row,
                          int64_t rows, int64_t columns)
{
    for (int64_t r0 = 0; r0 < rows; r0 += C_TILE)
        for (int64_t k0 = 0; k0 < columns; k0 += C_TILE) {
            int64_t r1 = rows - r0 < C_TILE ? rows : r0 + C_TILE;
            int64_t k1 = columns - k0 < C_TILE ? columns : k0 + C_TILE;
            for (int64_t k = k0; k < k1; k++)
                for (int64_t r = r0; r < r1; r++)
                    y[k * y_row + r] = x[r * x_row + k];
        }
}

C_KERNEL void C_T(c_turn_rows)(C_REAL *y, int64_t y_row, const C_REAL *x, int64_t x_row,
                               int64_t rows, int64_t columns)
{
    C_PARALLEL
    for (int64_t k = 0; k < columns; k += C_TILE)
        C_T(c_turn)
    (y + k * y_row, y_row, x + k, x_row, rows, columns - k < C_TILE ? columns - k : C_TILE);
}

// From [n,c,pixels] to blocks of channels [n,c/block,pixels,block], and back. planes: n c / block.
C_KERNEL void C_T(c_block)(C_REAL *y, const C_REAL *x, int64_t planes, int64_t pixels,
                           int64_t block)
{
    C_PARALLEL
    for (int64_t i = 0; i < planes; i++)
        C_T(c_turn)
    (y + i * pixels * block, block, x + i * pixels * block, pixels, block, pixels);
}

C_KERNEL void C_T(c_unblock)(C_REAL *y, const C_REAL *x, int64_t planes, int64_t pixels,
                             int64_t block)
{
    C_PARALLEL
    for (int64_t i = 0; i < planes; i++)
        C_T(c_turn)
    (y + i * pixels * block, pixels, x + i * pixels * block, block, pixels, block);
}

// y[k] = sum of x[before,channels,after] over all but the channel.
C_KERNEL void C_T(c_sum_channels)(float *y, const C_REAL *x, int64_t before, int64_t channels,
                                  int64_t after)
{
    C_PARALLEL
    for (int64_t k = 0; k < channels; k++) {
        double sum = 0;
        for (int64_t i = 0; i < before; i++)
            sum += C_T(c_row_sum)(x + (i * channels + k) * after, after);
        y[k] = (float)sum;
    }
}

// The same where channels lie next to each other: sums of the columns of x[rows,columns].
C_KERNEL void C_T(c_sum_columns)(float *y, const C_REAL *x, int64_t rows, int64_t columns)
{
    C_PARALLEL
    for (int64_t at = 0; at < columns; at += C_COLUMNS) {
        int64_t n = columns - at < C_COLUMNS ? columns - at : C_COLUMNS;
        C_T(c_column_sum)(y + at, x + at, columns, rows, n);
    }
}

// The same in blocks of channels, x[before,channels/block,pixels,block].
C_KERNEL void C_T(c_sum_blocks)(float *y, const C_REAL *x, int64_t before, int64_t channels,
                                int64_t pixels, int64_t block)
{
    C_PARALLEL
    for (int64_t k = 0; k < channels; k += block) {
        double sum[C_COLUMNS] = {0}, squares[C_COLUMNS] = {0};
        for (int64_t i = 0; i < before; i++) {
            const C_REAL *rows = x + (i * channels + k) * pixels;
            C_T(c_column_products)(sum, squares, rows, block, rows, block, pixels, block);
        }
        for (int64_t l = 0; l < block; l++)
            y[k + l] = (float)sum[l];
    }
}

// dtable[rows,width] row ids[i] += dy[i], in ascending order of i, but not row `padding`; `first` makes
// dtable 0 before.
C_KERNEL void C_T(c_embedding_grad)(float *dtable, const int32_t *ids, const C_REAL *dy,
                                    int64_t n, int64_t rows, int64_t width, int64_t padding,
                                    int first)
{
    if (first)
        c_zero(dtable, rows * width);
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= rows || ids[i] == padding)
            continue;
        float *row = dtable + ids[i] * width;
        C_SIMD
        for (int64_t j = 0; j < width; j++)
            row[j] += C_GET(dy[i * width + j]);
    }
}
