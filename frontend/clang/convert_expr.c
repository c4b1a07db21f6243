// Expressions. Implicit conversions are nodes without a kind of their own in libclang: a child and a
// type. What has no place in the tree becomes AST_UNSUPPORTED, an error only when it is reached.
#include "base/text.h"
#include "frontend/clang/builtin.h"
#include "frontend/clang/convert.h"

#include <stdlib.h>
#include <string.h>

static enum CXChildVisitResult collect(CXCursor child, CXCursor parent, CXClientData data)
{
    (void)parent;
    Cursors *list = data;
    vec_push(list->arena, list, child);
    return CXChildVisit_Continue;
}

Cursors cursor_children(Converter *c, CXCursor cursor)
{
    Cursors list = {.arena = c->arena};
    libclang.visitChildren(cursor, collect, &list);
    return list;
}

Ast *ast_new(Converter *c, AstKind kind, CXCursor at)
{
    Ast *a = arena_new(c->arena, Ast);
    a->kind = kind;
    a->spot = source_spot(c->source, libclang.getCursorLocation(at));
    if (libclang.isExpression(libclang.getCursorKind(at)))
        a->type = convert_type(c, libclang.getCursorType(at));
    return a;
}

Ast *ast_unsupported(Converter *c, CXCursor at, const char *what)
{
    Ast *a = ast_new(c, AST_UNSUPPORTED, at);
    a->text = what;
    return a;
}

void ast_adopt(Converter *c, Ast *parent, Ast *child)
{
    Ast **grown = arena_array(c->arena, Ast *, parent->n + 1);
    if (parent->n)
        memcpy(grown, parent->child, sizeof(Ast *) * (size_t)parent->n);
    grown[parent->n++] = child;
    parent->child = grown;
}

static Ast *with_children(Converter *c, AstKind kind, CXCursor at, const Cursors *list,
                          int from)
{
    Ast *a = ast_new(c, kind, at);
    a->child = arena_array(c->arena, Ast *, list->n + 1);
    for (int i = from; i < list->n; i++)
        a->child[a->n++] = convert_expression(c, list->items[i]);
    return a;
}

// ---- names

static Ast *reference(Converter *c, CXCursor at)
{
    CXCursor to = libclang.getCursorReferenced(at);
    enum CXCursorKind kind = libclang.getCursorKind(to);
    if (kind == CXCursor_EnumConstantDecl) {
        Ast *a = ast_new(c, AST_INTEGER, at);
        a->integer = (uint64_t)libclang.getEnumConstantDeclValue(to);
        return a;
    }
    if (kind == CXCursor_FunctionDecl) {
        Ast *a = ast_new(c, AST_FUNCTION, at);
        a->function = convert_function(c, to);
        return a;
    }
    if (kind != CXCursor_VarDecl && kind != CXCursor_ParmDecl)
        return ast_unsupported(c, at, "this name");
    Ast *a = ast_new(c, AST_VARIABLE, at);
    a->variable = convert_variable(c, to);
    return a;
}

static Ast *member(Converter *c, CXCursor at, const Cursors *list)
{
    if (list->n < 1)
        return ast_unsupported(c, at, "this member access");
    Ast *base = convert_expression(c, list->items[0]);
    bool arrow = base->type && base->type->kind == C_POINTER;
    const CType *record = arrow ? base->type->of : base->type;
    const char *name = source_string(c->source, libclang.getCursorSpelling(at));
    int64_t offset = 0;
    const Field *found =
        record && record->kind == C_RECORD ? field_find(record, name, &offset) : NULL;
    if (found && found->bits)
        return ast_unsupported(c, at, "a bit-field");
    if (found) {
        Ast *a = ast_new(c, arrow ? AST_ARROW : AST_MEMBER, at);
        ast_adopt(c, a, base);
        a->field = found;
        if (offset != found->offset) { // inside an anonymous struct or union
            Field *deep = arena_copy(c->arena, found, sizeof *found);
            deep->offset = offset;
            a->field = deep;
        }
        return a;
    }
    return ast_unsupported(c, at, "this member access");
}

// ---- calls

