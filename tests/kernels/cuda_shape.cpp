// What moves elements: every one goes where it ought to, and nothing else is touched.
#include <stagecc/cu_shape.cuh>

#include "tests/kernels/cuda_test.h"

#define WALK(name, ...)                                                                        \
    struct name {                                                                              \
        CU_BOTH cu_walk walk()                                                                 \
        {                                                                                      \
            return {__VA_ARGS__};                                                              \
        }                                                                                      \
        static constexpr const char *NAME = #name;                                             \
    };
WALK(one, 1, 0, 0, {1}, {1}, {1})
WALK(matrix, 2, 0, 0, {45, 70}, {70, 1}, {1, 45})
WALK(even_matrix, 2, 0, 0, {64, 32}, {32, 1}, {1, 64})
WALK(to_channels_last, 3, 0, 0, {2, 33, 35}, {1155, 35, 1}, {1155, 1, 33})
WALK(of_three_channels, 3, 0, 0, {2, 50, 3}, {150, 3, 1}, {150, 1, 50})
WALK(heads, 4, 0, 0, {2, 5, 3, 16}, {240, 48, 16, 1}, {240, 16, 80, 1})
WALK(odd_runs, 3, 0, 0, {4, 7, 5}, {35, 5, 1}, {5, 20, 1})
WALK(around_a_matrix, 4, 0, 0, {2, 12, 3, 10}, {360, 30, 10, 1}, {360, 1, 12, 36})
WALK(backwards, 6, 0, 0, {9, 2, 3, 2, 4, 3}, {144, 72, 24, 12, 3, 1}, {1, 9, 18, 54, 108, 432})
WALK(backwards_large, 3, 0, 0, {9, 2, 40}, {80, 40, 1}, {1, 9, 18})
WALK(part_of_concat, 2, 24, 0, {6, 16}, {40, 1}, {16, 1})
WALK(odd_part_of_concat, 2, 3, 0, {6, 16}, {41, 1}, {16, 1})
WALK(part_of_concat_between_packs, 2, 6, 0, {6, 16}, {40, 1}, {16, 1})
WALK(slice, 2, 0, 8, {5, 12}, {12, 1}, {20, 1})
WALK(slice_between_packs, 2, 0, 2, {5, 12}, {12, 1}, {20, 1})
WALK(odd_slice, 2, 0, 2, {5, 7}, {7, 1}, {11, 1})
WALK(long_run, 1, 0, 0, {2000}, {1}, {1})
WALK(every_other, 2, 0, 0, {11, 9}, {9, 1}, {18, 2})

// How many elements a tensor has that is walked along these steps.
static int64_t span(const cu_walk &w, const int64_t *step, int64_t at)
{
    for (int d = 0; d < w.rank; d++)
        at += (w.dim[d] - 1) * step[d];
    return at + 1;
}

template <typename T, typename W> static void test_walk()
{
    const cu_walk w = W::walk();
    const int64_t n_y = span(w, w.y, w.y_at), n_x = span(w, w.x, w.x_at);
    Tensor<T> x(n_x), y(n_y), want(n_y);
    for (int64_t i = 0; i < n_x; i++) {
        const int64_t bits = i * 97 + 13;
        memcpy(x.f + i, &bits, sizeof(T));
    }
    for (int64_t i = 0; i < cu_walk_count(w); i++) {
        int64_t to = w.y_at, from = w.x_at, rest = i;
        for (int d = w.rank - 1; d >= 0; d--) {
            to += rest % w.dim[d] * w.y[d];
            from += rest % w.dim[d] * w.x[d];
            rest /= w.dim[d];
        }
        want.f[to] = x.f[from];
    }
    in_orders(W::NAME, {y}, [&] { cu_copy<T, W>(NULL, y.f, x.f); });
    const bool same = memcmp(y.f, want.f, y.bytes()) == 0;
    printf("%s, elements of %zu bytes: %s\n", W::NAME, sizeof(T), same ? "equal" : "OTHERS");
    failed |= !same;
}

template <typename T, int64_t ROW, int64_t BEGIN, int64_t LENGTH>
static void test_pad(int64_t rows)
{
    Tensor<T> x(rows * LENGTH), y(rows * ROW);
    printf("%s, %lld rows of %d padded to %d from %d on\n", type_of<T>(), (long long)rows,
           (int)LENGTH, (int)ROW, (int)BEGIN);
    draw(x);
    for (int64_t i = 0; i < rows * LENGTH; i++)
        y.d[(size_t)(i / LENGTH * ROW + BEGIN + i % LENGTH)] = x.d[(size_t)i];
    in_orders("pad", {y}, [&] { cu_pad<T, ROW, BEGIN, LENGTH>(NULL, y.f, x.f, rows); });
    equal_to("y", y);
}

template <typename T, int64_t LENGTH, int64_t AFTER> static void test_mask(int64_t before)
{
    const Numbers<int32_t> lengths = {0, 3, 5, 9, -2, 1};
    const int64_t samples = 6;
    Tensor<T> x(samples * before * LENGTH * AFTER), y(x.n);
    printf("%s, mask of [%lld,%lld,%d,%d]\n", type_of<T>(), (long long)samples,
           (long long)before, (int)LENGTH, (int)AFTER);
    draw(x);
    ref.mask(y.d.data(), x.want(), lengths.data(), samples, before, LENGTH, AFTER);
    for (int64_t i = 0; i < x.n; i++) // what is masked is not looked at
        if (y.d[(size_t)i] == 0 && x.d[(size_t)i] != 0)
            x.f[i] = cu_from_float<T>(NAN);
    in_orders("mask", {y}, [&] {
        cu_mask<T, LENGTH, AFTER>(NULL, y.f, x.f, lengths.data(), samples, before);
    });
    equal_to("y", y);
}

template <typename T> static void test_walks()
{
    test_walk<T, one>();
    test_walk<T, matrix>();
    test_walk<T, even_matrix>();
    test_walk<T, to_channels_last>();
    test_walk<T, of_three_channels>();
    test_walk<T, heads>();
    test_walk<T, odd_runs>();
    test_walk<T, around_a_matrix>();
    test_walk<T, backwards>();
    test_walk<T, backwards_large>();
    test_walk<T, part_of_concat>();
    test_walk<T, odd_part_of_concat>();
    test_walk<T, part_of_concat_between_packs>();
    test_walk<T, slice>();
    test_walk<T, slice_between_packs>();
    test_walk<T, odd_slice>();
    test_walk<T, long_run>();
    test_walk<T, every_other>();
}

template <typename T> static void test_rows()
{
    test_pad<T, 12, 4, 4>(30);
    test_pad<T, 7, 2, 3>(9);
    test_pad<T, 64, 0, 40>(5);
    test_pad<T, 64, 24, 40>(5);
    test_mask<T, 5, 3>(2);
    test_mask<T, 8, 1>(3);
    test_mask<T, 6, 64>(1);
}

int main()
{
    test_walks<float>();
    test_walks<rt_bf16>();
    test_walks<uint8_t>();
    test_rows<float>();
    test_rows<rt_bf16>();
    return failed;
}
