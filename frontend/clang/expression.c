// Expressions: `place` finds the object that an expression names, `eval` the value.
#include "frontend/clang/machine.h"

#include <string.h>

static bool is_place(const Ast *e)
{
    if (e->kind == AST_MEMBER)
        return is_place(e->child[0]);
    if (e->kind == AST_CONVERT) // __func__, parentheses around an array
        return e->type->kind == C_ARRAY && is_place(e->child[0]);
    return e->kind == AST_VARIABLE || e->kind == AST_ARROW || e->kind == AST_INDEX ||
           e->kind == AST_DEREFERENCE || e->kind == AST_STRING || e->kind == AST_LITERAL;
}

uint64_t variable_object(Machine *m, Ast *at, Variable *v)
{
    if (!v->is_static) {
        uint64_t *object = &m->frame->objects[v->slot];
        if (!*object)
            *object = object_new(m, at, v->type->size, v->name, false);
        return *object;
    }
    if (v->undefined) {
        complain(m, at, "`%s` is declared here and defined nowhere", v->name);
        return 0;
    }
    if (v->block)
        return v->block;
    v->block = object_new(m, at, v->type->size, v->name, true);
    if (v->block)
        initialise(m, v->block, v->type, v->init);
    return v->block;
}

static uint64_t literal_object(Machine *m, Ast *e)
{
    uint64_t *object = e->slot < 0 ? &e->block : &m->frame->objects[e->slot];
    if (!*object)
        *object = object_new(m, e, e->type->size, "", e->slot < 0);
    if (*object)
        initialise(m, *object, e->type, e->child[0]);
    return *object;
}

// p[i], with the array's own bounds where the array is known.
static bool index_place(Machine *m, Ast *e, uint64_t *pointer)
{
    Ast *base = e->child[0];
    Value i = eval(m, e->child[1]);
    Value p = eval(m, base);
    if (!i.type || !p.type)
        return false;
    bool array = base->kind == AST_CONVERT && base->child[0]->type &&
                 base->child[0]->type->kind == C_ARRAY;
    int64_t n = array ? base->child[0]->type->count : 0, at = (int64_t)i.bits;
    if (array && (at < 0 || at >= n)) {
        Ast *named = base->child[0];
        const char *name = named->kind == AST_VARIABLE ? named->variable->name
                           : named->kind == AST_MEMBER || named->kind == AST_ARROW
                               ? named->field->name
                               : "the array";
        complain(m, e, "index %lld is out of bounds: `%s` has %lld elements", (long long)at,
                 name, (long long)n);
        return false;
    }
    Value to = apply(m, e, CXBinaryOperator_Add, p, i);
    *pointer = to.bits;
    return to.type != NULL;
}

static bool pointer_value(Machine *m, Ast *e, uint64_t *pointer)
{
    Value v = eval(m, e);
    *pointer = v.bits;
    return v.type != NULL;
}

bool place(Machine *m, Ast *e, uint64_t *pointer)
{
    if (!step(m, e))
        return false;
    if (e->kind == AST_VARIABLE) {
        *pointer = variable_object(m, e, e->variable);
        return *pointer != 0;
    }
    if (e->kind == AST_STRING) {
        if (!e->block)
            e->block = string_new(m, e, e->text, e->length);
        *pointer = e->block;
        return *pointer != 0;
    }
    if (e->kind == AST_LITERAL) {
        *pointer = literal_object(m, e);
        return *pointer != 0;
    }
    if (e->kind == AST_INDEX)
        return index_place(m, e, pointer);
    if (e->kind == AST_DEREFERENCE)
        return pointer_value(m, e->child[0], pointer);
    if (e->kind == AST_ARROW)
        return pointer_value(m, e->child[0], pointer) &&
               pointer_move(m, e, pointer, e->field->offset);
    if (e->kind == AST_MEMBER)
        return place(m, e->child[0], pointer) && pointer_move(m, e, pointer, e->field->offset);
    if (e->kind == AST_CONVERT)
        return place(m, e->child[0], pointer);
    if (e->kind == AST_UNSUPPORTED)
        complain(m, e, "%s is not supported in models", e->text);
    else
        complain(m, e, "this value has no address");
    return false;
}

static Value eval_place(Machine *m, Ast *e)
{
    uint64_t pointer;
    if (!place(m, e, &pointer))
        return POISON;
    if (e->type->kind == C_FUNCTION) // *f of a pointer to a function
        return (Value){.type = e->type, .bits = pointer};
    return load(m, e, pointer, e->type);
}

static Value eval_member(Machine *m, Ast *e)
{
    if (is_place(e))
        return eval_place(m, e);
    Value record = eval(m, e->child[0]);
    if (!record.type || record.type->kind != C_RECORD)
        return POISON;
    if (e->field->type->kind == C_ARRAY)
        return complain(m, e, "an array inside a function's result is not supported in models");
    return load_bytes(m, e, record.data + e->field->offset, record.shadow + e->field->offset,
                      e->field->type);
}

