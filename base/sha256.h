// SHA-256 (FIPS 180-4): the names of programs and sources that travel.
#ifndef STAGECC_BASE_SHA256_H
#define STAGECC_BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_HEX = 64 };

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t bytes; // so far
    uint8_t block[64];
} Sha256;

void sha256_init(Sha256 *s);
void sha256_add(Sha256 *s, const void *bytes, size_t n);
void sha256_end(Sha256 *s, uint8_t digest[SHA256_BYTES]);

// Of a whole regular file; false with errno set.
bool sha256_file(const char *path, uint8_t digest[SHA256_BYTES]);
void sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_HEX + 1]);
// From exactly 64 lower-case hexadecimal digits.
bool sha256_parse(const char *text, uint8_t digest[SHA256_BYTES]);

#endif
