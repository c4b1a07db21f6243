// How first values of parameters are drawn (runtime/initial.h), on the processor as on a card: one text, hence the
// same bits.
//
// Normal numbers by Box and Muller (1958): elements 2k and 2k+1 are the cosine and the sine half of
// the pair drawn from counter k. Arithmetic is in double, and the caller rounds to the tensor's dtype.
// Logarithm, sine and cosine are series of our own, good to 1e-10: the same bits whatever libm a host
// or a device has, and a third of its time, which shows with a hundred million parameters.
#ifndef STAGECC_RUNTIME_DRAW_H
#define STAGECC_RUNTIME_DRAW_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <stagecc/random.h>

// How the elements of one tensor are drawn.
typedef struct rt_draw {
    uint64_t key;
    double spread; // half the range of uniform values, the deviation of normal ones, a constant
    bool constant, normal;
} rt_draw;

static inline double rt_draw_uniform(uint64_t key, uint64_t counter) // in [0, 1)
{
    return (double)(int64_t)(rt_mix(key + rt_mix(counter)) >> 11) * 0x1p-53;
}

// -ln x, 0 < x <= 1: x = m 2^e with m from sqrt(1/2) to sqrt(2), ln m = 2 artanh((m-1)/(m+1)).
static inline double rt_draw_minus_log(double x)
{
    const uint64_t root_half = 0x3fe6a09e667f3bcdu;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t e = (int64_t)(bits - root_half) >> 52;
    bits -= (uint64_t)e << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), z = s * s;
    double series = 1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13));
    series = 1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * series)));
    return -((double)e * 0.693147180559945309417 + 2 * s * series);
}

// `odd` where `second`, else `even`; its sign turned where `minus`. No branches: half of them would be predicted wrong.
static inline double rt_draw_choice(double even, double odd, int second, int minus)
{
    uint64_t a, b, mask = 0 - (uint64_t)(second & 1);
    memcpy(&a, &even, sizeof a);
    memcpy(&b, &odd, sizeof b);
    a = ((a & ~mask) | (b & mask)) ^ (uint64_t)(minus & 1) << 63;
    memcpy(&even, &a, sizeof even);
    return even;
}

// Cosine and sine of u turns, 0 <= u < 1: the Taylor series around the nearest quarter.
static inline void rt_draw_turn(double u, double xy[2])
{
    int quarter = (int)(4 * u + 0.5);
    double t = (4 * u - quarter) * 1.57079632679489661923, z = t * t;
    double sine = 1.0 / 120 - z * (1.0 / 5040 - z * (1.0 / 362880 - z * (1.0 / 39916800)));
    sine = t * (1 - z * (1.0 / 6 - z * sine));
    double cosine = 1.0 / 720 - z * (1.0 / 40320 - z * (1.0 / 3628800));
    cosine = 1 - z * (1.0 / 2 - z * (1.0 / 24 - z * cosine));
    xy[0] = rt_draw_choice(cosine, sine, quarter, (quarter + 1) >> 1);
    xy[1] = rt_draw_choice(sine, cosine, quarter, quarter >> 1);
}

static inline void rt_draw_normal(uint64_t key, uint64_t k, double pair[2])
{
    double radius =
        sqrt(2 * rt_draw_minus_log(1 - rt_draw_uniform(key, 2 * k))); // 1 - u is never 0
    rt_draw_turn(rt_draw_uniform(key, 2 * k + 1), pair);
    pair[0] *= radius;
    pair[1] *= radius;
}

// Elements 2k and 2k+1.
static inline void rt_draw_pair(const rt_draw *d, uint64_t k, double pair[2])
{
    if (d->constant) {
        pair[0] = pair[1] = d->spread;
    } else if (d->normal) {
        rt_draw_normal(d->key, k, pair);
        pair[0] *= d->spread;
        pair[1] *= d->spread;
    } else {
        pair[0] = d->spread * (2 * rt_draw_uniform(d->key, 2 * k) - 1);
        pair[1] = d->spread * (2 * rt_draw_uniform(d->key, 2 * k + 1) - 1);
    }
}

#endif
