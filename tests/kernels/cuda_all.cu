// Every kernel once for both types, for nvcc.sh: it need compile only.
#include <stagecc/cu_attention_additive.cuh>
#include <stagecc/cu_batch_norm.cuh>
#include <stagecc/cu_card.cuh>
#include <stagecc/cu_channels.cuh>
#include <stagecc/cu_columns.cuh>
#include <stagecc/cu_conv.cuh>
#include <stagecc/cu_elementwise.cuh>
#include <stagecc/cu_embedding.cuh>
#include <stagecc/cu_flash.cuh>
#include <stagecc/cu_init.cuh>
#include <stagecc/cu_l2_normalize.cuh>
#include <stagecc/cu_layer_norm.cuh>
#include <stagecc/cu_loss.cuh>
#include <stagecc/cu_lstm.cuh>
#include <stagecc/cu_mma.cuh>
#include <stagecc/cu_norm_group.cuh>
#include <stagecc/cu_now.cuh>
#include <stagecc/cu_pool.cuh>
#include <stagecc/cu_recurrent.cuh>
#include <stagecc/cu_row.cuh>
#include <stagecc/cu_shape.cuh>
#include <stagecc/cu_softmax.cuh>
#include <stagecc/cu_stage.cuh>
#include <stagecc/cu_sums.cuh>
#include <stagecc/cu_transfer.cuh>
#include <stagecc/cu_update.cuh>

CU_CARD_KERNELS

// All element-wise functions, so that a host's function in one of them is seen.
template <typename T> static __global__ void elementwise(T *y, const T *a, const T *b)
{
    float x[8], d[8];
    cu_load<8>(x, a + threadIdx.x * 8);
    cu_load<8>(d, b + threadIdx.x * 8);
    CU_UNROLL
    for (int i = 0; i < 8; i++) {
        float v =
            c_relu(x[i]) + c_relu6(x[i]) + c_gelu(x[i]) + c_gelu_tanh(x[i]) + c_sigmoid(x[i]);
        float g = c_relu_grad(d[i], v) + c_relu6_grad(d[i], v) + c_gelu_grad(d[i], v);
        g +=
            c_gelu_tanh_grad(d[i], v) + c_sigmoid_grad(d[i], v) + c_tanh_grad(d[i], rt_tanh(v));
        x[i] = c_dropout(v + g, 0.5f, 7, threadIdx.x);
    }
    cu_store<8>(y + threadIdx.x * 8, x);
}

struct turned {
    CU_BOTH cu_walk walk()
    {
        return {3, 0, 0, {8, 3136, 64}, {200704, 64, 1}, {200704, 1, 3136}};
    }
};
struct heads {
    CU_BOTH cu_walk walk()
    {
        return {4, 0, 0, {16, 12, 1024, 64}, {786432, 65536, 64, 1}, {786432, 64, 768, 1}};
    }
};
struct numbers {
    CU_BOTH cu_walk walk()
    {
        return {3, 0, 0, {8, 50, 3}, {150, 3, 1}, {150, 1, 50}};
    }
};

template <typename T> static void shapes(cudaStream_t stream, T *t, float *f)
{
    const int32_t *lengths = (const int32_t *)(const void *)f;
    cu_copy<T, turned>(stream, t, t);
    cu_copy<T, heads>(stream, t, t);
    cu_copy<T, numbers>(stream, t, t);
    cu_pad<T, 64, 8, 40>(stream, t, t, 100);
    cu_pad<T, 7, 2, 3>(stream, t, t, 100);
    cu_mask<T, 64, 1>(stream, t, t, lengths, 8, 12);
    cu_mask<T, 7, 3>(stream, t, t, lengths, 8, 12);
}

struct pool3 {
    CU_BOTH cu_window window()
    {
        return {{112, 56, 3, 2, 1, 1, 1}, {112, 56, 3, 2, 1, 1, 1}, false};
    }
};
struct pool17 {
    CU_BOTH cu_window window()
    {
        return {{35, 3, 17, 16, 1, 8, 8}, {35, 3, 17, 16, 1, 8, 8}, true};
    }
};

