// Part of <stagecc/c.h>: rows of tables in float.
#ifndef STAGECC_C_EMBEDDING_H
#define STAGECC_C_EMBEDDING_H

// y[n,width] = table[ids[n]], zeros where the id is `padding`. An id that is none makes its row NaN,
// which stops the run.
C_KERNEL void c_embedding(float *y, const int32_t *ids, const float *table, int64_t n,
                          int64_t rows, int64_t width, int64_t padding)
{
    for (int64_t i = 0; i < n; i++) {
        bool known = ids[i] >= 0 && ids[i] < rows;
        for (int64_t j = 0; j < width && !known; j++)
            y[i * width + j] = __builtin_nanf("");
        if (known && ids[i] == padding)
            c_zero(y + i * width, width);
        else if (known)
            memcpy(y + i * width, table + ids[i] * width, (size_t)width * sizeof *y);
    }
}

#endif
