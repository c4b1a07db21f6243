// Losses and their gradients.
#include <stagecc/cu_loss.cuh>

#include "tests/kernels/cuda_test.h"

static const float SHARE = 0.25f; // dloss: what a micro-batch counts in its step

// Rows of V logits; every third label is none, the others are all over the classes.
template <typename T, int V> static void test_cross_entropy(int64_t rows, double smoothing)
{
    Tensor<T> logits(rows * V), dlogits(rows * V);
    Tensor<float> loss(1), lse(rows), each(1), dloss(1);
    Tensor<uint8_t> term(rows * (int64_t)sizeof(double));
    double *const terms = (double *)(void *)term.f;
    Numbers<int32_t> labels((size_t)rows);
    printf("%s, %lld rows of %d logits, smoothing %g\n", type_of<T>(), (long long)rows, V,
           smoothing);
    draw(logits, 90, 4);
    dloss.set(0, SHARE);
    for (int64_t r = 0; r < rows; r++)
        labels[(size_t)r] = r % 3 == 1 ? -1 : (int32_t)((r * 7 + V - 1) % V);

    ref.cross_entropy(loss.d.data(), lse.d.data(), logits.want(), labels.data(), rows, V,
                      smoothing);
    in_orders("cross entropy", {loss, lse, term}, [&] {
        cu_cross_entropy<T, V>(NULL, loss.f, lse.f, terms, logits.f, labels.data(), rows,
                               smoothing);
    });
    close_to("loss", loss, F32);
    close_to("lse", lse, F32);

    ref.cross_entropy_grad(dlogits.d.data(), logits.want(), labels.data(), lse.want(),
                           dloss.want(), rows, V, smoothing);
    in_orders("its gradient", {dlogits, each}, [&] {
        cu_cross_entropy_grad<T, V>(NULL, dlogits.f, each.f, logits.f, labels.data(), lse.f,
                                    dloss.f, rows, smoothing);
    });
    close_to("dlogits", dlogits, limit_of<T>());

    in_orders("both at once", {loss, dlogits, term, each}, [&] {
        memcpy(dlogits.f, logits.f, logits.bytes()); // in place
        cu_cross_entropy_both<T, V>(NULL, loss.f, dlogits.f, terms, each.f, dlogits.f,
                                    labels.data(), dloss.f, rows, smoothing);
    });
    close_to("loss, both in place", loss, F32);
    close_to("dlogits, both in place", dlogits, limit_of<T>());
}

// Rows lie P apart, with NaN between them.
template <typename T, int V, int P> static void test_pitch(int64_t rows, double smoothing)
{
    Tensor<T> logits(rows * V), dlogits(rows * V), apart(rows * P), dapart(rows * P);
    Tensor<float> loss(1), lse(rows), each(1), dloss(1);
    std::vector<double> term((size_t)rows);
    std::vector<int32_t> labels((size_t)rows);
    printf("%s, %d logits in rows of %d\n", type_of<T>(), V, P);
    draw(logits, 90, 4);
    dloss.set(0, SHARE);
    for (int64_t r = 0; r < rows; r++) {
        labels[(size_t)r] = r % 3 == 1 ? -1 : (int32_t)((r * 7 + V - 1) % V);
        for (int64_t c = 0; c < V; c++)
            apart.f[r * P + c] = logits.f[r * V + c];
    }
    ref.cross_entropy(loss.d.data(), lse.d.data(), logits.want(), labels.data(), rows, V,
                      smoothing);
    ref.cross_entropy_grad(dlogits.d.data(), logits.want(), labels.data(), lse.want(),
                           dloss.want(), rows, V, smoothing);
    for (int64_t i = 0; i < rows * P; i++)
        dapart.d[(size_t)i] = i % P < V ? dlogits.d[(size_t)(i / P * V + i % P)] : 0;
    in_orders("cross entropy", {loss, lse}, [&] {
        cu_cross_entropy<T, V, P>(NULL, loss.f, lse.f, term.data(), apart.f, labels.data(),
                                  rows, smoothing);
    });
    close_to("loss", loss, F32);
    close_to("lse", lse, F32);
    in_orders("its gradient", {dapart, each}, [&] {
        cu_cross_entropy_grad<T, V, P>(NULL, dapart.f, each.f, apart.f, labels.data(), lse.f,
                                       dloss.f, rows, smoothing);
    });
    close_to("dlogits, zero between", dapart, limit_of<T>());
}

