// Depthwise convolution, forward and backward. The reference's images have channels first.
#include <stagecc/cu_conv.cuh>

#include "tests/kernels/cuda_test.h"

// The same [n,pixels,channels] with channels first, and back.
static std::vector<double> channels_first(const std::vector<double> &x, int64_t channels,
                                          int64_t pixels)
{
    std::vector<double> y(x.size());
    for (size_t i = 0; i < x.size(); i++) {
        const int64_t at = (int64_t)i, c = at % channels, p = at / channels % pixels;
        y[(size_t)((at / channels / pixels * channels + c) * pixels + p)] = x[i];
    }
    return y;
}

template <typename Conv> static Convolution sizes_of(int64_t n, int c, int m)
{
    const cu_conv z = Conv::conv();
    Convolution r = {};
    r.n = n;
    r.c = r.groups = c;
    r.k = (int64_t)c * m;
    r.h = z.high.size;
    r.w = z.wide.size;
    r.p = z.high.result;
    r.q = z.wide.result;
    r.r = z.high.kernel;
    r.s = z.wide.kernel;
    r.stride[0] = z.high.stride;
    r.stride[1] = z.wide.stride;
    r.dilation[0] = z.high.dilation;
    r.dilation[1] = z.wide.dilation;
    r.top = z.high.before;
    r.left = z.wide.before;
    return r;
}

template <typename T, int C, int M, typename Conv> static void test_conv(int64_t n)
{
    constexpr int K = C * M;
    const Convolution z = sizes_of<Conv>(n, C, M);
    const int64_t pixels = z.h * z.w, results = z.p * z.q;
    Tensor<T> x(n * pixels * C), y(n * results * K), dy(y.n), dx(x.n);
    Tensor<float> weight(K * z.r * z.s), bias(K), dweight(weight.n);
    Tensor<uint8_t> bytes(cu_columns<T, K>::part_bytes(n * results));
    printf("%s, %lld images %lldx%lld of %d channels by %lldx%lld, stride %lldx%lld, dilation "
           "%lldx%lld, to %lldx%lld of %d\n",
           type_of<T>(), (long long)n, (long long)z.h, (long long)z.w, C, (long long)z.r,
           (long long)z.s, (long long)z.stride[0], (long long)z.stride[1],
           (long long)z.dilation[0], (long long)z.dilation[1], (long long)z.p, (long long)z.q,
           K);
    draw(x);
    draw(weight);
    draw(bias);
    draw(dy);
    const std::vector<double> x1 = channels_first(x.d, C, pixels),
                              dy1 = channels_first(dy.d, K, results);
    std::vector<double> y1(y.d.size()), dx1(dx.d.size());
    for (const double *b : {bias.want(), (const double *)NULL}) {
        ref.conv2d(y1.data(), x1.data(), weight.want(), b, &z);
        y.d = channels_first(y1, results, K);
        in_orders("depthwise", {y}, [&] {
            cu_depthwise_conv2d<T, C, M, Conv>(NULL, y.f, x.f, weight.f, b ? bias.f : NULL, n);
        });
        close_to(b ? "y with a bias" : "y", y, limit_of<T>());
    }
    ref.conv2d_grad_input(dx1.data(), dy1.data(), weight.want(), &z);
    dx.d = channels_first(dx1, pixels, C);
    in_orders("gradient of the input", {dx}, [&] {
        cu_depthwise_conv2d_grad_input<T, C, M, Conv>(NULL, dx.f, dy.f, weight.f, n);
    });
    close_to("dx", dx, limit_of<T>());
    ref.conv2d_grad_weight(dweight.d.data(), x1.data(), dy1.data(), &z);
    in_orders("gradient of the weight", {dweight, bytes}, [&] {
        cu_depthwise_conv2d_grad_weight<T, C, M, Conv>(NULL, dweight.f,
                                                       (double *)(void *)bytes.f, x.f, dy.f, n);
    });
    close_to("dweight", dweight, F32);
}

template <int H, int W, int R, int S, int STRIDE, int DILATION, int PAD> struct even {
    CU_BOTH cu_conv_axis axis(int size, int kernel)
    {
        return {size,     (size + 2 * PAD - DILATION * (kernel - 1) - 1) / STRIDE + 1,
                kernel,   STRIDE,
                DILATION, PAD};
    }
    CU_BOTH cu_conv conv()
    {
        return {axis(H, R), axis(W, S)};
    }
};

// Another stride, dilation and padding along each axis.
struct uneven {
    CU_BOTH cu_conv conv()
    {
        return {{9, 4, 3, 2, 2, 1}, {11, 3, 2, 3, 4, 2}};
    }
};

template <typename T> static void test_type()
{
    test_conv<T, 1, 1, even<1, 1, 1, 1, 1, 1, 0>>(1);
    test_conv<T, 5, 1, even<7, 6, 3, 3, 1, 1, 1>>(2);
    test_conv<T, 16, 1, even<20, 20, 3, 3, 2, 1, 1>>(2); // some blocks
    test_conv<T, 4, 1, even<6, 6, 1, 1, 2, 1, 0>>(2);    // pixels on which no window lies
    test_conv<T, 8, 1, even<9, 9, 5, 5, 1, 2, 4>>(1);
    test_conv<T, 144, 1, even<5, 5, 3, 3, 1, 1, 1>>(1); // channels of several blocks
    test_conv<T, 67, 1, even<3, 4, 3, 3, 1, 1, 0>>(1);
    test_conv<T, 4, 2, even<6, 6, 3, 3, 2, 1, 1>>(2);
    test_conv<T, 3, 3, even<5, 4, 2, 2, 1, 1, 0>>(1);
    test_conv<T, 6, 1, uneven>(2);
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    return failed;
}
