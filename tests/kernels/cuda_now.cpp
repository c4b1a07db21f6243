// What the device knows of step and micro-batch: set by the host, but for what kernels have found; read by kernels.
#include <stagecc/cu_elementwise.cuh>
#include <stagecc/cu_now.cuh>
#include <stagecc/cu_update.cuh>

#include "tests/kernels/cuda_test.h"

static void expect(const char *what, bool holds)
{
    printf("%-60s %s\n", what, holds ? "yes" : "NO");
    failed |= !holds;
}

static rt_now at_first()
{
    rt_now now = {};
    now.update.clip = 1;
    return now;
}

static rt_now now_of(int64_t done, int32_t mb)
{
    rt_now now = at_first();
    now.seed = -3;
    now.done = done;
    now.mb = mb;
    now.share = 0.25f;
    now.update.lr = 0.5f / (float)(done + 1);
    now.update.shrink = 0.99f;
    now.update.correction = 0.1f * (float)done;
    now.update.size = 7;
    return now;
}

static void test_set()
{
    rt_now now = {}, next = now_of(41, 3), want = next;
    want.update.clip = 0.75f;
    want.update.bad = 1;
    bool same = true;
    for (cu_order = 0; cu_order < CU_ORDERS; cu_order++) {
        memset((void *)&now, 0xff, sizeof now);
        now.update.clip = 0.75f;
        now.update.bad = 1;
        cu_set_now(NULL, &now, &next);
        same &= memcmp(&now, &want, sizeof now) == 0;
    }
    cu_order = 0;
    expect("all is set but for clip and bad", same);
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
    rt_now now = at_first();
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
                cu_set_now(NULL, &now, &next);
                CU_LAUNCH(dropout, 1, N, NULL, y.f, x.f, &now);
            });
            close_to("dropout of step and micro-batch", y, 0);
        }
}

// sgd reads the step's learning rate where cu_set_now has put it, the clip factor where a kernel has, and writes nothing
// from the first bad step on.
static void test_update()
{
    float p[1] = {1}, g[1] = {1};
    cu_update row = {p, g, {NULL, NULL}, NULL, 1, 0};
    const int64_t blocks = cu_update_blocks(&row, 1);
    rt_now now = at_first();
    auto step = [&](int64_t done) {
        const rt_now next = now_of(done, 0);
        cu_set_now(NULL, &now, &next);
        cu_sgd(NULL, &row, 1, blocks, 0, &now.update, {0, 0, false});
    };
    step(0);
    expect("the first step's learning rate", p[0] == 0.5f);
    now.update.clip = 0.5f;
    step(1);
    expect("the second one's, and its clip factor", p[0] == 0.375f);
    now.update.bad = 1;
    step(2);
    step(3);
    expect("nothing is written any more", p[0] == 0.375f);
}

int main()
{
    test_set();
    test_dropout();
    test_update();
    return failed;
}
