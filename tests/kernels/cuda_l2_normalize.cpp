// Rows of length 1, forward and backward.
#include <stagecc/cu_l2_normalize.cuh>

#include "tests/kernels/cuda_test.h"

// Elements up to `spread`, of both signs.
template <typename T, int C> static void test_rows(int64_t rows, double spread, double eps)
{
    Tensor<T> x(rows * C), y(rows * C), dy(rows * C), dx(rows * C);
    Tensor<float> factor(rows);
    printf("%s, %lld rows of %d up to %g, eps %g\n", type_of<T>(), (long long)rows, C, spread,
           eps);
    draw(x, 0, spread);
    draw(dy);
    for (int i = 0; i < C; i++)
        x.set(i, 0);
    ref.l2_normalize(y.d.data(), factor.d.data(), x.want(), rows, C, eps);
    in_orders("l2_normalize alone", {y},
              [&] { cu_l2_normalize<T, C>(NULL, y.f, NULL, x.f, rows, eps); });
    close_to("y alone", y, limit_of<T>());
    in_orders("l2_normalize", {y, factor},
              [&] { cu_l2_normalize<T, C>(NULL, y.f, factor.f, x.f, rows, eps); });
    close_to("y", y, limit_of<T>());
    close_to("factor", factor, F32);
    // The row of zeros has a factor of 1 / eps, and that of a gradient beside all others.
    y.keep();
    factor.keep();
    ref.l2_normalize_grad(dx.d.data(), dy.want(), y.want(), factor.want(), rows, C, eps);
    in_orders("l2_normalize gradient", {dx},
              [&] { cu_l2_normalize_grad<T, C>(NULL, dx.f, dy.f, y.f, factor.f, rows, eps); });
    Tensor<T> others(rows * C - C);
    memcpy(others.f, dx.f + C, others.bytes());
    others.d.assign(dx.d.begin() + C, dx.d.end());
    close_to("dx of the row of zeros and others", dx, limit_of<T>());
    close_to("dx", others, limit_of<T>());
}

template <typename T> static void test_type()
{
    test_rows<T, 5>(6, 1, 1e-12);
    test_rows<T, 67>(3, 1, 1e-12);
    test_rows<T, 64>(20, 1, 1e-12);
    test_rows<T, 1500>(3, 1, 1e-12);  // a block a row
    test_rows<T, 6>(5, 1, 128);       // shorter than eps, whose inverse is a float
    test_rows<T, 16>(3, 1e25, 1e-12); // whose squares no float holds
    test_rows<T, 16>(3, 1e-25, 1e-30);
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    return failed;
}
