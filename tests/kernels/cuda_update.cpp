// Sums of gradients and optimizers: the bits of the c backend, near the reference.
#include <stagecc/cu_update.cuh>

#include "tests/kernels/cuda_test.h"

// Parameters and their states in one memory, as in a stage; new values are in place, or in a second one behind
// it. Gaps between them are NaN, and have to stay so.
static const int64_t sizes[] = {1, 7, 4096, 4097, 10000, 64};
enum { ROWS = 6, TOTAL = 3 * 20000 };

struct Stage {
    Tensor<float> memory, grad;
    Tensor<rt_bf16> narrow;
    std::vector<float> before, c; // what it was before; what the c backend makes of it
    int64_t at[ROWS][3];          // param, two states

    Stage() : memory(2 * TOTAL), grad(TOTAL), narrow(TOTAL), before(2 * TOTAL, NAN)
    {
        int64_t end = 0;
        draw(grad);
        for (int k = 0; k < ROWS; k++)
            for (int i = 0; i < 3; i++) {
                at[k][i] = end;
                Tensor<float> part(sizes[k]);
                draw(part, i == 2 ? 1.01 : 0); // squares are not negative
                memcpy(&before[(size_t)end], part.f, part.bytes());
                end += cu_ceil(sizes[k] + 1, 16) * 16;
            }
        if (end > TOTAL)
            abort();
    }

    void begin()
    {
        c = before;
        for (size_t i = 0; i < before.size(); i++)
            memory.d[i] = (double)before[i];
    }

    // Rows for a launch; states: how many of them there are.
    Numbers<cu_update> rows(int states)
    {
        Numbers<cu_update> all;
        for (int k = 0; k < ROWS; k++)
            all.push_back({memory.f + at[k][0],
                           grad.f + at[k][0],
                           {states > 0 ? memory.f + at[k][1] : NULL,
                            states > 1 ? memory.f + at[k][2] : NULL},
                           k % 2 ? narrow.f + at[k][0] : NULL,
                           sizes[k],
                           0});
        return all;
    }

    // After c and reference: launches and compares.
    template <typename F> void check(const char *what, int states, int64_t next, F launch)
    {
        Numbers<cu_update> all = rows(states);
        const int64_t blocks = cu_update_blocks(all.data(), ROWS);
        in_orders(what, {memory, narrow}, [&] {
            memcpy(memory.f, before.data(), memory.bytes());
            launch(all.data(), blocks, next * (int64_t)sizeof(float));
        });
        close_to(what, memory, F32);
        same_bits(what, memory.f, c.data(), memory.bytes());
        // In bf16 those that want it, and nothing beside them.
        Tensor<rt_bf16> want(TOTAL);
        for (int k = 1; k < ROWS; k += 2)
            for (int64_t i = at[k][0]; i < at[k][0] + sizes[k]; i++)
                want.f[i] = rt_to_bf16(c[(size_t)(next + i)]);
        same_bits("in bf16", narrow.f, want.f, want.bytes());
    }
};

static void test_sgd(float momentum, float decay, bool nesterov, int64_t next)
{
    static Stage s;
    const Numbers<cu_step> given = {{0.1f, 0.7f, 1, 1, 1, NULL}};
    const cu_step &step = given[0];
    printf("sgd, momentum %g, decay %g%s, new values %s\n", (double)momentum, (double)decay,
           nesterov ? ", nesterov" : "", next ? "apart" : "in place");
    s.begin();
    for (int k = 0; k < ROWS; k++) {
        const int64_t p = s.at[k][0], m = s.at[k][1];
        if (momentum != 0)
            c_backend.sgd_momentum(&s.c[(size_t)p], s.grad.f + p, &s.c[(size_t)m], sizes[k],
                                   step.lr, step.clip, momentum, decay, nesterov, next * 4);
        else
            c_backend.sgd(&s.c[(size_t)p], s.grad.f + p, sizes[k], step.lr, step.clip, decay,
                          next * 4);
        ref.sgd(&s.memory.d[(size_t)p], s.grad.want() + p,
                momentum != 0 ? &s.memory.d[(size_t)m] : NULL, sizes[k], (double)step.lr,
                (double)step.clip, (double)momentum, nesterov, (double)decay, next * 8);
    }
    s.check(
        "sgd", momentum != 0, next, [&](const cu_update *rows, int64_t blocks, int64_t bytes) {
            cu_sgd(NULL, rows, ROWS, blocks, bytes, given.data(), {momentum, decay, nesterov});
        });
}

