#include "control/zmq/library.h"

#include "base/diag.h"
#include "base/functions.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

Zmq zmq;

bool zmq_load(void)
{
    static const LibraryFunction functions[] = {
#define FUNCTION(name) {"zmq_" #name, offsetof(Zmq, name)},
#include "control/zmq/zmq.def"
#undef FUNCTION
    };
    if (zmq.curve_keypair)
        return true;
    void *library = dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL);
    size_t n = sizeof functions / sizeof *functions;
    bool complete = functions_find(library, functions, n, &zmq, sizeof zmq);
    if (!complete)
        error_at(NO_LOC, "ZeroMQ cannot be loaded: %s; apt-get install libzmq5", dlerror());
    return complete;
}
