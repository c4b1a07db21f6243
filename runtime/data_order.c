// The order of an epoch without a table: a permutation of [0, n) that is computed position by
// position, so that any stage can start anywhere. A Feistel network of four rounds (Luby and
// Rackoff 1988) permutes the smallest power of four that covers n; positions that land outside
// are permuted again until they are inside (cycle walking, Black and Rogaway 2002), fewer than
// four times on average.
#include "runtime/data.h"

#include "runtime/random.h"

enum { ROUNDS = 4 };

static uint64_t feistel(const uint64_t key[ROUNDS], int half_bits, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t left = x >> half_bits, right = x & mask;
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t next = left ^ (rt_mix(key[r] ^ right) & mask);
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

uint64_t rt__data_order(int64_t seed, uint64_t epoch, uint64_t n, uint64_t position)
{
    int half_bits = 1;
    while (half_bits < 31 && (uint64_t)1 << 2 * half_bits < n)
        half_bits++;
    uint64_t key[ROUNDS];
    for (int r = 0; r < ROUNDS; r++)
        key[r] = rt_mix(rt_mix(rt_mix((uint64_t)seed) + epoch) + (uint64_t)r);
    uint64_t x = position;
    do {
        x = feistel(key, half_bits, x);
    } while (x >= n);
    return x;
}