static void test_adam(double decay, int decoupled, int64_t next)
{
    static Stage s;
    const Adam adam = {0.01, 0.7, 0.9, 0.999, 1e-8, decay, decoupled, 3};
    const AdamStep k = c_backend.adam_prepare(&adam);
    const Numbers<cu_step> step = {{0, k.clip, k.shrink, k.correction, k.size, NULL}};
    printf("adam, decay %g%s, new values %s\n", decay, decoupled ? ", decoupled" : "",
           next ? "apart" : "in place");
    s.begin();
    for (int r = 0; r < ROWS; r++) {
        const int64_t *at = s.at[r];
        c_backend.adam(&s.c[(size_t)at[0]], s.grad.f + at[0], &s.c[(size_t)at[1]],
                       &s.c[(size_t)at[2]], sizes[r], next * 4, &adam);
        ref.adam(&s.memory.d[(size_t)at[0]], s.grad.want() + at[0], &s.memory.d[(size_t)at[1]],
                 &s.memory.d[(size_t)at[2]], sizes[r], next * 8, &adam);
    }
    s.check("adam", 2, next, [&](const cu_update *rows, int64_t blocks, int64_t bytes) {
        cu_adam(NULL, rows, ROWS, blocks, bytes, step.data(),
                {k.decay, k.beta2, k.new1, k.new2, k.eps});
    });
}

// A step whose numbers went wrong leaves no trace.
static void test_bad()
{
    static Stage s;
    const Numbers<int32_t> bad = {1};
    const Numbers<cu_step> step = {{0.1f, NAN, 1, 1, 1, bad.data()}};
    Numbers<cu_update> rows = s.rows(2);
    const int64_t blocks = cu_update_blocks(rows.data(), ROWS);
    memcpy(s.memory.f, s.before.data(), s.memory.bytes());
    cu_sgd(NULL, rows.data(), ROWS, blocks, 0, step.data(), {0.9f, 0, false});
    cu_adam(NULL, rows.data(), ROWS, blocks, 0, step.data(), {0, 0.9f, 0.1f, 0.1f, 1e-8f});
    settle();
    bool same = memcmp(s.memory.f, s.before.data(), s.memory.bytes()) == 0;
    printf("a bad step %s\n", same ? "leaves no trace" : "LEAVES TRACES");
    failed |= !same;
}

template <typename T> static void test_accumulate(int64_t n, bool first)
{
    Tensor<float> sum(n), before(n);
    Tensor<T> grad(n);
    draw(before);
    draw(grad);
    std::vector<float> c(before.f, before.f + n), wide(grad.d.begin(), grad.d.end());
    c_backend.accumulate(c.data(), wide.data(), n, first);
    printf("accumulate %lld of %s%s\n", (long long)n, type_of<T>(), first ? ", first" : "");
    in_orders("accumulate", {sum}, [&] {
        memcpy(sum.f, before.f, before.bytes());
        cu_accumulate(NULL, sum.f, grad.f, n, first);
    });
    same_bits("sum", sum.f, c.data(), sum.bytes());
}

int main()
{
    for (int64_t next : {0, (int)TOTAL}) {
        test_sgd(0, 0, false, next);
        test_sgd(0, 0.01f, false, next);
        test_sgd(0.9f, 0, false, next);
        test_sgd(0.9f, 0.01f, true, next);
        test_adam(0, 0, next);
        test_adam(0.01, 0, next);
        test_adam(0.01, 1, next);
    }
    test_bad();
    for (bool first : {false, true}) {
        for (int64_t n : {1, 4095, 4096, 4099, 9000}) {
            test_accumulate<float>(n, first);
            test_accumulate<rt_bf16>(n, first);
        }
    }
    return failed;
}
