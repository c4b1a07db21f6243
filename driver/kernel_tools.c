// What compiles the second source of a stage, its kernels: nvcc for a device, or a C++ compiler for this processor
// (docs/cuda.md). They are looked for whenever stagecc runs, for it is built without them, and the sources of
// programs are made without them, too.
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef STAGECC_CUDA_BIN // of a toolkit that is not on the PATH
#define STAGECC_CUDA_BIN "/usr/local/cuda/bin"
#endif

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_program(const char *path)
{
    struct stat s;
    return !stat(path, &s) && S_ISREG(s.st_mode) && !access(path, X_OK);
}

// As a shell finds it: a name with a slash is a path, others are in one of the folders. NULL: nowhere.
static const char *program_find(Arena *a, const char *name, const char *folders)
{
    if (strchr(name, '/'))
        return is_program(name) ? name : NULL;
    for (const char *folder = folders;; folder++) {
        int n = (int)strcspn(folder, ":");
        const char *path = arena_printf(a, "%.*s/%s", n ? n : 1, n ? folder : ".", name);
        if (is_program(path))
            return path;
        folder += n;
        if (!*folder)
            return NULL;
    }
}

// Beside the folder of nvcc. NULL: where the linker looks in any case, as in Debian.
static const char *cuda_libraries(Arena *a, const char *nvcc)
{
    static const char *const names[] = {"lib64", "lib"};
    char *path = realpath(nvcc, NULL);
    const char *found = NULL;
    for (int up = 0; path && up < 2; up++) {
        char *slash = strrchr(path, '/');
        *(slash ? slash : path) = 0;
    }
    for (int i = 0; path && i < 2 && !found; i++) {
        const char *folder = arena_printf(a, "%s/%s", path, names[i]);
        if (!access(arena_printf(a, "%s/libcudart_static.a", folder), R_OK))
            found = folder;
    }
    free(path);
    return found;
}

void kernel_tools_find(Arena *a, Toolchain *t)
{
    const char *path = setting("PATH"), *nvcc = setting("NVCC"), *cxx = setting("CXX");
    const char *mode = setting("STAGECC_CUDA");
    path = path ? path : "/bin:/usr/bin";
    t->nvcc =
        program_find(a, nvcc ? nvcc : "nvcc", arena_printf(a, "%s:" STAGECC_CUDA_BIN, path));
    t->cuda_lib_dir = t->nvcc ? cuda_libraries(a, t->nvcc) : NULL;
    t->cxx = program_find(a, cxx ? cxx : "c++", path);
    t->emulated = mode && !strcmp(mode, "emulated");
}

#define WITHOUT_NVCC                                                                           \
    "install the CUDA toolkit (12.4 or newer), or name it in NVCC; without it: --dry-run "     \
    "shows the sources, STAGECC_CUDA=emulated runs them on this processor"

int kernel_tools_check(const Toolchain *t, const Backend *backend)
{
    const char *mode = setting("STAGECC_CUDA"), *nvcc = setting("NVCC"), *cxx = setting("CXX");
    if (!backend->kernel_extension || (t->emulated && t->cxx) || (!mode && t->nvcc))
        return EXIT_DONE;
    if (mode && !t->emulated)
        error_at(NO_LOC, "STAGECC_CUDA is `%s`: it may only be `emulated`", mode);
    else if (t->emulated && cxx)
        error_at(NO_LOC,
                 "STAGECC_CUDA=emulated needs a C++ compiler, and CXX is `%s`, which is no "
                 "program",
                 cxx);
    else if (t->emulated)
        error_at(NO_LOC, "STAGECC_CUDA=emulated needs a C++ compiler, and c++ is not on the "
                         "PATH: install g++, or name another one in CXX");
    else if (nvcc)
        error_at(
            NO_LOC,
            "--backend %s needs nvcc, and NVCC is `%s`, which is no program: " WITHOUT_NVCC,
            backend->name, nvcc);
    else
        error_at(NO_LOC,
                 "--backend %s needs nvcc, which is not on the PATH nor in " STAGECC_CUDA_BIN
                 ": " WITHOUT_NVCC,
                 backend->name);
    return EXIT_ENVIRONMENT;
}
