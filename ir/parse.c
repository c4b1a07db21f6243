// The small parsers of the text form: names, numbers, places, and definitions by name.
#include "ir/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static Binding *binding(const Bindings *b, const char *name)
{
    size_t mask = (size_t)b->size - 1, i = str_hash(name, strlen(name)) & mask;
    while (b->items[i].name && strcmp(b->items[i].name, name) != 0)
        i = (i + 1) & mask;
    return &b->items[i];
}

void *parse_lookup(const Bindings *b, const char *name)
{
    return b->size ? binding(b, name)->what : NULL;
}

void parse_bind(Arena *a, Bindings *b, const char *name, void *what)
{
    if (2 * (b->n + 1) > b->size) {
        Bindings grown = {.n = b->n, .size = b->size ? 2 * b->size : 256};
        grown.items = arena_array(a, Binding, grown.size);
        for (int i = 0; i < b->size; i++)
            if (b->items[i].name)
                *binding(&grown, b->items[i].name) = b->items[i];
        *b = grown;
    }
    *binding(b, name) = (Binding){name, what};
    b->n++;
}

void parse_advance(Reader *r)
{
    r->token = lexer_next(&r->lexer);
}

bool parse_expected(Reader *r, const char *what)
{
    if (r->token.kind == TOKEN_END)
        error_at(r->token.loc, "expected %s before the end of the line", what);
    else if (r->token.kind != TOKEN_WRONG)
        error_at(r->token.loc, "expected %s", what);
    return false;
}

bool parse_accept(Reader *r, const char *text)
{
    if (!token_is(&r->token, text))
        return false;
    parse_advance(r);
    return true;
}

bool parse_expect(Reader *r, const char *text)
{
    return parse_accept(r, text) || parse_expected(r, arena_printf(&r->scratch, "'%s'", text));
}

bool parse_line_end(Reader *r)
{
    return r->token.kind == TOKEN_END || parse_expected(r, "the end of the line");
}

bool parse_is_symbol(const Reader *r)
{
    return r->token.kind == TOKEN_WORD || r->token.kind == TOKEN_STRING;
}

// A name: a word, or a string where it is none.
bool parse_symbol(Reader *r, const char *what, Token *out)
{
    if (!parse_is_symbol(r))
        return parse_expected(r, what);
    *out = r->token;
    parse_advance(r);
    return true;
}

bool parse_integer(Reader *r, int64_t low, int64_t high, int64_t *out)
{
    char *end = NULL;
    if (r->token.kind != TOKEN_NUMBER)
        return parse_expected(r, "an integer");
    errno = 0;
    *out = strtoll(r->token.text, &end, 10);
    if (*end || end == r->token.text) {
        error_at(r->token.loc, "'%s' is no integer", r->token.text);
        return false;
    }
    if (errno || *out < low || *out > high) {
        error_at(r->token.loc, "%s is not between %lld and %lld", r->token.text, (long long)low,
                 (long long)high);
        return false;
    }
    parse_advance(r);
    return true;
}

bool parse_small_integer(Reader *r, int low, int *out)
{
    int64_t v;
    if (!parse_integer(r, low, INT32_MAX, &v))
        return false;
    *out = (int)v;
    return true;
}

// 0.1, -inf, nan, or nan.BITS for a NaN of these 16 hexadecimal digits.
bool parse_real(Reader *r, double *out)
{
    const char *s = r->token.text;
    char *end;
    bool good;
    if (r->token.kind != TOKEN_NUMBER && !token_is(&r->token, "inf") &&
        !(r->token.kind == TOKEN_WORD && str_starts(s, "nan")))
        return parse_expected(r, "a number");
    if (str_starts(s, "nan.") && strlen(s) == 20) {
        uint64_t bits = strtoull(s + 4, &end, 16);
        memcpy(out, &bits, sizeof bits);
        good = !*end && *out != *out;
    } else {
        *out = strtod(s, &end);
        good = !*end && end != s;
    }
    if (!good) {
        error_at(r->token.loc, "'%s' is no number", s);
        return false;
    }
    parse_advance(r);
    return true;
}

bool parse_integers(Reader *r, int *n, int64_t out[MAX_RANK])
{
    *n = 0;
    if (!parse_expect(r, "["))
        return false;
    while (!token_is(&r->token, "]")) {
        if (*n && !parse_expect(r, ","))
            return false;
        if (*n == MAX_RANK) {
            error_at(r->token.loc, "more than %d dimensions", MAX_RANK);
            return false;
        }
        if (!parse_integer(r, INT64_MIN, INT64_MAX, &out[(*n)++]))
            return false;
    }
    return parse_expect(r, "]");
}

// `@place`, or nothing: then `here`.
void parse_place(Reader *r, Loc here, Loc *out)
{
    *out = here;
    if (r->token.kind != TOKEN_PLACE)
        return;
    *out = r->token.place;
    if (out->file && (!r->last_file || strcmp(r->last_file, out->file) != 0))
        r->last_file = arena_strdup(r->g->arena, out->file);
    if (out->file)
        out->file = r->last_file; // nodes of one file share its name
    parse_advance(r);
}
