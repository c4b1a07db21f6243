// Resuming. Opening reads every byte of every file once and compares it with the manifest, so that
// loading afterwards cannot find half a file. State moves by name: each stage looks for its tensors in
// all shards, whoever wrote them.
#include "runtime/checkpoint.h"

#include "plan/crc32c.h"
#include "runtime/disk.h"
#include "runtime/manifest.h"
#include "runtime/safetensors.h"
#include "runtime/tensor_load.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rt__checkpoint {
    char path[RT__PATH];
    rt__manifest manifest;
    rt__st_file *shards; // those of manifest.files that hold tensors
    int n_shards;
};

// Which one
// ----------------------------------------------------------------------------------------------

static bool has_manifest(const char *dir)
{
    char path[RT__PATH];
    rt__path_join(path, dir, "manifest.json");
    return access(path, F_OK) == 0;
}

// The step of "step-000120"; -1: another name.
static int64_t step_of(const char *name)
{
    if (strncmp(name, "step-", 5) != 0 || !isdigit((unsigned char)name[5]))
        return -1;
    char *end;
    errno = 0;
    int64_t step = strtoll(name + 5, &end, 10);
    return *end == 0 && errno == 0 ? step : -1;
}

// Without a manifest it is no checkpoint: something copied in part.
static int64_t newest_step(const char *path, DIR *dir)
{
    int64_t newest = -1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char candidate[RT__PATH];
        int64_t step = step_of(entry->d_name);
        rt__path_join(candidate, path, entry->d_name);
        if (step > newest && has_manifest(candidate))
            newest = step;
    }
    return newest;
}

static int find(rt__checkpoint *c, const char *path, rt__why *why)
{
    if (strlen(path) + 32 >= sizeof c->path)
        return rt__because(why, RT__INPUT, "%.100s…: the path is too long", path);
    snprintf(c->path, sizeof c->path, "%s", path);
    if (has_manifest(path))
        return 0;
    DIR *dir = opendir(path);
    if (!dir)
        return rt__because(
            why, RT__INPUT, "%s: %s%s", path, strerror(errno),
            errno == ENOTDIR ? " (a checkpoint is a directory; --init takes a file)" : "");
    int64_t newest = newest_step(path, dir);
    closedir(dir);
    if (newest < 0)
        return rt__because(
            why, RT__INPUT,
            "%s: no checkpoint here: neither manifest.json nor a complete step-*", path);
    rt__checkpoint_path(path, newest, c->path, sizeof c->path);
    return 0;
}

// Opening
// ---------------------------------------------------------------------------------------------

static int check_size(const rt__file *f, const rt__manifest_file *promised, rt__why *why)
{
    if (f->size < promised->bytes)
        return rt__because(why, RT__INPUT,
                           "%s: offset %" PRIu64 ": truncated here, manifest.json says %" PRIu64
                           " bytes",
                           f->path, f->size, promised->bytes);
    if (f->size > promised->bytes)
        return rt__because(why, RT__INPUT,
                           "%s: offset %" PRIu64 ": %" PRIu64
                           " bytes more than manifest.json says",
                           f->path, promised->bytes, f->size - promised->bytes);
    return 0;
}

static int altered(const rt__file *f, const char *what, uint32_t crc, uint32_t promised,
                   rt__why *why)
{
    return rt__because(why, RT__INPUT,
                       "%s: offset 0: %s was altered (CRC32C %08" PRIx32
                       " instead of %08" PRIx32 ")",
                       f->path, what, crc, promised);
}

static bool is_shard(const char *name)
{
    size_t n = strlen(name), tail = strlen(".safetensors");
    return n > tail && strcmp(name + n - tail, ".safetensors") == 0;
}

// Takes the mapped file over.
static int open_shard(rt__checkpoint *c, rt__file mapped, uint32_t crc, uint32_t promised,
                      rt__why *why)
{
    rt__st_file *shard = &c->shards[c->n_shards];
    int status = rt__st_parse(shard, mapped, why); // an altered header rarely parses
    if (status)
        return status;
    c->n_shards++;
    if (crc == promised)
        return 0;
    status = rt__st_verify(shard, why); // which tensor?
    return status ? status : altered(&shard->file, "the header", crc, promised, why);
}

