// Batch norm, of channels last and of plain images, alone and with a relu behind it.
#include <stagecc/cu_batch_norm.cuh>

#include <type_traits>

#include "tests/kernels/cuda_test.h"

static const double EPS = 1e-3;

// As the reference wants them: x[n,c,pixels].
struct Sizes {
    int64_t n, c, pixels;
};
template <typename T, int C> static Sizes sizes_of(const cu_pixels<T, C> &shares)
{
    return {shares.pixels, C, 1};
}
template <typename T, int64_t AFTER> static Sizes sizes_of(const cu_planes<T, AFTER> &shares)
{
    return {shares.before, shares.of_channels, AFTER};
}

// The same with other n.
template <typename T, int C> static cu_pixels<T, C> part_of(const cu_pixels<T, C> &, int64_t n)
{
    return {n};
}
template <typename T, int64_t AFTER>
static cu_planes<T, AFTER> part_of(const cu_planes<T, AFTER> &shares, int64_t n)
{
    return {n, shares.of_channels};
}

template <typename Shares>
static void tell(const Shares &shares, double middle, const char *what)
{
    const Sizes z = sizes_of(shares);
    printf("%s, %lld times %lld channels of %lld around %g in %lld parts%s\n",
           type_of<typename Shares::type>(), (long long)z.n, (long long)z.c,
           (long long)z.pixels, middle, (long long)shares.parts(), what);
}

