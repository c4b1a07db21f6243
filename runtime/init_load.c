// --init: parameters and buffers by name from safetensors files, which other programs may have written.
#include "runtime/checkpoint.h"

#include "runtime/disk.h"
#include "runtime/tensor_load.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// Where tensors come from: one file, or all that an index names.
typedef struct Source {
    const char *path;
    rt__st_file *files;
    char **names; // of the files that an index names
    int n_files;
} Source;

static void source_release(Source *s)
{
    for (int i = 0; i < s->n_files; i++) {
        rt__st_close(&s->files[i]);
        free(s->names[i]);
    }
    free(s->files);
    free(s->names);
}

static bool source_reserve(Source *s, size_t n)
{
    s->files = calloc(n + 1, sizeof *s->files);
    s->names = calloc(n + 1, sizeof *s->names);
    return s->files && s->names;
}

static int add_file(Source *s, const char *path, const char *name, rt__why *why)
{
    rt__st_file *file = &s->files[s->n_files];
    int status = rt__st_open(file, path, why);
    if (status)
        return status;
    s->names[s->n_files++] = strdup(name);
    return rt__st_verify(file, why);
}

// An index
// ----------------------------------------------------------------------------------------

static bool is_known(const Source *s, const char *name)
{
    for (int i = 0; i < s->n_files; i++)
        if (s->names[i] && strcmp(s->names[i], name) == 0)
            return true;
    return false;
}

// Files lie beside the index; an index from elsewhere must not lead out of there.
static int add_shard(Source *s, const char *tensor, const char *name, rt__why *why)
{
    char path[RT__PATH];
    if (!name || strchr(name, '/'))
        return rt__because(why, RT__INPUT,
                           "%s: weight_map: %s is not in a file of the same directory", s->path,
                           tensor);
    if (is_known(s, name))
        return 0;
    const char *slash = strrchr(s->path, '/');
    int n = snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - s->path + 1) : 0,
                     s->path, name);
    if (n >= (int)sizeof path)
        return rt__because(why, RT__INPUT, "%.100s…: the path is too long", s->path);
    return add_file(s, path, name, why);
}

static int add_shards(Source *s, const json_t *map, rt__why *why)
{
    const char *tensor;
    json_t *name;
    if (!json_is_object(map))
        return rt__because(why, RT__INPUT, "%s: weight_map is missing or no object", s->path);
    if (!source_reserve(s, json_object_size(map)))
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", s->path);
    json_object_foreach((json_t *)(uintptr_t)map, tensor, name)
    {
        int status = add_shard(s, tensor, json_string_value(name), why);
        if (status)
            return status;
    }
    return 0;
}

static int open_index(Source *s, rt__why *why)
{
    rt__file file;
    json_error_t error;
    int status = rt__file_map(&file, s->path, why);
    if (status)
        return status;
    json_t *index =
        json_loadb((const char *)file.bytes, file.size, JSON_REJECT_DUPLICATES, &error);
    rt__file_unmap(&file);
    status = index ? add_shards(s, json_object_get(index, "weight_map"), why)
                   : rt__because(why, RT__INPUT, "%s: offset %d: %s", s->path, error.position,
                                 error.text);
    json_decref(index);
    return status;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), k = strlen(tail);
    return n >= k && strcmp(text + n - k, tail) == 0;
}

