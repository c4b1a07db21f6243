#include "plan/place.h"

#include <string.h>

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static const char *skip_string(const char *s)
{
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && s[1])
            s++;
    return *s ? s + 1 : s;
}

// Behind the value: brackets are counted, strings may hold some.
static const char *skip_value(const char *s)
{
    int depth = 0;
    do {
        s = skip_space(s);
        if (*s == '"') {
            s = skip_string(s);
        } else if (*s == '{' || *s == '[') {
            depth++;
            s++;
        } else if (*s == '}' || *s == ']') {
            depth--;
            s++;
        } else {
            size_t n = strcspn(s, "\"{}[],: \t\r\n");
            s += n ? n : *s != 0;
        }
    } while (*s && depth > 0);
    return s;
}

const char *json_place_field(const char *object, const char *key)
{
    size_t n = strlen(key);
    const char *s = skip_space(object);
    if (*s != '{')
        return NULL;
    for (s = skip_space(s + 1); *s == '"'; s = skip_space(s + 1)) {
        const char *name = s + 1, *end = skip_string(s);
        s = skip_space(skip_space(end) + 1); // behind the colon
        if (end == name + n + 1 && !memcmp(name, key, n))
            return s;
        s = skip_space(skip_value(s));
        if (*s != ',')
            break;
    }
    return NULL;
}

const char *json_place_element(const char *array)
{
    const char *s = skip_space(array);
    if (*s != '[')
        return NULL;
    s = skip_space(s + 1);
    return *s == ']' ? NULL : s;
}

const char *json_place_next(const char *element)
{
    const char *s = skip_space(skip_value(element));
    return *s == ',' ? skip_space(s + 1) : NULL;
}

JsonPlace json_place_begin(const char *file, const char *text)
{
    return (JsonPlace){text, {file, 1, 1}};
}

JsonPlace json_place_move(JsonPlace from, const char *to)
{
    while (to && from.at < to && *from.at) {
        bool line = *from.at++ == '\n';
        from.loc.line += line;
        from.loc.col = line ? 1 : from.loc.col + 1;
    }
    return from;
}
