// One model file as libclang sees it: how it is parsed, what it may include, and where its tokens
// stand for a reader.
#ifndef STAGECC_FRONTEND_CLANG_SOURCE_H
#define STAGECC_FRONTEND_CLANG_SOURCE_H

#include "frontend/clang/tree.h"
#include "frontend/frontend.h"

typedef struct Source {
    Arena *arena;
    const char *path, *text;
    const ModelOptions *options;
    CXIndex index;
    CXTranslationUnit unit;
    VEC(struct SourceFile *) files; // every file that a location was asked of
    VEC(int) memory_files;          // descriptors of files in memory
} Source;

// Parse. false: errors were reported, in clang's words. source_release even then.
bool source_parse(Source *s, Arena *arena, const char *path, const char *text,
                  const ModelOptions *options);
void source_release(Source *s);

// A location for a reader: tokens of a macro's argument where they are written, tokens of a macro's
// body where the macro is used, with the line of the body as `macro`.
Spot source_spot(Source *s, CXSourceLocation at);
// The identifier before the '(' that `at` stands behind: where a layer's macro was written. false:
// there is none of that name.
bool source_call_before(Source *s, CXSourceLocation at, const char *name, Spot *spot);
bool source_call_before_offset(Source *s, const char *file, unsigned offset, const char *name,
                               Spot *spot);
// A layer's macro was used by another macro: where that one, whose use is at spot, is defined.
void source_find_macro(Source *s, const char *name, Spot *spot);
// "BLOCK" for a place inside the body of `#define BLOCK(x) ...`. NULL: it is in none.
const char *source_macro_name(Source *s, Loc loc);
bool source_is_ours(const Source *s, const char *file); // a header of stagecc's own

const char *source_string(Source *s, CXString string); // into the arena; disposes of it

#endif
