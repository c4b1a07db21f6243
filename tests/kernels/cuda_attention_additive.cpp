// Additive attention: scores and their gradients.
#include <stagecc/cu_attention_additive.cuh>

#include "tests/kernels/cuda_test.h"

template <int Q, int K, int H> static void test_scores(int64_t n)
{
    const Additive sizes = {n, Q, K, H};
    const int64_t scores = n * Q * K;
    Tensor<float> q(n * Q * H), k(n * K * H), v(H), y(scores), dy(scores);
    Tensor<float> dq(q.n), dk(k.n), dv(H);
    Tensor<uint8_t> bytes(cu_columns<float, H>::part_bytes(scores));
    double *part = (double *)(void *)bytes.f;
    printf("%lld samples of %d queries, %d keys, %d features, in %lld parts\n", (long long)n, Q,
           K, H, (long long)cu_columns<float, H>::parts(scores));
    draw(q, 0.2);
    draw(k);
    draw(v);
    draw(dy, 0.3);
    ref.additive_score(y.d.data(), q.want(), k.want(), v.want(), &sizes);
    in_orders("scores", {y}, [&] { cu_additive_score<Q, K, H>(NULL, y.f, q.f, k.f, v.f, n); });
    close_to("scores", y, F32);
    ref.additive_score_grad(dq.d.data(), dk.d.data(), dv.d.data(), dy.want(), q.want(),
                            k.want(), v.want(), &sizes);
    in_orders("gradients", {dq, dk, dv, bytes}, [&] {
        cu_additive_score_grad<Q, K, H>(NULL, dq.f, dk.f, dv.f, part, dy.f, q.f, k.f, v.f, n);
    });
    close_to("dq", dq, F32);
    close_to("dk", dk, F32);
    close_to("dv", dv, F32);
    in_orders("gradient of keys", {dk}, [&] {
        cu_additive_score_grad<Q, K, H>(NULL, NULL, dk.f, NULL, NULL, dy.f, q.f, k.f, v.f, n);
    });
    close_to("dk alone", dk, F32);
}

int main()
{
    test_scores<1, 1, 1>(1);
    test_scores<2, 5, 7>(3);
    test_scores<1, 19, 64>(2); // a decoder's step
    test_scores<20, 3, 130>(2);
    test_scores<40, 50, 36>(3); // more than one part
    return failed;
}
