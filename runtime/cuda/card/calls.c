// What generated code calls (cuda.h, library.h), on the device that card.c has opened.
#include "runtime/cuda/card/attention.h"
#include "runtime/cuda/card/card.h"
#include "runtime/cuda/card/row_tensors.h"
#include "runtime/cuda/private/shared.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stagecc/cu_card.h>

void *rt_cuda_stream(rt_stage *s)
{
    return rt__card_of(s)->work;
}

void *rt_cuda_room(rt_stage *s)
{
    return rt__card_of(s)->room;
}

// Step and micro-batch
// -----------------------------------------------------------------------------------

_Static_assert(sizeof(rt__known) <= CU_MOST_BYTES, "set in one go");

void rt__card_set_known(rt_stage *s, int mb)
{
    rt__card *c = rt__card_of(s);
    rt__known next;
    memset(&next, 0, sizeof next); // what lies between its members, too
    next.now.seed = s->seed;
    next.now.done = s->step;
    next.now.mb = mb % s->program->micro_batches;
    next.now.share = s->evaluating ? 1 : (float)rt_share(s, mb);
    for (int i = 0; i < c->n_rates; i++) {
        rt__cuda_step_of(s, &c->rates[i], &next.steps[i]);
        next.steps[i].bad = c->bad;
    }
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): as it lies in the device's memory
    if (memcmp(&next, &c->set, sizeof next) != 0)
        rt_card_kernels.set(c->work, c->known, &next, (int)sizeof next);
    c->set = next;
}

const rt_now *rt_cuda_now(rt_stage *s, int mb)
{
    (void)mb; // it was set before the function was called
    return &rt__card_of(s)->known->now;
}

static bool same_rates(const rt_rates *a, const rt_rates *b)
{
    return a->beta1 == b->beta1 && a->beta2 == b->beta2 && a->shrink == b->shrink;
}

// What rates there are is known once an update has run by hand, which it does before it is captured.
const cu_step *rt_cuda_step(rt_stage *s, const rt_rates *rates)
{
    rt__card *c = rt__card_of(s);
    int i = 0;
    while (i < c->n_rates && !same_rates(&c->rates[i], rates))
        i++;
    if (i == RT__CARD_RATES) {
        rt_fail(s, RT_E_BUG, "more than %d kinds of updates", RT__CARD_RATES);
        return NULL;
    }
    if (i == c->n_rates) {
        c->rates[c->n_rates++] = *rates;
        rt__card_set_known(s, s->mb);
    }
    return &c->known->steps[i];
}

void rt_cuda_add_round(rt_stage *s, int mb, double *sums, int64_t n)
{
    size_t bytes = (size_t)n * sizeof *sums;
    rt__cuda_device.get(s, rt_sums(s), sums, bytes);
    if (rt__device_wait(s))
        return;
    rt_add_round(s, mb, rt_sums(s), n);
    rt__cuda_device.put(s, sums, rt_sums(s), bytes);
}

// Constants
// ----------------------------------------------------------------------------------------

static const void *add_constant(rt_stage *s, rt__card *c, const void *bytes, size_t n)
{
    rt__constant *more = realloc(c->constants, (size_t)(c->n_constants + 1) * sizeof *more);
    void *copy = more ? malloc(n) : NULL, *at = NULL;
    c->constants = more ? more : c->constants;
    if (!copy) {
        rt_fail(s, RT_E_MEMORY, "no memory for %zu bytes of constants", n);
        return NULL;
    }
    memcpy(copy, bytes, n);
    if (rt__card_check(s, cudaMalloc(&at, n), "get memory for constants") ||
        rt__card_check(s, cudaMemcpyAsync(at, copy, n, cudaMemcpyHostToDevice, c->work),
                       "copy constants")) {
        free(copy);
        return NULL;
    }
    c->constants[c->n_constants++] = (rt__constant){at, copy, n};
    return at;
}

const void *rt_cuda_bytes(rt_stage *s, const void *bytes, size_t n)
{
    rt__card *c = rt__card_of(s);
    for (int i = 0; i < c->n_constants; i++)
        if (c->constants[i].n == n && !memcmp(c->constants[i].copy, bytes, n))
            return c->constants[i].at;
    return add_constant(s, c, bytes, n);
}

// Libraries
// ---------------------------------------------------------------------------------------

void *rt_cuda_narrow(rt_stage *s, const float *param)
{
    return rt__card_narrow(s, param);
}

void rt_matmul(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
               void *c)
{
    rt_matmul_aux(s, kernel, a, b, bias, c, NULL);
}

