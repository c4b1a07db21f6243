// The machines that a plan is for, and which of them a stage has.
#include "plan/reader.h"

#include <math.h>

static void read_levels(Reader *r, const json_t *root, Plan *p)
{
    json_t *sizes, *rates = json_object_get(root, "bandwidths");
    int64_t all = 1;
    p->n_levels = reader_get_list(r, root, "machines", 1, MAX_PLAN_LEVELS, &sizes);
    p->machines = arena_array(r->arena, int, p->n_levels);
    for (int i = 0; i < p->n_levels && r->good; i++) {
        json_int_t n = json_integer_value(json_array_get(sizes, (size_t)i));
        if (n < 1 || n > MAX_PLAN_MACHINES || (all *= n) > MAX_PLAN_MACHINES)
            reader_bad(r, "machines", "are none, or more than %d", MAX_PLAN_MACHINES);
        else
            p->machines[i] = (int)n;
    }
    r->n_machines = (int)all;
    if (!r->good || !json_array_size(rates))
        return;
    reader_get_list(r, root, "bandwidths", p->n_levels, p->n_levels, &rates);
    p->bandwidths = arena_array(r->arena, double, p->n_levels);
    for (int i = 0; i < p->n_levels && r->good; i++) {
        p->bandwidths[i] = json_number_value(json_array_get(rates, (size_t)i));
        if (!(p->bandwidths[i] > 0) || !isfinite(p->bandwidths[i]))
            reader_bad(r, "bandwidths", "has in place %d no positive number", i);
    }
}

static void read_device_names(Reader *r, const json_t *root, Plan *p)
{
    json_t *names;
    if (!json_object_get(root, "device_names"))
        return;
    p->n_device_names =
        reader_get_list(r, root, "device_names", r->n_machines, r->n_machines, &names);
    p->device_names = arena_array(r->arena, const char *, p->n_device_names);
    for (int i = 0; i < p->n_device_names && r->good; i++) {
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        if (!name)
            reader_bad(r, "device_names", "has in place %d no string", i);
        p->device_names[i] = arena_strdup(r->arena, name ? name : "");
    }
}

void read_machines(Reader *r, const json_t *root, Plan *p)
{
    read_levels(r, root, p);
    if (r->good)
        read_device_names(r, root, p);
    r->taken = arena_array(r->arena, bool, r->n_machines);
    r->shared = p->options.virtual_stages > 1;
}

void read_devices(Reader *r, const json_t *o, PlanStage *s)
{
    json_t *list;
    s->n_devices = reader_get_list(r, o, "devices", s->replicas, s->replicas, &list);
    s->devices = arena_array(r->arena, int, s->n_devices);
    for (int i = 0; i < s->n_devices && r->good; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        json_int_t device = json_integer_value(v);
        if (!json_is_integer(v) || device < 0 || device >= r->n_machines)
            reader_bad(r, "devices", "has in place %d no device from 0 to %d", i,
                       r->n_machines - 1);
        else if (r->taken[device] && !r->shared)
            reader_bad(r, "devices", "names device %d, which is taken", (int)device);
        else
            r->taken[s->devices[i] = (int)device] = true;
    }
}
