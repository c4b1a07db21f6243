// Rows and calls of library kernels: convolutions, matrix products and attention. A generated program holds a constant table of the
// kernels that it calls (equal ones once) and calls them by their index, whatever the library is: <stagecc/dnnl.h>,
// <stagecc/cuda.h>.
//
// A kernel is chosen from its row, the instruction set or device and the number of threads alone, never from
// its neighbours, so cutting a model changes no bit. The functions return nothing: a failed call is
// noted by rt_fail, which the schedule loop looks at.
#ifndef STAGECC_LIBRARY_H
#define STAGECC_LIBRARY_H

#include <stagecc/stage.h>

typedef enum rt_kernel_op {
    RT_CONV2D = 1,
    RT_CONV2D_GRAD_INPUT,
    RT_CONV2D_GRAD_WEIGHT,
    RT_MATMUL,
    RT_ATTENTION, // by rt_cuda only, as its gradient
    RT_ATTENTION_GRAD
} rt_kernel_op;

// y[n,k,p,q] from x[n,c,h,w], w[k,c/groups,r,s] and a bias b[k] where there is one. The three
// kernels of a convolution have the same row but for the op and the bias.
typedef struct rt_conv {
    int64_t n, c, h, w, k, p, q, r, s;
    int groups;
    int stride[2], padding[4], dilation[2]; // [height, width], [top, left, bottom, right]
    int block;                              // channels of a block: 16 or 8
    int x_blocked, y_blocked;               // [N, C/block, H, W, block], else [N, C, H, W]
    int w_plain;                            // the weight is [K, C/groups, R, S] all the same
    int channels_last; // instead: both images are [N, H, W, C], the weight is [K, R, S, C/groups]
    int bias;
} rt_conv;

// c[m,n] = a[m,k] b[k,n] + bias[n], for each of batch[0] x batch[1] matrices; every matrix is given
// by the distance in elements between (batch 0, batch 1, rows, columns). add: c += instead.
typedef struct rt_product {
    int64_t batch[2], m, n, k;
    int64_t a[4], b[4], c[4];
    int bias, add;
} rt_product;

// Attention of n samples of t steps: o = softmax(scale q k^T) v of each head, where causal step i sees steps 0 .. i. Tensors
// are [n,t,heads,size], and lse is [n,heads,t], float: the log of the sum of exp over a row of scores.
typedef struct rt_heads {
    int64_t n, heads, t, size;
    float scale;
    int causal;
} rt_heads;

// What is done with a result, in float, before it is stored.
typedef enum rt_epilogue {
    RT_RELU = 1, // of y, or of c
    RT_GELU,     // of c, tanh form
    RT_GELU_AUX, // likewise, and what it is of is stored, too: rt_matmul_aux
    RT_SUMS      // nothing, but y is added up: rt_conv2d_sums
} rt_epilogue;

typedef struct rt_kernel {
    const char *key;            // says all of the above; names the kernel in kernels.json
    const char *implementation; // of the library, as the plan was made for; NULL: any
    rt_kernel_op op;
    // A 3x3 convolution by Winograd's F(4x4,3x3) where the library has it; one large product by
    // Strassen's algorithm: m, n and k are even, and AVX-512 is there.
    int fast;
    // Of the operands in the order of calls, and of the result; 0: all are float. A float beside bf16 is a
    // weight: the library's copy of it is bf16. Sums are taken in float, and a bias is float.
    rt_dtype types[3];
    rt_epilogue epilogue; // 0: none. <stagecc/cuda.h> alone knows some
    // Parameters that it reads in another layout or type, by their offset in the persistent memory.
    const int64_t *weights;
    int n_weights;
    union {
        rt_conv conv;
        rt_product product;
        rt_heads attention;
    };
} rt_kernel;

// Images and weights lie as the row says; weights and their gradients, which are float, as pack and
// unpack convert them: [K/b, C/b, R, S, b of C, b of K] between blocked images.
void rt_conv2d(rt_stage *s, int kernel, const void *x, const float *w, const float *b, void *y);
void rt_conv2d_grad_input(rt_stage *s, int kernel, const void *dy, const float *w, void *dx);
void rt_conv2d_grad_weight(rt_stage *s, int kernel, const void *x, const void *dy, float *dw);
void rt_matmul(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
               void *c);

#endif
