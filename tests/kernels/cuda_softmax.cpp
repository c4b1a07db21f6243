// Softmax, whole or masked, and its gradient.
#include <stagecc/cu_softmax.cuh>

#include "tests/kernels/cuda_test.h"

// causal: rows that make a square of so many; lengths: NULL, or those of rows / each samples.
template <typename T, int C>
static void test_rows(int64_t rows, int64_t causal, const int32_t *lengths, int64_t each)
{
    Tensor<T> x(rows * C), y(rows * C), dy(rows * C), dx(rows * C);
    printf("%s, %lld rows of %d%s%s\n", type_of<T>(), (long long)rows, C,
           causal ? ", causal" : "", lengths ? ", lengths" : "");
    draw(x, 100, 8);
    draw(dy);
    ref.softmax(y.d.data(), x.want(), lengths, each, rows, C, causal);
    in_orders("softmax", {y},
              [&] { cu_softmax<T, C>(NULL, y.f, x.f, lengths, each, rows, causal); });
    close_to("y", y, limit_of<T>());
    y.keep();
    ref.softmax_grad(dx.d.data(), dy.want(), y.want(), rows, C);
    in_orders("softmax gradient", {dx},
              [&] { cu_softmax_grad<T, C>(NULL, dx.f, dy.f, y.f, rows); });
    if (C > 1) // of one column, nothing is left but rounding
        close_to("dx", dx, limit_of<T>());
}

template <typename T> static void test_type()
{
    const Numbers<int32_t> lengths = {0, 1, 5, 6};
    test_rows<T, 1>(3, 0, NULL, 1);
    test_rows<T, 5>(12, 0, NULL, 1);
    test_rows<T, 67>(2, 0, NULL, 1);
    test_rows<T, 1000>(3, 0, NULL, 1);
    test_rows<T, 1500>(3, 0, NULL, 1); // a block a row
    test_rows<T, 64>(128, 64, NULL, 1);
    test_rows<T, 6>(4, 0, lengths.data(), 1);
    test_rows<T, 6>(48, 6, lengths.data(), 12);
}

// What is masked is not looked at, be it NaN or by far the largest.
static void test_masked()
{
    const Numbers<int32_t> length = {3};
    Tensor<float> x(8), y(8);
    draw(x);
    ref.softmax(y.d.data(), x.want(), length.data(), 1, 1, 8, 0);
    for (int i = 3; i < 8; i++)
        x.f[i] = i % 2 ? NAN : 300;
    in_orders("softmax beside NaN", {y},
              [&] { cu_softmax<float, 8>(NULL, y.f, x.f, length.data(), 1, 1, 0); });
    close_to("y beside NaN", y, F32);
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    test_masked();
    return failed;
}
