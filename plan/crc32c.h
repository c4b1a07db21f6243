// CRC32C (Castagnoli, RFC 3720 appendix B.4): reflected polynomial 0x82f63b78, initial value and final xor
// all ones. One stream of the SSE4.2 instruction makes 8 bytes every 3 cycles, faster than the disks that
// checkpoints come from. The fallback goes by half bytes: 16 words of table instead of 256.
// The runtime's checkpoints and the master's journal share it, so this header includes nothing of either.
#ifndef STAGECC_PLAN_CRC32C_H
#define STAGECC_PLAN_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <nmmintrin.h>
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

static inline uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, bytes, n);
#endif
    return crc32c_table(crc, bytes, n);
}

#endif
