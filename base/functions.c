#include "base/functions.h"

#include <dlfcn.h>
#include <string.h>

bool functions_find(void *library, const LibraryFunction *functions, size_t n, void *table,
                    size_t table_bytes)
{
    bool complete = library;
    for (size_t i = 0; complete && i < n; i++) {
        void *function = dlsym(library, functions[i].symbol);
        memcpy((char *)table + functions[i].offset, &function, sizeof function);
        complete = function;
    }
    if (!complete)
        memset(table, 0, table_bytes);
    return complete;
}
