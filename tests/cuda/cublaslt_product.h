// A product as cublaslt.cpp is asked for it, and naive loops with sums in double, in the library's own counting of columns.
#ifndef STAGECC_TESTS_CUBLASLT_PRODUCT_H
#define STAGECC_TESTS_CUBLASLT_PRODUCT_H

#include <cublasLt.h>

#include <math.h>
#include <string.h>

struct Desc {
    bool tf32;
    bool turned[2];
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = NULL;
    cudaDataType_t bias_type;
    void *aux = NULL;
    int64_t aux_ld;

    // Epilogues are sets of bits.
    bool has(cublasLtEpilogue_t part) const
    {
        return (epilogue & part) == part;
    }
    bool stores_aux() const
    {
        return has(CUBLASLT_EPILOGUE_GELU_AUX);
    }
};

struct Layout {
    cudaDataType_t type;
    int64_t rows, columns, ld, count, step;
};

struct Matmul {
    Desc desc;
    Layout a, b, c, d;
    const void *a_at, *b_at, *c_at;
    void *d_at;
    double beta;
    bool unsteady;
};

static inline double read(const void *at, cudaDataType_t type, int64_t i)
{
    uint32_t bits;
    float value;
    if (type == CUDA_R_16BF)
        bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    else
        memcpy(&bits, (const float *)at + i, sizeof bits);
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

// As tensor cores read it in tf32: what its 10 bits leave is cut off.
static inline double read(const Desc &d, const void *at, cudaDataType_t type, int64_t i)
{
    float value = (float)read(at, type, i);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= d.tf32 ? ~UINT32_C(0x1fff) : ~UINT32_C(0);
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

// Rounds to the nearest, ties to even; NaN stays NaN.
static inline void write(void *at, cudaDataType_t type, int64_t i, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (type != CUDA_R_16BF)
        memcpy((float *)at + i, &value, sizeof value);
    else
        ((uint16_t *)at)[i] =
            value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline int64_t place(const Layout &l, bool turned, int64_t row, int64_t column)
{
    return turned ? column + row * l.ld : row + column * l.ld;
}

static inline double finished(const Desc &d, double x)
{
    if (d.has(CUBLASLT_EPILOGUE_RELU))
        return x > 0 || x != x ? x : 0;
    if (d.has(CUBLASLT_EPILOGUE_GELU))
        return x / 2 * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

static inline void multiply(const Matmul &m, int64_t batch)
{
    const int64_t inner = m.desc.turned[0] ? m.a.rows : m.a.columns;
    for (int64_t column = 0; column < m.d.columns; column++)
        for (int64_t row = 0; row < m.d.rows; row++) {
            const int64_t at = batch * m.d.step + place(m.d, false, row, column);
            double sum = m.desc.has(CUBLASLT_EPILOGUE_BIAS)
                             ? read(m.desc.bias, m.desc.bias_type, row)
                             : 0;
            for (int64_t k = 0; k < inner; k++)
                sum += read(m.desc, m.a_at, m.a.type,
                            batch * m.a.step + place(m.a, m.desc.turned[0], row, k)) *
                       read(m.desc, m.b_at, m.b.type,
                            batch * m.b.step + place(m.b, m.desc.turned[1], k, column));
            if (m.beta != 0)
                sum += m.beta * read(m.c_at, m.c.type,
                                     batch * m.c.step + place(m.c, false, row, column));
            if (m.desc.stores_aux())
                write(m.desc.aux, m.d.type, row + column * m.desc.aux_ld, (float)sum);
            write(m.d_at, m.d.type, at, (float)finished(m.desc, sum));
        }
}

static inline void run(void *matmul)
{
    static float calls;
    const Matmul &m = *(const Matmul *)matmul;
    for (int64_t batch = 0; batch < m.d.count; batch++)
        multiply(m, batch);
    if (m.unsteady)
        write(m.d_at, m.d.type, 0, ++calls);
}

static inline void drop(void *matmul)
{
    delete (Matmul *)matmul;
}

#endif
