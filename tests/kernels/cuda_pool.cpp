// Pooling, channels last: near the reference, and with the bits of the c backend where that adds up in float, too.
#include <stagecc/cu_pool.cuh>

#include "tests/kernels/cuda_test.h"

// An axis: size, result, kernel, stride, dilation, before, after.
#define POOL(name, ...)                                                                        \
    struct name {                                                                              \
        CU_BOTH cu_window window()                                                             \
        {                                                                                      \
            return {__VA_ARGS__};                                                              \
        }                                                                                      \
        static constexpr const char *NAME = #name;                                             \
    };
POOL(overlapping, {7, 4, 3, 2, 1, 1, 1}, {6, 3, 3, 2, 1, 1, 1}, false)
POOL(side_by_side, {6, 3, 2, 2, 1, 0, 0}, {4, 2, 2, 2, 1, 0, 0}, false)
POOL(ceiling, {6, 3, 3, 2, 1, 0, 0}, {8, 4, 3, 2, 1, 0, 0}, false)
POOL(uneven, {5, 5, 2, 1, 1, 0, 1}, {7, 2, 4, 3, 1, 2, 0}, false)
POOL(apart, {7, 3, 1, 3, 1, 0, 0}, {6, 3, 1, 2, 1, 0, 0}, false)
POOL(whole, {5, 1, 5, 1, 1, 0, 0}, {4, 1, 4, 1, 1, 0, 0}, false)
POOL(uneven_with_padding, {5, 5, 2, 1, 1, 0, 1}, {7, 2, 4, 3, 1, 2, 0}, true)
POOL(ceiling_with_padding, {6, 3, 3, 2, 1, 0, 0}, {6, 4, 3, 2, 1, 1, 1}, true)
// For the largest only.
POOL(dilated, {7, 6, 3, 1, 2, 2, 1}, {9, 3, 2, 3, 3, 1, 1}, false)
POOL(beside_the_image, {1, 1, 2, 1, 2, 1, 1}, {3, 3, 2, 1, 2, 1, 1}, false)
POOL(most_of_a_byte, {16, 2, 15, 1, 1, 0, 0}, {17, 1, 17, 1, 1, 0, 0}, false)
POOL(more_than_a_byte, {16, 1, 16, 1, 1, 0, 0}, {17, 2, 16, 1, 1, 0, 0}, false)

template <typename Pool> static Window window_of(int64_t n, int64_t c)
{
    const cu_window z = Pool::window();
    return {n,
            c,
            z.high.size,
            z.wide.size,
            z.high.result,
            z.wide.result,
            z.high.kernel,
            z.wide.kernel,
            {z.high.stride, z.wide.stride},
            {z.high.dilation, z.wide.dilation},
            z.high.before,
            z.wide.before,
            z.high.after,
            z.wide.after,
            z.count_include_pad};
}

// Between [n,pixels,c] and [n,c,pixels].
template <typename To, typename From>
static std::vector<To> turned(const From *x, int64_t n, int64_t rows, int64_t columns)
{
    std::vector<To> y((size_t)(n * rows * columns));
    for (int64_t i = 0; i < n * rows * columns; i++) {
        const int64_t row = i / columns % rows, column = i % columns, at = i / columns / rows;
        y[(size_t)((at * columns + column) * rows + row)] = (To)x[i];
    }
    return y;
}

// A pooling between images of x's size and of y's.
template <typename T, int C, typename Pool> struct Pooling {
    Window z;
    int64_t n, from, to; // images; pixels of one before and behind
    Tensor<T> x, y, dy, dx;

    explicit Pooling(int64_t images, const char *what)
        : z(window_of<Pool>(images, C)), n(images), from(z.h * z.w), to(z.p * z.q),
          x(n * from * C), y(n * to * C), dy(n * to * C), dx(n * from * C)
    {
        printf("%s %s, %s, %lld images of %d channels\n", what, Pool::NAME, type_of<T>(),
               (long long)n, C);
        draw(x);
        draw(dy);
    }
    std::vector<double> plain(const Tensor<T> &t, int64_t pixels)
    {
        return turned<double>(t.want(), n, pixels, C);
    }
    // In float, what the c backend has made of plain images; to be compared bit by bit.
    void compare(const char *what, const Tensor<T> &t, const std::vector<float> &c,
                 int64_t pixels)
    {
        const std::vector<float> want = turned<float>(c.data(), n, C, pixels);
        if (sizeof(T) == sizeof(float))
            same_bits(what, t.f, want.data(), t.bytes());
    }
};