// A directory, as Hugging Face's and our own, stands for the index in it, or else the one file.
static void find_in_directory(const char *path, char found[RT__PATH])
{
    struct stat st;
    snprintf(found, RT__PATH, "%s", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return;
    rt__path_join(found, path, "model.safetensors.index.json");
    if (stat(found, &st) != 0)
        rt__path_join(found, path, "model.safetensors");
}

static int source_open(Source *s, rt__why *why)
{
    if (ends_with(s->path, ".index.json"))
        return open_index(s, why);
    if (!source_reserve(s, 1))
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", s->path);
    return add_file(s, s->path, "", why);
}

// Tensors
// -------------------------------------------------------------------------------------------

static bool is_wanted(const rt_tensor *t)
{
    return t->role == RT_PARAM || t->role == RT_BUFFER;
}

static const rt__st_tensor *find_tensor(const Source *s, const char *name)
{
    const rt__st_tensor *found = NULL;
    for (int i = 0; i < s->n_files && !found; i++)
        found = rt__st_find(&s->files[i], name);
    return found;
}

// A list of names that stops where the text is full.
typedef struct Names {
    char text[512];
    size_t used;
    int n, shown;
} Names;

static void names_add(Names *l, const char *name)
{
    size_t room = sizeof l->text - l->used;
    l->n++;
    if (strlen(name) + 3 > room)
        return;
    l->used += (size_t)snprintf(l->text + l->used, room, "%s%s", l->shown ? ", " : "", name);
    l->shown++;
}

static const char *names_end(const Names *l, char text[64])
{
    text[0] = 0;
    if (l->n > l->shown)
        snprintf(text, 64, "%s%d more", l->shown ? " and " : "", l->n - l->shown);
    return text;
}

static int check_all(const Source *s, const rt__memory *m, rt__why *why)
{
    Names missing = {.n = 0};
    char end[64];
    int status = 0;
    for (int i = 0; i < m->n_tensors && status == 0; i++) {
        const rt_tensor *t = &m->tensors[i];
        const rt__st_tensor *saved = is_wanted(t) ? find_tensor(s, t->name) : NULL;
        if (saved)
            status = rt__tensor_fits(saved, t, s->path, why);
        else if (is_wanted(t))
            names_add(&missing, t->name);
    }
    if (status == 0 && missing.n > 0)
        status = rt__because(why, RT__INPUT, "%s: tensors of the model are missing: %s%s",
                             s->path, missing.text, names_end(&missing, end));
    return status;
}

static int load_all(const Source *s, const rt__memory *m, rt__why *why)
{
    int status = 0;
    void *room = malloc(rt__tensor_room(m));
    if (!room)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", s->path);
    for (int i = 0; i < m->n_tensors && status == 0; i++) {
        const rt_tensor *t = &m->tensors[i];
        if (is_wanted(t))
            status = rt__tensor_load(find_tensor(s, t->name), m, t, room, why);
    }
    free(room);
    return status;
}

static bool model_has(const rt__memory *m, const char *name)
{
    for (int i = 0; i < m->n_tensors; i++)
        if (is_wanted(&m->tensors[i]) && strcmp(m->tensors[i].name, name) == 0)
            return true;
    return false;
}

static void list_extra(const Source *s, const rt__memory *m, rt__why *extra)
{
    Names left = {.n = 0};
    char end[64];
    for (int i = 0; i < s->n_files; i++)
        for (int k = 0; k < s->files[i].n_tensors; k++) {
            const char *name = s->files[i].tensors[k].name;
            if (!ends_with(name, "num_batches_tracked") && !model_has(m, name))
                names_add(&left, name);
        }
    if (left.n > 0)
        rt__say(extra, "%s: tensors that the model does not have: %s%s", s->path, left.text,
                names_end(&left, end));
}

int rt__init_load(const char *path, const rt__memory *m, bool whole_model, rt__why *extra,
                  rt__why *why)
{
    char found[RT__PATH];
    if (strlen(path) + 64 > sizeof found)
        return rt__because(why, RT__INPUT, "%.100s…: the path is too long", path);
    find_in_directory(path, found);
    Source s = {.path = found};
    extra->text[0] = 0;
    int status = source_open(&s, why);
    if (status == 0)
        status = check_all(&s, m, why);
    if (status == 0)
        status = load_all(&s, m, why);
    if (status == 0 && whole_model)
        list_extra(&s, m, extra);
    source_release(&s);
    return status;
}
