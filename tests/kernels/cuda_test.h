// What tests of CUDA kernels share, on the processor (runtime/cuda/cu_host.h) and on a device: tensors beside their
// values in double, launches in all orders of threads.
#ifndef STAGECC_TESTS_CUDA_TEST_H
#define STAGECC_TESTS_CUDA_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>
#include <vector>

#include "tests/kernels/cuda_memory.h"
#include "tests/kernels/cuda_reference.h"

static const double F32 = 1e-5, BF16 = 1e-2; // relative to the largest element

template <typename T> constexpr double limit_of()
{
    return sizeof(T) == sizeof(float) ? F32 : BF16;
}

template <typename T> constexpr const char *type_of()
{
    return sizeof(T) == sizeof(float) ? "f32" : "bf16";
}

// n elements, each of which an out-of-bounds access is seen of by AddressSanitizer, and what they ought to be.
template <typename T> struct Tensor {
    int64_t n;
    T *f;
    std::vector<double> d;

    explicit Tensor(int64_t count) : n(count), f(NULL), d((size_t)count)
    {
        f = (T *)seen_allocate(bytes());
        memset((void *)f, 0xff, bytes()); // NaN
    }
    ~Tensor()
    {
        seen_free(f);
    }
    Tensor(const Tensor &) = delete;
    Tensor &operator=(const Tensor &) = delete;

    size_t bytes() const
    {
        return (size_t)n * sizeof *f;
    }
    const double *want() const
    {
        return d.data();
    }
    // What a kernel has computed is from now on what it ought to be.
    void keep()
    {
        for (int64_t i = 0; i < n; i++)
            d[(size_t)i] = (double)cu_to_float(f[i]);
    }
    void set(int64_t i, double value) // as nearly as T holds it
    {
        f[i] = cu_from_float<T>((float)value);
        d[(size_t)i] = (double)cu_to_float(f[i]);
    }
};

// Uniform in [middle - spread, middle + spread), other numbers at every call.
template <typename T> static void draw(Tensor<T> &t, double middle = 0, double spread = 1)
{
    static uint64_t drawn;
    for (int64_t i = 0; i < t.n; i++)
        t.set(i, middle + spread * (2 * (double)rt_uniform(9, drawn++) - 1));
}

struct Result {
    void *at;
    size_t bytes;
    template <typename T> Result(Tensor<T> &t) : at(t.f), bytes(t.bytes())
    {
    }
};

// The bits of a result, for whoever compares those of a device with those of the processor: FNV-1a.
static void tell_bits(const char *what, size_t result, const std::vector<uint8_t> &bits)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint8_t byte : bits)
        hash = (hash ^ byte) * 0x100000001b3u;
    printf("bits %016llx %s, result %zu of %zu bytes\n", (unsigned long long)hash, what, result,
           bits.size());
}

// Launches in every order of blocks, warps and lanes, with results poisoned beforehand: they must have the
// same bits.
template <typename F>
static void in_orders(const char *what, std::initializer_list<Result> results, F launch)
{
    std::vector<std::vector<uint8_t>> first;
    static const bool tells = getenv("CUDA_TEST_BITS") != NULL;
    for (cu_order = 0; cu_order < CU_ORDERS; cu_order++) {
        for (const Result &r : results)
            memset(r.at, 0xff, r.bytes);
        launch();
        settle();
        size_t k = 0;
        for (const Result &r : results) {
            std::vector<uint8_t> bits((uint8_t *)r.at, (uint8_t *)r.at + r.bytes);
            if (cu_order == 0)
                first.push_back(bits);
            else if (bits != first[k]) {
                printf("%s: result %zu has other bits in order %d: a race\n", what, k,
                       cu_order);
                failed = true;
            }
            k++;
        }
    }
    cu_order = 0;
    for (size_t k = 0; k < first.size() && tells; k++)
        tell_bits(what, k, first[k]);
}

template <typename T> static void close_to(const char *what, const Tensor<T> &t, double limit)
{
    double scale = 1e-30, worst = 0;
    for (int64_t i = 0; i < t.n; i++) {
        double got = (double)cu_to_float(t.f[i]), want = t.d[(size_t)i];
        if (isnan(got) != isnan(want))
            worst = INFINITY;
        if (isnan(got) || isnan(want))
            continue;
        scale = fmax(scale, fabs(want));
        worst = fmax(worst, fabs(got - want));
    }
    bool ok = worst <= limit * scale;
    printf("  %-30s %7lld elements, off by %.1e of %.0e%s\n", what, (long long)t.n,
           worst / scale, limit, ok ? "" : ": TOO FAR");
    failed |= !ok;
}

// Of what only moves elements: every one is what it ought to be.
template <typename T> static void equal_to(const char *what, const Tensor<T> &t)
{
    int64_t wrong = 0;
    for (int64_t i = 0; i < t.n; i++) {
        double got = (double)cu_to_float(t.f[i]), want = t.d[(size_t)i];
        wrong += !(got == want || (isnan(got) && isnan(want)));
    }
    printf("  %-30s %7lld elements, %s\n", what, (long long)t.n,
           wrong ? "WRONG ONES" : "equal");
    failed |= wrong > 0;
}

[[maybe_unused]] static void same_bits(const char *what, const void *a, const void *b,
                                       size_t bytes)
{
    bool same = memcmp(a, b, bytes) == 0;
    printf("  %-30s %s\n", what, same ? "the c backend's bits" : "OTHER BITS");
    failed |= !same;
}

#endif
