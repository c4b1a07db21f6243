#include "runtime/ucx/ucp.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

Ucp ucp;

// Read when the library is loaded; who has set them keeps them. A broken connection is ours to report,
// signals and malloc are nobody's.
static void set_defaults(void)
{
    static const char *const defaults[][2] = {{"UCX_LOG_LEVEL", "fatal"},
                                              {"UCX_ERROR_SIGNALS", ""},
                                              {"UCX_MEM_EVENTS", "n"},
                                              {"UCX_WARN_UNUSED_ENV_VARS", "n"}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        setenv(defaults[i][0], defaults[i][1], 0);
}

bool ucp_load(const char **why)
{
    static const struct {
        const char *symbol;
        size_t offset;
    } functions[] = {
#define FUNCTION(name) {"ucp_" #name, offsetof(Ucp, name)},
#include "runtime/ucx/ucp.def"
#undef FUNCTION
        {"ucs_status_string", offsetof(Ucp, status_string)},
    };
    if (ucp.init_version)
        return true;
    set_defaults();
    void *library = dlopen("libucp.so.0", RTLD_NOW | RTLD_LOCAL);
    bool complete = library;
    Ucp found;
    for (size_t i = 0; complete && i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].symbol);
        memcpy((char *)&found + functions[i].offset, &function, sizeof function);
        complete = function;
    }
    if (complete)
        ucp = found;
    else
        *why = dlerror();
    return complete;
}
