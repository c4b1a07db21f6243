// Batch norm, channels last, alone and with a relu behind it.
#include <stagecc/cu_batch_norm.cuh>

#include <type_traits>

#include "tests/kernels/cuda_test.h"

static const double EPS = 1e-3;

template <typename T, int C, typename Behind> struct Norm {
    int64_t pixels;
    Tensor<T> x, y, dy, dx;
    Tensor<float> gamma, beta, mean, var, dgamma, dbeta;
    Tensor<uint8_t> part;
    Numbers<cu_norm> norm;
    Numbers<cu_norm_grad> grad;

    Norm(int64_t n, double middle)
        : pixels(n), x(n * C), y(n * C), dy(n * C), dx(n * C), gamma(C), beta(C), mean(C),
          var(C), dgamma(C), dbeta(C), part(cu_columns<T, C>::part_bytes(n)), norm(C), grad(C)
    {
        printf("%s, %lld pixels of %d channels around %g in %lld parts%s\n", type_of<T>(),
               (long long)n, C, middle, (long long)cu_columns<T, C>::parts(n),
               RELU ? ", relu" : "");
        draw(x, middle);
        draw(dy);
        draw(gamma, 1);
        draw(beta);
    }
    static constexpr bool RELU = std::is_same<Behind, cu_relu>::value;
    double *parts()
    {
        return (double *)(void *)part.f;
    }

    void forward(double limit)
    {
        ref.batch_norm(y.d.data(), mean.d.data(), var.d.data(), x.want(), gamma.want(),
                       beta.want(), pixels, C, 1, EPS);
        if (RELU)
            ref.relu(y.d.data(), y.want(), y.n);
        in_orders("batch norm", {y, mean, var, part}, [&] {
            cu_batch_norm<T, C, Behind>(NULL, y.f, mean.f, var.f, parts(), norm.data(), x.f,
                                        gamma.f, beta.f, pixels, EPS);
        });
        close_to("y", y, limit);
        close_to("mean", mean, F32);
        close_to("var", var, F32);
    }

    // Of sums that somebody else has taken.
    void statistics()
    {
        Tensor<float> sums(2 * C);
        std::vector<double> total(2 * C);
        for (int64_t i = 0; i < x.n; i++) {
            total[(size_t)(i % C)] += x.d[(size_t)i];
            total[(size_t)(C + i % C)] += x.d[(size_t)i] * x.d[(size_t)i];
        }
        for (int i = 0; i < 2 * C; i++)
            sums.set(i, total[(size_t)i]);
        in_orders("statistics of sums", {mean, var}, [&] {
            CU_LAUNCH((cu_batch_norm_take<float>), cu_ceil(C, CU_COLUMN_THREADS),
                      CU_COLUMN_THREADS, NULL, C, norm.data(), mean.f, var.f, sums.f, pixels,
                      gamma.f, beta.f, EPS);
        });
        close_to("mean of sums", mean, F32);
        close_to("var of sums", var, F32);
    }

    // Behind forward: of the statistics that it has left.
    void backward(double limit)
    {
        std::vector<double> behind = dy.d;
        mean.keep();
        var.keep();
        if (RELU)
            ref.relu_grad(behind.data(), dy.want(), y.want(), dy.n);
        ref.batch_norm_grad(dx.d.data(), dgamma.d.data(), dbeta.d.data(), x.want(),
                            behind.data(), gamma.want(), mean.want(), var.want(), pixels, C, 1,
                            EPS);
        in_orders("batch norm gradient", {dx, dgamma, dbeta, part}, [&] {
            cu_batch_norm_grad<T, C, Behind>(NULL, dx.f, dgamma.f, dbeta.f, parts(),
                                             norm.data(), grad.data(), dy.f, x.f, gamma.f,
                                             beta.f, mean.f, var.f, pixels, EPS);
        });
        close_to("dx", dx, limit);
        close_to("dgamma", dgamma, F32);
        close_to("dbeta", dbeta, F32);
    }

    void infer(double limit)
    {
        draw(mean, 0.5);
        draw(var, 2);
        ref.batch_norm_infer(y.d.data(), x.want(), gamma.want(), beta.want(), mean.want(),
                             var.want(), pixels, C, 1, EPS);
        if (RELU)
            ref.relu(y.d.data(), y.want(), y.n);
        in_orders("batch norm with running statistics", {y}, [&] {
            cu_batch_norm_infer<T, C, Behind>(NULL, y.f, norm.data(), x.f, gamma.f, beta.f,
                                              mean.f, var.f, pixels, EPS);
        });
        close_to("y of running statistics", y, limit);
    }
};

template <typename T, int C> static void test_norm(int64_t pixels, double middle, double limit)
{
    Norm<T, C, cu_nothing> norm(pixels, middle);
    norm.forward(limit);
    norm.statistics();
    norm.backward(limit);
    norm.infer(limit);
    Norm<T, C, cu_relu> relu(pixels, middle);
    relu.forward(limit);
    relu.backward(limit);
    relu.infer(limit);
}

