#include "runtime/norm.h"

#include "runtime/device.h"
#include "runtime/guard.h"
#include "runtime/plain.h"
#include "runtime/settle.h"
#include "runtime/transport.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool has_part(const rt_tensor *t, int index)
{
    return t->role == RT_ACCUMULATOR && t->norm_index == index;
}

int rt__norm_open(rt_stage *s)
{
    const rt_program *p = s->program;
    s->norm = calloc((size_t)p->norm_parts + 1, sizeof *s->norm);
    s->norm_begin = calloc((size_t)p->norm_parts + 1, sizeof *s->norm_begin);
    s->norm_uses = calloc((size_t)p->n_tensors + 1, sizeof *s->norm_uses);
    s->norm_from = calloc((size_t)p->n_tensors + 1, sizeof *s->norm_from);
    if (!s->norm || !s->norm_begin || !s->norm_uses || !s->norm_from)
        return rt_fail(s, RT_E_MEMORY, "no memory for %d norm parts", p->norm_parts);
    int n = 0;
    for (int index = 0; index < p->norm_parts; index++) {
        s->norm_begin[index] = n;
        for (int i = 0; i < p->n_tensors; i++)
            if (has_part(&p->tensors[i], index))
                s->norm_uses[n++] = i;
    }
    s->norm_begin[p->norm_parts] = n;
    return 0;
}

void rt__norm_close(rt_stage *s)
{
    free(s->norm);
    free(s->norm_begin);
    free(s->norm_uses);
    free(s->norm_from);
    s->norm = NULL;
    s->norm_begin = s->norm_uses = NULL;
    s->norm_from = NULL;
}

void rt__norm_part(rt_stage *s, int index, double *part)
{
    const rt_tensor *tensors = s->program->tensors;
    int n = s->norm_begin[index + 1] - s->norm_begin[index];
    const int *use = s->norm_uses + s->norm_begin[index];
    for (int k = 0; k < n; k++)
        s->norm_from[k] = rt__tensor(s, &tensors[use[k]]);
    const rt_tensor *t = &tensors[use[0]];
    s->device->squares(s, part, s->norm_from, n, t->bytes / rt__dtype_bytes(t->dtype),
                       t->dtype);
}

static bool is_here(const rt_stage *s, int index)
{
    return s->norm_begin[index] < s->norm_begin[index + 1];
}

// All are asked for before the first is looked at, so that a device is waited for once.
static int own_parts(rt_stage *s)
{
    int n = s->program->norm_parts;
    for (int index = 0; index < n; index++)
        if (is_here(s, index))
            rt__norm_part(s, index, &s->norm[index]);
    int error = rt__device_wait(s);
    if (!error)
        error = rt__check_owed(s); // a loss says more than a gradient
    for (int index = 0; index < n && !error; index++)
        if (is_here(s, index))
            error = rt__guard_norm(s, index, s->norm[index]);
    return error;
}

int rt__norm_gather(rt_stage *s)
{
    const rt_program *p = s->program;
    size_t bytes = (size_t)p->norm_parts * sizeof *s->norm;
    if (s->own->norm_up_in != RT_NO_EDGE)
        memcpy(s->norm, rt__slot(s, s->own->norm_up_in, 0), bytes);
    else
        memset(s->norm, 0, bytes);
    int error = own_parts(s);
    if (!error && s->own->norm_up_out != RT_NO_EDGE)
        memcpy(rt__slot(s, s->own->norm_up_out, 0), s->norm, bytes);
    return error;
}

static double clip_factor(const rt_stage *s)
{
    double sum = 0;
    for (int i = 0; i < s->program->norm_parts; i++)
        sum += s->norm[i];
    double factor = s->program->clip_norm / (sqrt(sum) + 1e-6);
    return factor < 1 ? factor : 1;
}

int rt__norm_apply(rt_stage *s)
{
    if (s->own->norm_down_in != RT_NO_EDGE)
        memcpy(&s->clip, rt__slot(s, s->own->norm_down_in, 0), sizeof s->clip);
    else
        s->clip = clip_factor(s);
    if (s->own->norm_down_out != RT_NO_EDGE)
        memcpy(rt__slot(s, s->own->norm_down_out, 0), &s->clip, sizeof s->clip);
    return 0;
}
