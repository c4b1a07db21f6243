// The library counts in columns: a row-major matrix is its transposed one there. So c = a b is asked for as
// c' = b' a', and an operand whose columns are neighbours in memory needs no turning.
#include "runtime/cuda/card/descriptions.h"

#include "runtime/cuda/private/shared.h"

int rt__lt_bad(rt_stage *s, const rt_kernel *k, const char *what, cublasStatus_t status)
{
    return rt_fail(s, RT_E_KERNEL, "cublasLt %zu: %s of %s: %s", lt.GetVersion(), what, k->key,
                   lt.GetStatusName(status));
}

// A float beside bf16 is a weight, which is multiplied as its bf16 copy.
static rt_dtype multiplied(const rt_kernel *k, int operand)
{
    bool narrow = k->types[0] == RT_BF16 || k->types[1] == RT_BF16;
    return narrow && operand < 2 ? RT_BF16 : k->types[operand];
}

bool rt__product_wants_copy(const rt_kernel *k, int operand)
{
    return multiplied(k, operand) == RT_BF16 && k->types[operand] != RT_BF16;
}

static cudaDataType_t type_of(rt_dtype dtype)
{
    return dtype == RT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static int64_t size_of(rt_dtype dtype)
{
    return dtype == RT_BF16 ? 2 : 4;
}

// A matrix [rows, columns] with its distances (batch 0, batch 1, rows, columns), as the library sees its transposed one.
typedef struct View {
    int64_t rows, columns, ld; // in the library's counting, before it is turned
    bool turned, possible;
} View;

static View view_of(int64_t rows, int64_t columns, const int64_t at[4])
{
    if (at[3] == 1 || columns == 1)
        return (View){columns, rows, at[2] > columns ? at[2] : columns, false, true};
    return (View){rows, columns, at[3] > rows ? at[3] : rows, true, at[2] == 1 || rows == 1};
}

// How batches are walked: in one go where their distances are even, else the inner ones in a go.
typedef struct Batches {
    int64_t calls, count;
    int by; // which distance tells one from the next
} Batches;

static bool even(const rt_product *p, const int64_t at[4])
{
    return at[0] == p->batch[1] * at[1];
}

static Batches batches_of(const rt_product *p)
{
    if (p->batch[1] == 1)
        return (Batches){1, p->batch[0], 0};
    if (p->batch[0] == 1 || (even(p, p->a) && even(p, p->b) && even(p, p->c)))
        return (Batches){1, p->batch[0] * p->batch[1], 1};
    return (Batches){p->batch[0], p->batch[1], 1};
}

static cublasStatus_t set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name,
                          const void *value, size_t size)
{
    return lt.MatmulDescSetAttribute(d, name, value, size);
}

static cublasStatus_t make_layout(Product *to, int operand, const rt_kernel *k, View v,
                                  rt_dtype dtype, const int64_t at[4])
{
    Batches b = batches_of(&k->product);
    int32_t count = (int32_t)b.count;
    cublasLtMatrixLayout_t *l = &to->layout[operand];
    cublasStatus_t status =
        lt.MatrixLayoutCreate(l, type_of(dtype), (uint64_t)v.rows, (uint64_t)v.columns, v.ld);
    if (!status)
        status = lt.MatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                             sizeof count);
    if (!status)
        status = lt.MatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                             &at[b.by], sizeof at[b.by]);
    to->calls = b.calls;
    to->step[operand] = at[0] * size_of(dtype);
    return status;
}

