// kernels.json: what a probe on the target found out about its library kernels.
#include "plan/plan.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int by_key(const void *a, const void *b)
{
    return strcmp(((const PlanKernel *)a)->key, ((const PlanKernel *)b)->key);
}

bool plan_read_kernels(Arena *a, Plan *p, const char *file)
{
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error), *list = json_object_get(root, "kernels");
    if (!json_is_array(list)) {
        Loc loc = {file, root ? 0 : error.line, root ? 0 : error.column};
        error_at(loc, "these are no measured kernels: %s; make them with `stagecc profile`",
                 root ? "no list `kernels`" : error.text);
        json_decref(root);
        return false;
    }
    p->n_kernels = 0;
    p->kernels = arena_array(a, PlanKernel, json_array_size(list) + 1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *o = json_array_get(list, i);
        const char *key = json_string_value(json_object_get(o, "key"));
        const char *implementation = json_string_value(json_object_get(o, "implementation"));
        if (!key || !implementation)
            continue;
        p->kernels[p->n_kernels++] = (PlanKernel){
            .key = arena_strdup(a, key),
            .implementation = arena_strdup(a, implementation),
            .scratch_bytes = json_integer_value(json_object_get(o, "scratch_bytes")),
            .kept_bytes = json_integer_value(json_object_get(o, "copy_bytes")),
            .seconds = json_number_value(json_object_get(o, "seconds"))};
    }
    qsort(p->kernels, (size_t)p->n_kernels, sizeof *p->kernels, by_key);
    json_decref(root);
    return true;
}

const PlanKernel *plan_kernel(const Plan *p, const char *key)
{
    PlanKernel wanted = {.key = key};
    if (!p->n_kernels)
        return NULL;
    return bsearch(&wanted, p->kernels, (size_t)p->n_kernels, sizeof *p->kernels, by_key);
}
