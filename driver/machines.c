// Types of machines are told apart by what the planner looks at: speed, memory, times of their own, backends.
#include "driver/machines.h"

#include "base/text.h"
#include "codegen/codegen.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const Devices *devices_read(Arena *a, const char *file)
{
    char *text = file_read(file, NULL);
    if (!text) {
        error_at((Loc){file, 0, 0}, "cannot read: %s", strerror(errno));
        return NULL;
    }
    const Devices *d = devices_from_json(a, file, text);
    free(text);
    return d;
}

// Devices of one host side by side, hosts in the order of the file. host[i] numbers them.
static int *by_host(Arena *a, const Devices *d, int *host, int *n_hosts)
{
    int *order = arena_array(a, int, d->n + 1);
    bool *taken = arena_array(a, bool, d->n + 1);
    for (int i = 0, n = 0; i < d->n; i++) {
        if (taken[i])
            continue;
        for (int k = i; k < d->n; k++)
            if (!strcmp(d->devices[i].host, d->devices[k].host)) {
                taken[k] = true;
                host[n] = *n_hosts;
                order[n++] = k;
            }
        ++*n_hosts;
    }
    return order;
}

static int type_of(Arena *a, Machines *m, MachineType type)
{
    for (int t = 0; t < m->n_types; t++)
        if (m->types[t].speed == type.speed && m->types[t].memory_bytes == type.memory_bytes &&
            m->types[t].profile == type.profile && !strcmp(m->types[t].backend, type.backend))
            return t;
    MachineType *types = arena_array(a, MachineType, m->n_types + 1);
    for (int t = 0; t < m->n_types; t++)
        types[t] = m->types[t];
    types[m->n_types] = type;
    m->types = types;
    return m->n_types++;
}

static bool link_hosts(const Devices *d, const int *order, Machines *m, const char *file)
{
    for (int i = 0; i < m->n; i++)
        for (int k = i; k < m->n; k++) {
            const char *from = d->devices[order[i]].host, *to = d->devices[order[k]].host;
            const DeviceLink *link = devices_link(d, from, to);
            if (!link && i != k) {
                error_at((Loc){file, 0, 0},
                         "links: nothing is said of %s to %s; `stagecc devices` measures it",
                         from, to);
                return false;
            }
            MachineLevel level = {.size = 1, .bytes_per_s = INFINITY, .per_device = true};
            if (link)
                level = (MachineLevel){.size = 1,
                                       .bytes_per_s = link->bytes_per_s,
                                       .latency_s = link->latency_s,
                                       .per_device = link->per_device};
            m->link[m->host[i] * m->n_hosts + m->host[k]] = level;
            m->link[m->host[k] * m->n_hosts + m->host[i]] = level;
        }
    return true;
}

Machines *machines_of_devices(Arena *a, const Devices *d, const char *file, const int *profile,
                              const char ***names)
{
    Machines *m = arena_new(a, Machines);
    m->n = d->n;
    m->host = arena_array(a, int, d->n + 1);
    m->type = arena_array(a, int, d->n + 1);
    *names = arena_array(a, const char *, d->n + 1);
    int *order = by_host(a, d, m->host, &m->n_hosts);
    m->link = arena_array(a, MachineLevel, m->n_hosts * m->n_hosts);
    for (int i = 0; i < d->n; i++) {
        const Device *device = &d->devices[order[i]];
        bool own = profile[order[i]] > 0;
        (*names)[i] = device->name;
        m->type[i] = type_of(a, m,
                             (MachineType){.speed = own ? 1 : device->speed,
                                           .memory_bytes = (double)device->memory_bytes,
                                           .profile = profile[order[i]],
                                           .backend = device->backend,
                                           .device = backend_find(device->backend)->device});
    }
    return link_hosts(d, order, m, file) ? m : NULL;
}
