// The library counts in columns: a row-major matrix is its transposed one there. So c = a b is asked for as
// c' = b' a', and an operand whose columns are neighbours in memory needs no turning.
#include "runtime/cuda/card/products.h"

#include "runtime/cuda/card/algorithms.h"
#include "runtime/cuda/card/library.h"
#include "runtime/cuda/private/shared.h"
#include "runtime/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME(major) "libcublasLt.so." #major
#define FILE_OF(major) NAME(major)

static const CudaLibrary library = {FILE_OF(CUBLAS_VER_MAJOR), "cuBLAS"};

Lt lt;

static const CudaFunction functions[] = {
#define FUNCTION(name) {"cublasLt" #name, offsetof(Lt, name)},
#include "runtime/cuda/card/cublaslt.def"
#undef FUNCTION
};

// One of a shape that the program has no row for: a step of an LSTM.
typedef struct Step {
    rt_cuda_product shape; // its pointers mean nothing
    Product product;
    cublasLtMatrixLayout_t more;
} Step;

// What is not done as it was wished for: how many rows, and one of them.
typedef struct Fallbacks {
    int n;
    const char *key;
} Fallbacks;

struct rt__products {
    cublasLtHandle_t handle; // NULL: without a device
    Step *steps;             // those that were asked for
    int n_steps;
    Fallbacks replaced,
        finished; // other algorithms than rows name; epilogues that are not the library's
    int n;
    Product of[];
};

static int bad(rt_stage *s, const rt_kernel *k, const char *what, cublasStatus_t status)
{
    return rt_fail(s, RT_E_KERNEL, "cublasLt %zu: %s of %s: %s", lt.GetVersion(), what, k->key,
                   lt.GetStatusName(status));
}

// Descriptions
// ------------------------------------------------------------------------------------

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

// What an epilogue reads or writes beside lies as c does.
static cublasStatus_t make_aux(Product *to, const rt_kernel *k)
{
    const rt_product *p = &k->product;
    return set(to->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &p->c[2], sizeof p->c[2]);
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
    cudaDataType_t bias = type_of(k->types[2]);
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
        status = set(to->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof bias);
    return status;
}

static int describe(rt_stage *s, const rt_kernel *k, Product *to)
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
    return status ? bad(s, k, "descriptions", status) : 0;
}

// Choice
// ------------------------------------------------------------------------------------------

static void drop(Product *p)
{
    for (int k = 0; k < N_OPERANDS; k++)
        if (p->layout[k])
            lt.MatrixLayoutDestroy(p->layout[k]);
    if (p->desc)
        lt.MatmulDescDestroy(p->desc);
    *p = (Product){0};
}

static void note(Fallbacks *f, const rt_kernel *k)
{
    f->key = f->n++ ? f->key : k->key;
}

static cublasStatus_t choose(rt__products *all, const rt_kernel *k, Product *p)
{
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    if (k->implementation && rt__lt_take_named(all->handle, p, k->implementation))
        return CUBLAS_STATUS_SUCCESS;
    cublasStatus_t status = rt__lt_find(all->handle, p, &found, 1, &n);
    if (status)
        return status;
    if (k->implementation)
        note(&all->replaced, k);
    rt__lt_take(p, &found);
    return status;
}

// Where the library has no algorithm for an epilogue it multiplies alone. Then the result lies where it is finished.
static int settle(rt_stage *s, rt__products *all, const rt_kernel *k, Product *p)
{
    rt_kernel bare = *k;
    int error = describe(s, k, p);
    cublasStatus_t status = error || !all->handle ? CUBLAS_STATUS_SUCCESS : choose(all, k, p);
    if (status && (k->epilogue || k->product.bias)) {
        bare.epilogue = 0;
        bare.product.bias = 0;
        drop(p);
        error = describe(s, &bare, p);
        status = error ? CUBLAS_STATUS_SUCCESS : choose(all, &bare, p);
        p->bare = !status;
        if (p->bare)
            note(&all->finished, k);
    }
    return status ? bad(s, k, "no algorithm", status) : error;
}

static void say(rt_stage *s, const Fallbacks *f, const char *what, const char *instead)
{
    char text[1024];
    if (!f->n)
        return;
    snprintf(text, sizeof text, "cublasLt %zu %s `%s`%s: %s", lt.GetVersion(), what, f->key,
             f->n > 1 ? " and others" : "", instead);
    rt__report_warning(s, text);
}

static void say_all(rt_stage *s, const rt__products *all)
{
    say(s, &all->finished, "has no algorithm that adds the bias, or finishes the result, of",
        "a kernel of the program does it, which takes longer");
    say(s, &all->replaced,
        "is another version than the plan was made with, or does not take its algorithm, for",
        "it takes its own first choice, and bits may differ");
}

// Life
// ------------------------------------------------------------------------------------------

int rt__products_open(rt_stage *s, rt__products **made, bool device)
{
    const rt_kernel *rows = rt__cuda_kernels(s)->rows;
    size_t n = (size_t)s->program->n_kernels;
    rt__products *all = calloc(1, sizeof *all + n * sizeof *all->of);
    if (!all)
        return rt_fail(s, RT_E_MEMORY, "no memory for %zu kernels", n);
    *made = all;
    all->n = (int)n;
    int error =
        rt__cuda_load(s, &library, functions, sizeof functions / sizeof *functions, &lt);
    if (error)
        return error;
    cublasStatus_t status = device ? lt.Create(&all->handle) : CUBLAS_STATUS_SUCCESS;
    if (status)
        return rt_fail(s, RT_E_ENVIRONMENT, "cublasLt %zu does not start: %s", lt.GetVersion(),
                       lt.GetStatusName(status));
    for (size_t i = 0; i < n && !error; i++)
        if (rows[i].op == RT_MATMUL)
            error = settle(s, all, &rows[i], &all->of[i]);
    say_all(s, all);
    return error;
}

