// Both are graphs of small operations in exactly the shape that cuDNN's flash kernels are looked up by: it recognises the
// pattern, and nothing of T x T size goes through memory in forward. (Its operations that are attention as a whole take
// no mask in this version.) k and v are given turned, [N,heads,size,T] of the same memory.
//
// What makes backward deterministic is its form: dq is the product of the scores' gradient with k, written once. The other
// form, in which blocks add to a float dq as they come, has the same notes; so notes do not tell.
#include "runtime/cuda/card/attention.h"

#include <float.h>

// Floats that are handed in: by what scores are multiplied, what hidden ones become, and 1. An infinity would be NaN where all
// that is looked at first is hidden, less its own maximum.
enum { SCALE = DNN_SCALAR, HIDDEN, ONE };

static DnnShape heads(const rt_heads *a)
{
    return (DnnShape){{a->n, a->heads, a->t, a->size},
                      {a->t * a->heads * a->size, a->size, a->heads * a->size, 1}};
}

// Tensors that are handed in
static DnnDesc whole(DnnParts *p, const rt_heads *a, int number)
{
    return rt__dnn_tensor(p, CUDNN_DATA_BFLOAT16, heads(a), number);
}

static DnnDesc turned(DnnParts *p, const rt_heads *a, int number)
{
    return rt__dnn_tensor(p, CUDNN_DATA_BFLOAT16, rt__dnn_turned(heads(a)), number);
}

static DnnDesc per_row(DnnParts *p, const rt_heads *a, int number)
{
    return rt__dnn_tensor(p, CUDNN_DATA_FLOAT, rt__dnn_plain(a->n, a->heads, a->t, 1), number);
}

// [T,T] for every head, never in memory
static DnnDesc scores(DnnParts *p, const rt_heads *a, cudnnDataType_t type)
{
    return rt__dnn_tensor(p, type, rt__dnn_plain(a->n, a->heads, a->t, a->t), 0);
}

// y = mode(x, b) of scores
static DnnDesc with(DnnParts *p, const rt_heads *a, cudnnPointwiseMode_t mode, DnnDesc x,
                    DnnDesc b)
{
    return rt__dnn_pointwise(p, mode, x, b, scores(p, a, CUDNN_DATA_FLOAT));
}

// What lies behind a row's own position is hidden, where it is causal.
static DnnDesc seen_scores(DnnParts *p, const rt_heads *a, DnnDesc s)
{
    if (!a->causal)
        return s;
    DnnDesc row = rt__dnn_index(p, 2, s, scores(p, a, CUDNN_DATA_INT32));
    DnnDesc column = rt__dnn_index(p, 3, s, scores(p, a, CUDNN_DATA_INT32));
    DnnDesc seen = rt__dnn_compare(p, CUDNN_POINTWISE_CMP_GE, row, column,
                                   scores(p, a, CUDNN_DATA_BOOLEAN));
    return rt__dnn_select(p, seen, s, rt__dnn_scalar(p, HIDDEN),
                          scores(p, a, CUDNN_DATA_FLOAT));
}

static void forward(DnnParts *p, const void *what, int part)
{
    const rt_heads *a = what;
    (void)part;
    DnnDesc q = whole(p, a, DNN_Q), kt = turned(p, a, DNN_K);
    DnnDesc s = rt__dnn_product(p, q, kt, scores(p, a, CUDNN_DATA_FLOAT));
    s = with(p, a, CUDNN_POINTWISE_MUL, s, rt__dnn_scalar(p, SCALE));
    s = seen_scores(p, a, s);
    DnnDesc top = rt__dnn_reduce(p, CUDNN_REDUCE_TENSOR_MAX, s, per_row(p, a, 0));
    DnnDesc e = with(p, a, CUDNN_POINTWISE_EXP, with(p, a, CUDNN_POINTWISE_SUB, s, top), NULL);
    DnnDesc sum = rt__dnn_reduce(p, CUDNN_REDUCE_TENSOR_ADD, e, per_row(p, a, 0));
    DnnDesc logs = rt__dnn_pointwise(p, CUDNN_POINTWISE_LOG, sum, NULL, per_row(p, a, 0));
    rt__dnn_pointwise(p, CUDNN_POINTWISE_ADD, top, logs, per_row(p, a, DNN_LSE));
    DnnDesc share =
        rt__dnn_pointwise(p, CUDNN_POINTWISE_DIV, e, sum, scores(p, a, CUDNN_DATA_BFLOAT16));
    rt__dnn_product(p, share, whole(p, a, DNN_V), whole(p, a, DNN_O));
}

