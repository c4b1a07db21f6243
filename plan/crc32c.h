// CRC32C (Castagnoli, RFC 3720 appendix B.4): reflected polynomial 0x82f63b78, initial value and final xor
// all ones. One stream of the SSE4.2 instruction makes 8 bytes every 3 cycles; three at once hide what each waits
// for itself, which is faster than memory. The fallback goes by half bytes: 16 words of table instead of 256.
// The runtime's checkpoints and the master's journal share it, so this header includes nothing of either.
#ifndef STAGECC_PLAN_CRC32C_H
#define STAGECC_PLAN_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

// Both continue from `crc`, the value returned for the bytes before (0 to begin).
static inline uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t n)
{
    // Remainders of the 16 half bytes under the reflected polynomial.
    static const uint32_t half_byte[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *at = (const uint8_t *)bytes;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        crc = half_byte[crc & 15] ^ crc >> 4;
        crc = half_byte[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static inline uint32_t
crc32c_sse42(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *at = (const uint8_t *)bytes;
    uint64_t state = ~crc;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        state = _mm_crc32_u64(state, word);
    }
    for (; n > 0; n--)
        state = _mm_crc32_u8((uint32_t)state, *at++);
    return ~(uint32_t)state;
}
#endif

#ifdef __x86_64__
enum { CRC32C_LANE = 8192 };

// `crc` as it is so many zeros further on: its product with x^(8 * zeros), where by is x^(8 * zeros - 33) modulo the
// polynomial, reflected like all here; the instruction divides by the polynomial and multiplies by x^32, the product of
// reflected words by x.
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t crc32c_later(uint64_t crc,
                                                                             uint32_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
                                           _mm_cvtsi64_si128((int64_t)by), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static inline uint32_t
crc32c_lanes(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *at = (const uint8_t *)bytes;
    uint64_t a = ~crc;
    for (; n >= 3 * CRC32C_LANE; n -= 3 * CRC32C_LANE, at += 3 * CRC32C_LANE) {
        uint64_t b = 0, c = 0, word[3];
        for (size_t i = 0; i < CRC32C_LANE; i += 8) {
            memcpy(&word[0], at + i, 8);
            memcpy(&word[1], at + CRC32C_LANE + i, 8);
            memcpy(&word[2], at + 2 * CRC32C_LANE + i, 8);
            a = _mm_crc32_u64(a, word[0]);
            b = _mm_crc32_u64(b, word[1]);
            c = _mm_crc32_u64(c, word[2]);
        }
        a = crc32c_later(a, 0x1dc403cc) ^ crc32c_later(b, 0x54a86326) ^ c; // two lanes, one
    }
    return crc32c_sse42(~(uint32_t)a, at, n);
}
#endif

static inline uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
#ifdef __x86_64__
    if (n >= 3 * CRC32C_LANE && __builtin_cpu_supports("sse4.2") &&
        __builtin_cpu_supports("pclmul"))
        return crc32c_lanes(crc, bytes, n);
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, bytes, n);
#endif
    return crc32c_table(crc, bytes, n);
}

#endif
