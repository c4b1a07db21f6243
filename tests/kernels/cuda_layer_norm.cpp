// Layer norm, forward and backward.
#include <stagecc/cu_layer_norm.cuh>

#include "tests/kernels/cuda_test.h"

static const double EPS = 1e-5;

// Rows around `middle`; limit: of y and of the gradients.
template <typename T, int C> static void test_rows(int64_t rows, double middle, double limit)
{
    Tensor<T> x(rows * C), y(rows * C), dy(rows * C), dx(rows * C);
    Tensor<float> gamma(C), beta(C), mean(rows), rstd(rows);
    printf("%s, %lld rows of %d around %g\n", type_of<T>(), (long long)rows, C, middle);
    draw(x, middle);
    draw(dy);
    draw(gamma, 1);
    draw(beta);
    ref.layer_norm(y.d.data(), mean.d.data(), rstd.d.data(), x.want(), gamma.want(),
                   beta.want(), rows, C, EPS);
    in_orders("layer norm", {y, mean, rstd}, [&] {
        cu_layer_norm<T, C>(NULL, y.f, mean.f, rstd.f, x.f, gamma.f, beta.f, rows, EPS);
    });
    close_to("y", y, limit);
    close_to("mean", mean, F32);
    close_to("rstd", rstd, F32);
    in_orders("layer norm alone", {y}, [&] {
        cu_layer_norm<T, C>(NULL, y.f, NULL, NULL, x.f, gamma.f, beta.f, rows, EPS);
    });
    close_to("y alone", y, limit);
    mean.keep();
    rstd.keep();
    ref.layer_norm_grad(dx.d.data(), NULL, NULL, x.want(), dy.want(), gamma.want(), mean.want(),
                        rstd.want(), rows, C);
    in_orders("layer norm gradient", {dx}, [&] {
        cu_layer_norm_grad<T, C>(NULL, dx.f, dy.f, x.f, gamma.f, mean.f, rstd.f, rows);
    });
    close_to("dx", dx, limit);
}

template <typename T, int C> static void test_params(int64_t rows)
{
    Tensor<T> x(rows * C), dy(rows * C);
    Tensor<float> gamma(C), mean(rows), rstd(rows), dgamma(C), dbeta(C);
    Tensor<uint8_t> part(cu_columns<T, C>::part_bytes(rows));
    printf("%s, %lld rows of %d in %lld parts\n", type_of<T>(), (long long)rows, C,
           (long long)cu_columns<T, C>::parts(rows));
    draw(x, 2);
    draw(dy);
    draw(gamma, 1);
    draw(mean, 2, 0.1);
    draw(rstd, 1.7, 0.1);
    ref.layer_norm_grad(NULL, dgamma.d.data(), dbeta.d.data(), x.want(), dy.want(),
                        gamma.want(), mean.want(), rstd.want(), rows, C);
    in_orders("gradient of parameters", {dgamma, dbeta, part}, [&] {
        cu_layer_norm_grad_params<T, C>(NULL, dgamma.f, dbeta.f, (double *)(void *)part.f, dy.f,
                                        x.f, mean.f, rstd.f, rows);
    });
    close_to("dgamma", dgamma, F32);
    close_to("dbeta", dbeta, F32);
    in_orders("gradient of beta", {dbeta}, [&] {
        cu_layer_norm_grad_params<T, C>(NULL, NULL, dbeta.f, (double *)(void *)part.f, dy.f,
                                        x.f, mean.f, rstd.f, rows);
    });
    close_to("dbeta alone", dbeta, F32);
}

template <typename T> static void test_type()
{
    const double limit = limit_of<T>();
    test_rows<T, 5>(6, 0, limit); // rows that are no packs
    test_rows<T, 17>(1, 0, limit);
    test_rows<T, 33>(5, 0.5, limit);
    test_rows<T, 64>(24, 0, limit);
    test_rows<T, 768>(7, 0, limit);
    test_rows<T, 1600>(3, 3, limit); // a block a row
    test_params<T, 5>(6);
    test_params<T, 17>(1);
    test_params<T, 33>(100);
    test_params<T, 768>(700);
    test_params<T, 61>(4400); // more parts than the second step takes at a time
    test_params<T, 1030>(40); // columns of several blocks, and some threads left over
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    // Where the mean is far from 0, float holds x to 1e-4 of its distance from it; nothing more is lost.
    test_rows<float, 768>(7, 1000, 1e-4);
    return failed;
}
