// cublasLt for programs that run on the device of cudart.cpp: it takes what a card's takes, and computes in loops. They find
// it by STAGECC_CUDA_LIBS, and have to be linked with -rdynamic.
#include "tests/cuda/cublaslt_product.h"
#include "tests/cuda/fake_choice.h"

#include <dlfcn.h>
#include <stdio.h>

// What pointers are promised to begin at multiples of, where nothing else is said: as those of cudaMalloc.
enum { ALIGNED = 256 };
// Pointers that an algorithm is chosen for; those of epilogues are looked at where the description has them.
enum { A, B, C, D, BIAS, AUX, N_POINTERS };

struct Preference {
    uint32_t alignment[D + 1] = {ALIGNED, ALIGNED, ALIGNED, ALIGNED};
    uint64_t workspace = 0;
};

// An algorithm's bytes: its number, and what it was chosen for.
struct Algorithm {
    uint64_t number, matrices;
    uint8_t alignment[N_POINTERS]; // less 1
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t), "it has room");

// Algorithms: a number each, and how many milliseconds they take says FAKE_LT_MS; one, where it says nothing.
// FAKE_LT_REFUSES, FAKE_LT_UNSTEADY: the number of one that is not taken by name, that gives other bits each time.
// FAKE_LT_WORKSPACE: the bytes that each wants.
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

static size_t workspace_bytes()
{
    const char *bytes = getenv("FAKE_LT_WORKSPACE");
    return bytes ? (size_t)atoll(bytes) : 0;
}

// Tells apart what the same algorithm need not be right for: FNV-1a.
static uint64_t matrices_of(const Desc &d, const Layout *const layouts[D + 1])
{
    uint64_t hash = 0xcbf29ce484222325;
    auto add = [&hash](int64_t value) { hash = (hash ^ (uint64_t)value) * 0x100000001b3; };
    add(d.tf32 | d.turned[0] << 1 | d.turned[1] << 2);
    for (int i = A; i <= D; i++)
        for (int64_t value : {(int64_t)layouts[i]->type, layouts[i]->rows, layouts[i]->columns,
                              layouts[i]->ld, layouts[i]->count, layouts[i]->step})
            add(value);
    return hash;
}

// The most that it can be taken for; NULL is a multiple of everything.
static uint32_t alignment_of(const void *at)
{
    uint32_t alignment = ALIGNED;
    while ((uintptr_t)at % alignment)
        alignment /= 2;
    return alignment;
}

static Algorithm chosen(uint64_t number, const Desc &d, const Layout *const layouts[D + 1],
                        const Preference &preference)
{
    Algorithm a = {number, matrices_of(d, layouts), {}};
    for (int i = A; i <= D; i++)
        a.alignment[i] = (uint8_t)(preference.alignment[i] - 1);
    a.alignment[BIAS] = (uint8_t)(alignment_of(d.bias) - 1);
    a.alignment[AUX] = (uint8_t)(alignment_of(d.aux) - 1);
    return a;
}

// What a card would compute something else of, or stop at; NULL: nothing.
static const char *fault_of(const Matmul &m, const Algorithm &a, const void *workspace,
                            size_t bytes)
{
    static const char *const names[] = {"a", "b", "c", "d", "a bias", "what is stored beside"};
    static thread_local char text[128];
    const Layout *layouts[] = {&m.a, &m.b, &m.c, &m.d};
    const void *at[] = {m.a_at,
                        m.b_at,
                        m.c_at,
                        m.d_at,
                        m.desc.has(CUBLASLT_EPILOGUE_BIAS) ? m.desc.bias : NULL,
                        m.desc.stores_aux() ? m.desc.aux : NULL};
    if (a.matrices != matrices_of(m.desc, layouts))
        return "an algorithm that was chosen for other matrices";
    if ((uintptr_t)workspace % ALIGNED || bytes < workspace_bytes() || (bytes && !workspace))
        return "no such workspace as the algorithm wants";
    for (int i = 0; i < N_POINTERS; i++)
        if ((uintptr_t)at[i] % (a.alignment[i] + 1U)) {
            snprintf(text, sizeof text, "%s begins at no multiple of %u bytes", names[i],
                     a.alignment[i] + 1U);
            return text;
        }
    return NULL;
}