template <typename T, int C, typename Pool>
static void pools(cudaStream_t stream, T *t, float *f)
{
    cu_argmax<Pool> *argmax = (cu_argmax<Pool> *)(void *)f;
    cu_max_pool2d<T, C, Pool>(stream, t, argmax, t, 256);
    cu_max_pool2d_grad<T, C, Pool>(stream, t, t, argmax, 256);
    cu_avg_pool2d<T, C, Pool>(stream, t, t, 256);
    cu_avg_pool2d_grad<T, C, Pool>(stream, t, t, 256);
}

template <typename Shares, typename T>
static void batch_norm(cudaStream_t stream, const Shares &shares, T *t, float *f, double *part)
{
    cu_norm *norm = (cu_norm *)(void *)part;
    cu_norm_grad *grad = (cu_norm_grad *)(void *)part;
    cu_batch_norm<cu_relu>(stream, shares, t, f, f, part, norm, t, f, f, 1e-5);
    cu_batch_norm_infer(stream, shares, t, norm, t, f, f, f, f, 1e-5);
    cu_batch_norm_grad<cu_relu>(stream, shares, t, f, f, part, norm, grad, t, t, f, f, f, f,
                                1e-5);
}

template <typename T, int C> static void rows(cudaStream_t stream, T *t, float *f, double *part)
{
    const int32_t *labels = (const int32_t *)(const void *)f;
    cu_softmax<T, C>(stream, t, t, labels, 1, 100, 10);
    cu_softmax_grad<T, C>(stream, t, t, t, 100);
    cu_cross_entropy<T, C>(stream, f, f, part, t, labels, 100, 0.1);
    cu_cross_entropy_grad<T, C>(stream, t, f, t, labels, f, f, 100, 0.1);
    cu_cross_entropy_both<T, C>(stream, f, t, part, f, t, labels, f, 100, 0.1);
    cu_mse<T, C>(stream, f, part, t, f);
    cu_mse_grad<T, C>(stream, t, t, f, f);
    batch_norm(stream, cu_pixels<T, C>{100}, t, f, part);
    batch_norm(stream, cu_planes<T, C>{8, 64}, t, f, part);
    cu_layer_norm<T, C>(stream, t, f, f, t, f, f, 100, 1e-5);
    cu_layer_norm_grad<T, C>(stream, t, t, t, f, f, f, 100);
    cu_layer_norm_grad_params<T, C>(stream, f, f, part, t, t, f, f, 100);
    cu_l2_normalize<T, C>(stream, t, f, t, 100, 1e-12);
    cu_l2_normalize_grad<T, C>(stream, t, t, t, f, 100, 1e-12);
    cu_global_avg_pool<T, C>(stream, t, part, t, 256, 49);
    cu_global_avg_pool_grad<T, C, 49>(stream, t, t, 256);
    cu_sum_rows<float, T, C>(stream, f, part, t, 1, 100, 1);
    cu_cross_entropy<T, C - 1, C>(stream, f, f, part, t, labels, 100, 0.1);
    cu_cross_entropy_grad<T, C - 1, C>(stream, t, f, t, labels, f, f, 100, 0.1);
    cu_sum_rows<float, T, C - 1, C>(stream, f, part, t, 1, 100, 1);
    cu_sum_channels(stream, cu_planes<T, C>{256, 64}, f, part, t);
    cu_embedding<C>(stream, f, labels, f, 100, 1000, -1);
    cu_embedding_grad<T, C>(stream, f, labels, t, 100, 1000, -1, true);
}

template <int H> static void features(cudaStream_t stream, float *f, double *part)
{
    const int32_t *lengths = (const int32_t *)(const void *)f;
    cu_lstm<H>(stream, f, f, f, f, f, lengths, {10, 3, false},
               [](cu_lstm_out, cu_lstm_in, cu_lstm_in) {});
    cu_lstm_grad<H>(stream, f, f, f, f, f, f, f, lengths, {10, 3, true},
                    [](cu_lstm_out, cu_lstm_in) {});
    cu_additive_score<4, 5, H>(stream, f, f, f, f, 10);
    cu_additive_score_grad<4, 5, H>(stream, f, f, f, part, f, f, f, f, 10);
}

