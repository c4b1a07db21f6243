// Saving. Everything is written under a name that no reader takes for a checkpoint and reaches the
// disk before the one rename that makes it one. A crash before that leaves a directory that the next
// save of the same step takes over; a full disk leaves nothing.
#include "runtime/checkpoint.h"

#include "plan/crc32c.h"
#include "runtime/disk.h"
#include "runtime/manifest.h"
#include "runtime/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char index_name[] = "model.safetensors.index.json";

void rt__checkpoint_path(const char *dir, int64_t step, char *path, size_t size)
{
    snprintf(path, size, "%s/step-%06" PRId64, dir, step);
}

static void temporary_path(const char *dir, int64_t step, char path[RT__PATH])
{
    snprintf(path, RT__PATH, "%s/.step-%06" PRId64 ".tmp", dir, step);
}

static void shard_name(int stage, int part, char *name, size_t size)
{
    snprintf(name, size, "%s-%d.safetensors", part == 0 ? "stage" : "optim", stage);
}

void rt__checkpoint_discard(const char *dir, int64_t step)
{
    char path[RT__PATH];
    temporary_path(dir, step, path);
    rt__dir_remove(path);
}

// The message says what a failure means.
static int give_up(int64_t step, int status, rt__why *why)
{
    rt__why cause = *why;
    return rt__because(why, status,
                       "%.900s; the checkpoint of step %" PRId64
                       " was given up, older ones are "
                       "as they were",
                       cause.text, step);
}

// The part of a stage
// ---------------------------------------------------------------------------------------------

// One file: the tensors that belong into it, and room to convert one of them.
typedef struct Shard {
    const rt__memory *memory;
    const rt_tensor **entries;
    uint32_t *crc;
    int n;
    void *room;
} Shard;

static int part_of(rt_role role) // -1: not saved
{
    switch (role) {
    case RT_PARAM:
    case RT_BUFFER: return 0;
    case RT_STATE: return 1;
    case RT_ACCUMULATOR: return -1;
    }
    return -1;
}

static bool shard_init(Shard *s, const rt__memory *m)
{
    size_t n = (size_t)m->n_tensors + 1;
    *s = (Shard){.memory = m,
                 .entries = calloc(n, sizeof(void *)),
                 .crc = calloc(n, sizeof *s->crc),
                 .room = malloc((size_t)rt__conversion_bytes(m) + 1)};
    return s->entries && s->crc && s->room;
}

static void shard_release(Shard *s)
{
    free(s->entries);
    free(s->crc);
    free(s->room);
}

static void shard_select(Shard *s, int part)
{
    s->n = 0;
    for (int i = 0; i < s->memory->n_tensors; i++)
        if (part_of(s->memory->tensors[i].role) == part && !s->memory->tensors[i].copy)
            s->entries[s->n++] = &s->memory->tensors[i];
}

// The header comes first and holds every tensor's checksum, so each is unpacked twice.
static int checksum_entries(Shard *s, rt__why *why)
{
    for (int i = 0; i < s->n; i++) {
        const void *plain = rt__plain_get(s->memory, s->entries[i], s->room, why);
        if (!plain)
            return RT__ENVIRONMENT;
        s->crc[i] = crc32c(0, plain, (size_t)rt__plain_bytes(s->entries[i]));
    }
    return 0;
}

static int write_entries(Shard *s, rt__st_writer *w, rt__why *why)
{
    for (int i = 0; i < s->n; i++) {
        const void *plain = rt__plain_get(s->memory, s->entries[i], s->room, why);
        if (!plain) {
            rt__st_abort(w);
            return RT__ENVIRONMENT;
        }
        int status = rt__st_write(w, plain, (uint64_t)rt__plain_bytes(s->entries[i]), why);
        if (status)
            return status;
    }
    return rt__st_finish(w, why);
}

static int write_shard(Shard *s, const char *path, rt__st_writer *w, rt__why *why)
{
    int status = checksum_entries(s, why);
    if (status == 0)
        status = rt__st_create(w, path, s->entries, s->crc, s->n, why);
    return status ? status : write_entries(s, w, why);
}

static int write_shards(Shard *s, const char *tmp, int stage, rt__shard *shard, rt__why *why)
{
    int status = 0;
    for (int part = 0; part < 2 && status == 0; part++) {
        char name[64], path[RT__PATH];
        rt__st_writer w;
        shard_name(stage, part, name, sizeof name);
        rt__path_join(path, tmp, name);
        shard_select(s, part);
        status = write_shard(s, path, &w, why);
        if (status)
            break;
        shard->bytes[part] = w.written;
        shard->crc[part] = w.crc;
    }
    return status;
}

