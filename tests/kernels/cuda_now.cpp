// What the device knows of step and micro-batch: set by the host, read by kernels.
#include <stagecc/cu_card.cuh>
#include <stagecc/cu_elementwise.cuh>
#include <stagecc/cu_now.cuh>
#include <stagecc/cu_update.cuh>

#include "tests/kernels/cuda_test.h"

CU_CARD_KERNELS

static void expect(const char *what, bool holds)
{
    printf("%-60s %s\n", what, holds ? "yes" : "NO");
    failed |= !holds;
}

static rt_now now_of(int64_t done, int32_t mb)
{
    rt_now now = {};
    now.seed = -3;
    now.done = done;
    now.mb = mb;
    now.share = 0.25f;
    return now;
}

// As they are at the launch, and no more of them.
static void test_set()
{
    Numbers<rt_now> now(2);
    rt_now next = now_of(41, 3), before;
    bool same = true;
    memset((void *)&before, 0xff, sizeof before);
    for (cu_order = 0; cu_order < CU_ORDERS; cu_order++) {
        memset((void *)now.data(), 0xff, 2 * sizeof next);
        rt_card_kernels.set(NULL, now.data(), &next, sizeof next);
        settle();
        same &=
            !memcmp(&now[0], &next, sizeof next) && !memcmp(&now[1], &before, sizeof before);
    }
    cu_order = 0;
    expect("what the host says is there, and nothing behind it", same);
}

// A phase as it is captured: with pointers only.
static __global__ void dropout(float *y, const float *x, const rt_now *now)
{
    const int i = (int)threadIdx.x;
    y[i] = c_dropout(x[i], 0.5f, cu_random_key(now, 11), i) * now->share;
}

static void test_dropout()
{
    enum { N = 64 };
    Tensor<float> x(N), y(N);
    Numbers<rt_now> now(1);
    draw(x);
    for (int32_t mb = 0; mb < 2; mb++)
        for (int64_t done = 0; done < 2; done++) {
            const rt_now next = now_of(done, mb);
            uint64_t key = rt_mix((uint64_t)-3); // as rt_random_key always was
            key = rt_mix(rt_mix(rt_mix(key + 11) + (uint64_t)done) + (uint64_t)mb);
            for (int i = 0; i < N; i++)
                y.d[(size_t)i] =
                    rt_uniform(key, (uint64_t)i) < 0.5f ? 0 : x.d[(size_t)i] * 2 * 0.25;
            in_orders("dropout", {y}, [&] {
                rt_card_kernels.set(NULL, now.data(), &next, sizeof next);
                CU_LAUNCH(dropout, 1, N, NULL, y.f, x.f, now.data());
            });
            close_to("dropout of step and micro-batch", y, 0);
        }
}

// sgd reads the step's learning rate and clip factor where they were set, and writes nothing where it is told of bad
// numbers.
static void test_update()
{
    Numbers<float> p = {1}, g = {1};
    Numbers<cu_update> row = {{p.data(), g.data(), {NULL, NULL}, NULL, 1, 0}};
    const int64_t blocks = cu_update_blocks(row.data(), 1);
    Numbers<cu_step> known(1);
    Numbers<int32_t> noted = {0};
    auto step = [&](float lr, float clip, int32_t bad) {
        const cu_step next = {lr, clip, 0.99f, 0.1f, 7, noted.data()};
        noted[0] = bad;
        rt_card_kernels.set(NULL, known.data(), &next, sizeof next);
        cu_sgd(NULL, row.data(), 1, blocks, 0, known.data(), {0, 0, false});
        settle();
    };
    step(0.5f, 1, 0);
    expect("the first step's learning rate", p[0] == 0.5f);
    step(0.25f, 0.5f, 0);
    expect("the second one's, and its clip factor", p[0] == 0.375f);
    step(0.25f, 1, 1);
    expect("nothing is written of bad numbers", p[0] == 0.375f);
}

int main()
{
    test_set();
    test_dropout();
    test_update();
    return failed;
}