// Where a layer's macro was written: before its first argument, which may be a layer itself.
static bool written_before(Converter *c, CXCursor cursor, const Ast *a, const char *name,
                           Spot *spot)
{
    while (a->kind == AST_CONVERT || a->kind == AST_LITERAL || a->kind == AST_LIST) {
        Cursors list = cursor_children(c, cursor);
        int i = 0;
        while (i < list.n && !libclang.isExpression(libclang.getCursorKind(list.items[i])))
            i++;
        if (a->n < 1 || i >= list.n)
            return false;
        cursor = list.items[i];
        a = a->child[0];
    }
    if (a->kind == AST_CALL && a->child[0]->kind == AST_FUNCTION &&
        a->child[0]->function->builtin)
        return source_call_before_offset(c->source, a->spot.loc.file, a->spot.offset, name,
                                         spot);
    CXSourceLocation start = libclang.getRangeStart(libclang.getCursorExtent(cursor));
    return source_call_before(c->source, start, name, spot);
}

static Ast *strip(Ast *a)
{
    while (a->kind == AST_CONVERT && a->n)
        a = a->child[0];
    return a;
}

static Ast *call(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = with_children(c, AST_CALL, at, list, 0);
    if (!a->n)
        return ast_unsupported(c, at, "this call");
    Ast *callee = strip(a->child[0]);
    if (callee->kind != AST_FUNCTION)
        return a;
    a->child[0] = callee;
    const char *name = callee->function->name;
    if (!str_starts(name, "stagecc_"))
        return a;
    name += strlen("stagecc_");
    Spot spot;
    if (a->n > 1 && written_before(c, list->items[1], a->child[1], name, &spot))
        a->spot = spot;
    else
        source_find_macro(c->source, name, &a->spot);
    return a;
}

// ---- operators

static Ast *unary(Converter *c, CXCursor at, const Cursors *list)
{
    if (list->n != 1)
        return ast_unsupported(c, at, "this operator");
    enum CXUnaryOperatorKind op = libclang.getCursorUnaryOperatorKind(at);
    Ast *x = convert_expression(c, list->items[0]);
    AstKind kind = AST_UNARY;
    switch (op) {
    case CXUnaryOperator_Extension: return x;
    case CXUnaryOperator_PostInc:
    case CXUnaryOperator_PostDec:
    case CXUnaryOperator_PreInc:
    case CXUnaryOperator_PreDec: kind = AST_STEP; break;
    case CXUnaryOperator_AddrOf: kind = AST_ADDRESS; break;
    case CXUnaryOperator_Deref: kind = AST_DEREFERENCE; break;
    case CXUnaryOperator_Plus:
    case CXUnaryOperator_Minus:
    case CXUnaryOperator_Not:
    case CXUnaryOperator_LNot: break;
    case CXUnaryOperator_Invalid:
    case CXUnaryOperator_Real:
    case CXUnaryOperator_Imag:
    case CXUnaryOperator_Coawait: return ast_unsupported(c, at, "this operator");
    }
    Ast *a = ast_new(c, kind, at);
    a->op = (int)op;
    ast_adopt(c, a, x);
    if (kind == AST_ADDRESS && strip(x)->kind == AST_VARIABLE) // anything may be written there
        strip(x)->variable->calls += 2;
    return a;
}

bool ast_is_call(Ast *a)
{
    a = strip(a);
    if (a->kind == AST_CONDITIONAL)
        return ast_is_call(a->child[a->n - 2]) || ast_is_call(a->child[a->n - 1]);
    return a->kind == AST_CALL;
}

static void count_call(Ast *left, Ast *right)
{
    if (left->kind == AST_VARIABLE && ast_is_call(right))
        left->variable->calls++;
}

static Ast *binary(Converter *c, CXCursor at, const Cursors *list)
{
    if (list->n != 2)
        return ast_unsupported(c, at, "this operator");
    enum CXBinaryOperatorKind op = libclang.getCursorBinaryOperatorKind(at);
    AstKind kind = AST_BINARY;
    if (op == CXBinaryOperator_Assign)
        kind = AST_ASSIGN;
    else if (op == CXBinaryOperator_Comma)
        kind = AST_COMMA;
    else if (op == CXBinaryOperator_LAnd || op == CXBinaryOperator_LOr)
        kind = AST_LOGICAL;
    Ast *a = with_children(c, kind, at, list, 0);
    a->op = (int)op;
    if (kind == AST_ASSIGN)
        count_call(a->child[0], a->child[1]);
    return a;
}

