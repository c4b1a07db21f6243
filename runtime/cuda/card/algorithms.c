#include "runtime/cuda/card/algorithms.h"

#include "runtime/cuda/card/descriptions.h"
#include "runtime/cuda/card/products.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// What a call begins at is where a tensor does, and its steps.
static uint32_t alignment_of(const Product *p, int operand)
{
    uint32_t alignment = RT__PRODUCT_ALIGN;
    while ((p->calls > 1 && p->step[operand] % alignment) ||
           (operand == RIGHT && p->moves % alignment))
        alignment /= 2;
    return alignment;
}

static cublasStatus_t prefer(cublasLtMatmulPreference_t to, const Product *p)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[][2] = {
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
         CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
         CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
         CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}};
    uint64_t most = RT__PRODUCT_WORKSPACE;
    // Parts of a sum that is split stay float, and are added up in one order.
    uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasStatus_t status = lt.MatmulPreferenceSetAttribute(
        to, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
    if (!status)
        status = lt.MatmulPreferenceSetAttribute(to, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                 &schemes, sizeof schemes);
    for (int i = 0; i < N_OPERANDS && !status; i++) {
        uint32_t alignment = alignment_of(p, i);
        for (int k = 0; k < 2 && !status; k++)
            status = lt.MatmulPreferenceSetAttribute(to, alignments[i][k], &alignment,
                                                     sizeof alignment);
    }
    return status;
}

cublasStatus_t rt__lt_find(cublasLtHandle_t handle, const Product *p,
                           cublasLtMatmulHeuristicResult_t *found, int most, int *n)
{
    cublasLtMatmulPreference_t preference = NULL;
    int all = 0;
    *n = 0;
    cublasStatus_t status = lt.MatmulPreferenceCreate(&preference);
    if (!status)
        status = prefer(preference, p);
    if (!status)
        status = lt.MatmulAlgoGetHeuristic(handle, p->desc, p->layout[LEFT], p->layout[RIGHT],
                                           rt__lt_added(p), p->layout[OUT], preference, most,
                                           found, &all);
    if (preference)
        lt.MatmulPreferenceDestroy(preference);
    for (int i = 0; i < all && !status; i++)
        if (!found[i].state)
            found[(*n)++] = found[i];
    return status || *n ? status : CUBLAS_STATUS_NOT_SUPPORTED;
}

void rt__lt_take(Product *p, const cublasLtMatmulHeuristicResult_t *found)
{
    p->algorithm = found->algo;
    p->workspace = found->workspaceSize;
}

// Names
// ------------------------------------------------------------------------------------------

static int write_version(char name[LT_NAME])
{
    size_t version = lt.GetVersion();
    return snprintf(name, LT_NAME, "lt %zu.%zu ", version / 10000, version / 100 % 100);
}

void rt__lt_name(const cublasLtMatmulAlgo_t *algorithm, char name[LT_NAME])
{
    uint8_t bytes[sizeof *algorithm];
    char *at = name + write_version(name);
    _Static_assert(2 * sizeof bytes + 32 < LT_NAME, "it has room");
    memcpy(bytes, algorithm, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        at += snprintf(at, 3, "%02x", bytes[i]);
}

static bool read_name(const char *name, cublasLtMatmulAlgo_t *algorithm)
{
    uint8_t bytes[sizeof *algorithm];
    char own[LT_NAME];
    size_t begin = (size_t)write_version(own);
    const char *digits = name + begin;
    if (strncmp(name, own, begin) != 0 ||
        strspn(digits, "0123456789abcdef") != 2 * sizeof bytes || digits[2 * sizeof bytes])
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        if (sscanf(digits + 2 * i, "%2" SCNx8, &bytes[i]) != 1)
            return false;
    memcpy(algorithm, bytes, sizeof bytes);
    return true;
}

bool rt__lt_take_named(cublasLtHandle_t handle, Product *p, const char *name)
{
    cublasLtMatmulHeuristicResult_t found = {.state = CUBLAS_STATUS_SUCCESS};
    if (!read_name(name, &found.algo) ||
        lt.MatmulAlgoCheck(handle, p->desc, p->layout[LEFT], p->layout[RIGHT], rt__lt_added(p),
                           p->layout[OUT], &found.algo, &found) ||
        found.workspaceSize > RT__PRODUCT_WORKSPACE)
        return false;
    rt__lt_take(p, &found);
    return true;
}