static Value eval_convert(Machine *m, Ast *e)
{
    Ast *from = e->child[0];
    if (from->type && from->type->kind == C_ARRAY) {
        uint64_t pointer;
        if (!is_place(from))
            return complain(m, e,
                            "an array inside a function's result is not supported in models");
        return place(m, from, &pointer) ? (Value){.type = e->type, .bits = pointer} : POISON;
    }
    if (from->type && from->type->kind == C_FUNCTION) {
        Value f = eval(m, from);
        return f.type ? (Value){.type = e->type, .bits = f.bits} : POISON;
    }
    return convert(m, e, eval(m, from), e->type);
}

static Value eval_address(Machine *m, Ast *e)
{
    Ast *of = e->child[0];
    if (of->kind == AST_FUNCTION)
        return (Value){.type = e->type, .bits = eval(m, of).bits};
    if (of->kind == AST_INDEX) { // &a[n] of n elements is a good pointer
        Value p =
            apply(m, e, CXBinaryOperator_Add, eval(m, of->child[0]), eval(m, of->child[1]));
        return p.type ? (Value){.type = e->type, .bits = p.bits} : POISON;
    }
    uint64_t pointer;
    return place(m, of, &pointer) ? (Value){.type = e->type, .bits = pointer} : POISON;
}

static Value eval_function(Machine *m, Ast *e)
{
    if (!e->function->builtin && libclang.Cursor_isNull(e->function->cursor))
        return complain(m, e, "`%s` has no body in this model", e->function->name);
    int i = m->functions.n;
    while (--i > 0 && m->functions.items[i] != e->function)
        ;
    if (i <= 0) {
        i = m->functions.n;
        vec_push(m->arena, &m->functions, e->function);
    }
    return (Value){.type = e->type, .bits = POINTER_FUNCTION | (uint64_t)i};
}

static Value eval_assign(Machine *m, Ast *e)
{
    Ast *left = e->child[0];
    if (left->kind == AST_VARIABLE && left->variable->calls == 1)
        m->hint = left->variable->name;
    Value v = eval(m, e->child[1]);
    m->hint = NULL;
    uint64_t pointer;
    if (place(m, left, &pointer))
        store(m, e, pointer, left->type, v);
    return v;
}

static enum CXBinaryOperatorKind plain_operator(enum CXBinaryOperatorKind op)
{
    static const enum CXBinaryOperatorKind plain[] = {
        [CXBinaryOperator_MulAssign] = CXBinaryOperator_Mul,
        [CXBinaryOperator_DivAssign] = CXBinaryOperator_Div,
        [CXBinaryOperator_RemAssign] = CXBinaryOperator_Rem,
        [CXBinaryOperator_AddAssign] = CXBinaryOperator_Add,
        [CXBinaryOperator_SubAssign] = CXBinaryOperator_Sub,
        [CXBinaryOperator_ShlAssign] = CXBinaryOperator_Shl,
        [CXBinaryOperator_ShrAssign] = CXBinaryOperator_Shr,
        [CXBinaryOperator_AndAssign] = CXBinaryOperator_And,
        [CXBinaryOperator_XorAssign] = CXBinaryOperator_Xor,
        [CXBinaryOperator_OrAssign] = CXBinaryOperator_Or,
    };
    return op < sizeof plain / sizeof *plain ? plain[op] : CXBinaryOperator_Invalid;
}

static bool is_arithmetic(Value v)
{
    return v.type && (v.type->kind == C_INTEGER || v.type->kind == C_REAL);
}

static Value eval_update(Machine *m, Ast *e)
{
    enum CXBinaryOperatorKind op = plain_operator((enum CXBinaryOperatorKind)e->op);
    const CType *to = e->child[0]->type;
    uint64_t pointer;
    Value b = eval(m, e->child[1]);
    if (!place(m, e->child[0], &pointer))
        return POISON;
    Value a = load(m, e->child[0], pointer, to);
    if (is_arithmetic(a) && is_arithmetic(b)) {
        bool shift = op == CXBinaryOperator_Shl || op == CXBinaryOperator_Shr;
        const CType *common = usual_type(m, a.type, shift ? m->type_int : b.type);
        a = convert(m, e, a, common);
        b = shift ? b : convert(m, e, b, common);
    }
    Value v = convert(m, e, apply(m, e, op, a, b), to);
    store(m, e, pointer, to, v);
    return v;
}

