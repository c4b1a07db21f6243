// The table of backends. A new backend is a folder and a row.
#include "codegen/codegen.h"

#include <string.h>

const Backend *const backends[] = {&backend_c, &backend_ref, &backend_cuda, NULL};

const Backend *backend_find(const char *name)
{
    for (int i = 0; backends[i]; i++)
        if (!strcmp(backends[i]->name, name))
            return backends[i];
    return NULL;
}

const Backend *backend_of_stage(const Plan *p, int stage, const Backend *given)
{
    const char *own = stage < p->n_stages ? p->stages[stage].backend : NULL;
    return own ? backend_find(own) : given;
}

// The x86-64 levels: v3 has AVX2 and FMA, v4 has AVX-512 F, BW, CD, DQ and VL.
const char *backend_march(const char *isa)
{
    return strcmp(isa, "avx2") ? "-march=x86-64-v4" : "-march=x86-64-v3";
}
