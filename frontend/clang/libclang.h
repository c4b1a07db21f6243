// libclang, loaded when the first model is read: it and LLVM take 15 ms to load, which a command that
// reads a graph need not wait for. `libclang.getCursorKind(c)` is clang_getCursorKind(c).
#ifndef STAGECC_FRONTEND_CLANG_LIBCLANG_H
#define STAGECC_FRONTEND_CLANG_LIBCLANG_H

#include <clang-c/Index.h>
#include <stdbool.h>

typedef struct Libclang {
#define FUNCTION(name) __typeof__(&clang_##name) name;
#include "frontend/clang/libclang.def"
#undef FUNCTION
} Libclang;

extern Libclang libclang; // filled by libclang_load

// false: it cannot be loaded; an error was reported.
bool libclang_load(void);

#endif
