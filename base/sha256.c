#include "base/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 64, LENGTH_AT = 56, ROUNDS = 64, PIECE = 1 << 16 };

// Of the first 64 primes, the first 32 bits of their cube roots' fractions.
static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

static uint32_t turned(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void schedule(const uint8_t *block, uint32_t w[ROUNDS])
{
    for (int i = 0; i < 16; i++)
        w[i] = big_endian(block + sizeof *w * (size_t)i);
    for (int i = 16; i < ROUNDS; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) +
               (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
    }
}

static void mix(Sha256 *s, const uint8_t *block)
{
    enum { A, B, C, D, E, F, G, H };
    uint32_t w[ROUNDS], v[8];
    schedule(block, w);
    memcpy(v, s->state, sizeof v);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t one = v[H] + (turned(v[E], 6) ^ turned(v[E], 11) ^ turned(v[E], 25)) +
                       ((v[E] & v[F]) ^ (~v[E] & v[G])) + constants[i] + w[i];
        uint32_t two = (turned(v[A], 2) ^ turned(v[A], 13) ^ turned(v[A], 22)) +
                       ((v[A] & v[B]) ^ (v[A] & v[C]) ^ (v[B] & v[C]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[E] += one;
        v[A] = one + two;
    }
    for (int i = 0; i < 8; i++)
        s->state[i] += v[i];
}

void sha256_init(Sha256 *s)
{
    *s = (Sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                            0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(Sha256 *s, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    size_t have = s->bytes % BLOCK;
    s->bytes += n;
    if (have) {
        size_t more = n < BLOCK - have ? n : BLOCK - have;
        memcpy(s->block + have, from, more);
        from += more;
        n -= more;
        if (have + more < BLOCK)
            return;
        mix(s, s->block);
    }
    for (; n >= BLOCK; from += BLOCK, n -= BLOCK)
        mix(s, from);
    memcpy(s->block, from, n);
}

void sha256_end(Sha256 *s, uint8_t digest[SHA256_BYTES])
{
    static const uint8_t zeros[BLOCK];
    uint64_t bits = s->bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(s, &(uint8_t){0x80}, 1);
    sha256_add(s, zeros, (BLOCK + LENGTH_AT - s->bytes % BLOCK) % BLOCK);
    sha256_add(s, length, sizeof length);
    for (int i = 0; i < SHA256_BYTES; i++)
        digest[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

bool sha256_file(const char *path, uint8_t digest[SHA256_BYTES])
{
    uint8_t piece[PIECE];
    Sha256 s;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    sha256_init(&s);
    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR))
        sha256_add(&s, piece, n > 0 ? (size_t)n : 0);
    int saved = errno;
    close(fd);
    errno = saved;
    sha256_end(&s, digest);
    return n == 0;
}

void sha256_text(const uint8_t digest[SHA256_BYTES], char text[SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_BYTES; i++) {
        *text++ = digits[digest[i] >> 4];
        *text++ = digits[digest[i] & 15];
    }
    *text = 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool sha256_parse(const char *text, uint8_t digest[SHA256_BYTES])
{
    if (strlen(text) != SHA256_HEX)
        return false;
    for (int i = 0; i < SHA256_BYTES; i++, text += 2) {
        int high = digit(text[0]), low = digit(text[1]);
        if (high < 0 || low < 0)
            return false;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
