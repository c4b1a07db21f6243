// Files mapped into memory, read-only. A file that shrinks while it is mapped kills the reader
// with SIGBUS, as with every program that maps files.
#ifndef STAGECC_RUNTIME_DATA_FILE_H
#define STAGECC_RUNTIME_DATA_FILE_H

#include "runtime/plain.h"

typedef struct rt__file {
    char *path;
    const uint8_t *bytes;
    uint64_t size;
} rt__file;

// 0, RT__INPUT (not there, not readable, not a regular file) or RT__ENVIRONMENT.
int rt__file_map(rt__file *file, const char *path, rt__why *why);
void rt__file_unmap(rt__file *file); // a zeroed file is fine

#endif
