// Part of <stagecc/c.h>: vectors of doubles, side by side in explicit lanes, because compilers neither may
// reorder a sum nor keep arrays of partial sums in registers; and stores past the cache.
#ifndef STAGECC_C_VECTOR_H
#define STAGECC_C_VECTOR_H

// A vector of C_WIDE doubles, as wide as the machine has them, and how to make one of floats or bf16.
#if defined __AVX512F__
#include <immintrin.h>
enum { C_WIDE = 8 };
typedef double c_wide __attribute__((vector_size(64)));
C_INLINE c_wide c_widen(const float *x)
{
    return (c_wide)_mm512_cvtps_pd(_mm256_loadu_ps(x));
}
C_INLINE c_wide c_widen_bf16(const rt_bf16 *x)
{
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
    return (c_wide)_mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)));
}
#elif defined __AVX2__
#include <immintrin.h>
enum { C_WIDE = 4 };
typedef double c_wide __attribute__((vector_size(32)));
C_INLINE c_wide c_widen(const float *x)
{
    return (c_wide)_mm256_cvtps_pd(_mm_loadu_ps(x));
}
C_INLINE c_wide c_widen_bf16(const rt_bf16 *x)
{
    __m128i bits = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x));
    return (c_wide)_mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(bits, 16)));
}
#else
enum { C_WIDE = 2 };
typedef double c_wide __attribute__((vector_size(16)));
C_INLINE c_wide c_widen(const float *x)
{
    return (c_wide){(double)x[0], (double)x[1]};
}
C_INLINE c_wide c_widen_bf16(const rt_bf16 *x)
{
    return (c_wide){(double)rt_to_float(x[0]), (double)rt_to_float(x[1])};
}
#endif

// Two vectors at a time hide the latency of an addition; C_COLUMNS columns are summed up at a time.
enum { C_PAIR = 2 * C_WIDE, C_COLUMNS = 64 };

// C_PAIR floats.
#if defined __AVX512F__
typedef __m512 c_floats;
C_INLINE c_floats c_take(const float *x)
{
    return _mm512_loadu_ps(x);
}
C_INLINE c_floats c_take_bf16(const rt_bf16 *x)
{
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
#elif defined __AVX2__
typedef __m256 c_floats;
C_INLINE c_floats c_take(const float *x)
{
    return _mm256_loadu_ps(x);
}
C_INLINE c_floats c_take_bf16(const rt_bf16 *x)
{
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
#endif

// The sum of all lanes: halves upon each other.
C_INLINE double c_total(c_wide v)
{
    double lane[C_WIDE];
    memcpy(lane, &v, sizeof lane);
    for (int width = C_WIDE / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

C_INLINE c_wide c_load(const double *x)
{
    c_wide v;
    memcpy(&v, x, sizeof v);
    return v;
}

C_INLINE void c_store(double *x, c_wide v)
{
    memcpy(x, &v, sizeof v);
}

// Writes n floats to y, which no cache will hold until they are read: half the traffic of a store, which
// reads the line first. Both lie at multiples of the machine's vectors, and n is one. Other threads
// see them after c_stream_end.
C_INLINE void c_stream(float *y, const float *x, int64_t n)
{
#if defined __AVX512F__
    for (int64_t i = 0; i < n; i += 16)
        _mm512_stream_ps(y + i, _mm512_loadu_ps(x + i));
#elif defined __AVX2__
    for (int64_t i = 0; i < n; i += 8)
        _mm256_stream_ps(y + i, _mm256_loadu_ps(x + i));
#else
    memcpy(y, x, (size_t)n * sizeof *y);
#endif
}

C_INLINE void c_stream_bf16(rt_bf16 *y, const rt_bf16 *x, int64_t n)
{
#if defined __AVX2__
    for (int64_t i = 0; i < n; i += 16)
        _mm256_stream_si256((__m256i *)(void *)(y + i),
                            _mm256_loadu_si256((const __m256i *)(const void *)(x + i)));
#else
    memcpy(y, x, (size_t)n * sizeof *y);
#endif
}

C_INLINE void c_stream_end(void)
{
#if defined __AVX2__
    _mm_sfence();
#endif
}

#endif
