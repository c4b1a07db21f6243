// CRC32C. One stream of the instruction makes 8 bytes every 3 cycles, faster than the disks that
// checkpoints come from. The fallback goes by half bytes: 16 words of table instead of 256.
#include "runtime/crc32c.h"

#include <string.h>

// Remainders of the 16 half bytes under the reflected polynomial 0x82f63b78.
static const uint32_t half_byte[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
    0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t rt__crc32c_table(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        crc = half_byte[crc & 15] ^ crc >> 4;
        crc = half_byte[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}

#ifdef __x86_64__
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const void *bytes,
                                                            size_t n)
{
    const uint8_t *at = bytes;
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

uint32_t rt__crc32c(uint32_t crc, const void *bytes, size_t n)
{
    if (__builtin_cpu_supports("sse4.2"))
        return crc_sse42(crc, bytes, n);
    return rt__crc32c_table(crc, bytes, n);
}
#else
uint32_t rt__crc32c(uint32_t crc, const void *bytes, size_t n)
{
    return rt__crc32c_table(crc, bytes, n);
}
#endif
