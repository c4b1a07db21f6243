#include "control/page/library.h"

#include "base/diag.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

Mhd mhd;

bool mhd_load(void)
{
    static const struct {
        const char *symbol;
        size_t offset;
    } functions[] = {
#define FUNCTION(name) {"MHD_" #name, offsetof(Mhd, name)},
#include "control/page/mhd.def"
#undef FUNCTION
    };
    if (mhd.run)
        return true;
    void *library = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);
    bool complete = library;
    Mhd found;
    for (size_t i = 0; complete && i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].symbol);
        memcpy((char *)&found + functions[i].offset, &function, sizeof function);
        complete = function;
    }
    if (complete)
        mhd = found;
    else
        error_at(NO_LOC, "libmicrohttpd cannot be loaded: %s; apt-get install libmicrohttpd12",
                 dlerror());
    return complete;
}
