// Weights of convolutions on their way to and from disk: plain there, in their kernel's layout here.
#include "runtime/kernels/private/dnnl_state.h"

static dnnl_status_t convert(const Dnnl *d, const rt_conv *c, bool packing, const void *from,
                             void *to)
{
    dnnl_memory_desc_t plain, packed;
    dnnl_memory_t source = NULL, target = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_status_t bad = rt__dnnl_weight(c, true, &plain);
    if (!bad)
        bad = rt__dnnl_weight(c, false, &packed);
    if (!bad)
        bad = dnnl_memory_create(&source, packing ? &plain : &packed, d->engine,
                                 (void *)(uintptr_t)from);
    if (!bad)
        bad = dnnl_memory_create(&target, packing ? &packed : &plain, d->engine, to);
    if (!bad)
        bad = dnnl_reorder_primitive_desc_create(&desc, packing ? &plain : &packed, d->engine,
                                                 packing ? &packed : &plain, d->engine, NULL);
    if (!bad)
        bad = dnnl_primitive_create(&reorder, desc);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
    if (!bad)
        bad = dnnl_primitive_execute(reorder, d->stream, 2, args);
    if (!bad)
        bad = dnnl_stream_wait(d->stream);
    if (reorder)
        dnnl_primitive_destroy(reorder);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    if (source)
        dnnl_memory_destroy(source);
    if (target)
        dnnl_memory_destroy(target);
    return bad;
}

static int convert_tensor(rt_stage *s, const rt_tensor *t, bool packing, const void *from,
                          void *to)
{
    const rt_kernel *k = &((const rt_kernel *)s->program->kernels)[t->kernel];
    int64_t bytes = (int64_t)sizeof(float);
    for (int i = 0; i < t->rank; i++)
        bytes *= t->dim[i];
    if (t->kernel >= s->program->n_kernels || k->op == RT_MATMUL || bytes != t->bytes)
        return rt_fail(s, RT_E_BUG, "the layout of %s is not one of kernel %d", t->name,
                       t->kernel);
    if (convert(s->backend_state, &k->conv, packing, from, to))
        return rt_fail(s, RT_E_KERNEL, "oneDNN could not convert %s", t->name);
    return 0;
}

int rt__dnnl_pack(rt_stage *s, const rt_tensor *t, const void *plain, void *packed)
{
    return convert_tensor(s, t, true, plain, packed);
}

int rt__dnnl_unpack(rt_stage *s, const rt_tensor *t, const void *packed, void *plain)
{
    return convert_tensor(s, t, false, packed, plain);
}
