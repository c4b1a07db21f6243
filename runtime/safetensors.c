// The reader. A file from elsewhere is hostile until shown otherwise: the header must lie
// inside the file, every tensor inside the data, its extent must be what dtype and shape say,
// and the tensors must tile the data without gap or overlap, as the format demands.
#include "runtime/safetensors.h"

#include "plan/crc32c.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000 }; // the format's own limit

static const struct {
    const char *name;
    uint64_t bytes;
    rt_dtype dtype; // 0: not one of ours
} types[] = {
    {"F32", 4, RT_F32}, {"F64", 8, RT_F64}, {"BF16", 2, RT_BF16}, {"I32", 4, RT_I32},
    {"U8", 1, RT_U8},   {"F16", 2, 0},      {"I64", 8, 0},        {"U64", 8, 0},
    {"U32", 4, 0},      {"I16", 2, 0},      {"U16", 2, 0},        {"I8", 1, 0},
    {"BOOL", 1, 0},     {"F8_E4M3", 1, 0},  {"F8_E5M2", 1, 0},    {"F8_E8M0", 1, 0},
    {"C64", 8, 0},
};
enum { N_TYPES = sizeof types / sizeof *types };

uint64_t rt__st_data_start(const rt__st_file *f)
{
    uint64_t header;
    memcpy(&header, f->file.bytes, LENGTH_BYTES);
    return LENGTH_BYTES + header;
}

static int check_length(const rt__file *f, rt__why *why)
{
    uint64_t header;
    if (f->size < LENGTH_BYTES)
        return rt__because(why, RT__INPUT, "%s: truncated: %" PRIu64 " bytes", f->path,
                           f->size);
    memcpy(&header, f->bytes, LENGTH_BYTES);
    if (header > MAX_HEADER)
        return rt__because(why, RT__INPUT,
                           "%s: offset 0: a header of %" PRIu64
                           " bytes is too long (not a safetensors file?)",
                           f->path, header);
    if (header > f->size - LENGTH_BYTES)
        return rt__because(why, RT__INPUT,
                           "%s: truncated: %" PRIu64 " bytes, the header ends at %" PRIu64,
                           f->path, f->size, LENGTH_BYTES + header);
    if (header == 0 || f->bytes[LENGTH_BYTES] != '{')
        return rt__because(why, RT__INPUT, "%s: offset 8: the header does not begin with '{'",
                           f->path);
    return 0;
}

static int load_header(rt__st_file *f, rt__why *why)
{
    int status = check_length(&f->file, why);
    if (status)
        return status;
    json_error_t error;
    f->header =
        json_loadb((const char *)f->file.bytes + LENGTH_BYTES,
                   (size_t)rt__st_data_start(f) - LENGTH_BYTES, JSON_REJECT_DUPLICATES, &error);
    if (f->header)
        return 0;
    return rt__because(why, RT__INPUT, "%s: offset %d: header: %s", f->file.path,
                       LENGTH_BYTES + error.position, error.text);
}

static int check_metadata(const rt__st_file *f, json_t *metadata, rt__why *why)
{
    const char *key;
    json_t *value;
    bool strings = json_is_object(metadata);
    json_object_foreach(metadata, key, value) strings = strings && json_is_string(value);
    if (strings)
        return 0;
    return rt__because(why, RT__INPUT, "%s: __metadata__ is not an object of strings",
                       f->file.path);
}

static int bad(const rt__st_file *f, const rt__st_tensor *t, const char *what, rt__why *why)
{
    return rt__because(why, RT__INPUT, "%s: tensor %s: %s", f->file.path, t->name, what);
}

// dtype and shape; *bytes becomes what they promise.
static int read_type(const rt__st_file *f, rt__st_tensor *t, json_t *entry, uint64_t *bytes,
                     rt__why *why)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape");
    int k = 0;
    while (name && k < N_TYPES && strcmp(types[k].name, name) != 0)
        k++;
    if (!name || k == N_TYPES)
        return bad(f, t, "unknown dtype", why);
    t->type = types[k].name;
    t->dtype = types[k].dtype;
    if (!json_is_array(shape) || json_array_size(shape) > RT_MAX_RANK)
        return bad(f, t, "shape is not a list of at most 6 numbers", why);
    t->rank = (int)json_array_size(shape);
    *bytes = types[k].bytes;
    for (int i = 0; i < t->rank; i++) {
        json_t *dim = json_array_get(shape, (size_t)i);
        t->dim[i] = json_integer_value(dim);
        if (!json_is_integer(dim) || t->dim[i] < 0 ||
            __builtin_mul_overflow(*bytes, (uint64_t)t->dim[i], bytes))
            return bad(f, t, "shape is not a list of sizes, or too large", why);
    }
    return 0;
}

