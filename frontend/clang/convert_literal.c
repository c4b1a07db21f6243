// Literals, and lists of initialisers as they were written: initialise.c works out what they mean.
#include "frontend/clang/convert.h"

#include <stdlib.h>
#include <string.h>

Ast *convert_number(Converter *c, CXCursor at)
{
    CXEvalResult r = libclang.Cursor_Evaluate(at);
    CXEvalResultKind kind = r ? libclang.EvalResult_getKind(r) : CXEval_UnExposed;
    Ast *a = ast_new(c, AST_INTEGER, at);
    if (kind == CXEval_Int && libclang.EvalResult_isUnsignedInt(r)) {
        a->integer = libclang.EvalResult_getAsUnsigned(r);
    } else if (kind == CXEval_Int) {
        a->integer = (uint64_t)libclang.EvalResult_getAsLongLong(r);
    } else if (kind == CXEval_Float) {
        a->kind = AST_REAL;
        a->real = libclang.EvalResult_getAsDouble(r);
    } else {
        a->kind = AST_UNSUPPORTED;
        a->text = libclang.getCursorKind(at) == CXCursor_UnaryExpr
                      ? "sizeof of something whose size is not constant"
                      : "this literal";
    }
    if (r)
        libclang.EvalResult_dispose(r);
    return a;
}

static int octal(const char **p)
{
    int v = 0;
    for (int i = 0; i < 3 && **p >= '0' && **p <= '7'; i++)
        v = v * 8 + *(*p)++ - '0';
    return v;
}

// The literal as clang prints it: quoted, pieces joined, escapes of C.
Ast *convert_string(Converter *c, CXCursor at)
{
    static const char escapes[] = "n\nt\tr\ra\ab\bf\fv\v";
    const char *p = source_string(c->source, libclang.getCursorSpelling(at));
    Ast *a = ast_new(c, AST_STRING, at);
    if (*p != '"' || !a->type->of || a->type->of->size != 1)
        return ast_unsupported(c, at, "a wide string");
    char *out = arena_alloc(c->arena, strlen(p) + 1), *end = out;
    for (p++; *p && *p != '"';) {
        if (*p != '\\') {
            *end++ = *p++;
            continue;
        }
        p++;
        const char *e = *p ? strchr(escapes, *p) : NULL;
        if (*p >= '0' && *p <= '7')
            *end++ = (char)octal(&p);
        else if (*p == 'x')
            *end++ = (char)strtol(p + 1, (char **)(uintptr_t)&p, 16);
        else if (e && (e - escapes) % 2 == 0)
            *end++ = e[1], p++;
        else if (*p)
            *end++ = *p++;
    }
    a->text = out;
    a->length = end - out + 1;
    return a;
}

// What clang can compute itself: offsetof and the like.
Ast *convert_constant(Converter *c, CXCursor at)
{
    Ast *a = convert_number(c, at);
    if (a->kind == AST_UNSUPPORTED)
        a->text = "this expression";
    return a;
}

static Ast *designated(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = ast_new(c, AST_DESIGNATED, at);
    for (int i = 0; i < list->n; i++) {
        CXCursor child = list->items[i];
        if (libclang.getCursorKind(child) != CXCursor_MemberRef) {
            ast_adopt(c, a, convert_expression(c, child));
            continue;
        }
        Ast *f = ast_new(c, AST_FIELD, child);
        f->text = source_string(c->source, libclang.getCursorSpelling(child));
        ast_adopt(c, a, f);
    }
    return a;
}

Ast *convert_list(Converter *c, CXCursor at, const Cursors *list)
{
    Ast *a = ast_new(c, AST_LIST, at);
    a->child = arena_array(c->arena, Ast *, list->n + 1);
    for (int i = 0; i < list->n; i++) {
        CXCursor item = list->items[i];
        Cursors inner = {.n = 0};
        bool is_designated = libclang.getCursorKind(item) == CXCursor_UnexposedExpr &&
                             libclang.getCursorType(item).kind == CXType_Void;
        if (is_designated)
            inner = cursor_children(c, item);
        a->child[a->n++] =
            is_designated ? designated(c, item, &inner) : convert_expression(c, item);
    }
    return a;
}