static void finish(rt_stage *s, const rt_kernel *k, const rt__operands *of)
{
    const rt_product *p = &k->product;
    const cu_product rest = {.c = of->c,
                             .aux = of->aux,
                             .bias = of->bias,
                             .is_bf16 = k->types[2] == RT_BF16,
                             .relu = k->epilogue == RT_RELU,
                             .gelu = k->epilogue == RT_GELU || k->epilogue == RT_GELU_AUX,
                             .batch = {p->batch[0], p->batch[1]},
                             .m = p->m,
                             .n = p->n,
                             .apart = {p->c[0], p->c[1], p->c[2]}};
    rt_card_kernels.finish(rt__card_of(s)->work, &rest);
}

// NOLINTNEXTLINE(readability-function-size): generated code calls it like rt_matmul
void rt_matmul_aux(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
                   void *y, void *aux)
{
    rt__card *c = rt__card_of(s);
    const rt_kernel *k = &rt__cuda_kernels(s)->rows[kernel];
    const rt_product *p = &k->product;
    if (rt__product_wants_copy(k, 0))
        a = rt__narrow_of(s, a, rt__product_reach(p, PRODUCT_A));
    if (rt__product_wants_copy(k, 1))
        b = rt__narrow_of(s, b, rt__product_reach(p, PRODUCT_B));
    const void *added = bias && k->types[2] == RT_BF16 ? rt__narrow_of(s, bias, p->n) : bias;
    if (s->error)
        return;
    const rt__operands of = {.a = a, .b = b, .bias = added, .c = y, .aux = aux};
    rt__products_run(s, c->products, kernel, &of, c->workspace, c->work);
    if (rt__product_is_bare(c->products, kernel))
        finish(s, k, &of);
}

void rt_cuda_multiply(rt_stage *s, const rt_cuda_product *p)
{
    rt__card *c = rt__card_of(s);
    if (!c->products && rt__products_open(s, &c->products, true))
        return;
    rt__products_step(s, c->products, p, c->workspace, c->work);
}

// By number, from DNN_X.
typedef const void *Tensors[DNN_SQUARES];

static void convolve(rt_stage *s, int kernel, const Tensors of)
{
    rt__card *c = rt__card_of(s);
    void *tensors[DNN_TENSORS] = {NULL};
    memcpy(tensors, of, sizeof(Tensors));
    rt__convolutions_run(s, c->convolutions, kernel, tensors, c->convolving, c->work);
}

static bool is_narrow(const rt_kernel *k)
{
    return k->types[0] == RT_BF16;
}

static const void *weight_of(rt_stage *s, int kernel, const float *w)
{
    const rt_kernel *k = &rt__cuda_kernels(s)->rows[kernel];
    return is_narrow(k) ? rt__narrow_of(s, w, rt__conv_weight(&k->conv)) : w;
}

void rt_conv2d(rt_stage *s, int kernel, const void *x, const float *w, const float *b, void *y)
{
    const Tensors of = {x, weight_of(s, kernel, w), y, b};
    convolve(s, kernel, of);
}

const float *rt_conv2d_sums(rt_stage *s, int kernel, const void *x, const float *w, void *y)
{
    rt__card *c = rt__card_of(s);
    const float *sums = rt__convolutions_sums(c->convolutions, kernel) ? c->sums : NULL;
    int64_t k = rt__cuda_kernels(s)->rows[kernel].conv.k;
    const Tensors of = {x, weight_of(s, kernel, w), y, NULL, sums, sums ? sums + k : NULL};
    convolve(s, kernel, of);
    return sums;
}

void rt_conv2d_grad_input(rt_stage *s, int kernel, const void *dy, const float *w, void *dx)
{
    const Tensors of = {dx, weight_of(s, kernel, w), dy};
    convolve(s, kernel, of);
}

void rt_conv2d_grad_weight(rt_stage *s, int kernel, const void *x, const void *dy, float *dw)
{
    rt__card *c = rt__card_of(s);
    const rt_kernel *k = &rt__cuda_kernels(s)->rows[kernel];
    const Tensors of = {x, is_narrow(k) ? (void *)c->narrow_grad : dw, dy};
    convolve(s, kernel, of);
    if (is_narrow(k))
        rt_card_kernels.widen(c->work, dw, c->narrow_grad, rt__conv_weight(&k->conv));
}