static int open_file(rt__checkpoint *c, const rt__manifest_file *promised, rt__why *why)
{
    char path[RT__PATH];
    rt__file mapped;
    rt__path_join(path, c->path, promised->name);
    int status = rt__file_map(&mapped, path, why);
    if (status)
        return status;
    status = check_size(&mapped, promised, why);
    if (status) {
        rt__file_unmap(&mapped);
        return status;
    }
    uint32_t crc = crc32c(0, mapped.bytes, mapped.size);
    if (is_shard(promised->name))
        return open_shard(c, mapped, crc, promised->crc, why);
    if (crc != promised->crc)
        status = altered(&mapped, "the file", crc, promised->crc, why);
    rt__file_unmap(&mapped);
    return status;
}

static int open_manifest(rt__checkpoint *c, rt__why *why)
{
    char path[RT__PATH];
    rt__file mapped;
    rt__path_join(path, c->path, "manifest.json");
    int status = rt__file_map(&mapped, path, why);
    if (status)
        return status;
    status = rt__manifest_parse(&c->manifest, path, mapped.bytes, mapped.size, why);
    rt__file_unmap(&mapped);
    return status;
}

static int open_all(rt__checkpoint *c, const char *path, rt__why *why)
{
    int status = find(c, path, why);
    if (status == 0)
        status = open_manifest(c, why);
    if (status)
        return status;
    c->shards = calloc((size_t)c->manifest.n_files + 1, sizeof *c->shards);
    if (!c->shards)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    for (int i = 0; i < c->manifest.n_files && status == 0; i++)
        status = open_file(c, &c->manifest.files[i], why);
    return status;
}

int rt__checkpoint_open(rt__checkpoint **checkpoint, const char *path, rt__why *why)
{
    *checkpoint = NULL;
    rt__checkpoint *c = calloc(1, sizeof *c);
    if (!c)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    int status = open_all(c, path, why);
    if (status)
        rt__checkpoint_close(c);
    else
        *checkpoint = c;
    return status;
}

void rt__checkpoint_close(rt__checkpoint *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n_shards; i++)
        rt__st_close(&c->shards[i]);
    free(c->shards);
    rt__manifest_release(&c->manifest);
    free(c);
}

// What it holds
// ---------------------------------------------------------------------------------------

const char *rt__checkpoint_name(const rt__checkpoint *c)
{
    return c->path;
}

rt__progress rt__checkpoint_progress(const rt__checkpoint *c)
{
    return c->manifest.progress;
}

bool rt__checkpoint_same_contract(const rt__checkpoint *c, const rt_program *program,
                                  rt__why *why)
{
    rt__contract own = rt__contract_of(program);
    rt__why what;
    if (rt__contract_equal(&own, &c->manifest.contract, &what))
        return true;
    rt__say(why, "%s: the run goes on, but not with the same bits: %.800s", c->path, what.text);
    return false;
}

// Loading
// ---------------------------------------------------------------------------------------------

static const rt__st_tensor *find_tensor(const rt__checkpoint *c, const char *name)
{
    const rt__st_tensor *found = NULL;
    for (int i = 0; i < c->n_shards && !found; i++)
        found = rt__st_find(&c->shards[i], name);
    return found;
}

static int check_tensor(const rt__checkpoint *c, const rt_tensor *t, rt__why *why)
{
    const rt__st_tensor *saved = find_tensor(c, t->name);
    if (!saved)
        return rt__because(why, RT__INPUT, "%s: has no tensor %s%s", c->path, t->name,
                           t->role == RT_STATE
                               ? ": it was made by another optimizer or another model"
                               : ": it was made by another model");
    return rt__tensor_same(saved, t, c->path, why);
}

int rt__checkpoint_load(const rt__checkpoint *c, const rt__memory *m, rt__why *why)
{
    int status = 0;
    for (int i = 0; i < m->n_tensors && status == 0; i++)
        if (m->tensors[i].role != RT_ACCUMULATOR)
            status = check_tensor(c, &m->tensors[i], why);
    void *room = status ? NULL : malloc(rt__tensor_room(m));
    if (status == 0 && !room)
        status = rt__because(why, RT__ENVIRONMENT, "%s: out of memory", c->path);
    for (int i = 0; i < m->n_tensors && status == 0; i++) {
        const rt_tensor *t = &m->tensors[i];
        if (t->role != RT_ACCUMULATOR)
            status = rt__tensor_load(find_tensor(c, t->name), m, t, room, why);
    }
    free(room);
    return status;
}
