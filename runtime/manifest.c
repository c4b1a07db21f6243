#include "runtime/manifest.h"

#include "plan/crc32c.h"

#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, MAX_NAME = 255 };
static const char format_name[] = "stagecc checkpoint";
static const char no_text[] = "none";

// The contract
// ------------------------------------------------------------------------------------------

// One row per member: how it is called in the file, and in a message.
#define CONTRACT_TEXTS(X)                                                                      \
    X(backend, "backend")                                                                      \
    X(isa, "instruction set")                                                                  \
    X(compiler, "compiler")                                                                    \
    X(real, "type")
#define CONTRACT_LATER_TEXTS(X) /* older checkpoints have none */                              \
    X(replicas, "replicas")                                                                    \
    X(transfer, "transfers")                                                                   \
    X(staleness, "staleness")
#define CONTRACT_NUMBERS(X)                                                                    \
    X(threads, "threads")                                                                      \
    X(micro_batch, "micro-batch")                                                              \
    X(micro_batches, "micro-batches")

rt__contract rt__contract_of(const rt_program *p)
{
    return (rt__contract){.backend = p->backend ? p->backend->name : "ref",
                          .isa = p->isa ? p->isa : "",
                          .compiler = p->compiler ? p->compiler : "",
                          .real = rt__dtype_name(p->activations ? p->activations : p->real),
                          .replicas = p->groups ? p->groups : no_text,
                          .transfer = p->transfer ? p->transfer : no_text,
                          .staleness = p->staleness ? p->staleness : no_text,
                          .threads = p->threads,
                          .micro_batch = p->micro_batch,
                          .micro_batches = p->micro_batches};
}

static void differs(rt__why *why, const char *what, const char *now, const char *then)
{
    size_t n = strlen(why->text);
    snprintf(why->text + n, sizeof why->text - n, "%s%s %s here, %s in the checkpoint",
             n ? "; " : "", what, now, then);
}

bool rt__contract_equal(const rt__contract *program, const rt__contract *checkpoint,
                        rt__why *why)
{
    char now[24], then[24];
    why->text[0] = 0;
#define X(member, what)                                                                        \
    if (strcmp(program->member, checkpoint->member) != 0)                                      \
        differs(why, what, program->member, checkpoint->member);
    CONTRACT_TEXTS(X)
    CONTRACT_LATER_TEXTS(X)
#undef X
#define X(member, what)                                                                        \
    if (program->member != checkpoint->member) {                                               \
        snprintf(now, sizeof now, "%" PRId64, program->member);                                \
        snprintf(then, sizeof then, "%" PRId64, checkpoint->member);                           \
        differs(why, what, now, then);                                                         \
    }
    CONTRACT_NUMBERS(X)
#undef X
    return why->text[0] == 0;
}

// Writing
// -------------------------------------------------------------------------------------------

static json_t *contract_json(const rt__contract *c)
{
    json_t *o = json_object();
#define X(member, what) json_object_set_new(o, #member, json_string(c->member));
    CONTRACT_TEXTS(X)
    CONTRACT_LATER_TEXTS(X)
#undef X
#define X(member, what) json_object_set_new(o, #member, json_integer(c->member));
    CONTRACT_NUMBERS(X)
#undef X
    return o;
}

static json_t *crc_json(uint32_t crc)
{
    return json_sprintf("%08" PRIx32, crc);
}

static json_t *files_json(const rt__manifest *m)
{
    json_t *files = json_array();
    for (int i = 0; i < m->n_files; i++) {
        const rt__manifest_file *f = &m->files[i];
        json_array_append_new(files,
                              json_pack("{s:s, s:I, s:o}", "name", f->name, "bytes",
                                        (json_int_t)f->bytes, "crc32c", crc_json(f->crc)));
    }
    return files;
}

// CRC32C of the members in sorted order and without spaces, so that the file may be reformatted.
static bool checksum(const json_t *manifest, uint32_t *crc)
{
    char *text = json_dumps(manifest, JSON_COMPACT | JSON_SORT_KEYS);
    if (text)
        *crc = crc32c(0, text, strlen(text));
    free(text);
    return text != NULL;
}

char *rt__manifest_text(const rt__manifest *m)
{
    const rt__progress *p = &m->progress;
    json_t *o = json_pack(
        "{s:s, s:i, s:s, s:I, s:s, s:o, s:{s:I, s:I}, s:{s:I, s:I}, s:o}", "format",
        format_name, "version", VERSION, "model", m->model, "step", (json_int_t)p->step,
        "plan_hash", m->plan_hash, "contract", contract_json(&m->contract), "cursor", "epoch",
        (json_int_t)p->cursor.epoch, "index", (json_int_t)p->cursor.index, "random", "seed",
        (json_int_t)p->seed, "step", (json_int_t)p->step, "files", files_json(m));
    uint32_t crc;
    char *text = NULL;
    if (o && checksum(o, &crc) && json_object_set_new(o, "crc32c", crc_json(crc)) == 0)
        text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    return text;
}

// Reading
// -------------------------------------------------------------------------------------------

