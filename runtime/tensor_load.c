#include "runtime/tensor_load.h"

#include "runtime/bf16.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int same_shape(const rt__st_tensor *saved, const rt_tensor *t, const char *path,
                      rt__why *why)
{
    char there[128], here[128];
    if (saved->rank == t->rank &&
        memcmp(saved->dim, t->dim, (size_t)t->rank * sizeof *t->dim) == 0)
        return 0;
    return rt__because(why, RT__INPUT, "%s: tensor %s is %s, the model wants %s", path, t->name,
                       rt__shape_text(saved->dim, saved->rank, there),
                       rt__shape_text(t->dim, t->rank, here));
}

static int other_type(const rt__st_tensor *saved, const rt_tensor *t, const char *path,
                      rt__why *why)
{
    return rt__because(why, RT__INPUT, "%s: tensor %s is of type %s, the model wants %s", path,
                       t->name, saved->type, rt__dtype_name(t->dtype));
}

int rt__tensor_same(const rt__st_tensor *saved, const rt_tensor *t, const char *path,
                    rt__why *why)
{
    int status = same_shape(saved, t, path, why);
    if (status == 0 && saved->dtype != t->dtype)
        status = other_type(saved, t, path, why);
    return status;
}

// Floating point
// -----------------------------------------------------------------------------------------

static double from_f32(const uint8_t *at)
{
    float f;
    memcpy(&f, at, sizeof f);
    return (double)f;
}

static double from_f64(const uint8_t *at)
{
    double d;
    memcpy(&d, at, sizeof d);
    return d;
}

static double from_bf16(const uint8_t *at)
{
    rt_bf16 b;
    memcpy(&b, at, sizeof b);
    return (double)rt_to_float(b);
}

static double from_f16(const uint8_t *at) // IEEE 754 binary16
{
    int bits = at[0] | at[1] << 8;
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 0    ? ldexp(fraction, -24)
                       : exponent == 31 ? (fraction ? NAN : INFINITY)
                                        : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -magnitude : magnitude;
}

static const struct real_type {
    const char *name;
    size_t bytes;
    double (*read)(const uint8_t *at);
} real_types[] = {
    {"F32", 4, from_f32}, {"F64", 8, from_f64}, {"BF16", 2, from_bf16}, {"F16", 2, from_f16}};

static const struct real_type *real_type(const char *name)
{
    for (size_t i = 0; i < sizeof real_types / sizeof *real_types; i++)
        if (strcmp(real_types[i].name, name) == 0)
            return &real_types[i];
    return NULL;
}

int rt__tensor_fits(const rt__st_tensor *saved, const rt_tensor *t, const char *path,
                    rt__why *why)
{
    int status = same_shape(saved, t, path, why);
    bool converts = real_type(saved->type) && real_type(rt__dtype_name(t->dtype));
    if (status == 0 && saved->dtype != t->dtype && !converts)
        status = other_type(saved, t, path, why);
    return status;
}

// Loading
// ---------------------------------------------------------------------------------------------

size_t rt__tensor_room(const rt__memory *m)
{
    int64_t most = 0;
    for (int i = 0; i < m->n_tensors; i++)
        if (rt__plain_bytes(&m->tensors[i]) > most)
            most = rt__plain_bytes(&m->tensors[i]);
    return (size_t)most + 1;
}

int rt__tensor_load(const rt__st_tensor *saved, const rt__memory *m, const rt_tensor *t,
                    void *room, rt__why *why)
{
    const struct real_type *from = real_type(saved->type);
    if (saved->dtype == t->dtype)
        memcpy(room, saved->data, saved->bytes); // files align nothing
    else
        for (int64_t i = 0; i < rt__elements(t); i++)
            rt__put(t->dtype, room, i, from->read(saved->data + (size_t)i * from->bytes));
    return rt__plain_put(m, t, room, why);
}
