// Tensors as they travel: the bits of the c backend, in messages and behind them.
#include <stagecc/cu_transfer.cuh>

#include <type_traits>

#include "tests/kernels/cuda_test.h"

// Numbers of many sizes: the blocks of 64 are of one kind each.
static double number(int64_t i)
{
    const double u = 2 * (double)rt_uniform(5, (uint64_t)i) - 1;
    const uint32_t any = (uint32_t)(rt_uniform(6, (uint64_t)i) * 0x1p24f) * 0x1fdu;
    switch (i / RT_BLOCK % 10) {
    case 0: return u;
    case 1: return 0;
    case 2: return u * 1e-9;
    case 3: return u * 0x1p-126; // most of them subnormal
    case 4: return u * 3e38;
    case 5: return isfinite(rt_float(any)) ? (double)rt_float(any) : 1; // all exponents
    case 6: return i % 9 ? u * 1e-6 : 1000 * u;
    case 7: return i % 50 == 3 ? (double)NAN : u;
    case 8: return i % 50 == 4 ? -(double)INFINITY : u;
    default: return round(127 * u) / 2; // halves: ties
    }
}

template <typename Codec, typename T>
static void test_codec(const char *name, const CCodec &c, int64_t n)
{
    const int64_t bytes = cu_codes_at<Codec>(n) + n * (int64_t)sizeof(typename Codec::code);
    Tensor<uint8_t> message(bytes), want(bytes);
    Tensor<T> x(n), y(n), back(n);
    for (int64_t i = 0; i < n; i++)
        x.f[i] = cu_from_float<T>((float)number(i));
    printf("%s of %lld elements in %s\n", name, (long long)n, type_of<T>());
    if constexpr (std::is_same<T, float>::value) {
        c.encode(want.f, x.f, n);
        c.decode(back.f, want.f, n);
    } else {
        c.encode_bf16(want.f, &x.f->bits, n);
        c.decode_bf16(&back.f->bits, want.f, n);
    }
    in_orders("encode", {message}, [&] { cu_encode<Codec>(NULL, message.f, x.f, n); });
    same_bits("message", message.f, want.f, message.bytes());
    in_orders("decode", {y}, [&] { cu_decode<Codec>(NULL, y.f, want.f, n); });
    same_bits("elements", y.f, back.f, y.bytes());
}

int main()
{
    for (int64_t n : {1, 2, 63, 64, 65, 191, 1280, 3001}) {
        test_codec<cu_codec_bf16, float>("bf16", c_backend.bf16, n);
        test_codec<cu_codec_f16, float>("f16", c_backend.f16, n);
        test_codec<cu_codec_int8, float>("int8", c_backend.int8, n);
        test_codec<cu_codec_int8, rt_bf16>("int8", c_backend.int8, n);
    }
    return failed;
}