static thread_local const char *fault = "of this test"; // of the last call

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
    return fault;
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
    *preference = (cublasLtMatmulPreference_t) new Preference();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete (Preference *)preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    Preference *p = (Preference *)preference;
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        p->workspace = *(const uint64_t *)value;
    for (int i = A; i <= D; i++)
        if (name == alignments[i])
            p->alignment[i] = *(const uint32_t *)value;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    const Layout *layouts[] = {(const Layout *)a, (const Layout *)b, (const Layout *)c,
                               (const Layout *)d};
    const Algorithm &of = *(const Algorithm *)algorithm;
    result->workspaceSize = workspace_bytes();
    result->state = of.number >= times().size() || lacks(*(const Desc *)desc) ||
                            of.matrices != matrices_of(*(const Desc *)desc, layouts) ||
                            fake_is("FAKE_LT_REFUSES", (int64_t)of.number)
                        ? CUBLAS_STATUS_NOT_SUPPORTED
                        : CUBLAS_STATUS_SUCCESS;
    return result->state;
}

// Of matrices that fit together.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t *found, int *n)
{
    const Desc &m = *(const Desc *)desc;
    const Layout &x = *(const Layout *)a, &y = *(const Layout *)b, &z = *(const Layout *)d;
    const Layout *layouts[] = {&x, &y, (const Layout *)c, &z};
    const Preference &wish = *(const Preference *)preference;
    const int64_t rows = m.turned[0] ? x.columns : x.rows,
                  columns = m.turned[1] ? y.rows : y.columns;
    const int64_t inner = m.turned[0] ? x.rows : x.columns,
                  other = m.turned[1] ? y.columns : y.rows;
    const bool fits =
        rows == z.rows && columns == z.columns && inner == other && x.count == z.count &&
        y.count == z.count && x.type == y.type && (!m.tf32 || x.type == CUDA_R_32F) &&
        (!m.has(CUBLASLT_EPILOGUE_BIAS) || m.bias_type == z.type) &&
        (!m.stores_aux() || (m.aux_ld % 8 == 0 && m.aux_ld >= z.rows && z.count == 1));
    const int known =
        fits && !lacks(m) && workspace_bytes() <= wish.workspace ? (int)times().size() : 0;
    *n = known < most ? known : most;
    for (int i = 0; i < *n; i++) {
        found[i] = {};
        const Algorithm own = chosen((uint64_t)i, m, layouts, wish);
        memcpy(&found[i].algo, &own, sizeof own);
        found[i].workspaceSize = workspace_bytes();
        found[i].state = CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *,
                              const void *a, cublasLtMatrixLayout_t a_lies, const void *b,
                              cublasLtMatrixLayout_t b_lies, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_lies, void *d,
                              cublasLtMatrixLayout_t d_lies,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t bytes, cudaStream_t stream)
{
    static FakeLater *later = (FakeLater *)dlsym(RTLD_DEFAULT, "cu_host_later");
    const Algorithm &of = *(const Algorithm *)algorithm;
    const Matmul m = {*(const Desc *)desc,
                      *(const Layout *)a_lies,
                      *(const Layout *)b_lies,
                      *(const Layout *)c_lies,
                      *(const Layout *)d_lies,
                      a,
                      b,
                      c,
                      d,
                      (double)*(const float *)beta,
                      fake_is("FAKE_LT_UNSTEADY", (int64_t)of.number)};
    if (!later)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (const char *bad = fault_of(m, of, workspace, bytes)) {
        fault = bad;
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    later(stream, run, drop, new Matmul(m));
    fake_take(later, stream, times()[of.number] - 1);
    return CUBLAS_STATUS_SUCCESS;
}
}
