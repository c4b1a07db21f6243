// What programs of the cuda backend ask of its runtime, beside stage.h and library.h. Pointers to tensors are the
// device's, as are those that these functions return. Nothing but rt_cuda_add_round waits for the device, and nothing of CUDA is included:
// the first source of a stage compiles anywhere.
#ifndef STAGECC_CUDA_H
#define STAGECC_CUDA_H

#include <stagecc/bf16.h>
#include <stagecc/cu_now.h>
#include <stagecc/library.h>

// What rt_program.kernels points to.
typedef struct rt_cuda_kernels {
    const rt_kernel *rows; // rt_program.n_kernels
    const int64_t
        *room; // bytes that the program's own kernels have for the time being (rt_cuda_room)
    int tf32;  // floats may be multiplied in the fewer bits of tensor cores
} rt_cuda_kernels;

// rt_matmul of a row whose epilogue has a tensor more, which lies as c does.
void rt_matmul_aux(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
                   void *c, void *aux);

// rt_conv2d, without a bias, of a row with RT_SUMS. Gives the sums of y and of its squares for every channel, [2,k], until
// the next such call; NULL: this library has no engine that adds them up on its way, so nobody has.
const float *rt_conv2d_sums(rt_stage *s, int kernel, const void *x, const float *w, void *y);

// What an optimizer makes of learning rate and step before parameters are looked at.
typedef struct rt_rates {
    double beta1, beta2; // adam; 0: sgd
    double shrink;       // weight decay that is decoupled
} rt_rates;

// A parameter of an update, by places (RT_IN_PERSISTENT and so on).
typedef struct rt_update {
    int64_t param, grad;
    int64_t state[2]; // RT_NOWHERE: it has none
    int64_t n;        // elements
} rt_update;
#define RT_NOWHERE INT64_C(-1)

void *rt_cuda_stream(rt_stage *s); // of the stage's work: a cudaStream_t
void *rt_cuda_room(rt_stage *s);   // for the time being of one call
// The device's knowledge of step and micro-batch.
const rt_now *rt_cuda_now(rt_stage *s, int mb);
// Likewise of an update, after these rates, which are constant.
const cu_step *rt_cuda_step(rt_stage *s, const rt_rates *rates);
// Bytes that do not change any more, in the device's memory, where they stay as long as launches read them.
const void *rt_cuda_bytes(rt_stage *s, const void *bytes, size_t n);
// Where the copy of a parameter in bf16 lies, which products read: an update writes it, too. NULL: there is none.
void *rt_cuda_narrow(rt_stage *s, const float *param);

// Synchronised batch norm: rt_add_round of sums in the device's memory. It waits, so its function is never captured.
void rt_cuda_add_round(rt_stage *s, int mb, double *sums, int64_t n);

// out[m,n] = more[m,n] + x[m,k] w, with w[k,n], or w[n,k] where it is turned, of floats: a product inside of one of the
// program's own functions, by the library. Rows but those of w lie so many elements apart; more may be out.
typedef struct rt_cuda_product {
    float *out;
    const float *more, *x, *w;
    int64_t out_apart, more_apart, x_apart;
    int64_t m, n, k;
    int turned;
} rt_cuda_product;
void rt_cuda_multiply(rt_stage *s, const rt_cuda_product *p);

// Attention, as a row says it, by the library, in bf16 but for lse; its gradient. 0: the library has no such kernel, which
// is known when a program starts.
int rt_attention(rt_stage *s, int kernel, const rt_bf16 *q, const rt_bf16 *k, const rt_bf16 *v,
                 rt_bf16 *o, float *lse);
typedef struct rt_attention_tensors {
    const rt_bf16 *dy, *q, *k, *v, *o;
    const float *lse;
    rt_bf16 *dq, *dk, *dv;
} rt_attention_tensors;
int rt_attention_grad(rt_stage *s, int kernel, const rt_attention_tensors *t);

extern const rt_backend rt_cuda; // for rt_program.backend

#endif
