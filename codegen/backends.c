// The table of backends, and what compiles their programs. A new backend is a folder and a row.
#include "codegen/codegen.h"

#include <string.h>

const Backend *const backends[] = {&backend_c, &backend_ref, NULL};

const Backend *backend_find(const char *name)
{
    for (int i = 0; backends[i]; i++)
        if (!strcmp(backends[i]->name, name))
            return backends[i];
    return NULL;
}

// The x86-64 levels: v3 has AVX2 and FMA, v4 has AVX-512 F, BW, CD, DQ and VL.
const char *backend_march(const char *isa)
{
    return strcmp(isa, "avx2") ? "-march=x86-64-v4" : "-march=x86-64-v3";
}

#ifndef STAGECC_SANITIZER_FLAGS
#define STAGECC_SANITIZER_FLAGS ""
#endif

// No contraction and no fast-math: the same bits with every compiler that is asked this way.
const char *codegen_flags(Arena *a, const Plan *p, const Backend *b)
{
    return arena_printf(a, "-std=gnu17 -O3 -ffp-contract=off -Wall -Wextra %s%s%s%s%s",
                        backend_march(p->options.isa), b->libraries_openmp ? " -fopenmp" : "",
                        b->flags ? " " : "", b->flags ? b->flags : "", STAGECC_SANITIZER_FLAGS);
}
