// Arithmetic as C has it on this machine: int is 32 bits, long 64, two's complement. Unsigned numbers
// wrap; where a signed result does not fit, C leaves everything open and a model is wrong.
#include "frontend/clang/machine.h"

#include <math.h>

Value value_integer(const CType *type, uint64_t bits)
{
    if (type->is_bool)
        return (Value){.type = type, .bits = bits != 0};
    int unused = 64 - 8 * (int)type->size;
    if (unused > 0 && type->is_signed)
        bits = (uint64_t)((int64_t)(bits << unused) >> unused);
    else if (unused > 0)
        bits = bits << unused >> unused;
    return (Value){.type = type, .bits = bits};
}

Value value_real(const CType *type, double v)
{
    return (Value){.type = type, .real = type->size == 4 ? (double)(float)v : v};
}

static Value real_to_integer(Machine *m, Ast *at, double v, const CType *to)
{
    if (to->is_bool)
        return value_integer(to, v != 0);
    int bits = 8 * (int)to->size;
    double high = ldexp(1, to->is_signed ? bits - 1 : bits), low = to->is_signed ? -high : 0;
    double whole = trunc(v);
    if (!(whole >= low && whole < high))
        return complain(m, at, "%g does not fit into `%s`", v, to->name);
    return value_integer(to, to->is_signed ? (uint64_t)(int64_t)whole : (uint64_t)whole);
}

static Value to_integer(Machine *m, Ast *at, Value v, const CType *to)
{
    if (v.type->kind == C_INTEGER)
        return value_integer(to, v.bits);
    if (v.type->kind == C_REAL)
        return real_to_integer(m, at, v.real, to);
    if (v.type->kind == C_POINTER && to->is_bool)
        return value_integer(to, v.bits != 0);
    return complain(m, at, "a pointer as a number is not supported in models");
}

static Value to_pointer(Machine *m, Ast *at, Value v, const CType *to)
{
    if (v.type->kind == C_POINTER || (v.type->kind == C_INTEGER && !v.bits))
        return (Value){.type = to, .bits = v.bits};
    return complain(m, at, "a number as a pointer is not supported in models");
}

Value convert(Machine *m, Ast *at, Value v, const CType *to)
{
    if (to->kind == C_VOID)
        return (Value){.type = to};
    if (!v.type || v.type == to)
        return v;
    switch (to->kind) {
    case C_INTEGER: return to_integer(m, at, v, to);
    case C_REAL:
        if (v.type->kind == C_REAL)
            return value_real(to, v.real);
        if (v.type->kind == C_INTEGER && v.type->is_signed)
            return to->size == 4 ? value_real(to, (double)(float)(int64_t)v.bits)
                                 : value_real(to, (double)(int64_t)v.bits);
        if (v.type->kind == C_INTEGER)
            return to->size == 4 ? value_real(to, (double)(float)v.bits)
                                 : value_real(to, (double)v.bits);
        break;
    case C_POINTER: return to_pointer(m, at, v, to);
    case C_RECORD:
        if (v.type->kind == C_RECORD && v.type->size == to->size)
            return v;
        break;
    case C_VOID:
    case C_ARRAY:
    case C_FUNCTION:
    case C_UNSUPPORTED: break;
    }
    return complain(m, at, "%s is not supported in models", to->name);
}

bool truth(Machine *m, Ast *at, Value v, bool *answer)
{
    if (!v.type)
        return false;
    if (v.type->kind != C_INTEGER && v.type->kind != C_REAL && v.type->kind != C_POINTER) {
        complain(m, at, "this has no truth value");
        return false;
    }
    *answer = v.type->kind == C_REAL ? v.real != 0 : v.bits != 0;
    return true;
}

const CType *usual_type(Machine *m, const CType *a, const CType *b)
{
    if (a->kind == C_REAL || b->kind == C_REAL) {
        bool wide = (a->kind == C_REAL && a->size == 8) || (b->kind == C_REAL && b->size == 8);
        return wide ? m->type_double : m->type_float;
    }
    bool wide = a->size == 8 || b->size == 8;
    int64_t size = wide ? 8 : 4;
    bool is_unsigned = (a->size == size && !a->is_signed) || (b->size == size && !b->is_signed);
    if (wide)
        return is_unsigned ? m->type_ulong : m->type_long;
    return is_unsigned ? m->type_uint : m->type_int;
}