static Ast *update(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = with_children(c, AST_UPDATE, at, list, 0);
    a->op = (int)libclang.getCursorBinaryOperatorKind(at);
    return a;
}

static Ast *subscript(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = with_children(c, AST_INDEX, at, list, 0);
    if (a->n != 2)
        return ast_unsupported(c, at, "this subscript");
    if (a->child[0]->type->kind != C_POINTER) { // 2[x]
        Ast *pointer = a->child[1];
        a->child[1] = a->child[0];
        a->child[0] = pointer;
    }
    return a;
}

// ---- conversions and compounds

// The last child is the operand; type names may stand before it.
static Ast *cast(Converter *c, AstKind kind, CXCursor at, const Cursors *list)
{
    if (!list->n || !libclang.isExpression(libclang.getCursorKind(list->items[list->n - 1])))
        return ast_unsupported(c, at, "this expression");
    Ast *a = ast_new(c, kind, at);
    ast_adopt(c, a, convert_expression(c, list->items[list->n - 1]));
    if (kind == AST_LITERAL) {
        a->slot = -1;
        if (c->current)
            a->slot = c->current->n_slots++;
    }
    return a;
}

static Ast *unexposed(Converter *c, CXCursor at, const Cursors *list)
{
    if (list->n == 1 && libclang.isExpression(libclang.getCursorKind(list->items[0])))
        return cast(c, AST_CONVERT, at, list);
    if (list->n == 4) { // x ?: y, with x three times
        Ast *a = ast_new(c, AST_CONDITIONAL, at);
        ast_adopt(c, a, convert_expression(c, list->items[0]));
        ast_adopt(c, a, convert_expression(c, list->items[3]));
        return a;
    }
    return convert_constant(c, at);
}

static Ast *statements(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = ast_new(c, AST_STATEMENTS, at);
    for (int i = 0; i < list->n; i++)
        ast_adopt(c, a, convert_statement(c, list->items[i]));
    return a;
}

// Kinds of cursors are an open set: what is not named here is unsupported.
Ast *convert_expression(Converter *c, CXCursor at)
{
    enum CXCursorKind kind = libclang.getCursorKind(at);
    if (kind == CXCursor_IntegerLiteral || kind == CXCursor_FloatingLiteral ||
        kind == CXCursor_CharacterLiteral || kind == CXCursor_UnaryExpr)
        return convert_number(c, at);
    if (kind == CXCursor_StringLiteral)
        return convert_string(c, at);
    if (kind == CXCursor_DeclRefExpr)
        return reference(c, at);
    Cursors list = cursor_children(c, at);
    if (kind == CXCursor_ParenExpr && list.n == 1)
        return convert_expression(c, list.items[0]);
    if (kind == CXCursor_UnexposedExpr)
        return unexposed(c, at, &list);
    if (kind == CXCursor_MemberRefExpr)
        return member(c, at, &list);
    if (kind == CXCursor_CallExpr)
        return call(c, at, &list);
    if (kind == CXCursor_UnaryOperator)
        return unary(c, at, &list);
    if (kind == CXCursor_BinaryOperator)
        return binary(c, at, &list);
    if (kind == CXCursor_CompoundAssignOperator)
        return update(c, at, &list);
    if (kind == CXCursor_ArraySubscriptExpr)
        return subscript(c, at, &list);
    if (kind == CXCursor_ConditionalOperator)
        return with_children(c, AST_CONDITIONAL, at, &list, 0);
    if (kind == CXCursor_CStyleCastExpr)
        return cast(c, AST_CONVERT, at, &list);
    if (kind == CXCursor_CompoundLiteralExpr)
        return cast(c, AST_LITERAL, at, &list);
    if (kind == CXCursor_InitListExpr)
        return convert_list(c, at, &list);
    if (kind == CXCursor_StmtExpr)
        return statements(c, at, &list);
    if (kind == CXCursor_GenericSelectionExpr)
        return ast_unsupported(c, at, "_Generic");
    if (kind == CXCursor_AddrLabelExpr)
        return ast_unsupported(c, at, "the address of a label");
    return ast_unsupported(c, at, "this expression");
}
