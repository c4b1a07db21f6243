// Statements.
#include "frontend/clang/convert.h"

#include <string.h>

static Ast *plain(Converter *c, AstKind kind, CXCursor at, const Cursors *list)
{
    Ast *a = ast_new(c, kind, at);
    a->child = arena_array(c->arena, Ast *, list->n + 1);
    for (int i = 0; i < list->n; i++)
        a->child[a->n++] = convert_statement(c, list->items[i]);
    return a;
}

static Ast *declare(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = ast_new(c, AST_BLOCK, at);
    for (int i = 0; i < list->n; i++) {
        if (libclang.getCursorKind(list->items[i]) != CXCursor_VarDecl)
            continue; // types and prototypes have no effect
        Ast *d = ast_new(c, AST_DECLARE, list->items[i]);
        d->variable = convert_variable(c, list->items[i]);
        if (d->variable->init && ast_is_call(d->variable->init))
            d->variable->calls++;
        if (libclang.getCursorType(list->items[i]).kind == CXType_VariableArray)
            d = ast_unsupported(c, list->items[i], "an array whose size is not constant");
        ast_adopt(c, a, d);
    }
    return a;
}

// Which of init, condition and step stand between the parentheses of `for`; libclang shows only
// those that do. false: the tokens cannot tell (the loop comes from a macro).
static bool for_parts(Converter *c, CXCursor at, bool present[3])
{
    CXToken *tokens = NULL;
    unsigned n = 0;
    int depth = 0, part = 0;
    CXTranslationUnit unit = c->source->unit;
    libclang.tokenize(unit, libclang.getCursorExtent(at), &tokens, &n);
    for (unsigned i = 1; i < n && part < 3; i++) {
        CXString spelling = libclang.getTokenSpelling(unit, tokens[i]);
        const char *t = libclang.getCString(spelling);
        bool opens = !strcmp(t, "(") || !strcmp(t, "[") || !strcmp(t, "{");
        bool closes = !strcmp(t, ")") || !strcmp(t, "]") || !strcmp(t, "}");
        bool ends = depth == 1 && !strcmp(t, ";");
        depth -= closes;
        if (depth == 0 && closes)
            part = 3;
        else if (ends)
            part++;
        else if (depth > 0)
            present[part] = true;
        depth += opens;
        libclang.disposeString(spelling);
    }
    libclang.disposeTokens(unit, tokens, n);
    return part == 3;
}

static Ast *for_loop(Converter *c, CXCursor at, const Cursors *list)
{
    bool present[3] = {true, true, true};
    if (list->n != 4) {
        memset(present, 0, sizeof present);
        if (!for_parts(c, at, present) || present[0] + present[1] + present[2] + 1 != list->n)
            return ast_unsupported(c, at,
                                   "a for loop that lacks a part and comes from a macro");
    }
    Ast *a = ast_new(c, AST_FOR, at);
    int next = 0;
    for (int i = 0; i < 3; i++) {
        Ast *part = NULL;
        if (present[i])
            part = i == 1 ? convert_expression(c, list->items[next])
                          : convert_statement(c, list->items[next]);
        next += present[i];
        ast_adopt(c, a, part);
    }
    ast_adopt(c, a, convert_statement(c, list->items[next]));
    return a;
}

static Ast *choice(Converter *c, AstKind kind, CXCursor at, const Cursors *list)
{
    if (list->n < 2)
        return ast_unsupported(c, at, "this statement");
    Ast *a = ast_new(c, kind, at);
    ast_adopt(c, a, convert_expression(c, list->items[0]));
    for (int i = 1; i < list->n; i++)
        ast_adopt(c, a, convert_statement(c, list->items[i]));
    return a;
}

static Ast *case_label(Converter *c, CXCursor at, const Cursors *list)
{
    if (list->n < 2)
        return ast_unsupported(c, at, "this statement");
    Ast *a = ast_new(c, AST_CASE, at);
    ast_adopt(c, a, convert_expression(c, list->items[0]));
    ast_adopt(c, a, list->n > 2 ? convert_expression(c, list->items[1]) : NULL);
    ast_adopt(c, a, convert_statement(c, list->items[list->n - 1]));
    return a;
}

static Ast *do_loop(Converter *c, CXCursor at, const Cursors *list)
{
    if (list->n != 2)
        return ast_unsupported(c, at, "this statement");
    Ast *a = ast_new(c, AST_DO, at);
    ast_adopt(c, a, convert_expression(c, list->items[1]));
    ast_adopt(c, a, convert_statement(c, list->items[0]));
    return a;
}

static Ast *expression(Converter *c, CXCursor at)
{
    Ast *a = ast_new(c, AST_EXPRESSION, at);
    ast_adopt(c, a, convert_expression(c, at));
    return a;
}

static Ast *give_back(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = ast_new(c, AST_RETURN, at);
    if (list->n)
        ast_adopt(c, a, convert_expression(c, list->items[0]));
    return a;
}

static const struct {
    enum CXCursorKind kind;
    const char *name;
} unsupported[] = {
    {CXCursor_GotoStmt, "goto"},  {CXCursor_IndirectGotoStmt, "goto"},
    {CXCursor_GCCAsmStmt, "asm"}, {CXCursor_AsmStmt, "asm"},
    {CXCursor_MSAsmStmt, "asm"},
};

Ast *convert_statement(Converter *c, CXCursor at)
{
    enum CXCursorKind kind = libclang.getCursorKind(at);
    if (libclang.isExpression(kind))
        return expression(c, at);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (kind == unsupported[i].kind)
            return ast_unsupported(c, at, unsupported[i].name);
    Cursors list = cursor_children(c, at);
    if (kind == CXCursor_CompoundStmt)
        return plain(c, AST_BLOCK, at, &list);
    if (kind == CXCursor_DeclStmt)
        return declare(c, at, &list);
    if (kind == CXCursor_IfStmt)
        return choice(c, AST_IF, at, &list);
    if (kind == CXCursor_WhileStmt)
        return choice(c, AST_WHILE, at, &list);
    if (kind == CXCursor_DoStmt)
        return do_loop(c, at, &list);
    if (kind == CXCursor_ForStmt)
        return for_loop(c, at, &list);
    if (kind == CXCursor_SwitchStmt)
        return choice(c, AST_SWITCH, at, &list);
    if (kind == CXCursor_CaseStmt)
        return case_label(c, at, &list);
    if (kind == CXCursor_DefaultStmt)
        return plain(c, AST_DEFAULT, at, &list);
    if (kind == CXCursor_BreakStmt)
        return ast_new(c, AST_BREAK, at);
    if (kind == CXCursor_ContinueStmt)
        return ast_new(c, AST_CONTINUE, at);
    if (kind == CXCursor_ReturnStmt)
        return give_back(c, at, &list);
    if (kind == CXCursor_NullStmt)
        return ast_new(c, AST_NOTHING, at);
    if (kind == CXCursor_LabelStmt && list.n)
        return convert_statement(c, list.items[list.n - 1]);
    return ast_unsupported(c, at, "this statement");
}
