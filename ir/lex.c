// The lexer of the text form. It never goes beyond the current line, so that the reader can
// give a line up and go on with the next. '#' begins a comment.
#include "ir/lex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void lexer_init(Lexer *l, Arena *a, const char *file, const char *text)
{
    *l = (Lexer){.arena = a, .file = file, .line = text, .at = NULL, .line_number = 0};
}

static const char *blanks(const char *s)
{
    while (*s == ' ' || *s == '\t' || *s == '\r')
        s++;
    return s;
}

static bool line_ends(const char *s)
{
    return !*s || *s == '\n' || *s == '#';
}

bool lexer_line(Lexer *l)
{
    const char *next = l->line;
    if (l->at) { // not the first line
        const char *end = strchr(l->at, '\n');
        if (!end)
            return false;
        next = end + 1;
    }
    for (;;) {
        l->line = l->at = next;
        l->line_number++;
        const char *s = blanks(next);
        if (!line_ends(s))
            return true;
        s = strchr(s, '\n');
        if (!s)
            return false;
        next = s + 1;
    }
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static Token plain(Lexer *l, TokenKind kind, Loc loc, size_t n)
{
    Token t = {kind, loc, arena_strndup(l->arena, l->at, n), NO_LOC};
    l->at += n;
    return t;
}

static int hex_value(char c)
{
    return isdigit((unsigned char)c) ? c - '0'
           : tolower((unsigned char)c) >= 'a' && tolower((unsigned char)c) <= 'f'
               ? tolower((unsigned char)c) - 'a' + 10
               : -1;
}

// One character of a string; -1: a wrong escape.
static int unescape(const char **s)
{
    const char *c = *s;
    if (*c != '\\') {
        *s = c + 1;
        return (unsigned char)*c;
    }
    if (c[1] == '"' || c[1] == '\\') {
        *s = c + 2;
        return c[1];
    }
    if (c[1] != 'x' || hex_value(c[2]) < 0 || hex_value(c[3]) < 0)
        return -1;
    *s = c + 4;
    int v = hex_value(c[2]) * 16 + hex_value(c[3]);
    return v ? v : -1;
}

static Token string(Lexer *l, Loc loc)
{
    const char *s = l->at + 1;
    size_t n = strcspn(s, "\n"), length = 0;
    char *text = arena_alloc(l->arena, n + 1);
    while (*s && *s != '\n' && *s != '"') {
        int c = unescape(&s);
        if (c < 0) {
            error_at(loc, "the string has an escape other than \\\", \\\\ and \\x01 .. \\xff");
            return (Token){TOKEN_WRONG, loc, "", NO_LOC};
        }
        text[length++] = (char)c;
    }
    if (*s != '"') {
        error_at(loc, "the string does not end on this line");
        return (Token){TOKEN_WRONG, loc, "", NO_LOC};
    }
    l->at = s + 1;
    return (Token){TOKEN_STRING, loc, text, NO_LOC};
}

// The number behind the last ':' of s, which is cut off there. false: there is none.
static bool last_number(char *s, int *value)
{
    char *colon = strrchr(s, ':'), *end;
    if (!colon || !isdigit((unsigned char)colon[1]))
        return false;
    long v = strtol(colon + 1, &end, 10);
    if (*end || v > 1 << 30)
        return false;
    *colon = 0;
    *value = (int)v;
    return true;
}

// @FILE:LINE:COL, @"FILE":LINE:COL or @?
static Token place(Lexer *l, Loc loc)
{
    const char *file = NULL;
    Token t = {TOKEN_PLACE, loc, "@", NO_LOC};
    l->at++;
    if (*l->at == '"') {
        Token quoted = string(l, loc);
        if (quoted.kind == TOKEN_WRONG)
            return quoted;
        file = quoted.text;
    }
    size_t n = 0;
    while ((unsigned char)l->at[n] > ' ' && l->at[n] != 0x7f)
        n++;
    char *rest = arena_strndup(l->arena, l->at, n);
    l->at += n;
    if (!file && !strcmp(rest, "?"))
        return t;
    if (last_number(rest, &t.place.col) && last_number(rest, &t.place.line) &&
        (file ? !*rest : *rest && *rest != '?')) {
        t.place.file = file ? file : rest;
        return t;
    }
    error_at(loc, "a place is written @FILE:LINE:COLUMN, or @? where there is none");
    t.kind = TOKEN_WRONG;
    return t;
}

static size_t number_length(const char *s)
{
    size_t n = 1;
    while (is_word_char(s[n]) ||
           ((s[n] == '+' || s[n] == '-') && (s[n - 1] == 'e' || s[n - 1] == 'E')))
        n++;
    return n;
}

Token lexer_next(Lexer *l)
{
    l->at = blanks(l->at);
    const char *s = l->at;
    Loc loc = {l->file, l->line_number, (int)(s - l->line) + 1};
    if (line_ends(s))
        return (Token){TOKEN_END, loc, "", NO_LOC};
    if (*s == '"')
        return string(l, loc);
    if (*s == '@')
        return place(l, loc);
    if (isalpha((unsigned char)*s) || *s == '_') {
        size_t n = 1;
        while (is_word_char(s[n]))
            n++;
        return plain(l, TOKEN_WORD, loc, n);
    }
    if (isdigit((unsigned char)*s) || *s == '-' || *s == '+')
        return plain(l, TOKEN_NUMBER, loc, number_length(s));
    if (strchr("={}[],:", *s))
        return plain(l, TOKEN_SIGN, loc, 1);
    error_at(loc,
             isprint((unsigned char)*s) ? "unexpected character '%c'"
                                        : "unexpected byte 0x%02x",
             (unsigned char)*s);
    return (Token){TOKEN_WRONG, loc, "", NO_LOC};
}

bool token_is(const Token *t, const char *text)
{
    return (t->kind == TOKEN_WORD || t->kind == TOKEN_SIGN) && !strcmp(t->text, text);
}
