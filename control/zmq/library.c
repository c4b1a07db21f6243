#include "control/zmq/library.h"

#include "base/diag.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

Zmq zmq;

bool zmq_load(void)
{
    static const struct {
        const char *symbol;
        size_t offset;
    } functions[] = {
#define FUNCTION(name) {"zmq_" #name, offsetof(Zmq, name)},
#include "control/zmq/zmq.def"
#undef FUNCTION
    };
    if (zmq.curve_keypair)
        return true;
    void *library = dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL);
    bool complete = library;
    Zmq found;
    for (size_t i = 0; complete && i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].symbol);
        memcpy((char *)&found + functions[i].offset, &function, sizeof function);
        complete = function;
    }
    if (complete)
        zmq = found;
    else
        error_at(NO_LOC, "ZeroMQ cannot be loaded: %s; apt-get install libzmq5", dlerror());
    return complete;
}
