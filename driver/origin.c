#include "driver/origin.h"

#include "base/text.h"
#include "ir/text.h"
#include "passes/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_UNITS = 1 << 20 };

// Of a job
// ------------------------------------------------------------------------------------------------

// Whoever reads it may be in another directory.
static const char *absolute(Arena *a, const char *path)
{
    char *whole = realpath(path, NULL);
    const char *kept = whole ? arena_strdup(a, whole) : path;
    free(whole);
    return kept;
}

static void take_options(const Job *j, Origin *o)
{
    const Args *args = j->args;
    Given *options = arena_array(j->arena, Given, args->given.n + 1);
    for (int i = 0; i < args->given.n; i++) {
        Given g = args->given.items[i];
        if (!(g.groups & (MODEL | GRAPH | TARGET)) || options_known(g.name))
            continue; // plan.json has it
        if (!strcmp(g.name, "include"))
            g.value = absolute(j->arena, g.value);
        options[o->n_options++] = g;
    }
    o->options = options;
}

static void take_tensors(const Job *j, Origin *o)
{
    o->tensors = arena_array(j->arena, OriginTensor, j->graph->nodes.n + 1);
    for (int i = 0; i < j->graph->nodes.n; i++) {
        const Node *n = j->graph->nodes.items[i];
        if (value_persistent(n) && n->op != OP_ACCUMULATOR && n->unit >= 0)
            o->tensors[o->n_tensors++] = (OriginTensor){n->name, n->unit};
    }
}

Origin origin_of(const Job *j)
{
    Origin o = {.model = absolute(j->arena, j->args->operand), .graph = j->graph_hash};
    take_options(j, &o);
    take_tensors(j, &o);
    return o;
}

// Writing
// ------------------------------------------------------------------------------------------------

static int write_json(const char *dir, const char *name, json_t *all)
{
    Arena a = {0};
    char *json = json_dumps(all, JSON_INDENT(1) | JSON_SORT_KEYS);
    const char *path = arena_printf(&a, "%s/%s", dir, name);
    CHECK(json, "driver", "%s that is no JSON", name);
    const char *text = arena_printf(&a, "%s\n", json);
    bool good = !file_write(path, text, strlen(text));
    if (!good)
        error_at((Loc){path, 0, 0}, "cannot write: %s", strerror(errno));
    free(json);
    json_decref(all);
    arena_release(&a);
    return good ? EXIT_DONE : EXIT_ENVIRONMENT;
}

int origin_write(const Origin *o, const char *dir)
{
    char graph[17];
    json_t *all = json_object(), *options = json_array(), *tensors = json_object();
    snprintf(graph, sizeof graph, "%016" PRIx64, o->graph);
    for (int i = 0; i < o->n_options; i++)
        json_array_append_new(options,
                              json_pack("[s, s]", o->options[i].name, o->options[i].value));
    for (int i = 0; i < o->n_tensors; i++)
        json_object_set_new(tensors, o->tensors[i].name, json_integer(o->tensors[i].unit));
    json_object_set_new(all, "model", json_string(o->model)); // what is no UTF-8 is left out
    json_object_set_new(all, "graph", json_string(graph));
    json_object_set_new(all, "options", options);
    json_object_set_new(all, "tensors", tensors);
    return write_json(dir, "origin.json", all);
}

int origin_write_parts(const Origin *o, const Plan *p, const char *dir)
{
    json_t *parts = json_object();
    for (int i = 0; i < o->n_tensors; i++)
        json_object_set_new(parts, o->tensors[i].name,
                            json_integer(p->units[o->tensors[i].unit].part));
    return write_json(
        dir, "parts.json",
        json_pack("{s:i, s:o}", "n", p->units[p->n_units - 1].part + 1, "parts", parts));
}

// Reading
// ------------------------------------------------------------------------------------------------

static bool read_options(Arena *a, const json_t *list, Origin *o)
{
    size_t i;
    json_t *one;
    Given *options = arena_array(a, Given, (int)json_array_size(list) + 1);
    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_array_get(one, 0));
        const char *value = json_string_value(json_array_get(one, 1));
        if (!name || !value)
            return false;
        options[o->n_options++] = (Given){arena_strdup(a, name), arena_strdup(a, value), MODEL};
    }
    o->options = options;
    return json_is_array(list);
}

static bool read_tensors(Arena *a, json_t *all, Origin *o)
{
    const char *name;
    json_t *unit;
    o->tensors = arena_array(a, OriginTensor, (int)json_object_size(all) + 1);
    json_object_foreach(all, name, unit)
    {
        json_int_t u = json_integer_value(unit);
        if (!json_is_integer(unit) || u < 0 || u >= MOST_UNITS)
            return false;
        o->tensors[o->n_tensors++] = (OriginTensor){arena_strdup(a, name), (int)u};
    }
    return json_is_object(all);
}

bool origin_read(Arena *a, const char *dir, Origin *o, char why[ORIGIN_WHY])
{
    const char *path = arena_printf(a, "%s/origin.json", dir);
    json_t *all = json_load_file(path, 0, NULL);
    const char *model = json_string_value(json_object_get(all, "model"));
    const char *graph = json_string_value(json_object_get(all, "graph"));
    char *end = NULL;
    *o = (Origin){.model = model ? arena_strdup(a, model) : NULL};
    o->graph = graph ? strtoull(graph, &end, 16) : 0;
    bool good = model && graph && strlen(graph) == 16 && !*end &&
                read_options(a, json_object_get(all, "options"), o) &&
                read_tensors(a, json_object_get(all, "tensors"), o);
    if (!good)
        snprintf(why, ORIGIN_WHY, "its origin.json %s: build it again with this stagecc",
                 all ? "does not say what the programs were made from" : "is not there");
    json_decref(all);
    return good;
}
