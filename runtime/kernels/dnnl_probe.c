// Measures every kernel of a program by itself and writes kernels.json:
//
//   {"library": "oneDNN 2.6.3", "isa": "avx512", "threads": 2, "kernels": [
//    {"key": "...", "implementation": "jit:avx512_core", "weight_bytes": 147456,
//     "workspace_bytes": 0, "scratch_bytes": 0, "copy_bytes": 147456, "seconds": 0.00123}]}
//
// scratch_bytes is what one call needs beside its tensors. copy_bytes: how much of it is kept from
// call to call for every weight of this kernel where a step has several micro-batches; products of one
// weight share it.
#include "runtime/bf16.h"
#include "runtime/kernels/private/dnnl_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 5 };

typedef struct Sizes { // bytes of each tensor of a kernel, results last
    size_t n[MAX_ARGS];
    int count;
    size_t weight;
} Sizes;

static size_t volume(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (size_t)(a * b * c * d);
}

static size_t reach(const rt_product *p, const int64_t *stride, int64_t rows, int64_t columns)
{
    int64_t dims[] = {p->batch[0], p->batch[1], rows, columns};
    int64_t last = 0;
    for (int i = 0; i < 4; i++)
        last += (dims[i] - 1) * stride[i];
    return (size_t)last + 1;
}

static void add_size(Sizes *s, size_t elements, rt_dtype type)
{
    s->n[s->count++] = elements * (type == RT_BF16 ? sizeof(rt_bf16) : sizeof(float));
}

static Sizes sizes_of_product(const rt_kernel *k)
{
    const rt_product *p = &k->product;
    Sizes s = {.count = 0};
    add_size(&s, reach(p, p->a, p->m, p->k), k->types[0]);
    add_size(&s, reach(p, p->b, p->k, p->n), k->types[1]);
    if (p->bias)
        add_size(&s, (size_t)p->n, RT_F32);
    add_size(&s, reach(p, p->c, p->m, p->n), k->types[2]);
    return s;
}

static Sizes sizes_of_conv(const rt_kernel *k)
{
    const rt_conv *c = &k->conv;
    Sizes s = {.count = 0};
    size_t x = volume(c->n, c->c, c->h, c->w), y = volume(c->n, c->k, c->p, c->q);
    size_t w = volume(c->k, c->c / c->groups, c->r, c->s);
    bool forward = k->op == RT_CONV2D, weight = k->op == RT_CONV2D_GRAD_WEIGHT;
    add_size(&s, forward || weight ? x : y, k->types[0]);
    add_size(&s, weight ? y : w, k->types[1]);
    if (forward && c->bias)
        add_size(&s, (size_t)c->k, RT_F32);
    add_size(&s, forward ? y : weight ? w : x, k->types[2]);
    s.weight = w * sizeof(float);
    return s;
}

static Sizes sizes_of(const rt_kernel *k)
{
    return k->op == RT_MATMUL ? sizes_of_product(k) : sizes_of_conv(k);
}

static void run(rt_stage *s, int kernel, void **t)
{
    const rt_kernel *k = (const rt_kernel *)s->program->kernels + kernel;
    bool bias = k->op == RT_MATMUL ? k->product.bias : k->op == RT_CONV2D && k->conv.bias;
    const float *b = bias ? t[2] : NULL;
    switch (k->op) {
    case RT_CONV2D: rt_conv2d(s, kernel, t[0], t[1], b, t[2 + bias]); break;
    case RT_CONV2D_GRAD_INPUT: rt_conv2d_grad_input(s, kernel, t[0], t[1], t[2]); break;
    case RT_CONV2D_GRAD_WEIGHT: rt_conv2d_grad_weight(s, kernel, t[0], t[1], t[2]); break;
    case RT_MATMUL: rt_matmul(s, kernel, t[0], t[1], b, t[2 + bias]); break;
    case RT_ATTENTION:
    case RT_ATTENTION_GRAD: break;
    }
}

// Values of both signs and no denormals: what a kernel costs must not depend on them. Two in bf16 make a
// float that is hardly more than the second of them.
static void *tensor(size_t bytes)
{
    size_t whole = (bytes + 63) / 64 * 64;
    rt_bf16 *t = aligned_alloc(64, whole);
    for (size_t i = 0; t && i < whole / sizeof *t; i++)
        t[i] = rt_to_bf16((float)(i * 2654435761u % 1024) / 512.f - 1);
    return t;
}

// The fastest of some calls; negative: no memory, or the call failed.
static double measure(rt_stage *s, int kernel, const Sizes *sizes)
{
    void *t[MAX_ARGS] = {NULL};
    bool good = true;
    double best = -1;
    for (int i = 0; i < sizes->count; i++)
        good &= (t[i] = tensor(sizes->n[i])) != NULL;
    for (int i = 0; good && i <= RUNS && !s->error; i++) {
        int64_t begin = rt__now_ns();
        run(s, kernel, t);
        double seconds = (double)(rt__now_ns() - begin) * 1e-9;
        if (i && (best < 0 || seconds < best)) // the first call warms up
            best = seconds;
    }
    for (int i = 0; i < sizes->count; i++)
        free(t[i]);
    return s->error ? -1 : best;
}

static void write_kernel(FILE *f, rt_stage *s, int kernel, double seconds, const Sizes *sizes)
{
    const Dnnl *d = s->backend_state;
    const Made *m = &d->made[kernel];
    size_t scratch = m->scratchpad_bytes, copy = 0;
    for (int i = 0; i < m->n_args; i++) {
        const Arg *a = &m->args[i];
        scratch += a->inside_bytes;
        if (a == rt__dnnl_copied(m))
            copy = a->inside_bytes;
    }
    fprintf(f,
            "%s\n{\"key\": \"%s\", \"implementation\": \"%s\", \"weight_bytes\": %zu, "
            "\"workspace_bytes\": 0, \"scratch_bytes\": %zu, \"copy_bytes\": %zu, "
            "\"seconds\": %.9g}",
            kernel ? "," : "", m->kernel->key, m->implementation, sizes->weight, scratch, copy,
            seconds);
}

static int write_kernels(rt_stage *s, FILE *f)
{
    const rt_program *p = s->program;
    const dnnl_version_t *v = dnnl_version();
    fprintf(f,
            "{\"library\": \"oneDNN %d.%d.%d\", \"isa\": \"%s\", \"threads\": %d, "
            "\"kernels\": [",
            v->major, v->minor, v->patch, p->isa, p->threads);
    for (int i = 0; i < p->n_kernels && !s->error; i++) {
        Sizes sizes = sizes_of((const rt_kernel *)p->kernels + i);
        double seconds = measure(s, i, &sizes);
        if (seconds < 0)
            rt_fail(s, RT_E_MEMORY, "no memory to measure `%s`",
                    ((const rt_kernel *)p->kernels)[i].key);
        write_kernel(f, s, i, seconds, &sizes);
    }
    fputs("\n]}\n", f);
    return (int)s->error;
}

// A program that only measures has nothing open yet.
int rt__dnnl_probe(rt_stage *s, const char *path)
{
    bool own = !s->backend_state;
    int error = own ? rt_dnnl.init(s) : 0;
    FILE *f = error ? NULL : fopen(path, "w");
    if (f)
        error = write_kernels(s, f);
    if (!error && (!f || ferror(f) | fclose(f)))
        error = rt_fail(s, RT_E_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno));
    else if (f && error)
        fclose(f);
    if (own)
        rt_dnnl.release(s);
    return error;
}