struct conv3 {
    CU_BOTH cu_conv conv()
    {
        return {{56, 28, 3, 2, 1, 1}, {56, 28, 3, 2, 1, 1}};
    }
};
struct conv7 {
    CU_BOTH cu_conv conv()
    {
        return {{20, 20, 7, 1, 1, 3}, {20, 20, 7, 1, 1, 3}};
    }
};

template <typename T, int C, int M, typename Conv>
static void depthwise(cudaStream_t stream, T *t, float *f, double *part)
{
    cu_depthwise_conv2d<T, C, M, Conv>(stream, t, t, f, f, 256);
    cu_depthwise_conv2d_grad_input<T, C, M, Conv>(stream, t, t, f, 256);
    cu_depthwise_conv2d_grad_weight<T, C, M, Conv>(stream, f, part, t, t, 256);
}

template <int STEPS, int D, bool CAUSAL, bool DROPS>
static void attention(cudaStream_t stream, rt_bf16 *b, float *f)
{
    const cu_attention_options z = {1, 12, 0.125f, 0.1f, 7, (const rt_now *)(const void *)f};
    cu_attention<STEPS, D, CAUSAL, DROPS>(stream, b, f, b, b, b, z);
    cu_attention_grad<STEPS, D, CAUSAL, DROPS>(stream, b, b, b, f, b, b, b, b, b, f, z);
}

template <typename T> static void all(cudaStream_t stream, T *t, float *f, double *part)
{
    depthwise<T, 64, 1, conv3>(stream, t, f, part);
    depthwise<T, 37, 1, conv7>(stream, t, f, part);
    depthwise<T, 16, 2, conv3>(stream, t, f, part);
    rows<T, 37>(stream, t, f, part);
    rows<T, 768>(stream, t, f, part);
    rows<T, 4096>(stream, t, f, part);
    CU_LAUNCH(elementwise<T>, 1, 256, stream, t, t, t);
    shapes(stream, t, f);
    pools<T, 64, pool3>(stream, t, f);
    pools<T, 36, pool17>(stream, t, f);
    cu_sum_walk<T, numbers, turned>(stream, f, t);
    cu_encode<cu_codec_int8>(stream, (uint8_t *)f, t, 100);
    cu_decode<cu_codec_int8>(stream, t, (uint8_t *)f, 100);
    cu_accumulate(stream, f, t, 100, false);
}

// As a stage's kernels are called.
extern "C" const int64_t cu_room = cu_largest({0, cu_columns<float, 768>::part_bytes(100)});
extern "C" void update(rt_stage *s, const rt_update *updates, const cu_step *step);
extern "C" void update(rt_stage *s, const rt_update *updates, const cu_step *step)
{
    cu_update_all<2>(s, updates, [=](const cu_update *rows, int64_t blocks) {
        cu_sgd(cu_stream(s), rows, 2, blocks, rt_next(s), step, {0.9f, 0, false});
    });
}

// As kernels of norms are generated.
template <typename T> struct some_pixels {
    CU_BOTH cu_pixels<T, 64> shares()
    {
        return {100};
    }
};
template <typename T> struct large_planes {
    CU_BOTH cu_planes<T, 3136> shares()
    {
        return {8, 64};
    }
};
template <typename T> struct odd_planes {
    CU_BOTH cu_planes<T, 49> shares()
    {
        return {8, 64};
    }
};

template <typename Sizes, typename T>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    look_parts(double *part, const cu_norm *norm, const T *x)
{
    constexpr auto shares = Sizes::shares();
    constexpr int N = shares.N;
    shares.add_up(part, [=](float(&run)[2][N], int64_t i) {
        const cu_look k(shares, norm);
        float x_pack[N];
        cu_load<N>(x_pack, x + i);
        CU_UNROLL
        for (int p = 0; p < N; p++) {
            run[0][p] += c_norm_again(&k, p, x_pack[p]);
            run[1][p] += x_pack[p] * (x_pack[p] - k.at(p).mean);
        }
    });
}

