// Data for benchmarks, drawn by counter: element e of sample s of an input depends on (seed,
// name of the input, s, e) alone. Real inputs are draws from a table of normal numbers (Box and
// Muller 1958), so that drawing never shows in a measurement; integers are uniform over the
// classes.
#include "runtime/data_kind.h"

#include "runtime/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 4096, NORMALS = 1 << 16 };

static float *make_normals(int64_t seed)
{
    float *table = calloc(NORMALS, sizeof *table);
    uint64_t key = rt_mix((uint64_t)seed);
    for (uint64_t i = 0; table && i < NORMALS; i++) {
        double radius = sqrt(-2 * log(1 - (double)rt_uniform(key, 2 * i)));
        table[i] =
            (float)(radius * cos(6.28318530717958647692 * (double)rt_uniform(key, 2 * i + 1)));
    }
    return table;
}

// "", "SAMPLES" or "SAMPLES,CLASSES".
static bool parse(rt__data *d, const char *argument)
{
    unsigned long long samples = SAMPLES, classes = 0;
    int end = 0;
    if (*argument) {
        int n = sscanf(argument, "%19llu%n,%9llu%n", &samples, &end, &classes, &end);
        if (n < 1 || argument[end] || argument[0] == '-' || (n == 2 && classes == 0))
            return false;
    }
    d->samples = samples;
    d->classes = (int64_t)classes;
    return true;
}

static int open_synthetic(rt__data *d, const char *argument, rt__why *why)
{
    if (!parse(d, argument))
        return rt__because(why, RT__INPUT, "data '%s': expected synthetic[:SAMPLES[,CLASSES]]",
                           d->spec);
    d->normals = make_normals(d->options.seed);
    if (!d->normals)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", d->spec);
    snprintf(d->summary, sizeof d->summary, "%s: %" PRIu64 " random samples", d->spec,
             d->samples);
    return 0;
}

// How many different ones an input gets.
static int64_t integers(const rt__data *d, const rt_input *in)
{
    return d->classes ? d->classes : rt__data_limit(d, in);
}

static int fit_synthetic(rt__data *d, int i, rt__why *why)
{
    const rt_input *in = &d->options.inputs[i];
    if (in->dtype != RT_I32 && in->dtype != RT_U8)
        return 0;
    int64_t limit = rt__data_limit(d, in);
    if (limit && d->classes > limit)
        return rt__because(why, RT__INPUT, "%s: input %s takes integers below %" PRId64,
                           d->spec, in->name, limit);
    if (integers(d, in) == 0)
        return rt__because(
            why, RT__INPUT,
            "%s: input %s takes integers, but how many classes or tokens are there? "
            "Say synthetic:SAMPLES,CLASSES",
            d->spec, in->name);
    if (in->dtype == RT_U8 && integers(d, in) > 256)
        return rt__because(why, RT__INPUT, "%s: input %s takes bytes", d->spec, in->name);
    return 0;
}

static uint64_t sample_key(const rt__data *d, const rt_input *in, uint64_t sample)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a of the name
    for (const char *c = in->name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
    return rt_mix(rt_mix(hash + rt_mix((uint64_t)d->options.seed)) + sample);
}

// One draw of 64 bits makes four reals.
enum { DRAWN = 4 };

static void draw(const rt__data *d, uint64_t key, int64_t e, float values[DRAWN])
{
    uint64_t bits = rt_mix(key + rt_mix((uint64_t)e));
    for (int k = 0; k < DRAWN; k++)
        values[k] = d->normals[bits >> 16 * k & (NORMALS - 1)];
}

static void read_real(const rt__data *d, const rt_input *in, uint64_t key, void *out)
{
    int64_t n = rt__sample_elements(in), e = 0;
    for (; in->dtype == RT_F32 && e + DRAWN <= n; e += DRAWN)
        draw(d, key, e, (float *)out + e);
    for (float values[DRAWN]; e < n; e++) {
        if (e % DRAWN == 0)
            draw(d, key, e, values);
        rt__put(in->dtype, out, e, (double)values[e % DRAWN]);
    }
}

static int read_synthetic(rt__data *d, int i, uint64_t sample, void *out, rt__why *why)
{
    (void)why;
    const rt_input *in = &d->options.inputs[i];
    uint64_t key = sample_key(d, in, sample);
    if (in->dtype != RT_I32 && in->dtype != RT_U8) {
        read_real(d, in, key, out);
        return 0;
    }
    int64_t n = rt__sample_elements(in);
    for (int64_t e = 0; e < n; e++) {
        uint64_t drawn = rt_mix(key + rt_mix((uint64_t)e)) >> 32;
        rt__put(in->dtype, out, e, (double)(drawn * (uint64_t)integers(d, in) >> 32));
    }
    return 0;
}

static void close_synthetic(rt__data *d)
{
    free(d->normals);
}

const rt__data_kind rt__data_synthetic = {"synthetic",
                                          "synthetic[:SAMPLES[,CLASSES]]",
                                          open_synthetic,
                                          fit_synthetic,
                                          read_synthetic,
                                          close_synthetic,
                                          NULL,
                                          true,
                                          true};
