// CRC32C (Castagnoli, RFC 3720 appendix B.4): reflected polynomial 0x82f63b78, initial value
// and final xor all ones. The SSE4.2 instruction where the processor has it, a table elsewhere.
#ifndef STAGECC_RUNTIME_CRC32C_H
#define STAGECC_RUNTIME_CRC32C_H

#include <stddef.h>
#include <stdint.h>

// Continues from `crc`, the value returned for the bytes before (0 to begin).
uint32_t rt__crc32c(uint32_t crc, const void *bytes, size_t n);
uint32_t rt__crc32c_table(uint32_t crc, const void *bytes, size_t n); // the fallback, for tests

#endif
