// Sums along dimensions, in one step and in two.
#include <stagecc/cu_sums.cuh>

#include "tests/kernels/cuda_test.h"

// [outer,rows,C] to [outer,C]; `each` is there for one of the reference's channels.
template <typename T, int C> static void test_rows(int64_t outer, int64_t rows, double divisor)
{
    typedef cu_columns<T, C> shares;
    Tensor<T> x(outer * rows * C), narrow(outer * C);
    Tensor<float> y(outer * C);
    Tensor<uint8_t> part(shares::part_bytes(rows, outer, 1));
    printf("%s, %lld times %lld rows of %d in %lld parts\n", type_of<T>(), (long long)outer,
           (long long)rows, C, (long long)shares::parts(rows, outer));
    draw(x, 0.5);
    for (int64_t o = 0; o < outer; o++)
        ref.bias_grad(y.d.data() + o * C, x.want() + o * rows * C, rows, C, 1);
    for (double &v : y.d)
        v /= divisor;
    narrow.d = y.d;
    in_orders("sums of rows", {y, part}, [&] {
        cu_sum_rows<float, T, C>(NULL, y.f, (double *)(void *)part.f, x.f, outer, rows,
                                 divisor);
    });
    close_to("y", y, F32);
    in_orders("sums of rows in x's type", {narrow, part}, [&] {
        cu_sum_rows<T, T, C>(NULL, narrow.f, (double *)(void *)part.f, x.f, outer, rows,
                             divisor);
    });
    close_to("y in x's type", narrow, limit_of<T>());
}

// Rows lie P apart, with NaN between them.
template <typename T, int C, int P> static void test_pitch(int64_t rows)
{
    Tensor<T> x(rows * C), apart(rows * P);
    Tensor<float> y(C);
    Tensor<uint8_t> part(cu_columns<T, C>::part_bytes(rows, 1, 1));
    draw(x, 0.5);
    for (int64_t i = 0; i < rows * C; i++)
        apart.f[i / C * P + i % C] = x.f[i];
    ref.bias_grad(y.d.data(), x.want(), rows, C, 1);
    in_orders("sums of rows that lie apart", {y, part}, [&] {
        cu_sum_rows<float, T, C, P>(NULL, y.f, (double *)(void *)part.f, apart.f, 1, rows, 1);
    });
    close_to("y of rows that lie apart", y, F32);
}

template <typename T, int64_t AFTER> static void test_channels(int64_t before, int channels)
{
    const cu_planes<T, AFTER> planes = {before, channels};
    Tensor<T> x(before * channels * AFTER);
    Tensor<float> y(channels);
    Tensor<uint8_t> part(planes.part_bytes(1));
    printf("%s, %d channels of %lld times %d in %lld parts\n", type_of<T>(), channels,
           (long long)before, (int)AFTER, (long long)planes.parts());
    draw(x, 0.5);
    ref.bias_grad(y.d.data(), x.want(), before, channels, AFTER);
    in_orders("sums of channels", {y, part},
              [&] { cu_sum_channels(NULL, planes, y.f, (double *)(void *)part.f, x.f); });
    close_to("y", y, F32);
}

// [4,3,40,5] to [4,1,40,1] and to [3,1,5] (the leading dimension is one of those summed up).
#define WALK(name, ...)                                                                        \
    struct name {                                                                              \
        CU_BOTH cu_walk walk()                                                                 \
        {                                                                                      \
            return {__VA_ARGS__};                                                              \
        }                                                                                      \
    };
WALK(kept, 2, 0, 0, {4, 40}, {40, 1}, {600, 5})
WALK(summed, 2, 0, 0, {3, 5}, {0, 0}, {200, 1})
WALK(other_kept, 2, 0, 0, {3, 5}, {5, 1}, {200, 1})
WALK(other_summed, 2, 0, 0, {4, 40}, {0, 0}, {600, 5})
WALK(nothing_kept, 0, 0, 0, {}, {}, {})
WALK(all_summed, 1, 0, 0, {2400}, {0}, {1})

template <typename T, typename Kept, typename Summed> static void test_walk(const char *what)
{
    const cu_walk outer = Kept::walk(), inner = Summed::walk();
    Steps kept = {outer.rank, {}, {}}, summed = {inner.rank, {}, {}};
    memcpy(kept.dim, outer.dim, sizeof kept.dim);
    memcpy(kept.x, outer.x, sizeof kept.x);
    memcpy(summed.dim, inner.dim, sizeof summed.dim);
    memcpy(summed.x, inner.x, sizeof summed.x);
    Tensor<T> x(2400);
    Tensor<float> y(cu_walk_count(outer));
    printf("%s, %s\n", type_of<T>(), what);
    draw(x, 0.5);
    ref.sum_to(y.d.data(), x.want(), &kept, &summed);
    in_orders(what, {y}, [&] { cu_sum_walk<T, Kept, Summed>(NULL, y.f, x.f); });
    close_to("y", y, F32);
}

template <typename T> static void test_type()
{
    test_rows<T, 1>(1, 7, 1);
    test_rows<T, 5>(1, 300, 1);
    test_rows<T, 96>(1, 2500, 1); // several parts
    test_rows<T, 1030>(1, 40, 1); // columns of several blocks, and some threads left over
    test_rows<T, 20>(6, 49, 49);
    test_rows<T, 3>(4, 1, 1);
    test_rows<T, 24>(3, 6000, 6000); // several parts of each
    test_channels<T, 7>(3, 5);
    test_channels<T, 64>(40, 6);
    test_channels<T, 49>(400, 3); // several parts
    test_channels<T, 1>(5, 1);
    test_walk<T, kept, summed>("kept, summed, kept, summed");
    test_walk<T, other_kept, other_summed>("summed, kept, summed, kept");
    test_walk<T, nothing_kept, all_summed>("to a number");
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    test_channels<float, 7>(640, 512); // a thread has more packs than one run
    test_pitch<rt_bf16, 37, 40>(3000);
    test_pitch<rt_bf16, 12, 16>(50);
    return failed;
}
