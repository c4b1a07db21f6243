#include "control/worker/tensors.h"

#include "control/epoch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNED = 64, MOST_TENSORS = 1 << 20 };
#define MOST_BYTES (INT64_C(1) << 50)

int part_of(const json_t *parts, const char *name)
{
    const char *layer;
    json_t *number;
    size_t longest = 0;
    int found = -1;
    json_object_foreach((json_t *)(uintptr_t)parts, layer, number)
    {
        size_t n = strlen(layer);
        bool inside = !strncmp(layer, name, n) && (name[n] == '.' || !name[n]);
        json_int_t part = json_integer_value(number);
        if (!inside || (found >= 0 && n <= longest) || !json_is_integer(number) || part < 0 ||
            part >= MOST_PARTS)
            continue;
        longest = n;
        found = (int)part;
    }
    return found;
}

static int by_name(const void *a, const void *b)
{
    const StateTensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool refuse(Tensors *t, char why[TENSORS_WHY], const char *what, const char *name)
{
    snprintf(why, TENSORS_WHY, "%s%s%.80s", what, name ? " " : "", name ? name : "");
    tensors_release(t);
    return false;
}

// Sorted, and each name once.
static bool settle(Tensors *t, char why[TENSORS_WHY])
{
    if (t->n)
        qsort(t->items, (size_t)t->n, sizeof *t->items, by_name);
    for (int i = 1; i < t->n; i++)
        if (!strcmp(t->items[i - 1].name, t->items[i].name))
            return refuse(t, why, "two tensors are called", t->items[i].name);
    return true;
}

static void begin(Tensors *t, const json_t *list)
{
    tensors_release(t);
    t->n = (int)json_array_size(list);
    t->items = arena_array(&t->arena, StateTensor, t->n + 1);
}

bool tensors_of_program(Tensors *t, const char *text, const json_t *parts,
                        char why[TENSORS_WHY])
{
    json_int_t generation = 0;
    json_t *json = json_loads(text, 0, NULL), *list = NULL;
    if (!json ||
        json_unpack(json, "{s:I, s:o}", "generation_bytes", &generation, "tensors", &list) ||
        generation < 0 || generation > MOST_BYTES || json_array_size(list) > MOST_TENSORS) {
        json_decref(json);
        return refuse(t, why, "the program's list of tensors is none", NULL);
    }
    begin(t, list);
    t->generation_bytes = (uint64_t)generation;
    bool good = true;
    for (int i = 0; i < t->n && good; i++) {
        const char *name = "", *layout = "";
        json_int_t at = 0, bytes = 0;
        good = !json_unpack(json_array_get(list, (size_t)i), "{s:s, s:I, s:I, s:s}", "name",
                            &name, "at", &at, "bytes", &bytes, "layout", &layout) &&
               at >= 0 && bytes >= 0 && at <= generation && bytes <= generation - at;
        int part = good ? part_of(parts, name) : 0;
        if (!good || part < 0)
            good = refuse(t, why, part < 0 ? "no part has the tensor" : "no tensor is", name);
        else
            t->items[i] = (StateTensor){.name = arena_strdup(&t->arena, name),
                                        .layout = arena_strdup(&t->arena, layout),
                                        .at = (uint64_t)at,
                                        .bytes = (uint64_t)bytes,
                                        .part = (uint32_t)part};
    }
    json_decref(json);
    return good && settle(t, why);
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
}

bool tensors_of_listing(Tensors *t, const json_t *listing, char why[TENSORS_WHY])
{
    const json_t *list = json_object_get(listing, "tensors");
    if (!json_is_array(list) || json_array_size(list) > MOST_TENSORS)
        return refuse(t, why, "a listing without tensors", NULL);
    begin(t, list);
    for (int i = 0; i < t->n; i++) {
        const char *name = "", *layout = "";
        json_int_t part = 0, bytes = 0;
        if (json_unpack(json_array_get(list, (size_t)i), "[s, I, I, s]", &name, &part, &bytes,
                        &layout) ||
            part < 0 || part >= MOST_PARTS || bytes < 0 ||
            (uint64_t)bytes > (uint64_t)MOST_BYTES - t->generation_bytes)
            return refuse(t, why, "a listing with something that is no tensor", NULL);
        t->items[i] = (StateTensor){.name = arena_strdup(&t->arena, name),
                                    .layout = arena_strdup(&t->arena, layout),
                                    .at = t->generation_bytes,
                                    .bytes = (uint64_t)bytes,
                                    .part = (uint32_t)part};
        t->generation_bytes += aligned((uint64_t)bytes);
    }
    return settle(t, why);
}

bool tensors_same(const Tensors *a, const Tensors *b)
{
    bool same = a->n == b->n;
    for (int i = 0; i < a->n && same; i++)
        same = a->items[i].bytes == b->items[i].bytes &&
               !strcmp(a->items[i].name, b->items[i].name);
    return same;
}

void tensors_packed(Tensors *t, const Tensors *of)
{
    tensors_release(t);
    t->n = of->n;
    t->items = arena_array(&t->arena, StateTensor, t->n + 1);
    for (int i = 0; i < t->n; i++) {
        const StateTensor *x = &of->items[i];
        t->items[i] = (StateTensor){.name = arena_strdup(&t->arena, x->name),
                                    .layout = arena_strdup(&t->arena, x->layout),
                                    .at = t->generation_bytes,
                                    .bytes = x->bytes,
                                    .part = x->part};
        t->generation_bytes += aligned(x->bytes);
    }
}

const StateTensor *tensors_find(const Tensors *t, const char *name)
{
    StateTensor key = {.name = name};
    return t->n ? bsearch(&key, t->items, (size_t)t->n, sizeof key, by_name) : NULL;
}

void tensors_release(Tensors *t)
{
    arena_release(&t->arena);
    *t = (Tensors){0};
}
