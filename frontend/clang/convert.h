// From libclang's cursors to the tree of tree.h.
#ifndef STAGECC_FRONTEND_CLANG_CONVERT_H
#define STAGECC_FRONTEND_CLANG_CONVERT_H

#include "frontend/clang/source.h"

typedef struct Cursors {
    Arena *arena;
    CXCursor *items;
    int n, cap;
} Cursors;

typedef struct Converter {
    Source *source;
    Arena *arena;
    struct CTypeSlot *types; // by clang's type pointer
    int n_types, types_size;
    struct DeclSlot *decls; // by cursor
    int n_decls, decls_size;
    Function *current; // whose body is being converted; NULL at file level
} Converter;

void converter_init(Converter *c, Source *source);

// convert_type.c
const CType *convert_type(Converter *c, CXType type);
const CType *convert_basic(Converter *c,
                           const char *name); // "int", "unsigned int", "long", ...

// A member by name, those of anonymous members included; its offset in the record. NULL: none.
const Field *field_find(const CType *record, const char *name, int64_t *offset);

// convert_decl.c
Variable *convert_variable(Converter *c, CXCursor declaration);
Function *convert_function(Converter *c, CXCursor declaration);
void convert_body(Converter *c, Function *f); // once; a function with a definition
uint64_t *converter_decl(Converter *c, CXCursor declaration); // where its object is kept

// convert_expr.c, convert_stmt.c
Ast *convert_expression(Converter *c, CXCursor cursor);
Ast *convert_statement(Converter *c, CXCursor cursor);
Ast *ast_new(Converter *c, AstKind kind, CXCursor at);
Ast *ast_unsupported(Converter *c, CXCursor at, const char *what);
bool ast_is_call(Ast *a); // or a choice of calls: its result may name a layer
void ast_adopt(Converter *c, Ast *parent, Ast *child);

Cursors cursor_children(Converter *c, CXCursor cursor);

// convert_literal.c
Ast *convert_number(Converter *c, CXCursor at);
Ast *convert_string(Converter *c, CXCursor at);
Ast *convert_constant(Converter *c,
                      CXCursor at); // what clang can compute: offsetof and the like
Ast *convert_list(Converter *c, CXCursor at, const Cursors *list);

#endif
