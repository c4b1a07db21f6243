// Matrix products in naive loops, with sums in double.
#include "runtime/cuda/emulated/emulated.h"

enum { COLUMNS = 256 }; // whose sums are taken at the same time

typedef struct Matrix {
    const void *at;
    rt_dtype type;
    int64_t first, row, column; // where it begins, and from one to the next, in elements
} Matrix;

static Matrix matrix(const void *at, rt_dtype type, const int64_t step[4],
                     const int64_t batch[2])
{
    return (Matrix){at, type, batch[0] * step[0] + batch[1] * step[1], step[2], step[3]};
}

static double element(const Matrix *m, rt_dtype beside, int64_t i, int64_t j)
{
    return rt__emulated_element(m->at, m->type, beside, m->first + i * m->row + j * m->column);
}

typedef struct Call { // c = a b + bias, or c += a b
    const rt_product *p;
    rt_epilogue epilogue;
    Matrix a, b, c;
    const float *bias;
    void *to, *aux; // where c is, and what its epilogue stores
} Call;

// Row i of c, from column j0 on.
static void multiply(const Call *call, int64_t i, int64_t j0)
{
    const rt_product *p = call->p;
    const Matrix *a = &call->a, *b = &call->b, *c = &call->c;
    double sum[COLUMNS];
    int64_t n = p->n - j0 < COLUMNS ? p->n - j0 : COLUMNS;
    for (int64_t j = 0; j < n; j++)
        sum[j] =
            call->bias ? rt__emulated_element(call->bias, RT_F32, call->c.type, j0 + j) : 0;
    for (int64_t k = 0; k < p->k; k++) {
        double x = element(a, b->type, i, k);
        for (int64_t j = 0; j < n; j++)
            sum[j] += x * element(b, a->type, k, j0 + j);
    }
    for (int64_t j = 0; j < n; j++) {
        int64_t at = c->first + i * c->row + (j0 + j) * c->column;
        double all = sum[j] + (p->add ? element(c, c->type, i, j0 + j) : 0);
        if (call->aux)
            rt__emulated_store(call->aux, c->type, at, all);
        rt__emulated_store(call->to, c->type, at, rt__emulated_finish(call->epilogue, all));
    }
}

void rt_matmul(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
               void *c)
{
    rt_matmul_aux(s, kernel, a, b, bias, c, NULL);
}

// NOLINTNEXTLINE(readability-function-size): generated code calls it like rt_matmul
void rt_matmul_aux(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
                   void *c, void *aux)
{
    const rt_kernel *k = rt__emulated_row(s, kernel);
    const rt_product *p = &k->product;
    for (int64_t z = 0; z < p->batch[0] * p->batch[1]; z++) {
        const int64_t at[2] = {z / p->batch[1], z % p->batch[1]};
        const Call call = {.p = p,
                           .epilogue = k->epilogue,
                           .a = matrix(a, rt__emulated_type(k, 0), p->a, at),
                           .b = matrix(b, rt__emulated_type(k, 1), p->b, at),
                           .c = matrix(c, rt__emulated_type(k, 2), p->c, at),
                           .bias = bias,
                           .to = c,
                           .aux = aux};
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j += COLUMNS)
                multiply(&call, i, j);
    }
}

void rt_cuda_multiply(rt_stage *s, const rt_cuda_product *p)
{
    (void)s;
    for (int64_t i = 0; i < p->m * p->n; i++) {
        int64_t row = i / p->n, j = i % p->n;
        double sum = (double)p->more[row * p->more_apart + j];
        for (int64_t k = 0; k < p->k; k++)
            sum += (double)p->x[row * p->x_apart + k] *
                   (double)p->w[p->turned ? j * p->k + k : k * p->n + j];
        p->out[row * p->out_apart + j] = (float)sum;
    }
}