// Are the taps the places h * w that the reference has found?
template <typename Pool>
static bool same_places(const Window &z, const cu_argmax<Pool> *tap, const int32_t *place)
{
    int64_t wrong = 0;
    for (int64_t i = 0; i < z.n * z.c * z.p * z.q; i++) {
        const int64_t at = i / z.c, p = at / z.q % z.p, q = at % z.q, none = -1;
        const int64_t h = p * z.stride[0] - z.top + tap[i] / z.s * z.dilation[0];
        const int64_t w = q * z.stride[1] - z.left + tap[i] % z.s * z.dilation[1];
        wrong += place[i] != (tap[i] == (cu_argmax<Pool>)-1 ? none : h * z.w + w);
    }
    return wrong == 0;
}

template <typename T, int C, typename Pool> static void test_max(int64_t images)
{
    Pooling<T, C, Pool> t(images, "max_pool2d");
    Tensor<cu_argmax<Pool>> argmax(t.y.n);
    // Equal ones; an image's last pixel is the largest. Channel 1 has only -inf, the others but 0 have NaN here and there.
    for (int64_t i = 0; i < t.x.n; i++) {
        const double v = i / C % t.from == t.from - 1 ? 2 : round(2 * t.x.d[(size_t)i]) / 2;
        t.x.set(i, i % C == 1 ? -(double)INFINITY : i % C && i % 31 == 7 ? (double)NAN : v);
    }
    std::vector<int32_t> place((size_t)t.y.n), taps((size_t)t.y.n);
    std::vector<double> y((size_t)t.y.n), dx((size_t)t.x.n);
    ref.max_pool2d(y.data(), place.data(), t.plain(t.x, t.from).data(), &t.z);
    t.y.d = turned<double>(y.data(), t.n, C, t.to);
    const std::vector<int32_t> last = turned<int32_t>(place.data(), t.n, C, t.to);
    in_orders("max_pool2d alone", {t.y},
              [&] { cu_max_pool2d<T, C, Pool>(NULL, t.y.f, NULL, t.x.f, images); });
    equal_to("y alone", t.y);
    in_orders("max_pool2d", {t.y, argmax},
              [&] { cu_max_pool2d<T, C, Pool>(NULL, t.y.f, argmax.f, t.x.f, images); });
    equal_to("y", t.y);
    const bool same = same_places<Pool>(t.z, argmax.f, last.data());
    printf("  argmax %s\n", same ? "as in the reference" : "OTHERS");
    failed |= !same;

    ref.max_pool2d_grad(dx.data(), t.plain(t.dy, t.to).data(), place.data(), &t.z);
    t.dx.d = turned<double>(dx.data(), t.n, C, t.from);
    in_orders("max_pool2d gradient", {t.dx},
              [&] { cu_max_pool2d_grad<T, C, Pool>(NULL, t.dx.f, t.dy.f, argmax.f, images); });
    close_to("dx", t.dx, limit_of<T>());
    std::vector<float> c((size_t)t.x.n), c_dy = turned<float>(t.dy.want(), t.n, t.to, C),
                                         c_x = turned<float>(t.x.want(), t.n, t.from, C),
                                         c_y((size_t)t.y.n);
    c_backend.max_pool2d(c_y.data(), taps.data(), c_x.data(), &t.z);
    c_backend.max_pool2d_grad(c.data(), c_dy.data(), taps.data(), &t.z);
    t.compare("dx", t.dx, c, t.from);
}

