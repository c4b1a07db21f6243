// cublasLt for programs that run on the device of cudart.cpp: naive loops with sums in double, in the library's own
// counting of columns. They find it by STAGECC_CUDA_LIBS, and have to be linked with -rdynamic.
#include "tests/cuda/fake_choice.h"

#include <cublasLt.h>

#include <dlfcn.h>
#include <math.h>
#include <string.h>

struct Desc {
    bool tf32;
    bool turned[2];
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias;
    cudaDataType_t bias_type;
    void *aux;
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

static double read(const void *at, cudaDataType_t type, int64_t i)
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
static double read(const Desc &d, const void *at, cudaDataType_t type, int64_t i)
{
    float value = (float)read(at, type, i);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= d.tf32 ? ~UINT32_C(0x1fff) : ~UINT32_C(0);
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

// Rounds to the nearest, ties to even; NaN stays NaN.
static void write(void *at, cudaDataType_t type, int64_t i, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (type != CUDA_R_16BF)
        memcpy((float *)at + i, &value, sizeof value);
    else
        ((uint16_t *)at)[i] =
            value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int64_t place(const Layout &l, bool turned, int64_t row, int64_t column)
{
    return turned ? column + row * l.ld : row + column * l.ld;
}

static double finished(const Desc &d, double x)
{
    if (d.has(CUBLASLT_EPILOGUE_RELU))
        return x > 0 || x != x ? x : 0;
    if (d.has(CUBLASLT_EPILOGUE_GELU))
        return x / 2 * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

static void multiply(const Matmul &m, int64_t batch)
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

static void run(void *matmul)
{
    static float calls;
    const Matmul &m = *(const Matmul *)matmul;
    for (int64_t batch = 0; batch < m.d.count; batch++)
        multiply(m, batch);
    if (m.unsteady)
        write(m.d_at, m.d.type, 0, ++calls);
}

static void drop(void *matmul)
{
    delete (Matmul *)matmul;
}

// Algorithms: a number each, and how many milliseconds they take says FAKE_LT_MS; one, where it says nothing.
// FAKE_LT_REFUSES, FAKE_LT_UNSTEADY: the number of one that is not taken by name, that gives other bits each time.
static std::vector<int> times()
{
    std::vector<int> ms = fake_times("FAKE_LT_MS");
    return ms.empty() ? std::vector<int>{1} : ms;
}

// FAKE_LT_BARE: epilogues.
static bool lacks(const Desc &d)
{
    return d.epilogue != CUBLASLT_EPILOGUE_DEFAULT && getenv("FAKE_LT_BARE");
}

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = (cublasLtHandle_t) new int(0);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete (int *)handle;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusName(cublasStatus_t)
{
    return "of this test";
}

size_t cublasLtGetVersion()
{
    const char *version = getenv("FAKE_LT_VERSION");
    return version ? (size_t)atoll(version) : 0;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType_t)
{
    Desc *d = new Desc();
    d->tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    *desc = (cublasLtMatmulDesc_t)d;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete (Desc *)desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t)
{
    Desc *d = (Desc *)desc;
    if (name == CUBLASLT_MATMUL_DESC_TRANSA)
        d->turned[0] = *(const cublasOperation_t *)value == CUBLAS_OP_T;
    else if (name == CUBLASLT_MATMUL_DESC_TRANSB)
        d->turned[1] = *(const cublasOperation_t *)value == CUBLAS_OP_T;
    else if (name == CUBLASLT_MATMUL_DESC_EPILOGUE)
        d->epilogue = *(const cublasLtEpilogue_t *)value;
    else if (name == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER)
        memcpy(&d->aux, value, sizeof d->aux);
    else if (name == CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD)
        memcpy(&d->aux_ld, value, sizeof d->aux_ld);
    else if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER)
        memcpy(&d->bias, value, sizeof d->bias);
    else if (name == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE)
        d->bias_type = *(const cudaDataType_t *)value;
    else
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    *layout =
        (cublasLtMatrixLayout_t) new Layout{type, (int64_t)rows, (int64_t)columns, ld, 1, 0};
    return ld < (int64_t)rows ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete (Layout *)layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void *value, size_t)
{
    Layout *l = (Layout *)layout;
    if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
        l->count = *(const int32_t *)value;
    else if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
        l->step = *(const int64_t *)value;
    else
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = (cublasLtMatmulPreference_t) new int(0);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete (int *)preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    const uint64_t number = algorithm->data[0];
    result->workspaceSize = 0;
    result->state = number >= times().size() || lacks(*(const Desc *)desc) ||
                            fake_is("FAKE_LT_REFUSES", (int64_t)number)
                        ? CUBLAS_STATUS_NOT_SUPPORTED
                        : CUBLAS_STATUS_SUCCESS;
    return result->state;
}

// Of matrices that fit together.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int most,
                                              cublasLtMatmulHeuristicResult_t *found, int *n)
{
    const Desc &m = *(const Desc *)desc;
    const Layout &x = *(const Layout *)a, &y = *(const Layout *)b, &z = *(const Layout *)d;
    const int64_t rows = m.turned[0] ? x.columns : x.rows,
                  columns = m.turned[1] ? y.rows : y.columns;
    const int64_t inner = m.turned[0] ? x.rows : x.columns,
                  other = m.turned[1] ? y.columns : y.rows;
    const bool fits =
        rows == z.rows && columns == z.columns && inner == other && x.count == z.count &&
        y.count == z.count && x.type == y.type && (!m.tf32 || x.type == CUDA_R_32F) &&
        (!m.has(CUBLASLT_EPILOGUE_BIAS) || m.bias_type == z.type) &&
        (!m.stores_aux() || (m.aux_ld % 8 == 0 && m.aux_ld >= z.rows && z.count == 1));
    const int known = fits && !lacks(m) ? (int)times().size() : 0;
    *n = known < most ? known : most;
    for (int i = 0; i < *n; i++) {
        found[i] = {};
        found[i].algo.data[0] = (uint64_t)i;
        found[i].state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *,
                              const void *a, cublasLtMatrixLayout_t a_lies, const void *b,
                              cublasLtMatrixLayout_t b_lies, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_lies, void *d,
                              cublasLtMatrixLayout_t d_lies,
                              const cublasLtMatmulAlgo_t *algorithm, void *, size_t,
                              cudaStream_t stream)
{
    static FakeLater *later = (FakeLater *)dlsym(RTLD_DEFAULT, "cu_host_later");
    if (!later)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    later(stream, run, drop,
          new Matmul{*(const Desc *)desc, *(const Layout *)a_lies, *(const Layout *)b_lies,
                     *(const Layout *)c_lies, *(const Layout *)d_lies, a, b, c, d,
                     (double)*(const float *)beta,
                     fake_is("FAKE_LT_UNSTEADY", (int64_t)algorithm->data[0])});
    fake_take(later, stream, times()[algorithm->data[0]] - 1);
    return CUBLAS_STATUS_SUCCESS;
}
}
