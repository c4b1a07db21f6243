#include "runtime/device.h"

#include "runtime/twins.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

// Others may wait for what this stage has made: it is not held back by what comes behind it.
int rt__device_wait(rt_stage *s)
{
    int error = rt__twins_finish(s);
    return error ? error : s->device->wait(s, s->device->mark(s));
}

// Pages of a mirror that nobody touches cost nothing.
static int map_mirror(rt_stage *s, rt__memory *m)
{
    size_t bytes = (size_t)s->program->persistent_bytes;
    m->base = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->base != MAP_FAILED)
        return 0;
    m->base = NULL;
    return rt_fail(s, RT_E_MEMORY, "cannot map %zu bytes for a copy of the tensors: %s", bytes,
                   strerror(errno));
}

int rt__memory_open(rt_stage *s, rt__memory *m, bool read)
{
    const rt_program *p = s->program;
    *m = (rt__memory){.tensors = p->tensors,
                      .n_tensors = p->n_tensors,
                      .base = rt_persistent(s, 0),
                      .backend = p->backend,
                      .stage = s};
    int error = s->device->apart ? map_mirror(s, m) : 0;
    if (error || !s->device->apart || !read)
        return error;
    s->device->get(s, m->base, rt_persistent(s, 0), (size_t)p->persistent_bytes);
    return rt__device_wait(s);
}

int rt__memory_close(rt_stage *s, rt__memory *m, bool write)
{
    size_t bytes = (size_t)s->program->persistent_bytes;
    int error = 0;
    if (!s->device->apart || !m->base)
        return 0;
    if (write) {
        s->device->put(s, rt_persistent(s, 0), m->base, bytes);
        error = rt__device_wait(s);
    }
    munmap(m->base, bytes + 1);
    return error;
}