// Of every row the sum of do o, which is that of the shares times their gradients; it goes through memory.
static DnnDesc row_sums(DnnParts *p, const rt_heads *a, DnnDesc d_o)
{
    DnnShape both = heads(a);
    both.stride[0] = a->heads * a->t * a->size;
    both.stride[1] = a->t * a->size;
    DnnDesc products = rt__dnn_pointwise(p, CUDNN_POINTWISE_MUL, d_o, whole(p, a, DNN_O),
                                         rt__dnn_tensor(p, CUDNN_DATA_FLOAT, both, 0));
    DnnDesc sums = rt__dnn_reduce(p, CUDNN_REDUCE_TENSOR_ADD, products, per_row(p, a, 0));
    return rt__dnn_pointwise(p, CUDNN_POINTWISE_MUL, sums, rt__dnn_scalar(p, ONE),
                             per_row(p, a, DNN_OWN));
}

// Scores or their gradients, turned for a product that adds up over rows.
static DnnDesc across(DnnParts *p, const rt_heads *a, DnnDesc s)
{
    DnnShape shape = rt__dnn_turned(rt__dnn_plain(a->n, a->heads, a->t, a->t));
    return rt__dnn_reshape(p, s, rt__dnn_tensor(p, CUDNN_DATA_BFLOAT16, shape, 0));
}

static void backward(DnnParts *p, const void *what, int part)
{
    const rt_heads *a = what;
    (void)part;
    DnnDesc q = whole(p, a, DNN_Q), kt = turned(p, a, DNN_K), vt = turned(p, a, DNN_V);
    DnnDesc d_o = whole(p, a, DNN_DO), scale = rt__dnn_scalar(p, SCALE);
    DnnDesc sums = row_sums(p, a, d_o);
    DnnDesc s = rt__dnn_product(p, q, kt, scores(p, a, CUDNN_DATA_FLOAT));
    s = with(p, a, CUDNN_POINTWISE_MUL, s, scale);
    s = with(p, a, CUDNN_POINTWISE_SUB, s, per_row(p, a, DNN_LSE));
    s = seen_scores(p, a, s);
    DnnDesc share = with(p, a, CUDNN_POINTWISE_EXP, s, NULL);
    rt__dnn_product(p, across(p, a, share), d_o, whole(p, a, DNN_DV));
    DnnDesc d = rt__dnn_product(p, d_o, vt, scores(p, a, CUDNN_DATA_FLOAT));
    d = with(p, a, CUDNN_POINTWISE_SUB, d, sums);
    d = with(p, a, CUDNN_POINTWISE_MUL, d, share);
    d = with(p, a, CUDNN_POINTWISE_MUL, d, scale);
    rt__dnn_product(p, across(p, a, d), q, whole(p, a, DNN_DK));
    DnnDesc k = rt__dnn_reshape(p, kt, whole(p, a, 0));
    rt__dnn_product(p, d, k, whole(p, a, DNN_DQ));
}

DnnWish rt__dnn_attention_wish(const rt_kernel *row)
{
    const rt_heads *a = &row->attention;
    bool grad = row->op == RT_ATTENTION_GRAD;
    return (DnnWish){.key = row->key,
                     .implementation = row->implementation,
                     .what = a,
                     .forms = {{grad ? backward : forward,
                                1,
                                {DNN_CORES, 0},
                                grad ? a->n * a->heads * a->t * 4 : 0}},
                     .n_forms = 1,
                     .optional = true,
                     .scalars = {a->scale, -FLT_MAX, 1}};
}

int rt__dnn_attention(const DnnMaker *m, const rt_kernel *row, DnnKernel *k)
{
    DnnWish wish = rt__dnn_attention_wish(row);
    return rt__dnn_make(m, &wish, k);
}
