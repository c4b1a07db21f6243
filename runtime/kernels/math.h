// exp, log, tanh and erf in float, for loops that compilers turn into vector code: no branches, no
// table, no call. exp, log and erf are within 1 ulp, tanh within 2.3 (tests/runtime/test_math.c); NaN
// and infinities mean what they mean in C. A fused multiply-add is written where it is meant, so that
// the bits are the same with every compiler.
//
// exp and log reduce the argument to r around 0 and take a polynomial of Moshier's (Cephes) there;
// tanh goes through 2^n (1 + expm1(r)); erf is a polynomial up to 0.93 and 1 - exp of one above.
#ifndef STAGECC_RUNTIME_MATH_H
#define STAGECC_RUNTIME_MATH_H

#include <stdint.h>

static inline uint32_t rt_bits(float x)
{
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}

static inline float rt_float(uint32_t u)
{
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

// Both keep a NaN in x.
static inline float rt_at_least(float x, float low)
{
    return x < low ? low : x;
}

static inline float rt_at_most(float x, float high)
{
    return x > high ? high : x;
}

static inline float rt_magnitude(float x)
{
    return rt_float(rt_bits(x) & 0x7fffffffu);
}

// x, not negative, with the sign of s.
static inline float rt_signed_as(float x, float s)
{
    return rt_float(rt_bits(x) | (rt_bits(s) & 0x80000000u));
}

static inline float rt_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

// exp(x) = 2^n (1 + p) with p = expm1(r), |r| <= ln(2) / 2: adding 1.5 * 2^23 rounds x / ln(2) to n,
// which then stands in the sum's low bits.
static inline float rt_exp_parts(float x, int32_t *n)
{
    float sum = rt_fma(x, 1.44269504f, 12582912.0f);
    *n = (int32_t)(rt_bits(sum) - 0x4b400000u);
    float whole = sum - 12582912.0f;
    float r = rt_fma(whole, -0.693145752f, x);
    r = rt_fma(whole, -1.42860677e-6f, r);
    float p = rt_fma(1.9875691500e-4f, r, 1.3981999507e-3f);
    p = rt_fma(p, r, 8.3334519073e-3f);
    p = rt_fma(p, r, 4.1665795894e-2f);
    p = rt_fma(p, r, 1.6666665459e-1f);
    p = rt_fma(p, r, 5.0000001201e-1f);
    return rt_fma(p * r, r, r);
}

static inline float rt_power_of_2(int32_t n) // -126 .. 127
{
    return rt_float((uint32_t)(n + 127) << 23);
}

static inline float rt_exp(float x)
{
    int32_t n;
    float p = rt_exp_parts(rt_at_most(rt_at_least(x, -104.0f), 89.0f), &n);
    // In two steps, because 2^n itself may be no normal number.
    int32_t half = n >> 1;
    return (p + 1.0f) * rt_power_of_2(half) * rt_power_of_2(n - half);
}

static inline float rt_log(float x)
{
    // Subnormal numbers are scaled up first; 1 + f is in [sqrt(1/2), sqrt(2)).
    float scaled = x * (x < 1.17549435e-38f ? 8388608.0f : 1.0f);
    int32_t shift = x < 1.17549435e-38f ? 23 : 0;
    uint32_t bits = rt_bits(scaled) - 0x3f3504f3u;
    float e = (float)(((int32_t)bits >> 23) - shift);
    float f = rt_float((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = rt_fma(7.0376836292e-2f, f, -1.1514610310e-1f);
    p = rt_fma(p, f, 1.1676998740e-1f);
    p = rt_fma(p, f, -1.2420140846e-1f);
    p = rt_fma(p, f, 1.4249322787e-1f);
    p = rt_fma(p, f, -1.6668057665e-1f);
    p = rt_fma(p, f, 2.0000714765e-1f);
    p = rt_fma(p, f, -2.4999993993e-1f);
    p = rt_fma(p, f, 3.3333331174e-1f);
    float square = f * f;
    float low = rt_fma(e, -2.12194440e-4f, p * f * square);
    float y = rt_fma(e, 0.693359375f, f + rt_fma(-0.5f, square, low));
    y = x == 0 ? -__builtin_inff() : y;
    y = x < 0 ? __builtin_nanf("") : y;
    return x <= 3.40282347e38f ? y : x; // infinity and NaN
}

static inline float rt_tanh(float x)
{
    int32_t n;
    float a = rt_magnitude(x);
    float p = rt_exp_parts(2 * rt_at_most(a, 10.0f), &n);
    float power = rt_power_of_2(n);
    float e = rt_fma(p, power, power - 1.0f); // expm1(2a)
    return rt_signed_as(e / (e + 2.0f), x);
}

static inline float rt_erf(float x)
{
    float a = rt_magnitude(x), square = x * x;
    float small = rt_fma(-5.96761703e-4f, square, 4.99119423e-3f);
    small = rt_fma(small, square, -2.67681349e-2f);
    small = rt_fma(small, square, 1.12819925e-1f);
    small = rt_fma(small, square, -3.76125336e-1f);
    small = rt_fma(small, square, 1.28379166e-1f);
    small = rt_fma(small, x, x);
    float t = rt_at_most(a, 5.0f), s = t * t;
    float large = rt_fma(-1.72853470e-5f, t, 3.83197126e-4f);
    large = rt_fma(large, s, rt_fma(-3.88396438e-3f, t, 2.42546219e-2f));
    large = rt_fma(large, t, -1.06777877e-1f);
    large = rt_fma(large, t, -6.34846687e-1f);
    large = rt_fma(large, t, -1.28717512e-1f);
    large = rt_fma(large, t, -t);
    large = rt_signed_as(1.0f - rt_exp(large), x);
    return a > 0.927734375f ? large : small;
}

#endif
