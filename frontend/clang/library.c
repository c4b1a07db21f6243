// The C library's functions that a model may call, and format().
#include "frontend/clang/builtin.h"
#include "frontend/clang/headers.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static Value math_one(const BuiltinCall *c)
{
    return value_real(c->at->type, c->builtin->math.one(c->args[0].real));
}

static Value math_one_f(const BuiltinCall *c)
{
    return value_real(c->at->type, (double)c->builtin->math.one_f((float)c->args[0].real));
}

static Value math_two(const BuiltinCall *c)
{
    return value_real(c->at->type, c->builtin->math.two(c->args[0].real, c->args[1].real));
}

static Value math_two_f(const BuiltinCall *c)
{
    return value_real(c->at->type, (double)c->builtin->math.two_f((float)c->args[0].real,
                                                                  (float)c->args[1].real));
}

static Value math_long(const BuiltinCall *c)
{
    double v = c->args[0].real;
    if (!(fabs(v) < 0x1p62))
        return complain(c->m, c->at, "%g does not fit into `%s`", v, c->at->type->name);
    return value_integer(c->at->type, (uint64_t)c->builtin->math.whole(v));
}

static long long whole_lround(double v)
{
    return llround(v);
}

static long long whole_llround(double v)
{
    return llround(v);
}

static long long whole_lrint(double v)
{
    return llrint(v);
}

static long long whole_llrint(double v)
{
    return llrint(v);
}

static Value math_ldexp(const BuiltinCall *c)
{
    return value_real(c->at->type, ldexp(c->args[0].real, (int)c->args[1].bits));
}

static Value is_nan(const BuiltinCall *c)
{
    return value_integer(c->at->type, (uint64_t)(isnan(c->args[0].real) != 0));
}

static Value is_inf(const BuiltinCall *c)
{
    return value_integer(c->at->type, (uint64_t)(isinf(c->args[0].real) != 0));
}

static Value is_finite(const BuiltinCall *c)
{
    return value_integer(c->at->type, (uint64_t)(isfinite(c->args[0].real) != 0));
}

static Value infinity(const BuiltinCall *c)
{
    return value_real(c->at->type, INFINITY);
}

static Value not_a_number(const BuiltinCall *c)
{
    return value_real(c->at->type, NAN);
}

static Value absolute(const BuiltinCall *c)
{
    Value v = c->args[0];
    return (int64_t)v.bits < 0 ? apply_unary(c->m, c->at, CXUnaryOperator_Minus, v) : v;
}

static Value string_length(const BuiltinCall *c)
{
    const char *s = string_at(c->m, c->at, c->args[0].bits);
    return s ? value_integer(c->at->type, strlen(s)) : POISON;
}

static Value string_compare(const BuiltinCall *c)
{
    const char *a = string_at(c->m, c->at, c->args[0].bits);
    const char *b = a ? string_at(c->m, c->at, c->args[1].bits) : NULL;
    if (!b)
        return POISON;
    int order = strcmp(a, b);
    return value_integer(c->at->type, (uint64_t)(int64_t)((order > 0) - (order < 0)));
}

static Value assertion(const BuiltinCall *c)
{
    const char *text = string_at(c->m, c->at, c->args[1].bits);
    if (c->args[0].bits)
        return (Value){.type = c->at->type};
    return give_up(c->m, c->at, "assertion failed: %s", text ? text : "");
}

// ---- format

typedef struct Formatter {
    const BuiltinCall *c;
    Text out;
    int next; // argument
} Formatter;

// Width or precision.
static const char *digits(const char *p, int *n)
{
    *n = 0;
    while (isdigit((unsigned char)*p) && *n < 1000)
        *n = 10 * *n + *p++ - '0';
    return p;
}

