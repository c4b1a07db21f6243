#include "plan/reader.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>

void reader_bad(Reader *r, const char *key, const char *format, ...)
{
    if (!r->good)
        return;
    r->good = false;
    va_list ap;
    va_start(ap, format);
    char *what = arena_vprintf(r->arena, format, ap);
    va_end(ap);
    const char *dot = *r->where && key ? "." : "", *space = *r->where || key ? " " : "";
    error_at((Loc){r->file, 0, 0}, "%s%s%s%s%s; make the plan again with `stagecc plan`",
             r->where, dot, key ? key : "", space, what);
}

void reader_at(Reader *r, const char *list, int i)
{
    snprintf(r->where, sizeof r->where, "%s[%d]", list, i);
}

int64_t reader_get_int(Reader *r, const json_t *o, const char *key, int64_t low, int64_t high)
{
    const json_t *v = json_object_get(o, key);
    int64_t n = json_integer_value(v);
    if (!json_is_integer(v))
        reader_bad(r, key, v ? "is not a whole number" : "is missing");
    else if (n < low || n > high)
        reader_bad(r, key, "is %lld, not from %lld to %lld", (long long)n, (long long)low,
                   (long long)high);
    return r->good ? n : low;
}

int reader_get_small(Reader *r, const json_t *o, const char *key, int low, int high)
{
    return (int)reader_get_int(r, o, key, low, high);
}

int64_t reader_get_bytes(Reader *r, const json_t *o, const char *key)
{
    return reader_get_int(r, o, key, 0, INT64_C(1) << 50);
}

double reader_get_seconds(Reader *r, const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= 0) || !isfinite(x))
        reader_bad(r, key, v ? "is not a time in seconds" : "is missing");
    return x;
}

double reader_get_seconds_or_0(Reader *r, const json_t *o, const char *key)
{
    return json_object_get(o, key) ? reader_get_seconds(r, o, key) : 0;
}

int64_t reader_get_bytes_or_0(Reader *r, const json_t *o, const char *key)
{
    return json_object_get(o, key) ? reader_get_bytes(r, o, key) : 0;
}

const char *reader_get_text(Reader *r, const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (!s)
        reader_bad(r, key, json_object_get(o, key) ? "is not a string" : "is missing");
    return arena_strdup(r->arena, s ? s : "");
}

const char *reader_get_text_or_null(Reader *r, const json_t *o, const char *key)
{
    return json_object_get(o, key) ? reader_get_text(r, o, key) : NULL;
}

int reader_get_list(Reader *r, const json_t *o, const char *key, int low, int high,
                    json_t **list)
{
    *list = json_object_get(o, key);
    size_t n = json_array_size(*list);
    if (!json_is_array(*list))
        reader_bad(r, key, *list ? "is not a list" : "is missing");
    else if (n < (size_t)low || n > (size_t)high)
        reader_bad(r, key, "has %zu entries, not from %d to %d", n, low, high);
    return r->good ? (int)n : 0;
}

bool reader_get_bool(Reader *r, const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_boolean(v))
        reader_bad(r, key, v ? "is not true or false" : "is missing");
    return json_is_true(v);
}