static Value eval_step(Machine *m, Ast *e)
{
    enum CXUnaryOperatorKind op = (enum CXUnaryOperatorKind)e->op;
    bool down = op == CXUnaryOperator_PostDec || op == CXUnaryOperator_PreDec;
    bool after = op == CXUnaryOperator_PostInc || op == CXUnaryOperator_PostDec;
    const CType *type = e->child[0]->type;
    uint64_t pointer;
    if (!place(m, e->child[0], &pointer))
        return POISON;
    Value old = load(m, e->child[0], pointer, type), a = old;
    Value one = value_integer(m->type_int, 1);
    if (is_arithmetic(a)) {
        const CType *common = usual_type(m, type, m->type_int);
        a = convert(m, e, a, common);
        one = convert(m, e, one, common);
    }
    Value v = apply(m, e, down ? CXBinaryOperator_Sub : CXBinaryOperator_Add, a, one);
    v = convert(m, e, v, type);
    store(m, e, pointer, type, v);
    return after ? old : v;
}

static Value eval_logical(Machine *m, Ast *e)
{
    bool is_or = e->op == CXBinaryOperator_LOr, yes;
    if (!truth(m, e, eval(m, e->child[0]), &yes))
        return POISON;
    if (yes != is_or && !truth(m, e, eval(m, e->child[1]), &yes))
        return POISON;
    return value_integer(m->type_int, yes);
}

static Value eval_conditional(Machine *m, Ast *e)
{
    bool yes;
    const char *hint = m->hint;
    Value v = eval(m, e->child[0]);
    if (!truth(m, e, v, &yes))
        return POISON;
    m->hint = hint;
    if (e->n == 2)
        return yes ? convert(m, e, v, e->type) : eval(m, e->child[1]);
    return e->n == 3 ? eval(m, e->child[yes ? 1 : 2]) : POISON;
}

static Value eval_statements(Machine *m, Ast *e)
{
    Ast *block = e->n ? e->child[0] : NULL;
    for (int i = 0; block && i < block->n; i++) {
        Ast *s = block->child[i];
        if (i == block->n - 1 && s->kind == AST_EXPRESSION)
            return eval(m, s->child[0]);
        if (execute(m, s) != FLOW_NEXT)
            return give_up(m, s, "leaving a statement expression is not supported in models");
    }
    return (Value){.type = e->type};
}

static Value dispatch(Machine *m, Ast *e)
{
    switch (e->kind) {
    case AST_VARIABLE:
    case AST_ARROW:
    case AST_INDEX:
    case AST_DEREFERENCE:
    case AST_STRING:
    case AST_LITERAL: return eval_place(m, e);
    case AST_MEMBER: return eval_member(m, e);
    case AST_INTEGER: return value_integer(e->type, e->integer);
    case AST_REAL: return value_real(e->type, e->real);
    case AST_FUNCTION: return eval_function(m, e);
    case AST_CALL: return eval_call(m, e);
    case AST_CONVERT: return eval_convert(m, e);
    case AST_ADDRESS: return eval_address(m, e);
    case AST_UNARY:
        return apply_unary(m, e, (enum CXUnaryOperatorKind)e->op, eval(m, e->child[0]));
    case AST_STEP: return eval_step(m, e);
    case AST_BINARY: {
        Value a = eval(m, e->child[0]);
        return apply(m, e, (enum CXBinaryOperatorKind)e->op, a, eval(m, e->child[1]));
    }
    case AST_LOGICAL: return eval_logical(m, e);
    case AST_ASSIGN: return eval_assign(m, e);
    case AST_UPDATE: return eval_update(m, e);
    case AST_CONDITIONAL: return eval_conditional(m, e);
    case AST_COMMA: eval(m, e->child[0]); return eval(m, e->child[1]);
    case AST_STATEMENTS: return eval_statements(m, e);
    case AST_LIST: // a scalar in braces
        return e->n == 1 ? eval(m, e->child[0])
                         : complain(m, e, "this initialiser is not supported in models");
    case AST_DESIGNATED:
    case AST_FIELD:
    case AST_BLOCK:
    case AST_DECLARE:
    case AST_EXPRESSION:
    case AST_IF:
    case AST_WHILE:
    case AST_DO:
    case AST_FOR:
    case AST_SWITCH:
    case AST_CASE:
    case AST_DEFAULT:
    case AST_BREAK:
    case AST_CONTINUE:
    case AST_RETURN:
    case AST_NOTHING: break;
    case AST_UNSUPPORTED: return complain(m, e, "%s is not supported in models", e->text);
    }
    return complain(m, e, "this is not supported in models");
}

Value eval(Machine *m, Ast *e)
{
    if (!step(m, e))
        return POISON;
    if (e->kind != AST_CALL && e->kind != AST_CONVERT && e->kind != AST_CONDITIONAL)
        m->hint = NULL;
    m->nesting++;
    Value v = dispatch(m, e);
    m->nesting--;
    return m->stop ? POISON : v;
}
