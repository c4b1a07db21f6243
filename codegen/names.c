// Nothing that a model's author wrote reaches the code as it is: a tensor called `int`, `linux` or
// `*/` must give a program that compiles and means the same.
#include "codegen/names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// Words of C17 and GNU C, macros and functions in lower case that the program's headers bring along,
// and what the skeleton itself calls things. Names of one letter belong to emitters' loops, but for
// x, y and z.
static const char *const reserved[] = {
    "asm",      "auto",         "break",   "case",   "char",     "const",   "continue",
    "default",  "do",           "double",  "else",   "enum",     "extern",  "float",
    "for",      "goto",         "if",      "inline", "int",      "long",    "register",
    "restrict", "return",       "short",   "signed", "sizeof",   "static",  "struct",
    "switch",   "typedef",      "typeof",  "union",  "unsigned", "void",    "volatile",
    "while",    "linux",        "unix",    "bool",   "true",     "false",   "offsetof",
    "real",     "mb",           "call",    "main",   "program",  "forward", "backward",
    "update",   "bind",         "tensors", "inputs", "edges",    "layers",  "train",
    "eval",     "eval_forward", "errno",   "assert", "isnan",    "isinf",   "isfinite",
    "signbit",  "isnormal",     "exp",     "expf",   "log",      "logf",    "tanh",
    "tanhf",    "erf",          "erff",    "sqrt",   "sqrtf",    "pow",     "powf",
    "fabs",     "fabsf",        "fmax",    "fmaxf",  "memcpy",   "memset",  "memmove",
    "malloc",   "calloc",       "realloc", "free",   "printf",   "fprintf", "snprintf",
    "abort",    "exit",         "alloca",  "stdin",  "stdout",   "stderr",  "strlen",
    "strcmp",   "strcpy",       "expm1",   "log1p",  "floor",    "ceil",    "round",
};

static bool is_reserved(const char *s)
{
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (!strcmp(s, reserved[i]))
            return true;
    size_t digits = *s == 'v' ? strspn(s + 1, "0123456789") : 0; // variables of fused loops
    bool variable = digits && !s[1 + digits];
    bool one = strlen(s) == 1 && !strchr("xyz", *s);
    bool ours = !strncmp(s, "rt_", 3) || !strncmp(s, "ref_", 4) || !strncmp(s, "c_", 2) ||
                !strncmp(s, "cu_", 3) || !strncmp(s, "dnnl", 4) || !strncmp(s, "omp_", 4);
    return one || variable || ours;
}

static bool has_lower(const char *s)
{
    for (; *s; s++)
        if (islower((unsigned char)*s))
            return true;
    return false;
}

// Letters, digits and single underscores; macros of headers are in capitals, or begin with `_`.
static char *identifier(Arena *a, const char *wish)
{
    size_t n = 0;
    char *s = arena_alloc(a, strlen(wish) + 8);
    for (; *wish; wish++) {
        bool good = isalnum((unsigned char)*wish) && (unsigned char)*wish < 128;
        if (good)
            s[n++] = *wish;
        else if (n && s[n - 1] != '_')
            s[n++] = '_';
    }
    while (n && s[n - 1] == '_')
        n--;
    s[n] = 0;
    if (!n || isdigit((unsigned char)*s) || is_reserved(s) || !has_lower(s)) {
        memmove(s + 2, s, n + 1);
        memcpy(s, "v_", 2);
    }
    return s;
}

static bool taken(const Names *names, const char *s)
{
    for (int i = 0; i < names->n; i++)
        if (!strcmp(names->items[i], s))
            return true;
    return false;
}

const char *names_add(Names *names, const char *wish)
{
    const char *base = identifier(names->arena, wish), *s = base;
    for (int i = 2; taken(names, s); i++)
        s = arena_printf(names->arena, "%s_%d", base, i);
    vec_push(names->arena, names, s);
    return s;
}

const char *name_string(Arena *a, const char *s)
{
    char *out = arena_alloc(a, 4 * strlen(s) + 3), *at = out;
    *at++ = '"';
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\' || c == '?') {
            *at++ = '\\';
            *at++ = (char)c;
        } else if (c >= ' ' && c < 127) {
            *at++ = (char)c;
        } else {
            at += sprintf(at, "\\%03o", c);
        }
    }
    *at++ = '"';
    *at = 0;
    return out;
}

// Comments of generated code begin with `//`: only what splices lines could end one early, and
// letters that are shown in another order than they are read.
const char *name_comment(Arena *a, const char *s)
{
    char *out = arena_alloc(a, 2 * strlen(s) + 2), *at = out;
    for (; *s; s++) {
        bool good = *s >= ' ' && (unsigned char)*s < 127;
        if (good && *s == '*' && at > out && at[-1] == '/')
            *at++ = ' ';
        *at++ = '?';
        if (good)
            at[-1] = *s;
    }
    if (at > out && (at[-1] == '\\' || at[-1] == '/'))
        *at++ = '.';
    *at = 0;
    return out;
}

const char *name_stem(Arena *a, const char *s)
{
    const char *dot = strrchr(s, '.');
    if (dot && dot[1] && !isdigit((unsigned char)dot[1]))
        s = dot + 1;
    size_t n = strlen(s), end = n;
    while (end && isdigit((unsigned char)s[end - 1]))
        end--;
    if (end && end < n && (s[end - 1] == '_' || s[end - 1] == '.'))
        end--;
    return arena_strndup(a, s, end ? end : n);
}
