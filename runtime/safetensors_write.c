// The writer: a header made from the table of tensors, padded with spaces so that the data
// begins at a multiple of 8, then the data as it comes. The CRC32C of the file runs along.
#include "plan/crc32c.h"
#include "runtime/disk.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static json_t *shape_of(const rt_tensor *t)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer(t->dim[i]));
    return shape;
}

static json_t *metadata_of(const uint32_t *crc, int n)
{
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    char *list = crc && n > 0 ? malloc(9 * (size_t)n + 1) : NULL;
    if (!list)
        return metadata;
    for (int i = 0; i < n; i++)
        snprintf(list + 9 * (size_t)i, 10, "%08" PRIx32 " ", crc[i]);
    list[9 * n - 1] = 0; // the last space
    json_object_set_new(metadata, "crc32c", json_string(list));
    free(list);
    return metadata;
}

static json_t *entry_of(const rt_tensor *t, json_int_t at)
{
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", rt__dtype_name(t->dtype), "shape",
                     shape_of(t), "data_offsets", at, at + rt__plain_bytes(t));
}

// malloc'd text, NULL without memory; *data_bytes becomes the size of all tensors.
static char *header_text(const rt_tensor *const *entries, const uint32_t *crc, int n,
                         uint64_t *data_bytes)
{
    json_t *header = json_pack("{s:o}", "__metadata__", metadata_of(crc, n));
    json_int_t at = 0;
    bool complete = header != NULL;
    for (int i = 0; i < n && complete; i++) {
        complete = json_object_set_new(header, entries[i]->name, entry_of(entries[i], at)) == 0;
        at += rt__plain_bytes(entries[i]);
    }
    *data_bytes = (uint64_t)at;
    char *text = complete ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

static int failed(rt__st_writer *w, const char *what, rt__why *why)
{
    int status =
        rt__because(why, RT__ENVIRONMENT, "%s: %s: %s", w->path, what, strerror(errno));
    rt__st_abort(w);
    return status;
}

static int write_header(rt__st_writer *w, const char *text, rt__why *why)
{
    static const char spaces[] = "       ";
    uint64_t length = strlen(text), padding = (8 - length % 8) % 8, total = length + padding;
    w->expected += sizeof total + total;
    int status = rt__st_write(w, &total, sizeof total, why);
    if (status == 0)
        status = rt__st_write(w, text, length, why);
    return status ? status : rt__st_write(w, spaces, padding, why);
}

int rt__st_create(rt__st_writer *w, const char *path, const rt_tensor *const *entries,
                  const uint32_t *crc, int n, rt__why *why)
{
    *w = (rt__st_writer){.path = strdup(path), .fd = -1};
    char *text = header_text(entries, crc, n, &w->expected);
    int status;
    if (!w->path || !text) {
        rt__st_abort(w);
        status = rt__because(why, RT__ENVIRONMENT, "%s: out of memory", path);
    } else if ((w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0) {
        status = failed(w, "cannot be written", why);
    } else {
        status = write_header(w, text, why);
    }
    free(text);
    return status;
}

int rt__st_write(rt__st_writer *w, const void *bytes, uint64_t n, rt__why *why)
{
    w->crc = crc32c(w->crc, bytes, n);
    w->written += n;
    return rt__write_all(w->fd, bytes, n) ? 0 : failed(w, "write", why);
}

int rt__st_finish(rt__st_writer *w, rt__why *why)
{
    if (w->written != w->expected) {
        int status = rt__because(why, RT__ENVIRONMENT,
                                 "%s: bug: %" PRIu64 " bytes written, header promises %" PRIu64,
                                 w->path, w->written, w->expected);
        rt__st_abort(w);
        return status;
    }
    if (fsync(w->fd) != 0)
        return failed(w, "fsync", why);
    int fd = w->fd;
    w->fd = -1; // closed whatever close says
    if (close(fd) != 0)
        return failed(w, "close", why);
    free(w->path);
    w->path = NULL;
    return 0;
}

void rt__st_abort(rt__st_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    if (w->path)
        unlink(w->path);
    free(w->path);
    *w = (rt__st_writer){.fd = -1};
}
