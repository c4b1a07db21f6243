#include "frontend/clang/libclang.h"

#include "base/diag.h"
#include "base/functions.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

Libclang libclang;

// STAGECC_LIBCLANG is the file that was found when stagecc was built; on a machine that has it
// elsewhere the loader looks for its name.
static void *open_library(void)
{
    void *library = dlopen(STAGECC_LIBCLANG, RTLD_LAZY | RTLD_LOCAL);
    return library ? library
                   : dlopen(strrchr(STAGECC_LIBCLANG, '/') + 1, RTLD_LAZY | RTLD_LOCAL);
}

bool libclang_load(void)
{
    static const LibraryFunction functions[] = {
#define FUNCTION(name) {"clang_" #name, offsetof(Libclang, name)},
#include "frontend/clang/libclang.def"
#undef FUNCTION
    };
    if (libclang.createIndex)
        return true;
    void *library = open_library();
    size_t n = sizeof functions / sizeof *functions;
    bool complete = functions_find(library, functions, n, &libclang, sizeof libclang);
    if (!complete)
        error_at(
            NO_LOC,
            "models in C are read with libclang, which cannot be loaded: %s; install the package "
            "that has it, or build stagecc here",
            dlerror());
    return complete;
}
