#include "control/worker/parcel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Found *)a)->tensor->name, ((const Found *)b)->tensor->name);
}

static bool write_listing(Parcel *p, const Beginning *b)
{
    json_t *tensors = json_array();
    for (int i = 0; i < p->n; i++) {
        const StateTensor *x = p->tensors[i].tensor;
        json_array_append_new(tensors, json_pack("[s, I, I, s]", x->name, (json_int_t)x->part,
                                                 (json_int_t)x->bytes, x->layout));
    }
    json_t *all = json_pack("{s:I, s:[I, I], s:o}", "seed", (json_int_t)b->seed, "cursor",
                            (json_int_t)b->epoch, (json_int_t)b->index, "tensors", tensors);
    char *text = json_dumps(all, JSON_COMPACT);
    if (text)
        text_puts(&p->listing, text);
    free(text);
    json_decref(all);
    return text;
}

static void pin(const Found *found, int by)
{
    if (found->image)
        found->image->pins += by;
    if (found->copy)
        found->copy->pins += by;
}

Parcel *parcel_new(States *s, const Held *state)
{
    Beginning beginning;
    Parcel *p = calloc(1, sizeof *p);
    if (!p || !states_gather(s, state, &p->tensors, &p->n, &beginning)) {
        free(p);
        return NULL;
    }
    if (p->n)
        qsort(p->tensors, (size_t)p->n, sizeof *p->tensors, by_name);
    for (int i = 0; i < p->n; i++)
        pin(&p->tensors[i], 1);
    if (write_listing(p, &beginning))
        return p;
    parcel_free(p);
    return NULL;
}

void parcel_free(Parcel *p)
{
    for (int i = 0; i < p->n; i++)
        pin(&p->tensors[i], -1);
    free(p->tensors);
    text_release(&p->listing);
    free(p);
}

bool parcel_read(const char *listing, size_t bytes, Tensors *tensors, Beginning *b,
                 char why[TENSORS_WHY])
{
    json_int_t seed = 0, epoch = 0, index = 0;
    json_t *json = json_loadb(listing, bytes, 0, NULL);
    bool good =
        json && !json_unpack(json, "{s:I, s:[I, I]}", "seed", &seed, "cursor", &epoch, &index);
    if (!good)
        snprintf(why, TENSORS_WHY, "a listing without seed and cursor");
    *b = (Beginning){seed, (uint64_t)epoch, (uint64_t)index};
    good = good && tensors_of_listing(tensors, json, why);
    json_decref(json);
    return good;
}