typedef struct Reader {
    const char *path;
    rt__why *why;
    bool failed; // the first complaint stays
} Reader;

static void complain(Reader *r, const char *member, const char *what)
{
    if (!r->failed)
        rt__say(r->why, "%s: %s %s", r->path, member, what);
    r->failed = true;
}

static const char *text_of(Reader *r, const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    if (!text)
        complain(r, member, "is missing or no text");
    return text ? text : "";
}

static int64_t number_of(Reader *r, const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        complain(r, member, "is missing or no number from 0 on");
    return json_integer_value(value);
}

static uint32_t crc_of(Reader *r, const json_t *object)
{
    const char *text = text_of(r, object, "crc32c");
    if (strlen(text) != 8 || strspn(text, "0123456789abcdef") != 8)
        complain(r, "crc32c", "is not 8 hexadecimal digits");
    return (uint32_t)strtoul(text, NULL, 16);
}

// A manifest from elsewhere must not lead out of its directory.
static bool is_plain_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= MAX_NAME && name[0] != '.' && strchr(name, '/') == NULL;
}

static rt__manifest_file read_file(Reader *r, const json_t *entry)
{
    rt__manifest_file f = {.name = text_of(r, entry, "name")};
    f.bytes = (uint64_t)number_of(r, entry, "bytes");
    f.crc = crc_of(r, entry);
    if (!is_plain_name(f.name))
        complain(r, "name", "of a file is not the name of a file in the same directory");
    return f;
}

static int read_files(Reader *r, rt__manifest *m, const json_t *files)
{
    if (!json_is_array(files)) {
        complain(r, "files", "is missing or no list");
        return 0;
    }
    m->files = calloc(json_array_size(files) + 1, sizeof *m->files);
    if (!m->files)
        return rt__because(r->why, RT__ENVIRONMENT, "%s: out of memory", r->path);
    for (size_t i = 0; i < json_array_size(files) && !r->failed; i++)
        m->files[m->n_files++] = read_file(r, json_array_get(files, i));
    return 0;
}

static void read_contract(Reader *r, rt__contract *c, const json_t *o)
{
#define X(member, what) c->member = text_of(r, o, #member);
    CONTRACT_TEXTS(X)
#undef X
#define X(member, what)                                                                        \
    c->member = json_object_get(o, #member) ? text_of(r, o, #member) : no_text;
    CONTRACT_LATER_TEXTS(X)
#undef X
#define X(member, what) c->member = number_of(r, o, #member);
    CONTRACT_NUMBERS(X)
#undef X
}

static void check_format(Reader *r, const json_t *o)
{
    if (strcmp(text_of(r, o, "format"), format_name) != 0)
        complain(r, "format", "is not \"stagecc checkpoint\"");
    if (number_of(r, o, "version") != VERSION)
        complain(r, "version", "is not 1: it was written by another version of stagecc");
}

// Takes the checksum out of the object and compares it with what the rest gives.
static int check_sum(Reader *r, json_t *o)
{
    uint32_t promised = crc_of(r, o), crc;
    json_object_del(o, "crc32c");
    if (!checksum(o, &crc))
        return rt__because(r->why, RT__ENVIRONMENT, "%s: out of memory", r->path);
    if (!r->failed && crc != promised) {
        rt__say(r->why, "%s: was altered (CRC32C %08" PRIx32 " instead of %08" PRIx32 ")",
                r->path, crc, promised);
        r->failed = true;
    }
    return 0;
}

static int read_members(Reader *r, rt__manifest *m)
{
    json_t *o = m->json;
    const json_t *cursor = json_object_get(o, "cursor"), *random = json_object_get(o, "random");
    check_format(r, o);
    int status = check_sum(r, o);
    m->model = text_of(r, o, "model");
    m->plan_hash = text_of(r, o, "plan_hash");
    m->progress.step = number_of(r, o, "step");
    m->progress.cursor.epoch = (uint64_t)number_of(r, cursor, "epoch");
    m->progress.cursor.index = (uint64_t)number_of(r, cursor, "index");
    m->progress.seed = number_of(r, random, "seed");
    read_contract(r, &m->contract, json_object_get(o, "contract"));
    if (status == 0)
        status = read_files(r, m, json_object_get(o, "files"));
    return status ? status : r->failed ? RT__INPUT : 0;
}

int rt__manifest_parse(rt__manifest *m, const char *path, const void *bytes, size_t n,
                       rt__why *why)
{
    json_error_t error;
    Reader r = {.path = path, .why = why};
    *m = (rt__manifest){.json = NULL};
    m->json = json_loadb(bytes ? bytes : "", n, JSON_REJECT_DUPLICATES, &error);
    if (!m->json)
        return rt__because(why, RT__INPUT, "%s: offset %d: %s", path, error.position,
                           error.text);
    if (!json_is_object((json_t *)m->json))
        return rt__because(why, RT__INPUT, "%s: offset 0: is not an object", path);
    return read_members(&r, m);
}

void rt__manifest_release(rt__manifest *m)
{
    json_decref(m->json);
    free(m->files);
    *m = (rt__manifest){.json = NULL};
}
