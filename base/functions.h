// Functions of a library that is loaded when it is needed (dlopen): a table of pointers to them, filled by name.
#ifndef STAGECC_BASE_FUNCTIONS_H
#define STAGECC_BASE_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct LibraryFunction {
    const char *symbol;
    size_t offset; // of its pointer in the table
} LibraryFunction;

// library NULL: it could not be loaded. false: not all are there, dlerror(3) says why, and the table is zero.
bool functions_find(void *library, const LibraryFunction *functions, size_t n, void *table,
                    size_t table_bytes);

#endif
