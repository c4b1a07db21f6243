// LSTM, forward and backward, around products as they are asked of a library.
#include <stagecc/cu_lstm.cuh>

#include "tests/kernels/cuda_test.h"

template <typename Rows> static auto row(const Rows &of, int64_t i)
{
    return of.at + i * of.apart;
}

// out[n,cols] = more + x[n,inner] w, w[cols,inner] transposed or w[inner,cols] as it is; more may be out.
static void product(cu_lstm_out out, cu_lstm_in x, cu_lstm_in more, const float *w,
                    bool transposed, int64_t n, int64_t cols, int64_t inner)
{
    settle();
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < cols; c++) {
            double sum = (double)row(more, i)[c];
            for (int64_t j = 0; j < inner; j++)
                sum +=
                    (double)row(x, i)[j] * (double)w[transposed ? c * inner + j : j * cols + c];
            row(out, i)[c] = (float)sum;
        }
}

template <int H> struct Layer {
    cu_lstm_sizes z;
    Lstm sizes;
    Numbers<int32_t> lengths;
    Tensor<float> g, w, s0, y, gates, dy, dg, ds0, h, room;
    bool has_state;

    Layer(int64_t n, int64_t t, bool reverse, bool state, bool some_end)
        : z{n, t, reverse}, sizes{n, t, H, reverse}, g(n * t * 4 * H), w(4 * H * H),
          s0(n * 2 * H), y(n * t * 2 * H), gates(n * t * 4 * H), dy(n * t * 2 * H),
          dg(n * t * 4 * H), ds0(n * 2 * H), h(n * t * H), room(n * 4 * H), has_state(state)
    {
        printf("%lld samples, %lld steps of %d%s%s%s\n", (long long)n, (long long)t, H,
               reverse ? ", reverse" : "", state ? ", with a state" : "",
               some_end ? ", lengths" : "");
        draw(g, 0, 2);
        draw(w);
        draw(s0);
        draw(dy);
        for (int64_t i = 0; some_end && i < n; i++)
            lengths.push_back((int32_t)((t * i + 1) / n)); // 0 .. t
    }
    const int32_t *ends() const
    {
        return lengths.empty() ? NULL : lengths.data();
    }

    void launch_forward(float *kept)
    {
        const int64_t n = z.n;
        cu_lstm<H>(NULL, y.f, kept, kept ? NULL : room.f, g.f, has_state ? s0.f : NULL, ends(),
                   z, [&](cu_lstm_out sums, cu_lstm_in before, cu_lstm_in input) {
                       product(sums, before, input, w.f, true, n, 4 * H, H);
                   });
    }

    void forward()
    {
        ref.lstm(y.d.data(), gates.d.data(), g.want(), w.want(), has_state ? s0.want() : NULL,
                 ends(), &sizes);
        in_orders("lstm without gates", {y, room}, [&] { launch_forward(NULL); });
        close_to("y", y, F32);
        in_orders("lstm", {y, gates}, [&] { launch_forward(gates.f); });
        close_to("y beside gates", y, F32);
        close_to("gates", gates, F32);
    }

    // Behind forward: of the states and gates that it has left. all: ds0 and h are wanted, too.
    void backward(bool all)
    {
        y.keep();
        gates.keep();
        const double *state = has_state ? s0.want() : NULL;
        ref.lstm_grad(dg.d.data(), ds0.d.data(), h.d.data(), dy.want(), gates.want(), y.want(),
                      w.want(), state, ends(), &sizes);
        in_orders("lstm gradient", {dg, ds0, h}, [&] {
            cu_lstm_grad<H>(
                NULL, dg.f, all ? ds0.f : NULL, all ? h.f : NULL, dy.f, gates.f, y.f,
                has_state ? s0.f : NULL, ends(), z, [&](cu_lstm_out back, cu_lstm_in da) {
                    product(back, da, {back.at, back.apart}, w.f, false, z.n, H, 4 * H);
                });
        });
        close_to(all ? "dg" : "dg alone", dg, F32);
        if (!all)
            return;
        close_to("ds0", ds0, F32);
        close_to("h", h, F32);
    }
};

template <int H> static void test_layer(int64_t n, int64_t t)
{
    for (int kind = 0; kind < 8; kind++) {
        Layer<H> layer(n, t, kind & 1, kind & 2, kind & 4);
        layer.forward();
        layer.backward(true);
        layer.backward(false);
    }
}

int main()
{
    test_layer<1>(2, 1);
    test_layer<3>(5, 4);
    test_layer<6>(3, 5);
    test_layer<20>(30, 3); // several blocks
    return failed;
}