static bool put_argument(Formatter *f, char kind, bool zeros, int width, int precision)
{
    Machine *m = f->c->m;
    Value v = f->next < f->c->n ? f->c->args[f->next++] : POISON;
    CKind is = v.type ? v.type->kind : C_VOID;
    if (strchr("diuc", kind) && is == C_INTEGER) {
        if (kind == 'c')
            text_printf(&f->out, "%c", (char)v.bits);
        else
            text_printf(&f->out, zeros ? "%0*lld" : "%*lld", width, (long long)v.bits);
    } else if (kind == 'x' && is == C_INTEGER) {
        text_printf(&f->out, zeros ? "%0*llx" : "%*llx", width, (unsigned long long)v.bits);
    } else if (strchr("gf", kind) && is == C_REAL) {
        text_printf(&f->out, kind == 'g' ? "%*.*g" : "%*.*f", width, precision, v.real);
    } else if (kind == 's' && is == C_POINTER) {
        const char *s = string_at(m, f->c->at, v.bits);
        text_printf(&f->out, "%*s", width, s ? s : "");
        return s != NULL;
    } else {
        complain(m, f->c->at, "format: %%%c does not fit its argument", kind);
        return false;
    }
    return true;
}

static bool put_all(Formatter *f, const char *p)
{
    enum { MOST = 4096 };
    for (; *p && f->out.length < MOST; p++) {
        if (*p != '%' || *++p == '%') {
            text_append(&f->out, p, 1);
            continue;
        }
        bool zeros = *p == '0';
        int width, precision = 6;
        p = digits(p, &width);
        if (*p == '.')
            p = digits(p + 1, &precision);
        p += strspn(p, "hlz");
        if (!*p || !strchr("diucxgfs", *p)) {
            complain(f->c->m, f->c->at, "format knows %%d %%u %%x %%c %%g %%f %%s and %%%%");
            return false;
        }
        if (!put_argument(f, *p, zeros, width, precision))
            return false;
    }
    return true;
}

static Value format(const BuiltinCall *c)
{
    Formatter f = {.c = c, .next = 1};
    const char *text = string_at(c->m, c->at, c->args[0].bits);
    uint64_t string = 0;
    text_append(&f.out, "", 0);
    if (text && put_all(&f, text))
        string =
            string_new(c->m, c->at, f.out.data ? f.out.data : "", (int64_t)f.out.length + 1);
    text_release(&f.out);
    return string ? (Value){.type = c->at->type, .bits = string} : POISON;
}

static const Builtin table[] = {
#define MATH_1(NAME)                                                                           \
    {#NAME, math_one, #NAME, #NAME, {.one = (NAME)}},                                          \
        {#NAME "f", math_one_f, #NAME "f", #NAME "f", {.one_f = NAME##f}},
#define MATH_2(NAME)                                                                           \
    {#NAME, math_two, #NAME, #NAME, {.two = (NAME)}},                                          \
        {#NAME "f", math_two_f, #NAME "f", #NAME "f", {.two_f = NAME##f}},
#define MATH_LONG(NAME) {#NAME, math_long, #NAME, #NAME, {.whole = whole_##NAME}},
#include "frontend/clang/math.def"
#define PLAIN(name, run)                                                                       \
    {                                                                                          \
        name, run, name, name,                                                                 \
        {                                                                                      \
            NULL                                                                               \
        }                                                                                      \
    }
    PLAIN("ldexp", math_ldexp),
    PLAIN("__builtin_isnan", is_nan),
    PLAIN("__builtin_isinf", is_inf),
    PLAIN("__builtin_isfinite", is_finite),
    PLAIN("__builtin_inff", infinity),
    PLAIN("__builtin_inf", infinity),
    PLAIN("__builtin_nanf", not_a_number),
    PLAIN("abs", absolute),
    PLAIN("labs", absolute),
    PLAIN("llabs", absolute),
    PLAIN("strlen", string_length),
    PLAIN("strcmp", string_compare),
    PLAIN("stagecc_assert", assertion),
    PLAIN("format", format),
};

const Builtin *library_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
