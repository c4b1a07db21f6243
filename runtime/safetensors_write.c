// The writer: a header made from the table of tensors, padded with spaces so that the data
// begins at a multiple of 8, then the data as it comes. CRC32C runs along, so that nothing is
// read twice.
#include "runtime/crc32c.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
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

// malloc'd text, NULL without memory; *data_bytes becomes the size of all tensors.
static char *header_text(const rt_tensor *const *entries, int n, uint64_t *data_bytes)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    json_int_t at = 0;
    bool complete = header != NULL;
    for (int i = 0; i < n && complete; i++) {
        json_int_t end = at + rt__plain_bytes(entries[i]);
        json_t *entry =
            json_pack("{s:s, s:o, s:[I,I]}", "dtype", rt__dtype_name(entries[i]->dtype),
                      "shape", shape_of(entries[i]), "data_offsets", at, end);
        complete = json_object_set_new(header, entries[i]->name, entry) == 0;
        at = end;
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

int rt__st_create(rt__st_writer *w, const char *path, const rt_tensor *const *entries, int n,
                  rt__why *why)
{
    *w = (rt__st_writer){.path = strdup(path), .fd = -1};
    char *text = header_text(entries, n, &w->expected);
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
    w->crc = rt__crc32c(w->crc, bytes, n);
    const uint8_t *at = bytes;
    while (n > 0) {
        ssize_t done = write(w->fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return failed(w, "write", why);
        at += done;
        n -= (uint64_t)done;
        w->written += (uint64_t)done;
    }
    return 0;
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