template <typename Shares, typename Behind> struct Norm {
    typedef typename Shares::type T;
    Shares shares;
    Sizes z;
    Tensor<T> x, y, dy, dx;
    Tensor<float> gamma, beta, mean, var, dgamma, dbeta;
    Tensor<uint8_t> part;
    Numbers<cu_norm> norm;
    Numbers<cu_norm_grad> grad;

    Norm(const Shares &of, double middle)
        : shares(of), z(sizes_of(of)), x(z.n * z.c * z.pixels), y(x.n), dy(x.n), dx(x.n),
          gamma(z.c), beta(z.c), mean(z.c), var(z.c), dgamma(z.c), dbeta(z.c),
          part(of.part_bytes()), norm((size_t)z.c), grad((size_t)z.c)
    {
        tell(of, middle, RELU ? ", relu" : "");
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
                       beta.want(), z.n, z.c, z.pixels, EPS);
        if (RELU)
            ref.relu(y.d.data(), y.want(), y.n);
        in_orders("batch norm", {y, mean, var, part}, [&] {
            cu_batch_norm<Behind>(NULL, shares, y.f, mean.f, var.f, parts(), norm.data(), x.f,
                                  gamma.f, beta.f, EPS);
        });
        close_to("y", y, limit);
        close_to("mean", mean, F32);
        close_to("var", var, F32);
    }

    // Of sums that somebody else has taken.
    void statistics()
    {
        Tensor<float> sums(2 * z.c);
        std::vector<double> total((size_t)(2 * z.c));
        for (int64_t i = 0; i < x.n; i++) {
            const int64_t c = i / z.pixels % z.c;
            total[(size_t)c] += x.d[(size_t)i];
            total[(size_t)(z.c + c)] += x.d[(size_t)i] * x.d[(size_t)i];
        }
        for (int64_t i = 0; i < 2 * z.c; i++)
            sums.set(i, total[(size_t)i]);
        in_orders("statistics of sums", {mean, var}, [&] {
            CU_LAUNCH(cu_batch_norm_take<float>, cu_ceil(z.c, CU_COLUMN_THREADS),
                      CU_COLUMN_THREADS, NULL, shares.channels(), norm.data(), mean.f, var.f,
                      sums.f, shares.count(), gamma.f, beta.f, EPS);
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
                            behind.data(), gamma.want(), mean.want(), var.want(), z.n, z.c,
                            z.pixels, EPS);
        in_orders("batch norm gradient", {dx, dgamma, dbeta, part}, [&] {
            cu_batch_norm_grad<Behind>(NULL, shares, dx.f, dgamma.f, dbeta.f, parts(),
                                       norm.data(), grad.data(), dy.f, x.f, gamma.f, beta.f,
                                       mean.f, var.f, EPS);
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
                             var.want(), z.n, z.c, z.pixels, EPS);
        if (RELU)
            ref.relu(y.d.data(), y.want(), y.n);
        in_orders("batch norm with running statistics", {y}, [&] {
            cu_batch_norm_infer<Behind>(NULL, shares, y.f, norm.data(), x.f, gamma.f, beta.f,
                                        mean.f, var.f, EPS);
        });
        close_to("y of running statistics", y, limit);
    }
};

template <typename Shares> static void test_norm(const Shares &shares, double middle)
{
    const double limit = limit_of<typename Shares::type>();
    Norm<Shares, cu_nothing> norm(shares, middle);
    norm.forward(limit);
    norm.statistics();
    norm.backward(limit);
    norm.infer(limit);
    Norm<Shares, cu_relu> relu(shares, middle);
    relu.forward(limit);
    relu.backward(limit);
    relu.infer(limit);
}

// Two replicas, of which each gives its sums and takes those of both: the statistics, and what they apply, of one that
// has all of x.
template <typename Shares> static void test_shared(const Shares &shares, double middle)
{
    typedef typename Shares::type T;
    const Sizes z = sizes_of(shares);
    const Shares of[] = {part_of(shares, z.n / 3), part_of(shares, z.n - z.n / 3)};
    const int64_t elements = z.n * z.c * z.pixels, second = z.n / 3 * z.c * z.pixels;
    const int c = shares.channels();
    tell(shares, middle, ", shared by two");
    Tensor<T> x(elements), y(elements), dy(elements), dx(elements);
    Tensor<float> gamma(c), beta(c), mean(c), var(c), dgamma(c), dbeta(c);
    Tensor<uint8_t> part(shares.part_bytes()), norm(c * (int64_t)sizeof(cu_norm)),
        grad(c * (int64_t)sizeof(cu_norm_grad)), gradients(4 * c * (int64_t)sizeof(float)),
        sums(4 * c * (int64_t)sizeof(double));
    draw(x, middle);
    draw(dy);
    draw(gamma, 1);
    draw(beta);
    ref.batch_norm(y.d.data(), mean.d.data(), var.d.data(), x.want(), gamma.want(), beta.want(),
                   z.n, z.c, z.pixels, EPS);
    double *parts = (double *)(void *)part.f, *given = (double *)(void *)sums.f;
    float *own = (float *)(void *)gradients.f; // dgamma, dbeta of each
    cu_norm *norms = (cu_norm *)(void *)norm.f;
    cu_norm_grad *grads = (cu_norm_grad *)(void *)grad.f;
    const unsigned few = (unsigned)cu_ceil(c, CU_COLUMN_THREADS);
    auto add = [&] {
        settle();
        for (int i = 0; i < 2 * c; i++)
            given[i] += given[2 * c + i];
    };
    in_orders("sums of x", {mean, var, norm}, [&] {
        for (int r = 0; r < 2; r++) {
            const T *begin = x.f + r * second;
            CU_LAUNCH(cu_batch_norm_parts<Shares>, of[r].blocks(), CU_COLUMN_THREADS, NULL,
                      of[r], parts, begin);
            CU_LAUNCH(cu_batch_norm_give<T>, cu_total_blocks(c), CU_TOTAL_THREADS, NULL, c,
                      given + r * 2 * c, parts, of[r].parts(), begin, of[r].apart(),
                      of[r].count());
        }
        add();
        CU_LAUNCH(cu_batch_norm_take<double>, few, CU_COLUMN_THREADS, NULL, c, norms, mean.f,
                  var.f, given, shares.count(), gamma.f, beta.f, EPS);
    });
    close_to("mean", mean, F32);
    close_to("var", var, F32);
    mean.keep();
    var.keep();
    ref.batch_norm_grad(dx.d.data(), dgamma.d.data(), dbeta.d.data(), x.want(), dy.want(),
                        gamma.want(), mean.want(), var.want(), z.n, z.c, z.pixels, EPS);
    in_orders("sums of gradients", {dx, gradients}, [&] {
        for (int r = 0; r < 2; r++) {
            const int64_t at = r * second;
            CU_LAUNCH((cu_batch_norm_grad_parts<Shares, cu_nothing>), of[r].blocks(),
                      CU_COLUMN_THREADS, NULL, of[r], parts, dy.f + at, x.f + at, norms);
            CU_LAUNCH(cu_batch_norm_grad_give, cu_total_blocks(c), CU_TOTAL_THREADS, NULL, c,
                      given + r * 2 * c, own + r * 2 * c, own + r * 2 * c + c, parts,
                      of[r].parts(), var.f, EPS);
        }
        add();
        CU_LAUNCH(cu_batch_norm_grad_take, few, CU_COLUMN_THREADS, NULL, c, grads, given,
                  shares.count(), var.f, EPS);
        CU_LAUNCH((cu_batch_norm_grad_apply<Shares, cu_nothing>), shares.blocks(),
                  CU_COLUMN_THREADS, NULL, shares, dx.f, dy.f, x.f, norms, grads);
    });
    for (int i = 0; i < c; i++) {
        dgamma.f[i] = own[i] + own[2 * c + i];
        dbeta.f[i] = own[c + i] + own[3 * c + i];
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
    test_norm(cu_pixels<T, 1>{16}, 0);
    test_norm(cu_pixels<T, 3>{60}, 0);
    test_norm(cu_pixels<T, 17>{1200}, 0.5);
    test_norm(cu_pixels<T, 64>{700}, 0);
    test_norm(cu_pixels<T, 260>{300}, 3); // channels of several blocks
    test_shared(cu_pixels<T, 17>{1200}, 0.5);
    test_shared(cu_pixels<T, 260>{100}, 3);
    test_norm(cu_planes<T, 2>{8, 1}, 0);
    test_norm(cu_planes<T, 5>{4, 3}, 0);
    test_norm(cu_planes<T, 49>{30, 3}, 0.5); // several parts, which cross planes
    test_norm(cu_planes<T, 8>{90, 12}, 0);   // a thread takes other planes only
    test_norm(cu_planes<T, 12>{5, 70}, 3);   // totals of several blocks
    test_norm(cu_planes<T, 784>{14, 2}, 0);  // whole packs, several parts
    test_norm(cu_planes<T, 5003>{1, 2}, 0.5);
    test_shared(cu_planes<T, 49>{90, 3}, 0.5);
    test_shared(cu_planes<T, 64>{30, 40}, 3);
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    // The statistics of channels whose mean is far from 0 are as exact; x itself is less so.
    Norm<cu_pixels<float, 16>, cu_nothing> far(cu_pixels<float, 16>{500}, 1000);
    far.forward(1e-4);
    far.backward(1e-4);
    Norm<cu_planes<float, 60>, cu_nothing> plain(cu_planes<float, 60>{70, 16}, 1000);
    plain.forward(1e-4);
    plain.backward(1e-4);
    test_running(300, 1000);
    test_running(5, 1);
    return failed;
}