template <typename T, int C, typename Pool> static void test_avg(int64_t images)
{
    Pooling<T, C, Pool> t(images, "avg_pool2d");
    std::vector<double> y((size_t)t.y.n), dx((size_t)t.x.n);
    ref.avg_pool2d(y.data(), t.plain(t.x, t.from).data(), &t.z);
    t.y.d = turned<double>(y.data(), t.n, C, t.to);
    in_orders("avg_pool2d", {t.y},
              [&] { cu_avg_pool2d<T, C, Pool>(NULL, t.y.f, t.x.f, images); });
    close_to("y", t.y, limit_of<T>());
    ref.avg_pool2d_grad(dx.data(), t.plain(t.dy, t.to).data(), &t.z);
    t.dx.d = turned<double>(dx.data(), t.n, C, t.from);
    in_orders("avg_pool2d gradient", {t.dx},
              [&] { cu_avg_pool2d_grad<T, C, Pool>(NULL, t.dx.f, t.dy.f, images); });
    close_to("dx", t.dx, limit_of<T>());
    std::vector<float> c_y((size_t)t.y.n), c_dx((size_t)t.x.n);
    c_backend.avg_pool2d(c_y.data(), turned<float>(t.x.want(), t.n, t.from, C).data(), &t.z);
    t.compare("y", t.y, c_y, t.to);
    c_backend.avg_pool2d_grad(c_dx.data(), turned<float>(t.dy.want(), t.n, t.to, C).data(),
                              &t.z);
    t.compare("dx", t.dx, c_dx, t.from);
}

template <typename T, int C, int PIXELS> static void test_global(int64_t images)
{
    typedef cu_columns<T, C> shares;
    Tensor<T> x(images * PIXELS * C), y(images * C), dy(images * C), dx(x.n);
    Tensor<uint8_t> part(shares::part_bytes(PIXELS, images, 1));
    printf("global_avg_pool, %s, %lld images of %d pixels, %d channels, in %lld parts\n",
           type_of<T>(), (long long)images, PIXELS, C,
           (long long)shares::parts(PIXELS, images));
    draw(x, 1);
    draw(dy);
    ref.global_avg_pool(y.d.data(), turned<double>(x.want(), images, PIXELS, C).data(),
                        images * C, PIXELS);
    in_orders("global_avg_pool", {y, part}, [&] {
        cu_global_avg_pool<T, C>(NULL, y.f, (double *)(void *)part.f, x.f, images, PIXELS);
    });
    close_to("y", y, limit_of<T>());
    ref.global_avg_pool_grad(dx.d.data(), dy.want(), images * C, PIXELS);
    dx.d = turned<double>(dx.want(), images, C, PIXELS);
    in_orders("global_avg_pool gradient", {dx},
              [&] { cu_global_avg_pool_grad<T, C, PIXELS>(NULL, dx.f, dy.f, images); });
    close_to("dx", dx, limit_of<T>());
}

template <typename T> static void test_type()
{
    test_max<T, 1, overlapping>(2);
    test_max<T, 16, overlapping>(3);
    test_max<T, 20, side_by_side>(2);
    test_max<T, 3, ceiling>(2);
    test_max<T, 5, uneven>(2);
    test_max<T, 2, apart>(3);
    test_max<T, 8, dilated>(2);
    test_max<T, 8, beside_the_image>(2);
    test_max<T, 8, most_of_a_byte>(1);
    test_max<T, 8, more_than_a_byte>(1);
    test_avg<T, 1, overlapping>(2);
    test_avg<T, 16, overlapping>(3);
    test_avg<T, 20, side_by_side>(2);
    test_avg<T, 3, ceiling>(2);
    test_avg<T, 5, uneven>(2);
    test_avg<T, 2, apart>(3);
    test_avg<T, 8, whole>(2);
    test_avg<T, 8, uneven_with_padding>(2);
    test_avg<T, 6, ceiling_with_padding>(2);
    test_global<T, 3, 6>(5);
    test_global<T, 40, 49>(6);
    test_global<T, 600, 4>(2);
    test_global<T, 8, 17000>(2); // several parts
}

int main()
{
    test_type<float>();
    test_type<rt_bf16>();
    return failed;
}
