// Names of a model on their way into C: identifiers that collide with nothing, string literals,
// text that is safe in a comment.
#ifndef STAGECC_CODEGEN_NAMES_H
#define STAGECC_CODEGEN_NAMES_H

#include "base/arena.h"
#include "base/vec.h"

#include <stdbool.h>

// Names already given within one scope.
typedef struct Names {
    Arena *arena;
    const char **items;
    int n, cap;
} Names;

// An identifier that looks like wish, is no word of C and of its headers, begins with no letters of
// ours, and is new in this scope.
const char *names_add(Names *names, const char *wish);

// "it\"s": with quotes.
const char *name_string(Arena *a, const char *s);
// One line of printable ASCII that ends no comment and continues none.
const char *name_comment(Arena *a, const char *s);
// "conv2d" of "conv2d_3", "qkv" of "block3.qkv", "block" of "block12".
const char *name_stem(Arena *a, const char *s);

#endif
