// Declarations: variables and functions, each made once and found again by its cursor.
#include "frontend/clang/convert.h"

#include "base/text.h"
#include "frontend/clang/builtin.h"

#include <string.h>

typedef struct DeclSlot {
    CXCursor key;
    bool used;
    uint64_t object;
} DeclSlot;

void converter_init(Converter *c, Source *source)
{
    *c = (Converter){.source = source, .arena = source->arena};
}

static DeclSlot *slot_of(DeclSlot *slots, int size, CXCursor key)
{
    size_t mask = (size_t)size - 1, i = libclang.hashCursor(key) & mask;
    while (slots[i].used && !libclang.equalCursors(slots[i].key, key))
        i = (i + 1) & mask;
    return &slots[i];
}

uint64_t *converter_decl(Converter *c, CXCursor declaration)
{
    declaration = libclang.getCanonicalCursor(declaration);
    if (2 * (c->n_decls + 1) > c->decls_size) {
        int size = c->decls_size ? 2 * c->decls_size : 256;
        DeclSlot *grown = arena_array(c->arena, DeclSlot, size);
        for (int i = 0; i < c->decls_size; i++)
            if (c->decls[i].used)
                *slot_of(grown, size, c->decls[i].key) = c->decls[i];
        c->decls = grown;
        c->decls_size = size;
    }
    DeclSlot *s = slot_of(c->decls, c->decls_size, declaration);
    if (!s->used) {
        *s = (DeclSlot){declaration, true, 0};
        c->n_decls++;
    }
    return &s->object;
}

static bool at_file_level(CXCursor declaration)
{
    CXCursor parent = libclang.getCursorSemanticParent(declaration);
    return libclang.getCursorKind(parent) == CXCursor_TranslationUnit;
}

// Its definition, or the declaration with an initialiser; a tentative one serves.
static CXCursor defining(CXCursor declaration)
{
    CXCursor definition = libclang.getCursorDefinition(declaration);
    return libclang.Cursor_isNull(definition) ? declaration : definition;
}

Variable *convert_variable(Converter *c, CXCursor declaration)
{
    uint64_t *kept = converter_decl(c, declaration);
    if (*kept)
        return (Variable *)(uintptr_t)*kept;
    Variable *v = arena_new(c->arena, Variable);
    *kept = (uint64_t)(uintptr_t)v;
    CXCursor at = defining(declaration);
    bool global = at_file_level(at);
    enum CX_StorageClass storage = libclang.Cursor_getStorageClass(at);
    v->name = source_string(c->source, libclang.getCursorSpelling(at));
    v->type = convert_type(c, libclang.getCursorType(at));
    v->loc = source_spot(c->source, libclang.getCursorLocation(at)).loc;
    v->is_static = global || storage == CX_SC_Static || storage == CX_SC_Extern;
    if (!v->is_static && c->current)
        v->slot = c->current->n_slots++;
    CXCursor init = libclang.Cursor_getVarDeclInitializer(at);
    Function *outer = c->current;
    if (v->is_static) // its literals are static as well
        c->current = NULL;
    if (libclang.getCursorKind(at) == CXCursor_VarDecl && !libclang.Cursor_isNull(init))
        v->init = convert_expression(c, init);
    c->current = outer;
    v->undefined = storage == CX_SC_Extern && !v->init;
    if (libclang.getCursorKind(at) == CXCursor_ParmDecl)
        v->calls = 2; // its name is the caller's business, not that of a layer
    return v;
}

static void add_parameters(Converter *c, Function *f)
{
    int n = libclang.Cursor_getNumArguments(f->cursor);
    f->parameters = arena_array(c->arena, Variable *, n > 0 ? n : 1);
    for (int i = 0; i < n; i++)
        f->parameters[f->n_parameters++] =
            convert_variable(c, libclang.Cursor_getArgument(f->cursor, (unsigned)i));
}

Function *convert_function(Converter *c, CXCursor declaration)
{
    uint64_t *kept = converter_decl(c, declaration);
    if (*kept)
        return (Function *)(uintptr_t)*kept;
    Function *f = arena_new(c->arena, Function);
    *kept = (uint64_t)(uintptr_t)f;
    f->name = source_string(c->source, libclang.getCursorSpelling(declaration));
    f->cursor = libclang.getCursorDefinition(declaration);
    CXType type = libclang.getCursorType(declaration);
    f->result = convert_type(c, libclang.getResultType(type));
    f->variadic = libclang.isFunctionTypeVariadic(type);
    if (libclang.Cursor_isNull(f->cursor))
        f->builtin = builtin_find(f->name);
    return f;
}

static enum CXChildVisitResult find_body(CXCursor child, CXCursor parent, CXClientData data)
{
    (void)parent;
    if (libclang.getCursorKind(child) != CXCursor_CompoundStmt)
        return CXChildVisit_Continue;
    *(CXCursor *)data = child;
    return CXChildVisit_Break;
}

void convert_body(Converter *c, Function *f)
{
    if (f->converted)
        return;
    f->converted = true;
    Function *outer = c->current;
    c->current = f;
    add_parameters(c, f);
    CXCursor body = libclang.getNullCursor();
    libclang.visitChildren(f->cursor, find_body, &body);
    f->body = convert_statement(c, body);
    c->current = outer;
}
