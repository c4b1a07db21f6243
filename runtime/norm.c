#include "runtime/norm.h"

#include "runtime/guard.h"
#include "runtime/transport.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// LANES sums side by side, joined pairwise: a fixed order that vectors can follow. A parameter that
// is used several times has one accumulator per use; its gradient is their sum, rounded as the
// update's own additions are.
enum { LANES = 8, BLOCK = 1024 };

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
    if (!s->norm || !s->norm_begin || !s->norm_uses)
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
    s->norm = NULL;
    s->norm_begin = s->norm_uses = NULL;
}

static double join(const double lane[LANES])
{
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// Both types differ in nothing but their name.
#define SQUARES(real)                                                                          \
    static void add_squares_##real(double lane[LANES], const real *x, int64_t n)               \
    {                                                                                          \
        int64_t i = 0;                                                                         \
        for (; i + LANES <= n; i += LANES)                                                     \
            for (int k = 0; k < LANES; k++)                                                    \
                lane[k] += (double)x[i + k] * (double)x[i + k];                                \
        for (; i < n; i++)                                                                     \
            lane[i % LANES] += (double)x[i] * (double)x[i];                                    \
    }                                                                                          \
    static double part_##real(const rt_stage *s, const int *use, int n_uses)                   \
    {                                                                                          \
        double lane[LANES] = {0};                                                              \
        const rt_tensor *t = s->program->tensors;                                              \
        int64_t n = t[use[0]].bytes / (int64_t)sizeof(real);                                   \
        const real *first = (const real *)(const void *)rt__tensor(s, &t[use[0]]);             \
        real sum[BLOCK];                                                                       \
        for (int64_t at = 0; at < n; at += BLOCK) {                                            \
            int64_t m = n - at < BLOCK ? n - at : BLOCK;                                       \
            const real *x = first + at;                                                        \
            for (int k = 1; k < n_uses; k++) {                                                 \
                const void *other = rt__tensor(s, &t[use[k]]);                                 \
                for (int64_t i = 0; i < m; i++)                                                \
                    sum[i] = x[i] + ((const real *)other)[at + i];                             \
                x = sum;                                                                       \
            }                                                                                  \
            add_squares_##real(lane, x, m);                                                    \
        }                                                                                      \
        return join(lane);                                                                     \
    }
SQUARES(float)
SQUARES(double)

double rt__norm_part(const rt_stage *s, int index)
{
    const int *use = s->norm_uses + s->norm_begin[index];
    int n = s->norm_begin[index + 1] - s->norm_begin[index];
    if (!n)
        return 0;
    return s->program->tensors[use[0]].dtype == RT_F64 ? part_double(s, use, n)
                                                       : part_float(s, use, n);
}

int rt__norm_gather(rt_stage *s)
{
    const rt_program *p = s->program;
    size_t bytes = (size_t)p->norm_parts * sizeof *s->norm;
    if (s->own->norm_up_in != RT_NO_EDGE)
        memcpy(s->norm, rt_slot(s, s->own->norm_up_in, 0), bytes);
    else
        memset(s->norm, 0, bytes);
    for (int index = 0; index < p->norm_parts; index++) {
        if (s->norm_begin[index] == s->norm_begin[index + 1])
            continue; // of another stage
        s->norm[index] = rt__norm_part(s, index);
        int error = rt__guard_norm(s, index, s->norm[index]);
        if (error)
            return error;
    }
    if (s->own->norm_up_out != RT_NO_EDGE)
        memcpy(rt_slot(s, s->own->norm_up_out, 0), s->norm, bytes);
    return 0;
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
        memcpy(&s->clip, rt_slot(s, s->own->norm_down_in, 0), sizeof s->clip);
    else
        s->clip = clip_factor(s);
    if (s->own->norm_down_out != RT_NO_EDGE)
        memcpy(rt_slot(s, s->own->norm_down_out, 0), &s->clip, sizeof s->clip);
    return 0;
}