// A loss near 0 is as exact as any other.
static void test_small_loss()
{
    for (float ahead = 5; ahead <= 15; ahead += 5) {
        const Numbers<int32_t> label = {2};
        Numbers<double> term(1);
        Tensor<float> logits(4), loss(1);
        for (int i = 0; i < 4; i++)
            logits.set(i, i == label[0] ? ahead : i * 0.125);
        ref.cross_entropy(loss.d.data(), NULL, logits.want(), label.data(), 1, 4, 0);
        in_orders("small loss", {loss}, [&] {
            cu_cross_entropy<float, 4>(NULL, loss.f, NULL, term.data(), logits.f, label.data(),
                                       1, 0);
        });
        close_to("small loss", loss, F32);
    }
}

static void test_no_class()
{
    const Numbers<int32_t> labels = {1, 4};
    Numbers<double> term(2);
    Tensor<float> logits(8), loss(1);
    draw(logits);
    ref.cross_entropy(loss.d.data(), NULL, logits.want(), labels.data(), 2, 4, 0);
    in_orders("label beyond", {loss}, [&] {
        cu_cross_entropy<float, 4>(NULL, loss.f, NULL, term.data(), logits.f, labels.data(), 2,
                                   0);
    });
    close_to("loss of a label that is no class", loss, F32);
    if (!isnan(loss.f[0])) {
        printf("a label that is no class has a loss\n");
        failed = true;
    }
}

// More rows than a block has threads.
static void test_many_rows()
{
    const int64_t rows = 700;
    Numbers<double> term;
    Numbers<int32_t> labels;
    Tensor<float> loss(1), each(1), dloss(1);
    double sum = 0, counted = 0;
    dloss.set(0, SHARE);
    for (int64_t r = 0; r < rows; r++) {
        labels.push_back(r % 5 ? (int32_t)r : -1);
        term.push_back(r % 5 ? (double)r * 0.37 : 0);
        sum += term.back();
        counted += r % 5 != 0;
    }
    loss.d[0] = sum / counted;
    each.d[0] = (double)SHARE / counted;
    in_orders("mean of many rows", {loss, each}, [&] {
        CU_LAUNCH(cu_cross_entropy_mean, 1, CU_LOSS_THREADS, NULL, loss.f, term.data(),
                  labels.data(), rows);
        CU_LAUNCH(cu_cross_entropy_each, 1, CU_LOSS_THREADS, NULL, each.f, dloss.f,
                  labels.data(), rows);
    });
    close_to("mean of many rows", loss, F32);
    close_to("share of a row", each, F32);
}

template <typename T, int64_t n> static void test_mse()
{
    Tensor<T> x(n), dx(n);
    Tensor<float> t(n), loss(1), dloss(1);
    Tensor<uint8_t> term(cu_mse_parts(n) * (int64_t)sizeof(double));
    printf("%s, mse of %lld\n", type_of<T>(), (long long)n);
    draw(x, 1);
    draw(t);
    dloss.set(0, SHARE);
    ref.mse(loss.d.data(), x.want(), t.want(), n);
    in_orders("mse", {loss, term},
              [&] { cu_mse<T, n>(NULL, loss.f, (double *)(void *)term.f, x.f, t.f); });
    close_to("loss", loss, F32);
    ref.mse_grad(dx.d.data(), x.want(), t.want(), dloss.want(), n);
    in_orders("mse gradient", {dx}, [&] { cu_mse_grad<T, n>(NULL, dx.f, x.f, t.f, dloss.f); });
    close_to("dx", dx, limit_of<T>());
}

template <typename T> static void test_type()
{
    test_cross_entropy<T, 5>(12, 0);
    test_cross_entropy<T, 37>(20, 0.1);
    test_cross_entropy<T, 1000>(7, 0);
    test_cross_entropy<T, 2048>(7, 0.1);
    test_mse<T, 15>();
    test_mse<T, 9000>();
    test_mse<T, 4096>();
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    test_pitch<rt_bf16, 37, 40>(20, 0.1);
    test_pitch<rt_bf16, 2047, 2048>(7, 0);
    test_pitch<float, 5, 8>(12, 0.1);
    test_small_loss();
    test_no_class();
    test_many_rows();
    return failed;
}
