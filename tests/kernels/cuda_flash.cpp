// Attention on tensor cores, forward and backward, against sums in double with all scores at hand.
#include <stagecc/cu_flash.cuh>

#include "tests/kernels/cuda_test.h"

template <int STEPS, int D, bool CAUSAL, bool DROPS> struct Attention {
    Numbers<rt_now> now;
    cu_attention_options z;
    Tensor<rt_bf16> q, k, v, o, dy, dq, dk, dv;
    Tensor<float> lse, delta;

    // q within 1 around `middle`, k around 1.
    Attention(int64_t n, int heads, double middle)
        : now{{-5, 17, 3, 1}}, z{n, heads, 1 / sqrtf(D), 0.3f, 7, now.data()},
          q(n * STEPS * heads * D), k(q.n), v(q.n), o(q.n), dy(q.n), dq(q.n), dk(q.n), dv(q.n),
          lse(n * heads * STEPS), delta(lse.n)
    {
        printf("%lld samples of %d steps, %d heads of %d%s%s, around %g\n", (long long)n, STEPS,
               heads, D, CAUSAL ? ", causal" : "", DROPS ? ", dropout" : "", middle);
        draw(q, middle);
        draw(k, 1);
        draw(v, 0.5);
        draw(dy);
    }

    // Where a step of a head begins, which is the lse-th.
    size_t at(size_t row) const
    {
        const size_t heads = (size_t)z.heads, head = row / STEPS;
        return ((head / heads * STEPS + row % STEPS) * heads + head % heads) * D;
    }
    static double dot(const double *a, const double *b)
    {
        double sum = 0;
        for (int i = 0; i < D; i++)
            sum += a[i] * b[i];
        return sum;
    }
    // Scores of a step; returns how many steps it sees.
    size_t scores(std::vector<double> &s, size_t row) const
    {
        const size_t seen = CAUSAL ? row % STEPS + 1 : STEPS;
        for (size_t j = 0; j < seen; j++)
            s[j] = (double)z.scale * dot(&q.d[at(row)], &k.d[at(row / STEPS * STEPS + j)]);
        return seen;
    }

    // What dropout multiplies step j of that row by.
    double drop(size_t row, size_t j) const
    {
        const uint64_t key = rt_key(now[0].seed, z.stream, now[0].done, now[0].mb);
        if (!DROPS)
            return 1;
        return rt_uniform(key, row * STEPS + j) < z.rate ? 0 : 1 / (1 - (double)z.rate);
    }

    void reference()
    {
        std::vector<double> s(STEPS);
        for (size_t row = 0; row < (size_t)lse.n; row++) {
            const size_t seen = scores(s, row);
            double sum = 0;
            for (size_t j = 0; j < seen; j++)
                sum += exp(s[j]);
            lse.d[row] = log(sum);
            for (size_t j = 0; j < seen; j++)
                for (size_t i = 0; i < D; i++)
                    o.d[at(row) + i] +=
                        exp(s[j]) / sum * drop(row, j) * v.d[at(row / STEPS * STEPS + j) + i];
        }
    }

    // Of the o that forward has left.
    void reference_grad()
    {
        std::vector<double> s(STEPS);
        for (size_t row = 0; row < (size_t)lse.n; row++) {
            const size_t seen = scores(s, row), r = at(row);
            delta.d[row] = dot(&dy.d[r], &o.d[r]);
            for (size_t j = 0; j < seen; j++) {
                const size_t c = at(row / STEPS * STEPS + j);
                const double p = exp(s[j] - lse.d[row]), keep = drop(row, j);
                const double ds =
                    (double)z.scale * p * (keep * dot(&dy.d[r], &v.d[c]) - delta.d[row]);
                for (size_t i = 0; i < D; i++) {
                    dv.d[c + i] += p * keep * dy.d[r + i];
                    dq.d[r + i] += ds * k.d[c + i];
                    dk.d[c + i] += ds * q.d[r + i];
                }
            }
        }
    }

    void test()
    {
        reference();
        in_orders("attention", {o, lse}, [&] {
            cu_attention<STEPS, D, CAUSAL, DROPS>(NULL, o.f, lse.f, q.f, k.f, v.f, z);
        });
        close_to("o", o, BF16);
        close_to("lse", lse, F32);
        o.keep();
        lse.keep();
        reference_grad();
        in_orders("attention gradient", {dq, dk, dv, delta}, [&] {
            cu_attention_grad<STEPS, D, CAUSAL, DROPS>(NULL, dq.f, dk.f, dv.f, delta.f, dy.f,
                                                       q.f, k.f, v.f, o.f, lse.f, z);
        });
        close_to("delta", delta, F32);
        close_to("dq", dq, BF16);
        close_to("dk", dk, BF16);
        close_to("dv", dv, BF16);
    }

    // Behind test: of which nobody wants the others.
    void test_alone()
    {
        const auto grad = [&](rt_bf16 *of_q, rt_bf16 *of_k, rt_bf16 *of_v) {
            cu_attention_grad<STEPS, D, CAUSAL, DROPS>(NULL, of_q, of_k, of_v, delta.f, dy.f,
                                                       q.f, k.f, v.f, o.f, lse.f, z);
        };
        in_orders("dq alone", {dq}, [&] { grad(dq.f, NULL, NULL); });
        close_to("dq", dq, BF16);
        in_orders("dk alone", {dk}, [&] { grad(NULL, dk.f, NULL); });
        close_to("dk", dk, BF16);
        in_orders("dv alone", {dv}, [&] { grad(NULL, NULL, dv.f); });
        close_to("dv", dv, BF16);
    }
};

template <int STEPS, int D> static void test_sizes(int64_t n, int heads, double middle)
{
    Attention<STEPS, D, false, false>(n, heads, middle).test();
    Attention<STEPS, D, true, true>(n, heads, middle).test();
}

int main()
{
    test_sizes<1, 16>(2, 1, 0);
    test_sizes<20, 32>(2, 3, 0);
    Attention<64, 64, true, false>(1, 2, 0).test();
    Attention<3, 16, true, true> small(1, 1, 0);
    small.test();
    small.test_alone();
    test_sizes<130, 64>(1, 1, 16); // exp of scores of 128 is none; the last tile is not full
    Attention<70, 128, true, false>(1, 1, 0).test();
    return failed;
}
