#include "runtime/cuda/card/products.h"

#include "runtime/cuda/card/algorithms.h"
#include "runtime/cuda/card/descriptions.h"
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

// Choice
// ------------------------------------------------------------------------------------------

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
    int error = rt__lt_describe(s, k, p);
    cublasStatus_t status = error || !all->handle ? CUBLAS_STATUS_SUCCESS : choose(all, k, p);
    if (status && (k->epilogue || k->product.bias)) {
        bare.epilogue = 0;
        bare.product.bias = 0;
        rt__lt_drop(p);
        error = rt__lt_describe(s, &bare, p);
        status = error ? CUBLAS_STATUS_SUCCESS : choose(all, &bare, p);
        p->bare = !status;
        if (p->bare)
            note(&all->finished, k);
    }
    return status ? rt__lt_bad(s, k, "no algorithm", status) : error;
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
        rt__lt_drop(&made->of[i]);
    for (int i = 0; i < made->n_steps; i++)
        rt__lt_drop(&made->steps[i].product);
    free(made->steps);
    if (made->handle)
        lt.Destroy(made->handle);
    free(made);
}

void rt__products_run(rt_stage *s, const rt__products *made, int kernel, const rt__operands *of,
                      void *workspace, void *stream)
{
    const Product *p = &made->of[kernel];
    const rt_kernel *k = &rt__cuda_kernels(s)->rows[kernel];
    const float one = 1;
    cublasStatus_t status = rt__lt_point(p, k, of);
    for (int64_t i = 0; i < p->calls && !status; i++) {
        uint8_t *out = (uint8_t *)of->c + i * p->step[OUT];
        status =
            lt.Matmul(made->handle, p->desc, &one, (const uint8_t *)of->b + i * p->step[LEFT],
                      p->layout[LEFT], (const uint8_t *)of->a + i * p->step[RIGHT],
                      p->layout[RIGHT], &p->add, out, p->layout[OUT], out, p->layout[OUT],
                      &p->algorithm, workspace, p->workspace, stream);
    }
    if (status)
        rt__lt_bad(s, k, "run", status);
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
                     .types = {RT_F32, RT_F32, RT_F32},
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

// By the first call of a shape, which is none that is captured. Forward x is the first half of a state, whose steps follow
// each other; backward it is the gates.
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
    Product *to = &step->product;
    to->moves = 4 * (p->turned ? 2 * p->k : p->k);
    cublasStatus_t status = lt.MatrixLayoutCreate(&to->more, CUDA_R_32F, (uint64_t)p->n,
                                                  (uint64_t)p->m, p->more_apart);
    if (status)
        rt__lt_bad(s, &row, "descriptions", status);
    return status || settle(s, made, &row, to) ? NULL : step;
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
                  &one, p->more, rt__lt_added(of), p->out, of->layout[OUT], &of->algorithm,
                  workspace, of->workspace, stream);
    if (status)
        rt_fail(s, RT_E_KERNEL, "cublasLt %zu: a step of an LSTM: %s", lt.GetVersion(),
                lt.GetStatusName(status));
}