void rt__products_close(rt__products *made)
{
    if (!made)
        return;
    for (int i = 0; i < made->n; i++)
        drop(&made->of[i]);
    for (int i = 0; i < made->n_steps; i++) {
        drop(&made->steps[i].product);
        if (made->steps[i].more)
            lt.MatrixLayoutDestroy(made->steps[i].more);
    }
    free(made->steps);
    if (made->handle)
        lt.Destroy(made->handle);
    free(made);
}

static cublasStatus_t set_pointers(const Product *p, const rt_kernel *k, const rt__operands *of)
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

void rt__products_run(rt_stage *s, const rt__products *made, int kernel, const rt__operands *of,
                      void *workspace, void *stream)
{
    const Product *p = &made->of[kernel];
    const rt_kernel *k = &rt__cuda_kernels(s)->rows[kernel];
    const float one = 1;
    cublasStatus_t status = set_pointers(p, k, of);
    for (int64_t i = 0; i < p->calls && !status; i++) {
        uint8_t *out = (uint8_t *)of->c + i * p->step[OUT];
        status =
            lt.Matmul(made->handle, p->desc, &one, (const uint8_t *)of->b + i * p->step[LEFT],
                      p->layout[LEFT], (const uint8_t *)of->a + i * p->step[RIGHT],
                      p->layout[RIGHT], &p->add, out, p->layout[OUT], out, p->layout[OUT],
                      &p->algorithm, workspace, p->workspace, stream);
    }
    if (status)
        bad(s, k, "run", status);
}

bool rt__product_is_bare(const rt__products *made, int kernel)
{
    return made->of[kernel].bare;
}

// For the probe
// ------------------------------------------------------------------------------------

size_t rt__products_version(void)
{
    return lt.GetVersion ? lt.GetVersion() : 0;
}

int rt__products_names(const rt__products *made, int kernel, char *const names[], int most)
{
    cublasLtMatmulHeuristicResult_t found[LT_MOST_NAMES];
    int n = 0;
    if (rt__lt_find(made->handle, &made->of[kernel], found,
                    most < LT_MOST_NAMES ? most : LT_MOST_NAMES, &n))
        return 0;
    for (int i = 0; i < n; i++)
        rt__lt_name(&found[i].algo, names[i]);
    return n;
}

bool rt__products_take(rt__products *made, int kernel, const char *name)
{
    return rt__lt_take_named(made->handle, &made->of[kernel], name);
}

int64_t rt__products_workspace(const rt__products *made, int kernel)
{
    return (int64_t)made->of[kernel].workspace;
}

// Steps of an LSTM
// ------------------------------------------------------------------------------------

static bool same_shape(const rt_cuda_product *a, const rt_cuda_product *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->x_apart == b->x_apart &&
           a->more_apart == b->more_apart && a->out_apart == b->out_apart &&
           a->turned == b->turned;
}

static rt_kernel row_of(const rt_cuda_product *p)
{
    rt_kernel row = {.key = "a step of an LSTM",
                     .op = RT_MATMUL,
                     .product = {.batch = {1, 1},
                                 .m = p->m,
                                 .n = p->n,
                                 .k = p->k,
                                 .a = {0, 0, p->x_apart, 1},
                                 .b = {0, 0, p->turned ? 1 : p->n, p->turned ? p->k : 1},
                                 .c = {0, 0, p->out_apart, 1},
                                 .add = 1}};
    return row;
}

// By the first call of a shape, which is none that is captured.
static Step *add_step(rt_stage *s, rt__products *made, const rt_cuda_product *p)
{
    Step *more = realloc(made->steps, (size_t)(made->n_steps + 1) * sizeof *more);
    if (!more) {
        rt_fail(s, RT_E_MEMORY, "no memory for another product");
        return NULL;
    }
    made->steps = more;
    Step *step = &made->steps[made->n_steps++];
    *step = (Step){.shape = *p};
    rt_kernel row = row_of(p);
    if (settle(s, made, &row, &step->product))
        return NULL;
    cublasStatus_t status = lt.MatrixLayoutCreate(&step->more, CUDA_R_32F, (uint64_t)p->n,
                                                  (uint64_t)p->m, p->more_apart);
    return status ? (bad(s, &row, "descriptions", status), NULL) : step;
}

void rt__products_step(rt_stage *s, rt__products *made, const rt_cuda_product *p,
                       void *workspace, void *stream)
{
    Step *step = NULL;
    for (int i = 0; i < made->n_steps && !step; i++)
        step = same_shape(&made->steps[i].shape, p) ? &made->steps[i] : NULL;
    step = step ? step : add_step(s, made, p);
    if (!step)
        return;
    const float one = 1;
    const Product *of = &step->product;
    cublasStatus_t status =
        lt.Matmul(made->handle, of->desc, &one, p->w, of->layout[LEFT], p->x, of->layout[RIGHT],
                  &one, p->more, step->more, p->out, of->layout[OUT], &of->algorithm, workspace,
                  of->workspace, stream);
    if (status)
        rt_fail(s, RT_E_KERNEL, "cublasLt %zu: a step of an LSTM: %s", lt.GetVersion(),
                lt.GetStatusName(status));
}