// ---- operators

static const char *operator_text(enum CXBinaryOperatorKind op)
{
    static const char *const text[] = {
        [CXBinaryOperator_Mul] = "*", [CXBinaryOperator_Div] = "/",
        [CXBinaryOperator_Rem] = "%", [CXBinaryOperator_Add] = "+",
        [CXBinaryOperator_Sub] = "-",
    };
    return op < sizeof text / sizeof *text && text[op] ? text[op] : "?";
}

static bool compare(enum CXBinaryOperatorKind op, int order, bool unordered)
{
    if (unordered)
        return op == CXBinaryOperator_NE;
    if (op == CXBinaryOperator_LT)
        return order < 0;
    if (op == CXBinaryOperator_GT)
        return order > 0;
    if (op == CXBinaryOperator_LE)
        return order <= 0;
    if (op == CXBinaryOperator_GE)
        return order >= 0;
    return (op == CXBinaryOperator_EQ) == (order == 0);
}

static bool is_comparison(enum CXBinaryOperatorKind op)
{
    return op >= CXBinaryOperator_LT && op <= CXBinaryOperator_NE;
}

static Value apply_real(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    double x = a.real, y = b.real;
    const CType *t = a.type;
    if (is_comparison(op))
        return value_integer(m->type_int, compare(op, (x > y) - (x < y), isnan(x) || isnan(y)));
    if (op == CXBinaryOperator_Add)
        return value_real(t, t->size == 4 ? (double)((float)x + (float)y) : x + y);
    if (op == CXBinaryOperator_Sub)
        return value_real(t, t->size == 4 ? (double)((float)x - (float)y) : x - y);
    if (op == CXBinaryOperator_Mul)
        return value_real(t, t->size == 4 ? (double)((float)x * (float)y) : x * y);
    if (op == CXBinaryOperator_Div)
        return value_real(t, t->size == 4 ? (double)((float)x / (float)y) : x / y);
    return complain(m, at, "this operator has no meaning for floating-point numbers");
}

static Value too_large(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    return complain(m, at, "%lld %s %lld does not fit into `%s`", (long long)a.bits,
                    operator_text(op), (long long)b.bits, a.type->name);
}

static Value divide(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    bool quotient = op == CXBinaryOperator_Div;
    if (!b.bits)
        return complain(m, at,
                        quotient ? "division by zero" : "remainder of a division by zero");
    if (!a.type->is_signed)
        return value_integer(a.type, quotient ? a.bits / b.bits : a.bits % b.bits);
    int64_t x = (int64_t)a.bits, y = (int64_t)b.bits;
    if (y == -1) {
        Value v = value_integer(a.type, quotient ? 0 - a.bits : 0);
        return quotient && x < 0 && (int64_t)v.bits < 0 ? too_large(m, at, op, a, b) : v;
    }
    return value_integer(a.type, (uint64_t)(quotient ? x / y : x % y));
}

static Value shift(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    int64_t n = (int64_t)b.bits, bits = 8 * a.type->size;
    if (n < 0 || n >= bits)
        return complain(m, at, "a shift by %lld: `%s` has %lld bits", (long long)n,
                        a.type->name, (long long)bits);
    if (op == CXBinaryOperator_Shl)
        return value_integer(a.type, a.bits << n);
    return value_integer(a.type,
                         a.type->is_signed ? (uint64_t)((int64_t)a.bits >> n) : a.bits >> n);
}

static Value add_signed(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    int64_t x = (int64_t)a.bits, y = (int64_t)b.bits, r;
    bool over = op == CXBinaryOperator_Add   ? __builtin_add_overflow(x, y, &r)
                : op == CXBinaryOperator_Sub ? __builtin_sub_overflow(x, y, &r)
                                             : __builtin_mul_overflow(x, y, &r);
    Value v = value_integer(a.type, (uint64_t)r);
    return over || (int64_t)v.bits != r ? too_large(m, at, op, a, b) : v;
}

