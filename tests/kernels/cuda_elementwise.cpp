// Element-wise ops in kernels as they are generated: a thread takes a pack.
#include <stagecc/cu_elementwise.cuh>

#include "tests/kernels/cuda_test.h"

enum { THREADS = 256 };

template <typename T, int64_t n, typename F>
static __global__ void __launch_bounds__(THREADS) map_kernel(T *y, const T *x, F value)
{
    constexpr int N = cu_width<T>(n);
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (at >= n)
        return;
    float v[N];
    cu_load<N>(v, x + at);
    for (int i = 0; i < N; i++)
        v[i] = value(v[i], at + i);
    cu_store<N>(y + at, v);
}

template <typename T, int64_t n, typename F>
static __global__ void __launch_bounds__(THREADS)
    map_kernel(T *dx, const T *dy, const T *x, F value)
{
    constexpr int N = cu_width<T>(n);
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    if (at >= n)
        return;
    float d[N], v[N];
    cu_load<N>(d, dy + at);
    cu_load<N>(v, x + at);
    for (int i = 0; i < N; i++)
        d[i] = value(d[i], v[i]);
    cu_store<N>(dx + at, d);
}

template <typename T, int64_t n, typename F, typename... Inputs>
static void launch(const char *what, Tensor<T> &y, F value, const Inputs &...inputs)
{
    in_orders(what, {y}, [&] {
        CU_LAUNCH((map_kernel<T, n>), cu_ceil(n / cu_width<T>(n), THREADS), THREADS, NULL, y.f,
                  inputs.f..., value);
    });
    close_to(what, y, limit_of<T>());
}

// Some of them with a meaning of their own.
template <typename T> static void draw_special(Tensor<T> &x, double spread)
{
    static const double special[] = {0, -0.0, 6, 1, -1, 1e-30, NAN};
    draw(x, 0, spread);
    for (int64_t i = 0; i < 7; i++)
        x.set(i * x.n / 7, special[i]);
}

template <typename T, int64_t n> static void test_values(double spread)
{
    Tensor<T> x(n), y(n);
    draw_special(x, spread);
#define VALUE(name, ours)                                                                      \
    ref.name(y.d.data(), x.want(), n);                                                         \
    launch<T, n>(                                                                              \
        #name, y, [] __device__(float v, int64_t) { return ours(v); }, x);
    VALUE(relu, c_relu)
    VALUE(relu6, c_relu6)
    VALUE(gelu, c_gelu)
    VALUE(gelu_tanh, c_gelu_tanh)
    VALUE(sigmoid, c_sigmoid)
    VALUE(tanh, rt_tanh)
#undef VALUE
}

template <typename T, int64_t n> static void test_gradients(double spread)
{
    Tensor<T> dy(n), any(n), share(n), dx(n);
    draw(dy);
    draw_special(any, spread);
    draw(share, 0.5, 0.5); // results of sigmoid
#define GRADIENT(name, x)                                                                      \
    ref.name(dx.d.data(), dy.want(), x.want(), n);                                             \
    launch<T, n>(                                                                              \
        #name, dx, [] __device__(float d, float v) { return c_##name(d, v); }, dy, x);
    GRADIENT(relu_grad, any)
    GRADIENT(relu6_grad, any)
    GRADIENT(gelu_grad, any)
    GRADIENT(gelu_tanh_grad, any)
    GRADIENT(sigmoid_grad, share)
    GRADIENT(tanh_grad, share)
#undef GRADIENT
}

template <typename T, int64_t n> static void test_dropout()
{
    const uint64_t key = 0x123456789abcdef;
    Tensor<T> x(n), y(n);
    draw(x);
    ref.dropout(y.d.data(), x.want(), (double)0.3f, key, n);
    launch<T, n>(
        "dropout", y,
        [=] __device__(float v, int64_t at) { return c_dropout(v, 0.3f, key, at); }, x);
}

// add + gelu_tanh over [ROWS,C] in bf16, the second input [C] in float
template <int ROWS, int C>
static __global__ void __launch_bounds__(THREADS)
    chain_kernel(rt_bf16 *y, const rt_bf16 *x, const float *bias)
{
    constexpr int N = cu_width<rt_bf16>(C);
    const int at = ((int)blockIdx.x * THREADS + (int)threadIdx.x) * N;
    if (at >= ROWS * C)
        return;
    float v[N], b[N];
    cu_load<N>(v, x + at);
    cu_load<N>(b, bias + at % C);
    for (int i = 0; i < N; i++)
        v[i] = c_gelu_tanh(v[i] + b[i]);
    cu_store<N>(y + at, v);
}

template <int ROWS, int C> static void test_chain()
{
    constexpr int n = ROWS * C, N = cu_width<rt_bf16>(C);
    Tensor<rt_bf16> x(n), y(n);
    Tensor<float> bias(C);
    draw(x, 0, 3);
    draw(bias);
    in_orders("chain", {y}, [&] {
        CU_LAUNCH((chain_kernel<ROWS, C>), cu_ceil(n / N, THREADS), THREADS, NULL, y.f, x.f,
                  bias.f);
    });
    std::vector<double> sum(n);
    for (size_t i = 0; i < n; i++)
        sum[i] = x.d[i] + bias.d[i % C];
    ref.gelu_tanh(y.d.data(), sum.data(), n);
    close_to("add + gelu_tanh", y, BF16);
}

template <typename T> static void test_type(const char *type)
{
    for (double spread : {3, 100}) {
        printf("%s, within %g\n", type, spread);
        test_values<T, 3 * 5 * 7>(spread);
        test_values<T, 3072>(spread);
        test_gradients<T, 3 * 5 * 7>(spread);
        test_gradients<T, 3072>(spread);
    }
    test_dropout<T, 3 * 50 + 1>();
    test_dropout<T, 3072>();
}

int main()
{
    test_type<float>("f32");
    test_type<rt_bf16>("bf16");
    test_chain<7, 96>();
    test_chain<5, 12>();
    test_chain<3, 7>();
    return failed;
}
