#include "frontend/profile/description.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

// From p to the comma or bracket that ends a field.
static const char *field_end(const char *p)
{
    int depth = 0;
    for (; *p && (depth || (*p != ',' && *p != ')')); p++)
        depth += (*p == '(') - (*p == ')');
    return p;
}

static DescriptionField field_of(Arena *a, const char *begin, const char *end)
{
    const char *key = begin;
    while (key < end && is_word(*key))
        key++;
    bool named = key > begin && key < end && *key == '=';
    const char *value = named ? key + 1 : begin;
    return (DescriptionField){named ? arena_strndup(a, begin, (size_t)(key - begin)) : NULL,
                              arena_strndup(a, value, (size_t)(end - value))};
}

Description description_of(Arena *a, const char *text)
{
    Description d = {0};
    const char *p = text;
    while (is_word(*p))
        p++;
    d.kind = arena_strndup(a, text, (size_t)(p - text));
    if (*p != '(')
        return d;
    do {
        p += 1 + strspn(p + 1, " ");
        const char *end = field_end(p);
        if (end > p)
            vec_push(a, &d.fields, field_of(a, p, end));
        p = end;
    } while (*p == ',');
    return d;
}

const char *description_field(const Description *d, const char *key, int i)
{
    for (int k = 0; k < d->fields.n; k++) {
        const DescriptionField *f = &d->fields.items[k];
        if (key ? f->key && !strcmp(f->key, key) : !f->key && !i--)
            return f->value;
    }
    return NULL;
}

// The end of the whole number at p; NULL: there is none.
static const char *whole(const char *p, int64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*p) && !(*p == '-' && isdigit((unsigned char)p[1])))
        return NULL;
    errno = 0;
    *out = strtoll(p, &end, 10);
    return errno ? NULL : end;
}

bool field_int(const char *text, int64_t *out)
{
    const char *end = text ? whole(text, out) : NULL;
    return end && !*end;
}

bool field_pair(const char *text, int64_t out[2])
{
    if (field_int(text, &out[0])) {
        out[1] = out[0];
        return true;
    }
    const char *p = text && *text == '(' ? whole(text + 1, &out[0]) : NULL;
    if (!p || *p != ',')
        return false;
    p = whole(p + 1 + strspn(p + 1, " "), &out[1]);
    return p && !strcmp(p, ")");
}

bool field_real(const char *text, double *out)
{
    char *end;
    if (!text || !(isdigit((unsigned char)*text) || *text == '-' || *text == '.'))
        return false;
    *out = strtod(text, &end);
    return !*end && isfinite(*out);
}

bool field_bool(const char *text, bool *out)
{
    *out = text && !strcmp(text, "True");
    return *out || (text && !strcmp(text, "False"));
}