static Value apply_integer(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    const CType *t = a.type;
    if (is_comparison(op)) {
        int order = t->is_signed ? ((int64_t)a.bits > (int64_t)b.bits) -
                                       ((int64_t)a.bits < (int64_t)b.bits)
                                 : (a.bits > b.bits) - (a.bits < b.bits);
        return value_integer(m->type_int, compare(op, order, false));
    }
    if (op == CXBinaryOperator_Div || op == CXBinaryOperator_Rem)
        return divide(m, at, op, a, b);
    if (op == CXBinaryOperator_Shl || op == CXBinaryOperator_Shr)
        return shift(m, at, op, a, b);
    if (op == CXBinaryOperator_And)
        return value_integer(t, a.bits & b.bits);
    if (op == CXBinaryOperator_Or)
        return value_integer(t, a.bits | b.bits);
    if (op == CXBinaryOperator_Xor)
        return value_integer(t, a.bits ^ b.bits);
    if (t->is_signed)
        return add_signed(m, at, op, a, b);
    if (op == CXBinaryOperator_Add)
        return value_integer(t, a.bits + b.bits);
    if (op == CXBinaryOperator_Sub)
        return value_integer(t, a.bits - b.bits);
    return value_integer(t, a.bits * b.bits);
}

static Value move(Machine *m, Ast *at, Value pointer, Value by, bool backward)
{
    int64_t bytes, n = (int64_t)by.bits;
    if (__builtin_mul_overflow(n, pointer.type->of->size, &bytes) || bytes == INT64_MIN)
        return complain(m, at, "an index of %lld is out of bounds", (long long)n);
    if (!pointer_move(m, at, &pointer.bits, backward ? -bytes : bytes))
        return POISON;
    return pointer;
}

static Value apply_pointer(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    if (a.type->kind == C_INTEGER && b.type->kind == C_POINTER && op == CXBinaryOperator_Add)
        return move(m, at, b, a, false);
    if (b.type->kind == C_INTEGER && (op == CXBinaryOperator_Add || op == CXBinaryOperator_Sub))
        return move(m, at, a, b, op == CXBinaryOperator_Sub);
    if (is_comparison(op)) {
        int order = (a.bits > b.bits) - (a.bits < b.bits);
        return value_integer(m->type_int, compare(op, order, false));
    }
    if (op != CXBinaryOperator_Sub || a.bits >> 32 != b.bits >> 32 || !a.type->of->size)
        return complain(m, at, "these pointers do not lead to the same object");
    return value_integer(m->type_long,
                         (uint64_t)(((int64_t)a.bits - (int64_t)b.bits) / a.type->of->size));
}

Value apply(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b)
{
    if (!a.type || !b.type)
        return POISON;
    if (a.type->kind == C_POINTER || b.type->kind == C_POINTER)
        return apply_pointer(m, at, op, a, b);
    if (a.type->kind == C_REAL && b.type->kind == C_REAL)
        return apply_real(m, at, op, a, b);
    if (a.type->kind == C_INTEGER && b.type->kind == C_INTEGER)
        return apply_integer(m, at, op, a, b);
    return complain(m, at, "this operator is not supported for `%s` and `%s`", a.type->name,
                    b.type->name);
}

Value apply_unary(Machine *m, Ast *at, enum CXUnaryOperatorKind op, Value v)
{
    bool yes;
    if (!v.type)
        return POISON;
    if (op == CXUnaryOperator_LNot)
        return truth(m, at, v, &yes) ? value_integer(m->type_int, !yes) : POISON;
    if (op == CXUnaryOperator_Plus)
        return v;
    if (op == CXUnaryOperator_Not && v.type->kind == C_INTEGER)
        return value_integer(v.type, ~v.bits);
    if (op == CXUnaryOperator_Minus && v.type->kind == C_REAL)
        return value_real(v.type, -v.real);
    if (op == CXUnaryOperator_Minus && v.type->kind == C_INTEGER)
        return apply_integer(m, at, CXBinaryOperator_Sub, value_integer(v.type, 0), v);
    return complain(m, at, "this operator is not supported for `%s`", v.type->name);
}
