// See plain.h. Everything that is written to disk goes through rt__plain_get, everything that comes
// from there through rt__plain_put, so that no file ever holds a library's layout.
#include "runtime/plain.h"

#include "runtime/bf16.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files and messages are little-endian and are used in place");

static const struct {
    const char *name;
    int64_t bytes;
} dtypes[] = {
    [RT_F32] = {"F32", 4}, [RT_F64] = {"F64", 8}, [RT_BF16] = {"BF16", 2},
    [RT_I32] = {"I32", 4}, [RT_U8] = {"U8", 1},
};

void rt__say(rt__why *why, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
}

int64_t rt__dtype_bytes(rt_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *rt__dtype_name(rt_dtype dtype)
{
    return dtypes[dtype].name;
}

void rt__put(rt_dtype dtype, void *to, int64_t i, double value)
{
    switch (dtype) {
    case RT_F32: ((float *)to)[i] = (float)value; break;
    case RT_F64: ((double *)to)[i] = value; break;
    case RT_BF16: ((rt_bf16 *)to)[i] = rt_to_bf16((float)value); break;
    case RT_I32: ((int32_t *)to)[i] = (int32_t)value; break;
    case RT_U8: ((uint8_t *)to)[i] = (uint8_t)value; break;
    }
}

int64_t rt__elements(const rt_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

char *rt__shape_text(const int64_t *dim, int rank, char text[128])
{
    size_t used = (size_t)snprintf(text, 128, "[");
    for (int i = 0; i < rank && used < 100; i++)
        used += (size_t)snprintf(text + used, 128 - used, "%s%" PRId64, i ? "," : "", dim[i]);
    snprintf(text + used, 128 - used, "]");
    return text;
}

int64_t rt__plain_bytes(const rt_tensor *t)
{
    return rt__elements(t) * rt__dtype_bytes(t->dtype);
}

bool rt__is_plain(const rt__memory *m, const rt_tensor *t)
{
    return t->kernel < 0 || m->backend == NULL || m->backend->pack == NULL ||
           m->backend->unpack == NULL;
}

int64_t rt__conversion_bytes(const rt__memory *m)
{
    int64_t most = 0;
    for (int i = 0; i < m->n_tensors; i++) {
        const rt_tensor *t = &m->tensors[i];
        if (!rt__is_plain(m, t) && rt__plain_bytes(t) > most)
            most = rt__plain_bytes(t);
    }
    return most;
}

const void *rt__plain_get(const rt__memory *m, const rt_tensor *t, void *room, rt__why *why)
{
    const uint8_t *at = m->base + t->offset;
    if (rt__is_plain(m, t))
        return at;
    if (m->backend->unpack(m->stage, t, at, room) == 0)
        return room;
    rt__say(why, "%s: backend %s cannot unpack it", t->name, m->backend->name);
    return NULL;
}

int rt__plain_put(const rt__memory *m, const rt_tensor *t, const void *plain, rt__why *why)
{
    uint8_t *at = m->base + t->offset;
    if (rt__is_plain(m, t)) {
        memmove(at, plain, (size_t)rt__plain_bytes(t));
        return 0;
    }
    if (m->backend->pack(m->stage, t, plain, at) == 0)
        return 0;
    return rt__because(why, RT__ENVIRONMENT, "%s: backend %s cannot pack it", t->name,
                       m->backend->name);
}