static int read_tensor(const rt__st_file *f, rt__st_tensor *t, json_t *entry, rt__why *why)
{
    uint64_t bytes = 0;
    if (!json_is_object(entry))
        return bad(f, t, "its entry is not an object", why);
    int status = read_type(f, t, entry, &bytes, why);
    if (status)
        return status;
    json_t *offsets = json_object_get(entry, "data_offsets");
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (!json_is_integer(begin) || !json_is_integer(end) || json_array_size(offsets) != 2)
        return bad(f, t, "data_offsets is not a pair of numbers", why);
    if (json_object_size(entry) != 3)
        return bad(f, t, "entries other than dtype, shape and data_offsets", why);
    int64_t from = json_integer_value(begin), to = json_integer_value(end);
    uint64_t available = f->file.size - rt__st_data_start(f);
    if (from < 0 || to < from || (uint64_t)to > available)
        return rt__because(why, RT__INPUT,
                           "%s: tensor %s: data_offsets [%" PRId64 ",%" PRId64
                           "] outside the data of %" PRIu64 " bytes at offset %" PRIu64
                           " (truncated?)",
                           f->file.path, t->name, from, to, available, rt__st_data_start(f));
    if ((uint64_t)(to - from) != bytes)
        return rt__because(why, RT__INPUT,
                           "%s: tensor %s: %" PRId64 " bytes, dtype and shape make %" PRIu64,
                           f->file.path, t->name, to - from, bytes);
    t->data = f->file.bytes + rt__st_data_start(f) + from;
    t->bytes = bytes;
    return 0;
}

static int by_place(const void *left, const void *right)
{
    const rt__st_tensor *a = left, *b = right;
    if (a->data != b->data)
        return a->data < b->data ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes); // empty ones first
}

static int by_name(const void *left, const void *right)
{
    const rt__st_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

// The tensors tile the data: each begins where the one before ends.
static int check_tiling(const rt__st_file *f, rt__why *why)
{
    const uint8_t *at = f->file.bytes + rt__st_data_start(f);
    for (int i = 0; i < f->n_tensors; i++) {
        const rt__st_tensor *t = &f->tensors[i];
        if (t->data != at)
            return rt__because(why, RT__INPUT, "%s: offset %td: tensor %s %s", f->file.path,
                               t->data - f->file.bytes, t->name,
                               t->data < at ? "overlaps the tensor before it"
                                            : "leaves a gap before it");
        at += t->bytes;
    }
    if (at != f->file.bytes + f->file.size)
        return rt__because(why, RT__INPUT, "%s: offset %td: %td bytes behind the last tensor",
                           f->file.path, at - f->file.bytes, f->file.bytes + f->file.size - at);
    return 0;
}

// "0a1b2c3d 4e5f6071": one for each tensor, in the order of their places. Other programs may mean
// something else by this key: what does not look like that is no checksum.
static void take_checksums(rt__st_file *f)
{
    const json_t *metadata = json_object_get(f->header, "__metadata__");
    const char *at = json_string_value(json_object_get(metadata, "crc32c"));
    size_t n = (size_t)f->n_tensors;
    if (!at || n == 0 || strlen(at) != 9 * n - 1 ||
        strspn(at, "0123456789abcdef ") != 9 * n - 1)
        return;
    for (size_t i = 0; i < n; i++) {
        f->tensors[i].has_crc = true;
        f->tensors[i].crc = (uint32_t)strtoul(at + 9 * i, NULL, 16);
    }
}

static int read_tensors(rt__st_file *f, rt__why *why)
{
    const char *name;
    json_t *entry;
    f->tensors = calloc(json_object_size(f->header) + 1, sizeof *f->tensors);
    if (!f->tensors)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", f->file.path);
    json_object_foreach((json_t *)f->header, name, entry)
    {
        int status;
        if (strcmp(name, "__metadata__") == 0) {
            status = check_metadata(f, entry, why);
        } else {
            rt__st_tensor *t = &f->tensors[f->n_tensors++];
            t->name = name;
            status = read_tensor(f, t, entry, why);
        }
        if (status)
            return status;
    }
    if (f->n_tensors > 0)
        qsort(f->tensors, (size_t)f->n_tensors, sizeof *f->tensors, by_place);
    take_checksums(f);
    return check_tiling(f, why);
}

int rt__st_parse(rt__st_file *file, rt__file mapped, rt__why *why)
{
    *file = (rt__st_file){.file = mapped};
    int status = load_header(file, why);
    if (status == 0)
        status = read_tensors(file, why);
    if (status)
        rt__st_close(file);
    else if (file->n_tensors > 0)
        qsort(file->tensors, (size_t)file->n_tensors, sizeof *file->tensors, by_name);
    return status;
}

int rt__st_verify(const rt__st_file *f, rt__why *why)
{
    for (int i = 0; i < f->n_tensors; i++) {
        const rt__st_tensor *t = &f->tensors[i];
        uint32_t crc = crc32c(0, t->data, t->bytes);
        if (t->has_crc && crc != t->crc)
            return rt__because(why, RT__INPUT,
                               "%s: offset %td: tensor %s was altered (CRC32C %08" PRIx32
                               " instead of %08" PRIx32 ")",
                               f->file.path, t->data - f->file.bytes, t->name, crc, t->crc);
    }
    return 0;
}

int rt__st_open(rt__st_file *file, const char *path, rt__why *why)
{
    rt__file mapped;
    *file = (rt__st_file){0};
    int status = rt__file_map(&mapped, path, why);
    return status ? status : rt__st_parse(file, mapped, why);
}

void rt__st_close(rt__st_file *file)
{
    json_decref(file->header);
    free(file->tensors);
    rt__file_unmap(&file->file);
    *file = (rt__st_file){0};
}

const rt__st_tensor *rt__st_find(const rt__st_file *file, const char *name)
{
    rt__st_tensor key = {.name = name};
    if (file->n_tensors == 0)
        return NULL;
    return bsearch(&key, file->tensors, (size_t)file->n_tensors, sizeof key, by_name);
}
