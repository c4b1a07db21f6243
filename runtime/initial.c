// Normal numbers by Box and Muller (1958): elements 2k and 2k+1 are the cosine and the sine half of
// the pair drawn from counter k. Arithmetic is in double, the last step rounds to the tensor's dtype.
// Logarithm, sine and cosine are series of our own, good to 1e-10: the same bits whatever libm a host
// has, and a third of its time, which shows with a hundred million parameters.
#include "runtime/initial.h"

#include "runtime/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Half the range of a uniform rule, or the deviation of a normal one.
static double spread(const rt_tensor *t)
{
    double in = (double)t->fan_in, out = (double)t->fan_out;
    switch (t->init) {
    case RT_INIT_CONSTANT:
    case RT_INIT_NORMAL:
    case RT_INIT_UNIFORM: return t->gain;
    case RT_INIT_KAIMING_NORMAL: return t->gain / sqrt(in);
    case RT_INIT_KAIMING_UNIFORM: return t->gain * sqrt(3 / in);
    case RT_INIT_XAVIER_NORMAL: return t->gain * sqrt(2 / (in + out));
    case RT_INIT_XAVIER_UNIFORM: return t->gain * sqrt(6 / (in + out));
    }
    return 0;
}

static bool is_normal(rt_init rule)
{
    return rule == RT_INIT_NORMAL || rule == RT_INIT_KAIMING_NORMAL ||
           rule == RT_INIT_XAVIER_NORMAL;
}

static bool needs_fan(rt_init rule)
{
    return rule == RT_INIT_KAIMING_NORMAL || rule == RT_INIT_KAIMING_UNIFORM ||
           rule == RT_INIT_XAVIER_NORMAL || rule == RT_INIT_XAVIER_UNIFORM;
}

static uint64_t tensor_key(const char *name, int64_t seed)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return rt_mix(hash + rt_mix((uint64_t)seed));
}

static double uniform53(uint64_t key, uint64_t counter) // in [0, 1)
{
    return (double)(int64_t)(rt_mix(key + rt_mix(counter)) >> 11) * 0x1p-53;
}

// -ln x, 0 < x <= 1: x = m 2^e with m from sqrt(1/2) to sqrt(2), ln m = 2 artanh((m-1)/(m+1)).
static double minus_log(double x)
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

// Cosine and sine of u turns, 0 <= u < 1: the Taylor series around the nearest quarter.
static void turn(double u, double xy[2])
{
    int quarter = (int)(4 * u + 0.5);
    double t = (4 * u - quarter) * 1.57079632679489661923, z = t * t;
    double sine = 1.0 / 120 - z * (1.0 / 5040 - z * (1.0 / 362880 - z * (1.0 / 39916800)));
    sine = t * (1 - z * (1.0 / 6 - z * sine));
    double cosine = 1.0 / 720 - z * (1.0 / 40320 - z * (1.0 / 3628800));
    cosine = 1 - z * (1.0 / 2 - z * (1.0 / 24 - z * cosine));
    static const double sign[2] = {1, -1}; // no branches: half of them would be predicted wrong
    const double part[2] = {cosine, sine};
    xy[0] = sign[(quarter + 1) >> 1 & 1] * part[quarter & 1];
    xy[1] = sign[quarter >> 1 & 1] * part[(quarter & 1) ^ 1];
}

static void normal_pair(uint64_t key, uint64_t k, double pair[2])
{
    double radius = sqrt(2 * minus_log(1 - uniform53(key, 2 * k))); // 1 - u is never 0
    turn(uniform53(key, 2 * k + 1), pair);
    pair[0] *= radius;
    pair[1] *= radius;
}

// How the elements of one tensor are drawn.
typedef struct Draw {
    uint64_t key;
    double spread;
    bool constant, normal;
} Draw;

static Draw draw_of(const rt_tensor *t, int64_t seed)
{
    return (Draw){.key = tensor_key(t->name, seed),
                  .spread = spread(t),
                  .constant = t->init == RT_INIT_CONSTANT,
                  .normal = is_normal(t->init)};
}

// Elements 2k and 2k+1.
static inline void draw_pair(const Draw *d, uint64_t k, double pair[2])
{
    if (d->constant) {
        pair[0] = pair[1] = d->spread;
    } else if (d->normal) {
        normal_pair(d->key, k, pair);
        pair[0] *= d->spread;
        pair[1] *= d->spread;
    } else {
        pair[0] = d->spread * (2 * uniform53(d->key, 2 * k) - 1);
        pair[1] = d->spread * (2 * uniform53(d->key, 2 * k + 1) - 1);
    }
}

double rt__initial_value(const rt_tensor *t, int64_t seed, uint64_t i)
{
    Draw d = draw_of(t, seed);
    double pair[2];
    draw_pair(&d, i / 2, pair);
    return pair[i % 2];
}

static void fill(const rt_tensor *t, int64_t seed, void *to)
{
    Draw d = draw_of(t, seed);
    int64_t n = rt__elements(t);
    for (int64_t i = 0; i < n; i += 2) {
        double pair[2];
        draw_pair(&d, (uint64_t)i / 2, pair);
        rt__put(t->dtype, to, i, pair[0]);
        if (i + 1 < n)
            rt__put(t->dtype, to, i + 1, pair[1]);
    }
}

static int initialise(const rt__memory *m, const rt_tensor *t, int64_t seed, void *room,
                      rt__why *why)
{
    uint8_t *at = m->base + t->offset;
    memset(at, 0, (size_t)t->bytes);
    if (t->role == RT_ACCUMULATOR)
        return 0;
    if (needs_fan(t->init) && t->fan_in <= 0)
        return rt__because(why, RT__INPUT, "%s: its initial values need a fan-in", t->name);
    if (rt__is_plain(m, t)) {
        fill(t, seed, at);
        return 0;
    }
    fill(t, seed, room);
    return rt__plain_put(m, t, room, why);
}

int rt__initialise(const rt__memory *m, int64_t seed, rt__why *why)
{
    size_t room_bytes = (size_t)rt__conversion_bytes(m);
    void *room = malloc(room_bytes + 1);
    if (!room)
        return rt__because(why, RT__ENVIRONMENT,
                           "no memory to initialise parameters: %zu bytes", room_bytes);
    int status = 0;
    for (int i = 0; i < m->n_tensors && status == 0; i++)
        status = initialise(m, &m->tensors[i], seed, room, why);
    free(room);
    return status;
}