int rt__checkpoint_write(const char *dir, int64_t step, int stage, const rt__memory *m,
                         rt__shard *shard, rt__why *why)
{
    char tmp[RT__PATH];
    Shard s;
    temporary_path(dir, step, tmp);
    int status = shard_init(&s, m)
                     ? rt__dir_make(tmp, why)
                     : rt__because(why, RT__ENVIRONMENT, "%s: out of memory", tmp);
    if (status == 0)
        status = write_shards(&s, tmp, stage, shard, why);
    shard_release(&s);
    return status ? give_up(step, status, why) : 0;
}

// The commit
// ---------------------------------------------------------------------------------------------

// What is being committed.
typedef struct Commit {
    const char *tmp;
    const rt_program *program;
    const rt__shard *shards;
    rt__manifest manifest;
    char (*names)[64]; // of manifest.files
} Commit;

static bool is_ours(const char *name, void *user)
{
    const Commit *c = user;
    for (int i = 0; i < 2 * c->program->n_stages; i++)
        if (strcmp(c->names[i], name) == 0)
            return true;
    return false;
}

static void list_file(Commit *c, const char *name, uint64_t bytes, uint32_t crc)
{
    rt__manifest *m = &c->manifest;
    char *own = c->names[m->n_files];
    snprintf(own, sizeof c->names[0], "%s", name);
    m->files[m->n_files++] = (rt__manifest_file){.name = own, .bytes = bytes, .crc = crc};
}

static bool commit_init(Commit *c, const rt__progress *progress)
{
    const rt_program *p = c->program;
    size_t n = 2 * (size_t)p->n_stages + 1;
    c->names = calloc(n, sizeof *c->names);
    c->manifest = (rt__manifest){.model = p->model,
                                 .plan_hash = p->plan_hash ? p->plan_hash : "",
                                 .progress = *progress,
                                 .contract = rt__contract_of(p),
                                 .files = calloc(n, sizeof *c->manifest.files)};
    if (!c->names || !c->manifest.files)
        return false;
    for (int stage = 0; stage < p->n_stages; stage++)
        for (int part = 0; part < 2; part++) {
            char name[64];
            shard_name(stage, part, name, sizeof name);
            list_file(c, name, c->shards[stage].bytes[part], c->shards[stage].crc[part]);
        }
    return true;
}

static void commit_release(Commit *c)
{
    free(c->names);
    free(c->manifest.files);
}

// Add the tensors of one stage to the map from name to file.
static int index_shard(const Commit *c, const rt__manifest_file *shard, json_t *map,
                       json_int_t *total, rt__why *why)
{
    char path[RT__PATH];
    rt__st_file file;
    rt__path_join(path, c->tmp, shard->name);
    int status = rt__st_open(&file, path, why);
    if (status)
        return status;
    for (int i = 0; i < file.n_tensors; i++) {
        json_object_set_new(map, file.tensors[i].name, json_string(shard->name));
        *total += (json_int_t)file.tensors[i].bytes;
    }
    rt__st_close(&file);
    return 0;
}

static int save_index(Commit *c, rt__why *why)
{
    char path[RT__PATH];
    json_t *map = json_object();
    json_int_t total = 0;
    int status = 0;
    rt__path_join(path, c->tmp, index_name);
    for (int stage = 0; stage < c->program->n_stages && status == 0; stage++)
        status = index_shard(c, &c->manifest.files[2 * (size_t)stage], map, &total, why);
    json_t *index =
        json_pack("{s:{s:I}, s:o}", "metadata", "total_size", total, "weight_map", map);
    char *text = json_dumps(index, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(index);
    if (status == 0)
        status = text ? rt__file_save(path, text, why)
                      : rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    if (status == 0)
        list_file(c, index_name, strlen(text), crc32c(0, text, strlen(text)));
    free(text);
    return status;
}

static int save_manifest(const Commit *c, rt__why *why)
{
    char path[RT__PATH];
    rt__path_join(path, c->tmp, "manifest.json");
    char *text = rt__manifest_text(&c->manifest);
    int status = text ? rt__file_save(path, text, why)
                      : rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    free(text);
    return status;
}

static int commit_files(Commit *c, rt__why *why)
{
    rt__dir_empty(c->tmp, is_ours, c); // what a crashed run of more stages may have left there
    int status = save_index(c, why);
    if (status == 0)
        status = save_manifest(c, why);
    return status ? status : rt__dir_sync(c->tmp, why);
}

int rt__checkpoint_commit(const char *dir, const rt_program *program,
                          const rt__progress *progress, const rt__shard *shards, rt__why *why)
{
    char tmp[RT__PATH], path[RT__PATH];
    temporary_path(dir, progress->step, tmp);
    rt__checkpoint_path(dir, progress->step, path, sizeof path);
    Commit c = {.tmp = tmp, .program = program, .shards = shards};
    int status = commit_init(&c, progress)
                     ? commit_files(&c, why)
                     : rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    commit_release(&c);
    if (status == 0)
        status = rt__dir_replace(tmp, path, why);
    if (status)
        return give_up(progress->step, status, why);
    return rt__dir_sync(dir, why);
}
