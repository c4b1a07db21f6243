#include "control/page/library.h"

#include "base/diag.h"
#include "base/functions.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

Mhd mhd;

bool mhd_load(void)
{
    static const LibraryFunction functions[] = {
#define FUNCTION(name) {"MHD_" #name, offsetof(Mhd, name)},
#include "control/page/mhd.def"
#undef FUNCTION
    };
    if (mhd.run)
        return true;
    void *library = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);
    size_t n = sizeof functions / sizeof *functions;
    bool complete = functions_find(library, functions, n, &mhd, sizeof mhd);
    if (!complete)
        error_at(NO_LOC, "libmicrohttpd cannot be loaded: %s; apt-get install libmicrohttpd12",
                 dlerror());
    return complete;
}
