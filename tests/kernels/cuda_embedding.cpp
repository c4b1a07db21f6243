// Embeddings and their gradient: the bits of the c backend, near the reference.
#include <stagecc/cu_embedding.cuh>

#include <type_traits>

#include "tests/kernels/cuda_test.h"

// Numbers below `rows`, some of them much more often than others, and a few that no row has.
static Numbers<int32_t> numbers_below(int64_t n, int64_t rows)
{
    Numbers<int32_t> ids((size_t)n);
    for (size_t i = 0; i < ids.size(); i++) {
        const float u = rt_uniform(3, i);
        ids[i] = (int32_t)(u * u * (float)rows);
        if (i % 41 == 5)
            ids[i] = i % 2 ? -1 : (int32_t)rows;
    }
    return ids;
}

template <int WIDTH> static void test_forward(int64_t n, int64_t rows, int64_t padding)
{
    const Numbers<int32_t> ids = numbers_below(n, rows);
    Tensor<float> table(rows * WIDTH), y(n * WIDTH);
    std::vector<float> c((size_t)(n * WIDTH));
    printf("%lld of %lld rows of %d\n", (long long)n, (long long)rows, WIDTH);
    draw(table);
    ref.embedding(y.d.data(), ids.data(), table.want(), n, rows, WIDTH, padding);
    c_backend.embedding(c.data(), ids.data(), table.f, n, rows, WIDTH, padding);
    in_orders("embedding", {y},
              [&] { cu_embedding<WIDTH>(NULL, y.f, ids.data(), table.f, n, rows, padding); });
    equal_to("y", y);
    same_bits("y", y.f, c.data(), y.bytes());
}

template <typename T, int WIDTH>
static void test_backward(int64_t n, int64_t rows, int64_t padding, bool first)
{
    const Numbers<int32_t> ids = numbers_below(n, rows);
    Tensor<T> dy(n * WIDTH);
    Tensor<float> dtable(rows * WIDTH), before(rows * WIDTH);
    printf("%s, gradients of %lld of %lld rows of %d%s\n", type_of<T>(), (long long)n,
           (long long)rows, WIDTH, first ? "" : ", added");
    draw(dy);
    draw(before);
    ref.embedding_grad(dtable.d.data(), ids.data(), dy.want(), n, rows, WIDTH, padding);
    for (size_t i = 0; i < dtable.d.size() && !first; i++)
        dtable.d[i] += before.d[i];
    std::vector<float> c(before.f, before.f + before.n);
    if constexpr (std::is_same<T, float>::value)
        c_backend.embedding_grad(c.data(), ids.data(), dy.f, n, rows, WIDTH, padding, first);
    else
        c_backend.embedding_grad_bf16(c.data(), ids.data(), &dy.f->bits, n, rows, WIDTH,
                                      padding, first);
    in_orders("gradient of the table", {dtable}, [&] {
        memcpy(dtable.f, before.f, before.bytes());
        cu_embedding_grad<T, WIDTH>(NULL, dtable.f, ids.data(), dy.f, n, rows, padding, first);
    });
    close_to("dtable", dtable, F32);
    same_bits("dtable", dtable.f, c.data(), dtable.bytes());
}

template <typename T> static void test_type()
{
    test_backward<T, 5>(100, 7, -1, true);
    test_backward<T, 64>(300, 200, 3, true); // several blocks
    test_backward<T, 24>(256, 64, 0, false);
    test_backward<T, 3>(5000, 70, 3, false); // more positions than a block notes
    test_backward<T, 8>(1, 1, -1, true);
    test_backward<T, 1030>(40, 5, -1, true); // rows of more packs than threads
}

int main()
{
    test_forward<5>(100, 7, -1);
    test_forward<64>(60, 70, 3);
    test_forward<1030>(9, 5, 0);
    test_type<float>();
    test_type<rt_bf16>();
    return failed;
}