static cublasLtEpilogue_t epilogue_of(const rt_kernel *k)
{
    bool bias = k->product.bias != 0;
    switch (k->epilogue) {
    case RT_RELU: return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    case RT_GELU: return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    case RT_GELU_AUX:
        return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case RT_SUMS: break; // of convolutions only
    }
    return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

// Algorithms are chosen by the alignment that these pointers have by then, and NULL has any.
static cublasStatus_t make_pointer(Product *to, cublasLtMatmulDescAttributes_t name)
{
    static const uintptr_t least = RT__PRODUCT_ALIGN;
    return set(to->desc, name, &least, sizeof least);
}

// What an epilogue reads or writes beside lies as c does.
static cublasStatus_t make_aux(Product *to, const rt_kernel *k)
{
    const rt_product *p = &k->product;
    cublasStatus_t status =
        set(to->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &p->c[2], sizeof p->c[2]);
    return status ? status : make_pointer(to, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
}

static cublasStatus_t make_bias(Product *to, const rt_kernel *k)
{
    cudaDataType_t type = type_of(k->types[2]);
    cublasStatus_t status =
        set(to->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
    return status ? status : make_pointer(to, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
}

// Products of bf16 go through tensor cores anyway.
static cublasComputeType_t compute_type(const rt_kernel *k, bool tf32)
{
    return tf32 && multiplied(k, 0) == RT_F32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                              : CUBLAS_COMPUTE_32F;
}

static cublasStatus_t make_desc(Product *to, const rt_kernel *k, bool tf32, View left,
                                View right)
{
    cublasOperation_t ops[2] = {left.turned ? CUBLAS_OP_T : CUBLAS_OP_N,
                                right.turned ? CUBLAS_OP_T : CUBLAS_OP_N};
    cublasLtEpilogue_t epilogue = epilogue_of(k);
    cublasStatus_t status = lt.MatmulDescCreate(&to->desc, compute_type(k, tf32), CUDA_R_32F);
    if (!status)
        status = set(to->desc, CUBLASLT_MATMUL_DESC_TRANSA, &ops[0], sizeof ops[0]);
    if (!status)
        status = set(to->desc, CUBLASLT_MATMUL_DESC_TRANSB, &ops[1], sizeof ops[1]);
    if (!status && epilogue != CUBLASLT_EPILOGUE_DEFAULT)
        status = set(to->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!status && k->epilogue == RT_GELU_AUX)
        status = make_aux(to, k);
    if (!status && k->product.bias)
        status = make_bias(to, k);
    return status;
}

int rt__lt_describe(rt_stage *s, const rt_kernel *k, Product *to)
{
    const rt_product *p = &k->product;
    View a = view_of(p->m, p->k, p->a), b = view_of(p->k, p->n, p->b),
         c = view_of(p->m, p->n, p->c);
    if (!a.possible || !b.possible || !c.possible || c.turned)
        return rt_fail(s, RT_E_BUG, "no product of the library: %s", k->key);
    to->add = p->add ? 1 : 0;
    cublasStatus_t status = make_desc(to, k, rt__cuda_kernels(s)->tf32 != 0, b, a);
    if (!status)
        status = make_layout(to, LEFT, k, b, multiplied(k, 1), p->b);
    if (!status)
        status = make_layout(to, RIGHT, k, a, multiplied(k, 0), p->a);
    if (!status)
        status = make_layout(to, OUT, k, c, k->types[2], p->c);
    return status ? rt__lt_bad(s, k, "descriptions", status) : 0;
}

void rt__lt_drop(Product *p)
{
    for (int k = 0; k < N_OPERANDS; k++)
        if (p->layout[k])
            lt.MatrixLayoutDestroy(p->layout[k]);
    if (p->more)
        lt.MatrixLayoutDestroy(p->more);
    if (p->desc)
        lt.MatmulDescDestroy(p->desc);
    *p = (Product){0};
}

cublasLtMatrixLayout_t rt__lt_added(const Product *p)
{
    return p->more ? p->more : p->layout[OUT];
}

cublasStatus_t rt__lt_point(const Product *p, const rt_kernel *k, const rt__operands *of)
{
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (p->bare)
        return status;
    if (k->product.bias)
        status = set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &of->bias, sizeof of->bias);
    if (!status && of->aux)
        status =
            set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &of->aux, sizeof of->aux);
    return status;
}