// Whether the library does it was settled when the program started.
static bool attend(rt_stage *s, int kernel, const rt_attention_tensors *t)
{
    rt__card *c = rt__card_of(s);
    const void *const of[] = {
        [DNN_Q - 1] = t->q,   [DNN_K - 1] = t->k,     [DNN_V - 1] = t->v,
        [DNN_O - 1] = t->o,   [DNN_LSE - 1] = t->lse, [DNN_DO - 1] = t->dy,
        [DNN_DQ - 1] = t->dq, [DNN_DK - 1] = t->dk,   [DNN_DV - 1] = t->dv};
    void *tensors[DNN_TENSORS] = {NULL};
    if (!rt__convolutions_kernel(c->convolutions, kernel)->n_plans)
        return false;
    memcpy(tensors, of, sizeof of);
    rt__convolutions_run(s, c->convolutions, kernel, tensors, c->convolving, c->work);
    return true;
}

// NOLINTNEXTLINE(readability-function-size): generated code calls it like rt_matmul
int rt_attention(rt_stage *s, int kernel, const rt_bf16 *q, const rt_bf16 *k, const rt_bf16 *v,
                 rt_bf16 *o, float *lse)
{
    return attend(s, kernel,
                  &(rt_attention_tensors){.q = q, .k = k, .v = v, .o = o, .lse = lse});
}

int rt_attention_grad(rt_stage *s, int kernel, const rt_attention_tensors *t)
{
    return attend(s, kernel, t);
}

// Opening
// ------------------------------------------------------------------------------------------

static int count(const rt_stage *s, bool products)
{
    int n = 0;
    for (int i = 0; i < s->program->n_kernels; i++)
        n += (rt__cuda_kernels(s)->rows[i].op == RT_MATMUL) == products;
    return n;
}

// cuDNN says what it needs when its kernels are made.
static int make_room(rt_stage *s, rt__card *c)
{
    int64_t gradient = 0, sums = 0, workspace = rt__convolutions_workspace(c->convolutions);
    for (int i = 0; i < s->program->n_kernels; i++) {
        const rt_kernel *k = &rt__cuda_kernels(s)->rows[i];
        if (k->op == RT_CONV2D_GRAD_WEIGHT && is_narrow(k) &&
            rt__conv_weight(&k->conv) > gradient)
            gradient = rt__conv_weight(&k->conv);
        if (k->op == RT_CONV2D && k->epilogue == RT_SUMS && k->conv.k > sums)
            sums = k->conv.k;
    }
    int64_t sums_at = card_aligned(workspace), gradient_at = sums_at + card_aligned(8 * sums);
    int error = rt__card_check(
        s, cudaMalloc((void **)&c->convolving, (size_t)(gradient_at + 2 * gradient) + 1),
        "get memory for cuDNN");
    c->sums = (float *)(void *)(c->convolving + sums_at);
    c->narrow_grad = c->convolving + gradient_at;
    return error;
}

static int open_convolutions(rt_stage *s, rt__card *c)
{
    struct cudaDeviceProp of;
    char beside[RT__PATH], folder[RT__PATH];
    int error =
        rt__card_check(s, cudaGetDeviceProperties(&of, c->number), "ask what its device is");
    rt__convolutions_options o = {.card = of.name, .tf32 = rt__cuda_kernels(s)->tf32 != 0};
    o.plans = rt__plans_beside(beside) && !access(beside, R_OK) ? beside : NULL;
    o.folder = rt__plan_folder_find(folder) ? folder : NULL;
    if (!error)
        error = rt__convolutions_open(s, rt__cuda_kernels(s)->rows, s->program->n_kernels, &o,
                                      &c->convolutions);
    return error ? error : make_room(s, c);
}

static int cuda_init(rt_stage *s)
{
    rt__card *c = s->backend_state = rt__card_of(s); // so that it is released
    int error = count(s, true) ? rt__products_open(s, &c->products, true) : 0;
    return error || !count(s, false) ? error : open_convolutions(s, c);
}

static void cuda_release(rt_stage *s)
{
    rt__card *c = rt__card_of(s);
    rt__ways_end(s);
    cudaStreamSynchronize(c->work);
    rt__products_close(c->products);
    rt__convolutions_close(c->convolutions);
    cudaFree(c->convolving);
}

const rt_backend rt_cuda = {.name = "cuda",
                            .init = cuda_init,
                            .release = cuda_release,
                            .pack = rt__cuda_pack,
                            .unpack = rt__cuda_unpack,
                            .probe = rt__card_probe,
                            .layout = rt__cuda_layout,
                            .device = &rt__cuda_device};
