// Bytes a second of each class of own kernels, beside the copy of `stagecc-card` (tools/gpu-check). A line of JSON each:
//
//   kernels SIZE        sizes are those of ResNet-50 and GPT-2 at 256: 256 images, 16 samples
//
// What counts is what a kernel reads and writes at least, had it all of a tensor at hand: one that reads twice is slower by
// that, and shall be. Medians; no tensor stays in the cache from one call to the next at full size.
#include <stagecc/cu_batch_norm.cuh>
#include <stagecc/cu_conv.cuh>
#include <stagecc/cu_elementwise.cuh>
#include <stagecc/cu_embedding.cuh>
#include <stagecc/cu_flash.cuh>
#include <stagecc/cu_layer_norm.cuh>
#include <stagecc/cu_loss.cuh>
#include <stagecc/cu_pool.cuh>
#include <stagecc/cu_shape.cuh>
#include <stagecc/cu_softmax.cuh>
#include <stagecc/cu_sums.cuh>
#include <stagecc/cu_transfer.cuh>
#include <stagecc/cu_update.cuh>

#include <stdio.h>
#include <time.h>

#ifndef __CUDACC__ // for a device that is not there (tests/cuda/cudart.cpp), beside whose header cu_host.h cannot stand
extern "C" {
enum cudaError_t { cudaSuccess = 0, cudaErrorInsufficientDriver = 35, cudaErrorNoDevice = 100 };
enum { cudaMemcpyHostToDevice = 1, cudaStreamNonBlocking = 1 };
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMalloc(void **at, size_t n);
cudaError_t cudaMemsetAsync(void *at, int byte, size_t n, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, int kind,
                            cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
}
#endif

enum { WARM = 2, ROUNDS = 7, CALLS = 3, FULL = 256, NO_DEVICE = 2 };

static cudaStream_t stream;

static void check(const char *what, cudaError_t status)
{
    if (status == cudaSuccess)
        return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
    exit(status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ? NO_DEVICE : 1);
}

static void settle()
{
#ifdef __CUDACC__
    check("launch", cudaGetLastError());
#endif
    check("kernel", cudaStreamSynchronize(stream));
}

static double now_s()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

template <typename F> static double time_of(F call)
{
    double s[ROUNDS];
    for (int i = 0; i < WARM; i++)
        call();
    settle();
    for (double &round : s) {
        const double begin = now_s();
        for (int i = 0; i < CALLS; i++)
            call();
        settle();
        round = (now_s() - begin) / CALLS;
    }
    qsort(s, ROUNDS, sizeof *s, by_size);
    return s[ROUNDS / 2];
}

template <typename F> static void tell(const char *name, double bytes, F call)
{
    const double s = time_of(call);
    printf("{\"name\": \"%s\", \"ms\": %.3f, \"gb_per_s\": %.1f}\n", name, 1e3 * s,
           1e-9 * bytes / s);
    fflush(stdout);
}

// n elements of one pattern of bytes: small numbers in both types, or zeros.
template <typename T> static T *memory(int64_t n, int byte = 0x3c)
{
    void *at = NULL;
    check("memory", cudaMalloc(&at, (size_t)n * sizeof(T) + 16));
    check("fill", cudaMemsetAsync(at, byte, (size_t)n * sizeof(T), stream));
    return (T *)at;
}

// add + gelu_tanh, as it is generated
static __global__ void __launch_bounds__(256)
    chain_kernel(rt_bf16 *y, const rt_bf16 *a, const rt_bf16 *b, int64_t n)
{
    const int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * 8;
    if (i >= n)
        return;
    float v[8], w[8];
    cu_load<8>(v, a + i);
    cu_load<8>(w, b + i);
    CU_UNROLL
    for (int k = 0; k < 8; k++)
        v[k] = c_gelu_tanh(v[k] + w[k]);
    cu_store<8>(y + i, v);
}

struct first_pool {
    CU_BOTH cu_window window()
    {
        return {{112, 56, 3, 2, 1, 1, 1}, {112, 56, 3, 2, 1, 1, 1}, false};
    }
};
struct heads {
    CU_BOTH cu_walk walk()
    {
        return {4, 0, 0, {128, 12, 1024, 64}, {786432, 65536, 64, 1}, {786432, 64, 768, 1}};
    }
};
struct few_heads { // for a processor
    CU_BOTH cu_walk walk()
    {
        return {4, 0, 0, {1, 2, 64, 64}, {8192, 4096, 64, 1}, {8192, 64, 128, 1}};
    }
};
struct depthwise {
    CU_BOTH cu_conv conv()
    {
        return {{56, 56, 3, 1, 1, 1}, {56, 56, 3, 1, 1, 1}};
    }
};

// Channels last, [pixels,256] as behind ResNet-50's first blocks.
static void images(int64_t size)
{
    enum { C = 256 };
    const int64_t pixels = size * 56 * 56 / (size < FULL ? 49 : 1), n = pixels * C;
    const cu_pixels<rt_bf16, C> shares = {pixels};
    const cu_planes<rt_bf16, 64> planes = {pixels / 64, C}; // the same elements, plain
    rt_bf16 *x = memory<rt_bf16>(n), *y = memory<rt_bf16>(n), *z = memory<rt_bf16>(n);
    float *f[6];
    for (float *&v : f)
        v = memory<float>(C);
    double *part = (double *)memory<uint8_t>(shares.part_bytes() + planes.part_bytes());
    cu_norm *norm = memory<cu_norm>(C);
    cu_norm_grad *grad = memory<cu_norm_grad>(C);
    const double one = 2.0 * (double)n;
    tell("batch norm + relu", 2 * one, [=] {
        cu_batch_norm<cu_relu>(stream, shares, y, f[0], f[1], part, norm, x, f[2], f[3], 1e-5);
    });
    tell("batch norm + relu, gradient", 3 * one, [=] {
        cu_batch_norm_grad<cu_relu>(stream, shares, z, f[4], f[5], part, norm, grad, y, x, f[2],
                                    f[3], f[0], f[1], 1e-5);
    });
    tell("batch norm + relu, plain", 2 * one, [=] {
        cu_batch_norm<cu_relu>(stream, planes, y, f[0], f[1], part, norm, x, f[2], f[3], 1e-5);
    });
    tell("batch norm + relu, plain, gradient", 3 * one, [=] {
        cu_batch_norm_grad<cu_relu>(stream, planes, z, f[4], f[5], part, norm, grad, y, x, f[2],
                                    f[3], f[0], f[1], 1e-5);
    });
    tell("sums of rows", one,
         [=] { cu_sum_rows<float, rt_bf16, C>(stream, f[0], part, x, 1, pixels, 1); });
    const int64_t few = size < FULL ? 1 : size, from = few * 112 * 112 * 64;
    rt_bf16 *large = memory<rt_bf16>(from), *small = memory<rt_bf16>(from / 4);
    uint8_t *argmax = memory<uint8_t>(from / 4);
    tell("max_pool2d", 2.75 * (double)from,
         [=] { cu_max_pool2d<rt_bf16, 64, first_pool>(stream, small, argmax, large, few); });
    float *weight = memory<float>(64 * 9);
    rt_bf16 *in = memory<rt_bf16>(few * 56 * 56 * 64),
            *out = memory<rt_bf16>(few * 56 * 56 * 64);
    tell("depthwise 3x3", 4.0 * (double)(few * 56 * 56 * 64), [=] {
        cu_depthwise_conv2d<rt_bf16, 64, 1, depthwise>(stream, out, in, weight, NULL, few);
    });
}

// [rows,768] as in GPT-2
static void rows(int64_t size)
{
    enum { C = 768, V = 50264, S = 1024 };
    const int64_t rows = size * (size < FULL ? 64 : 512), n = rows * C;
    typedef cu_columns<rt_bf16, C> shares;
    rt_bf16 *x = memory<rt_bf16>(n), *y = memory<rt_bf16>(n), *z = memory<rt_bf16>(n);
    float *gamma = memory<float>(C), *beta = memory<float>(C), *mean = memory<float>(rows),
          *rstd = memory<float>(rows);
    double *part = (double *)memory<uint8_t>(shares::part_bytes(rows));
    const double one = 2.0 * (double)n;
    tell("add + gelu", 3 * one,
         [=] { CU_LAUNCH(chain_kernel, cu_ceil(n, 2048), 256, stream, z, x, y, n); });
    tell("layer norm", 2 * one,
         [=] { cu_layer_norm<rt_bf16, C>(stream, y, mean, rstd, x, gamma, beta, rows, 1e-5); });
    tell("layer norm, gradient", 3 * one,
         [=] { cu_layer_norm_grad<rt_bf16, C>(stream, z, y, x, gamma, mean, rstd, rows); });
    tell("layer norm, gradient of parameters", 2 * one, [=] {
        cu_layer_norm_grad_params<rt_bf16, C>(stream, gamma, beta, part, y, x, mean, rstd,
                                              rows);
    });
    const int64_t scores = size < FULL ? 64 : 16 * 12 * 1024;
    rt_bf16 *s = memory<rt_bf16>(scores * S), *p = memory<rt_bf16>(scores * S);
    tell("softmax, causal", 4.0 * (double)(scores * S),
         [=] { cu_softmax<rt_bf16, S>(stream, p, s, NULL, 1, scores, S); });
    const int64_t tokens = size < FULL ? 8 : 16 * 1024;
    rt_bf16 *logits = memory<rt_bf16>(tokens * V);
    float *loss = memory<float>(4), *each = memory<float>(tokens),
          *table = memory<float>(V * C);
    double *term = memory<double>(tokens);
    int32_t *ids = memory<int32_t>(tokens, 0);
    tell("cross entropy and gradient", 4.0 * (double)(tokens * V), [=] {
        cu_cross_entropy_both<rt_bf16, V>(stream, loss, logits, term, each, logits, ids,
                                          loss + 1, tokens, 0);
    });
    tell("embedding", 8.0 * (double)(tokens * C),
         [=] { cu_embedding<C>(stream, (float *)(void *)logits, ids, table, tokens, V, -1); });
    if (size < FULL)
        tell("transpose of heads", 4.0 * 8192,
             [=] { cu_copy<rt_bf16, few_heads>(stream, y, x); });
    else
        tell("transpose of heads", 2 * one, [=] { cu_copy<rt_bf16, heads>(stream, y, x); });
    uint8_t *message = memory<uint8_t>(2 * n);
    tell("encode int8", 3.0 * (double)n,
         [=] { cu_encode<cu_codec_int8>(stream, message, x, n); });
}

// What optimizers read and write of n parameters.
static void updates(int64_t size)
{
    const int64_t n = size * 400000;
    cu_update row = {memory<float>(n),
                     memory<float>(n),
                     {memory<float>(n), memory<float>(n)},
                     memory<rt_bf16>(n),
                     n,
                     0};
    const cu_step step = {1e-3f, 1, 1, 1, 1e-3f, 0};
    const int64_t blocks = cu_update_blocks(&row, 1);
    cu_update *rows = memory<cu_update>(1);
    cu_step *now = memory<cu_step>(1);
    check("row", cudaMemcpyAsync(rows, &row, sizeof row, cudaMemcpyHostToDevice, stream));
    check("step", cudaMemcpyAsync(now, &step, sizeof step, cudaMemcpyHostToDevice, stream));
    settle();
    tell("adam", 30.0 * (double)n, [=] {
        cu_adam(stream, rows, 1, blocks, 0, now, {0, 0.999f, 0.1f, 0.001f, 1e-8f});
    });
    row.state[1] = NULL;
    check("row", cudaMemcpyAsync(rows, &row, sizeof row, cudaMemcpyHostToDevice, stream));
    settle();
    tell("sgd with momentum", 22.0 * (double)n, [=] {
        cu_sgd(stream, rows, 1, blocks, 0, now, {0.9f, 0, false});
    });
}

// GPT-2's attention: products are what takes time, so these count.
template <int STEPS> static void attention(int64_t n, int heads)
{
    const int64_t all = n * STEPS * heads * 64;
    rt_bf16 *t[8];
    for (rt_bf16 *&v : t)
        v = memory<rt_bf16>(all);
    float *lse = memory<float>(n * heads * STEPS), *delta = memory<float>(n * heads * STEPS);
    const cu_attention_options z = {n, heads, 0.125f, 0, 0, NULL};
    const double products = 2e-12 * (double)all * STEPS; // one, causal: half of it
    auto say = [&](const char *name, int k, double s) {
        printf("{\"name\": \"%s\", \"ms\": %.3f, \"tflop_per_s\": %.3f}\n", name, 1e3 * s,
               k * products / s);
    };
    say("own attention, causal", 2, time_of([=] {
            cu_attention<STEPS, 64, true, false>(stream, t[0], lse, t[1], t[2], t[3], z);
        }));
    say("own attention, causal, gradient", 5, time_of([=] {
            cu_attention_grad<STEPS, 64, true, false>(stream, t[4], t[5], t[6], delta, t[7],
                                                      t[1], t[2], t[3], t[0], lse, z);
        }));
}

int main(int argc, char **argv)
{
    const int64_t size = argc > 1 ? atol(argv[1]) : (int64_t)FULL;
    if (size < 1) {
        fprintf(stderr, "usage: kernels SIZE\n");
        return 1;
    }
    check("device", cudaSetDevice(0));
    check("stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    if (size < FULL)
        attention<64>(1, 1);
    else
        attention<1024>(16, 12);
    rows(size);
    updates(size);
    images(size);
    return 0;
}
