// Files for fuzz targets of the runtime: this stands in for runtime/data_file.c. A path is looked up in
// a table of byte strings, and every mapping is an allocation of exactly the file's size, so that the
// address sanitizer sees each byte too far.
#ifndef STAGECC_TESTS_FUZZ_FILES_H
#define STAGECC_TESTS_FUZZ_FILES_H

#include "runtime/data_file.h"

#include <stdlib.h>
#include <string.h>

typedef struct FuzzFile {
    const char *tail; // a path that ends like this is this file
    const uint8_t *bytes;
    size_t size;
} FuzzFile;

static FuzzFile fuzz_files[4];

static const FuzzFile *fuzz_find(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof fuzz_files / sizeof *fuzz_files; i++) {
        const char *tail = fuzz_files[i].tail;
        size_t k = tail ? strlen(tail) : n + 1;
        if (k <= n && strcmp(path + n - k, tail) == 0)
            return &fuzz_files[i];
    }
    return NULL;
}

int rt__file_map(rt__file *file, const char *path, rt__why *why)
{
    const FuzzFile *found = fuzz_find(path);
    *file = (rt__file){.path = NULL};
    if (!found)
        return rt__because(why, RT__INPUT, "%s: No such file or directory", path);
    file->path = strdup(path);
    file->size = found->size;
    if (found->size == 0)
        return 0; // as mmap: nothing is mapped
    uint8_t *bytes = malloc(found->size);
    memcpy(bytes, found->bytes, found->size);
    file->bytes = bytes;
    return 0;
}

void rt__file_unmap(rt__file *file)
{
    free((void *)(uintptr_t)file->bytes);
    free(file->path);
    *file = (rt__file){.path = NULL};
}

// A safetensors header ends with the last brace: write the length that says so. Without this a change
// of the header's size would end every trial. Returns a copy to free, NULL without a brace.
__attribute__((unused)) static uint8_t *fuzz_fit_header(const uint8_t *data, size_t size)
{
    const uint8_t *brace = size > 8 ? memrchr(data + 8, '}', size - 8) : NULL;
    if (!brace)
        return NULL;
    uint64_t length = (uint64_t)(brace - data) - 7;
    uint8_t *fixed = malloc(size);
    memcpy(fixed, data, size);
    memcpy(fixed, &length, sizeof length);
    return fixed;
}

#endif