template <typename Sizes, typename T>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    look_apply(T *x, const cu_norm *norm, const cu_norm_grad *grad)
{
    constexpr auto shares = Sizes::shares();
    constexpr int N = shares.N;
    if (shares.left_over())
        return;
    const cu_look_back k(shares, norm, grad);
    shares.each([&](int64_t i) {
        float x_pack[N];
        cu_load<N>(x_pack, x + i);
        CU_UNROLL
        for (int p = 0; p < N; p++)
            x_pack[p] =
                c_norm_at(&k, p, x_pack[p]) + c_norm_grad_at(&k, p, x_pack[p], x_pack[p]);
        cu_store<N>(x + i, x_pack);
    });
}

template <typename Sizes, typename T> static void norm_group(rt_stage *s, T *x, float *f)
{
    const cu_norm_room<decltype(Sizes::shares())> room(s, Sizes::shares());
    cu_norm_statistics(cu_stream(s), room, f, f, x, f, f, f, 1e-5);
    cu_norm_fixed(cu_stream(s), room, f, f, f, f, 1e-5);
    cu_norm_gradients(cu_stream(s), room, f, f, f, 1e-5);
    cu_norm_give(cu_stream(s), room, x);
    cu_norm_take(cu_stream(s), room, f, f, f, f, 100, 1e-5);
    cu_norm_grad_give(cu_stream(s), room, f, f, f, 1e-5);
    cu_norm_grad_take(cu_stream(s), room, f, 200, 1e-5);
    CU_LAUNCH((look_parts<Sizes, T>), room.shares.blocks(), CU_COLUMN_THREADS, cu_stream(s),
              room.part, room.norm, x);
    CU_LAUNCH((look_apply<Sizes, T>), room.shares.blocks(), CU_COLUMN_THREADS, cu_stream(s), x,
              room.norm, room.grad);
}

template <typename T> static void norm_groups(rt_stage *s, T *x, float *f)
{
    norm_group<some_pixels<T>>(s, x, f);
    norm_group<large_planes<T>>(s, x, f);
    norm_group<odd_planes<T>>(s, x, f);
}

extern "C" void norms(rt_stage *s, float *f, rt_bf16 *b);
extern "C" void norms(rt_stage *s, float *f, rt_bf16 *b)
{
    norm_groups(s, f, f);
    norm_groups(s, b, f);
    cu_step_product<32, 8>(s, {f, 32}, {f, 8}, {f, 32}, f, true, 100);
}

void everything(cudaStream_t stream, float *f, rt_bf16 *b, double *part);
void everything(cudaStream_t stream, float *f, rt_bf16 *b, double *part)
{
    attention<1000, 64, true, true>(stream, b, f);
    features<37>(stream, f, part);
    features<512>(stream, f, part);
    cu_draw(stream, f, {7, 1, false, true}, 100, 1, 1);
    all(stream, f, f, part);
    all(stream, b, f, part);
    cu_running_update(stream, f, f, f, f, 100, 0.1, 1000);
    shapes(stream, (uint8_t *)f, f);
    cu_encode<cu_codec_bf16>(stream, (uint8_t *)f, f, 100);
    cu_decode<cu_codec_bf16>(stream, f, (uint8_t *)f, 100);
    cu_encode<cu_codec_f16>(stream, (uint8_t *)f, f, 100);
    cu_decode<cu_codec_f16>(stream, f, (uint8_t *)f, 100);
    cu_sgd(stream, (cu_update *)(void *)part, 1, 1, 0, (cu_step *)(void *)f, {0.9f, 0, false});
    cu_adam(stream, (cu_update *)(void *)part, 1, 1, 0, (cu_step *)(void *)f,
            {0, 0.999f, 0.1f, 0.001f, 1e-8f});
}
