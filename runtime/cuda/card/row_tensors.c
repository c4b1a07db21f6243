#include "runtime/cuda/card/row_tensors.h"

#include "runtime/cuda/card/attention.h"
#include "runtime/cuda/card/convolutions.h"

#include "plan/card.h"

typedef struct Sizes { // bytes by number, from 1; which of them are written
    int64_t bytes[DNN_TENSORS];
    unsigned written;
} Sizes;

static int64_t bytes_of(const rt_kernel *k, int operand)
{
    return k->types[operand] == RT_BF16 ? 2 : 4;
}

static int64_t reach(const rt_product *p, const int64_t apart[4], int64_t rows, int64_t columns)
{
    return (p->batch[0] - 1) * apart[0] + (p->batch[1] - 1) * apart[1] + (rows - 1) * apart[2] +
           (columns - 1) * apart[3] + 1;
}

int64_t rt__product_reach(const rt_product *p, int operand)
{
    return operand == PRODUCT_A   ? reach(p, p->a, p->m, p->k)
           : operand == PRODUCT_B ? reach(p, p->b, p->k, p->n)
                                  : reach(p, p->c, p->m, p->n);
}

static Sizes sizes_of_product(const rt_kernel *k)
{
    const rt_product *p = &k->product;
    int64_t c = rt__product_reach(p, PRODUCT_C) * bytes_of(k, 2);
    return (Sizes){{[PRODUCT_A - 1] = rt__product_reach(p, PRODUCT_A) * bytes_of(k, 0),
                    [PRODUCT_B - 1] = rt__product_reach(p, PRODUCT_B) * bytes_of(k, 1),
                    [PRODUCT_BIAS - 1] = p->bias ? p->n * 4 : 0,
                    [PRODUCT_C - 1] = c,
                    [PRODUCT_AUX - 1] = k->epilogue == RT_GELU_AUX ? c : 0},
                   1u << PRODUCT_C | 1u << PRODUCT_AUX};
}

int64_t rt__conv_weight(const rt_conv *c)
{
    return c->k * (c->c / c->groups) * c->r * c->s;
}

static Sizes sizes_of_convolution(const rt_kernel *k)
{
    const rt_conv *c = &k->conv;
    int64_t size = bytes_of(k, 0), sums = k->epilogue == RT_SUMS ? c->k * 4 : 0;
    int out = k->op == RT_CONV2D ? DNN_Y : k->op == RT_CONV2D_GRAD_INPUT ? DNN_X : DNN_W;
    return (Sizes){{[DNN_X - 1] = c->n * c->c * c->h * c->w * size,
                    [DNN_W - 1] = rt__conv_weight(c) * size,
                    [DNN_Y - 1] = c->n * c->k * c->p * c->q * size,
                    [DNN_B - 1] = c->bias ? c->k * 4 : 0,
                    [DNN_SUM - 1] = sums,
                    [DNN_SQUARES - 1] = sums},
                   1u << out | 1u << DNN_SUM | 1u << DNN_SQUARES};
}

static Sizes sizes_of_attention(const rt_kernel *k)
{
    const rt_heads *a = &k->attention;
    int64_t whole = a->n * a->t * a->heads * a->size * 2;
    Sizes s = {{[DNN_LSE - 1] = a->n * a->heads * a->t * 4}, 1u << DNN_O | 1u << DNN_LSE};
    bool grad = k->op == RT_ATTENTION_GRAD;
    for (int i = DNN_Q; i <= (grad ? DNN_DV : DNN_O); i++)
        s.bytes[i - 1] = i == DNN_LSE ? s.bytes[i - 1] : whole;
    if (grad)
        s.written = 1u << DNN_DQ | 1u << DNN_DK | 1u << DNN_DV;
    return s;
}

static Sizes sizes_of(const rt_kernel *k)
{
    switch (k->op) {
    case RT_MATMUL: return sizes_of_product(k);
    case RT_ATTENTION:
    case RT_ATTENTION_GRAD: return sizes_of_attention(k);
    case RT_CONV2D:
    case RT_CONV2D_GRAD_INPUT:
    case RT_CONV2D_GRAD_WEIGHT: break;
    }
    return sizes_of_convolution(k);
}

rt__row_tensors rt__row_tensors_of(const rt_kernel *k)
{
    Sizes z = sizes_of(k);
    rt__row_tensors t = {.read = 0};
    for (int out = 0; out < 2; out++)
        for (int i = 0; i < DNN_TENSORS; i++) {
            if ((int)(z.written >> (i + 1) & 1) != out)
                continue;
            t.at[i] = z.bytes[i] ? t.read + t.written : -1;
            *(out ? &t.written : &t.read) += card_aligned(z.bytes[i]);
        }
    return t;
}