// Two replicas, of which each gives its sums and takes those of both: the statistics, and what they apply, of one that
// has all pixels.
template <typename T, int C> static void test_shared(int64_t pixels, double middle)
{
    typedef cu_columns<T, C> shares;
    const int64_t of[] = {pixels / 3, pixels - pixels / 3};
    printf("%s, %lld pixels of %d channels around %g, shared by two\n", type_of<T>(),
           (long long)pixels, C, middle);
    Tensor<T> x(pixels * C), y(pixels * C), dy(pixels * C), dx(pixels * C);
    Tensor<float> gamma(C), beta(C), mean(C), var(C), dgamma(C), dbeta(C);
    Tensor<uint8_t> part(shares::part_bytes(pixels)), norm(C * (int64_t)sizeof(cu_norm)),
        grad(C * (int64_t)sizeof(cu_norm_grad)), gradients(4 * C * (int64_t)sizeof(float)),
        sums(4 * C * (int64_t)sizeof(double));
    draw(x, middle);
    draw(dy);
    draw(gamma, 1);
    draw(beta);
    ref.batch_norm(y.d.data(), mean.d.data(), var.d.data(), x.want(), gamma.want(), beta.want(),
                   pixels, C, 1, EPS);
    double *parts = (double *)(void *)part.f, *given = (double *)(void *)sums.f;
    float *own = (float *)(void *)gradients.f; // dgamma, dbeta of each
    cu_norm *norms = (cu_norm *)(void *)norm.f;
    cu_norm_grad *grads = (cu_norm_grad *)(void *)grad.f;
    const unsigned few = (unsigned)cu_ceil(C, CU_COLUMN_THREADS);
    auto add = [&] {
        settle();
        for (int c = 0; c < 2 * C; c++)
            given[c] += given[2 * C + c];
    };
    in_orders("sums of pixels", {mean, var, norm}, [&] {
        for (int r = 0; r < 2; r++) {
            const T *begin = x.f + r * of[0] * C;
            CU_LAUNCH((cu_batch_norm_parts<T, C>), shares::blocks(of[r]), CU_COLUMN_THREADS,
                      NULL, parts, begin, of[r]);
            CU_LAUNCH((cu_batch_norm_give<T>), cu_total_blocks(C), CU_TOTAL_THREADS, NULL, C,
                      given + r * 2 * C, parts, shares::parts(of[r]), begin, of[r]);
        }
        add();
        CU_LAUNCH((cu_batch_norm_take<double>), few, CU_COLUMN_THREADS, NULL, C, norms, mean.f,
                  var.f, given, pixels, gamma.f, beta.f, EPS);
    });
    close_to("mean", mean, F32);
    close_to("var", var, F32);
    mean.keep();
    var.keep();
    ref.batch_norm_grad(dx.d.data(), dgamma.d.data(), dbeta.d.data(), x.want(), dy.want(),
                        gamma.want(), mean.want(), var.want(), pixels, C, 1, EPS);
    in_orders("sums of gradients", {dx, gradients}, [&] {
        for (int r = 0; r < 2; r++) {
            const int64_t at = r * of[0] * C;
            CU_LAUNCH((cu_batch_norm_grad_parts<T, C, cu_nothing>), shares::blocks(of[r]),
                      CU_COLUMN_THREADS, NULL, parts, dy.f + at, x.f + at, norms, of[r]);
            CU_LAUNCH(cu_batch_norm_grad_give, cu_total_blocks(C), CU_TOTAL_THREADS, NULL, C,
                      given + r * 2 * C, own + r * 2 * C, own + r * 2 * C + C, parts,
                      shares::parts(of[r]), var.f, EPS);
        }
        add();
        CU_LAUNCH(cu_batch_norm_grad_take, few, CU_COLUMN_THREADS, NULL, C, grads, given,
                  pixels, var.f, EPS);
        CU_LAUNCH((cu_batch_norm_grad_apply<T, C, cu_nothing>), shares::blocks(pixels),
                  CU_COLUMN_THREADS, NULL, dx.f, dy.f, x.f, norms, grads, pixels);
    });
    for (int c = 0; c < C; c++) {
        dgamma.f[c] = own[c] + own[2 * C + c];
        dbeta.f[c] = own[C + c] + own[3 * C + c];
    }
    close_to("dx", dx, limit_of<T>());
    close_to("the replicas' dgamma", dgamma, F32);
    close_to("the replicas' dbeta", dbeta, F32);
}

static void test_running(int64_t n, int64_t count)
{
    Tensor<float> mean(n), var(n), to_mean(n), to_var(n);
    Tensor<float> old_mean(n), old_var(n);
    draw(mean);
    draw(var, 2);
    draw(old_mean);
    draw(old_var, 2);
    to_mean.d = old_mean.d;
    to_var.d = old_var.d;
    ref.running_update(to_mean.d.data(), to_var.d.data(), mean.want(), var.want(), n, 0.1,
                       count);
    in_orders("running update", {to_mean, to_var}, [&] {
        memcpy(to_mean.f, old_mean.f, old_mean.bytes());
        memcpy(to_var.f, old_var.f, old_var.bytes());
        cu_running_update(NULL, to_mean.f, to_var.f, mean.f, var.f, n, 0.1, count);
    });
    close_to("running mean", to_mean, F32);
    close_to("running var", to_var, F32);
}

template <typename T> static void test_type()
{
    const double limit = limit_of<T>();
    test_norm<T, 1>(16, 0, limit);
    test_norm<T, 3>(60, 0, limit);
    test_norm<T, 17>(1200, 0.5, limit);
    test_norm<T, 64>(700, 0, limit);
    test_norm<T, 260>(300, 3, limit); // channels of several blocks
    test_shared<T, 17>(1200, 0.5);
    test_shared<T, 260>(100, 3);
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    // The statistics of channels whose mean is far from 0 are as exact; x itself is less so.
    Norm<float, 16, cu_nothing> far(500, 1000);
    far.forward(1e-4);
    far.backward(1e-4);
    test_running(300, 1000);
    test_running(5, 1);
    return failed;
}
