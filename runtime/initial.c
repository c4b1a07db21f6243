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

rt_draw rt__draw_of(const rt_tensor *t, int64_t seed)
{
    return (rt_draw){.key = tensor_key(t->name, seed),
                     .spread = spread(t),
                     .constant = t->init == RT_INIT_CONSTANT,
                     .normal = is_normal(t->init)};
}

double rt__initial_value(const rt_tensor *t, int64_t seed, uint64_t i)
{
    rt_draw d = rt__draw_of(t, seed);
    double pair[2];
    rt_draw_pair(&d, i / 2, pair);
    return pair[i % 2];
}

static void fill(const rt_tensor *t, int64_t seed, void *to)
{
    rt_draw d = rt__draw_of(t, seed);
    int64_t n = rt__elements(t);
    for (int64_t i = 0; i < n; i += 2) {
        double pair[2];
        rt_draw_pair(&d, (uint64_t)i / 2, pair);
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
