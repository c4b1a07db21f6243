// Random numbers by counter: the same (seed, stream, step, sample, element) gives the same number in
// every stage, backend, thread count and schedule. Mixing: splitmix64's finaliser (Steele, Lea and
// Flood 2014), twice over the combined counter.
#ifndef STAGECC_RUNTIME_RANDOM_H
#define STAGECC_RUNTIME_RANDOM_H

#include <stdint.h>

static inline uint64_t rt_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// Of the numbers that one layer (stream) draws for a micro-batch; done: optimizer steps so far, mb: within the step.
static inline uint64_t rt_key(int64_t seed, int64_t stream, int64_t done, int64_t mb)
{
    uint64_t key = rt_mix((uint64_t)seed);
    key = rt_mix(key + (uint64_t)stream);
    key = rt_mix(key + (uint64_t)done);
    return rt_mix(key + (uint64_t)mb);
}

// Uniform in [0, 1), 24 bits, exact in float. key: rt_random_key; element: index within the
// micro-batch (sample * elements of a sample + element).
static inline float rt_uniform(uint64_t key, uint64_t element)
{
    return (float)(int32_t)(rt_mix(key + rt_mix(element)) >> 40) * 0x1p-24f;
}

#endif
