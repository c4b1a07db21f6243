#include "runtime/cuda/card/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Where they lie, in this order; the loader's own path comes first. A pattern may match several folders.
static const char *const folders[] = {
    "/usr/local/cuda/lib64",
    "/usr/local/lib/python3*/*-packages/nvidia/*/lib",
    "/usr/lib/python3*/*-packages/nvidia/*/lib",
    "/opt/*/lib/python3*/site-packages/nvidia/*/lib",
    "/opt/*/.venv/lib/python3*/site-packages/nvidia/*/lib",
};

static void *open_at(const char *folder, const char *file)
{
    char path[1024];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    return n < (int)sizeof path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

static void *open_in(const char *pattern, const char *file)
{
    glob_t found;
    void *library = NULL;
    if (glob(pattern, GLOB_ONLYDIR, NULL, &found))
        return NULL;
    for (size_t i = 0; i < found.gl_pathc && !library; i++)
        library = open_at(found.gl_pathv[i], file);
    globfree(&found);
    return library;
}

static void *open_below(const char *root, const char *file)
{
    char pattern[1024];
    int n =
        snprintf(pattern, sizeof pattern, "%s/lib/python3*/site-packages/nvidia/*/lib", root);
    return n < (int)sizeof pattern ? open_in(pattern, file) : NULL;
}

static void *find(const char *file)
{
    const char *own = getenv("STAGECC_CUDA_LIBS"), *environment = getenv("VIRTUAL_ENV");
    void *library = own ? open_at(own, file) : NULL;
    if (!library)
        library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library && environment)
        library = open_below(environment, file);
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !library; i++)
        library = open_in(folders[i], file);
    return library;
}

bool rt__cuda_has(const CudaLibrary *library)
{
    return find(library->file);
}

int rt__cuda_load(rt_stage *s, const CudaLibrary *library, const CudaFunction *functions,
                  size_t n, void *table)
{
    void *handle = find(library->file);
    if (!handle)
        return rt_fail(
            s, RT_E_ENVIRONMENT,
            "%s of %s was not found: install it, or name its folder in STAGECC_CUDA_LIBS (looked at that, the "
            "loader's path, /usr/local/cuda/lib64 and Python's nvidia packages)",
            library->file, library->package);
    for (size_t i = 0; i < n; i++) {
        void *function = dlsym(handle, functions[i].symbol);
        if (!function)
            return rt_fail(s, RT_E_ENVIRONMENT,
                           "%s has no %s: it is older than %s, which this program wants",
                           library->file, functions[i].symbol, library->package);
        memcpy((char *)table + functions[i].offset, &function, sizeof function);
    }
    return 0;
}
