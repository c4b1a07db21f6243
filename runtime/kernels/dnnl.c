// The oneDNN binding: makes all kernels of a program at its start, runs them.
//
// Backward-data wants weights in another layout than forward, and kernels in bf16 want them in bf16. They
// change once a step only, so with several micro-batches every such weight has a copy for each kernel, or
// for all products, made by the step's first micro-batch; with a single one the copy lives in the common scratch.
// In asynchronous schedules weights have several versions, but forward works with one of them at a time, in
// ascending order, and so does backward: one copy it is, made anew where the two alternate.
#include "runtime/kernels/private/dnnl_state.h"
#include "runtime/kernels/private/strassen.h"

#include <errno.h>
#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20 };

static Dnnl *state(rt_stage *s)
{
    return s->backend_state;
}

static const rt_kernel *kernels(const rt_stage *s)
{
    return s->program->kernels;
}

static size_t lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

// The contract
// ----------------------------------------------------------------------------------------

static const struct Isa {
    const char *name;
    dnnl_cpu_isa_t isa;
} isas[] = {{"avx2", dnnl_cpu_isa_avx2},
            {"avx512", dnnl_cpu_isa_avx512_core},
            {"avx512_bf16", dnnl_cpu_isa_avx512_core_bf16}};

static int check_isa(rt_stage *s)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        if (!s->program->isa || strcmp(isas[i].name, s->program->isa) != 0)
            continue;
        dnnl_set_max_cpu_isa(isas[i].isa); // refused once a kernel was made: the check tells
        if (dnnl_get_effective_cpu_isa() == isas[i].isa)
            return 0;
        return rt_fail(s, RT_E_KERNEL,
                       "the program wants oneDNN's %s kernels, and it is set to others: unset "
                       "DNNL_MAX_CPU_ISA, or build again with another --isa",
                       isas[i].name);
    }
    return rt_fail(s, RT_E_BUG, "the program is of no known instruction set");
}

static int check_threads(rt_stage *s)
{
    omp_set_dynamic(0);
    omp_set_num_threads(s->program->threads);
    if (omp_get_max_threads() == s->program->threads &&
        omp_get_thread_limit() >= s->program->threads)
        return 0;
    return rt_fail(s, RT_E_KERNEL,
                   "the program wants %d threads and OpenMP gives %d: look at OMP_THREAD_LIMIT",
                   s->program->threads, omp_get_thread_limit());
}

// Memory
// ----------------------------------------------------------------------------------------------

static uint8_t *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (bytes >= 2 * (size_t)HUGE_PAGE)
        madvise(at, bytes, MADV_HUGEPAGE);
    memset(at, 0, bytes);
    return at;
}

static size_t scratch_of(const Made *m)
{
    size_t bytes = lines(m->scratchpad_bytes);
    for (int i = 0; i < m->n_args; i++)
        bytes += lines(m->args[i].inside_bytes);
    return bytes;
}

const Arg *rt__dnnl_copied(const Made *m)
{
    for (int i = 0; m->kernel->n_weights && i < m->n_args; i++)
        if (m->args[i].name == DNNL_ARG_WEIGHTS && m->args[i].inside_bytes)
            return &m->args[i];
    return NULL;
}

static int by_weight(const void *a, const void *b)
{
    const Copy *x = a, *y = b;
    uintptr_t at = (uintptr_t)x->weight, other = (uintptr_t)y->weight;
    if (at != other)
        return (at > other) - (at < other);
    return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

static int whose(const Dnnl *d, const Made *m)
{
    return m->kernel->op == RT_MATMUL ? EVERY_PRODUCT : (int)(m - d->made);
}

static void plan_copies_of(rt_stage *s, Dnnl *d, const Made *m)
{
    const Arg *weight = rt__dnnl_copied(m);
    for (int i = 0; weight && i < m->kernel->n_weights; i++)
        d->copies[d->n_copies++] = (Copy){.weight = rt_persistent(s, m->kernel->weights[i]),
                                          .kernel = whose(d, m),
                                          .bytes = lines(weight->inside_bytes),
                                          .version = -1};
}

static void drop_equal_copies(Dnnl *d)
{
    int kept = 0;
    for (int i = 0; i < d->n_copies; i++)
        if (!kept || by_weight(&d->copies[kept - 1], &d->copies[i]) != 0)
            d->copies[kept++] = d->copies[i];
    d->n_copies = kept;
}

static int plan_copies(rt_stage *s, Dnnl *d)
{
    size_t most = 0;
    for (int i = 0; i < d->n_made; i++)
        most += (size_t)d->made[i].kernel->n_weights;
    if (s->program->micro_batches < 2 || !most)
        return 0;
    d->copies = calloc(most, sizeof *d->copies);
    if (!d->copies)
        return rt_fail(s, RT_E_MEMORY, "no memory for copies of %zu weights", most);
    for (int i = 0; i < d->n_made; i++)
        plan_copies_of(s, d, &d->made[i]);
    qsort(d->copies, (size_t)d->n_copies, sizeof *d->copies, by_weight);
    drop_equal_copies(d);
    return 0;
}

static int map_memory(rt_stage *s, Dnnl *d)
{
    for (int i = 0; i < d->n_made; i++) {
        size_t bytes = scratch_of(&d->made[i]);
        d->scratch_bytes = bytes > d->scratch_bytes ? bytes : d->scratch_bytes;
    }
    for (int i = 0; i < d->n_copies; i++)
        d->copied_bytes += d->copies[i].bytes;
    if (d->scratch_bytes)
        d->scratch = map(d->scratch_bytes);
    if (d->copied_bytes)
        d->copied = map(d->copied_bytes);
    if ((d->scratch_bytes && !d->scratch) || (d->copied_bytes && !d->copied))
        return rt_fail(s, RT_E_MEMORY, "no memory for oneDNN: %zu bytes: %s",
                       d->scratch_bytes + d->copied_bytes, strerror(errno));
    size_t at = 0;
    for (int i = 0; i < d->n_copies; i++) {
        d->copies[i].at = d->copied + at;
        at += d->copies[i].bytes;
    }
    return 0;
}

// What is inside the scratch stays at its place for good.
static void place_scratch(Dnnl *d)
{
    for (int i = 0; i < d->n_made; i++) {
        Made *m = &d->made[i];
        uint8_t *at = d->scratch;
        if (m->scratchpad) // not of our own kernels
            dnnl_memory_set_data_handle(m->scratchpad, at);
        at += lines(m->scratchpad_bytes);
        for (int k = 0; k < m->n_args; k++) {
            if (m->args[k].inside_bytes)
                dnnl_memory_set_data_handle(m->args[k].inside, at);
            at += lines(m->args[k].inside_bytes);
        }
    }
}

// Open and close
// --------------------------------------------------------------------------------------

static void dnnl_release(rt_stage *s)
{
    Dnnl *d = state(s);
    if (!d)
        return;
    for (int i = 0; d->made && i < d->n_made; i++)
        rt__dnnl_unmake(&d->made[i]);
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    if (d->scratch)
        munmap(d->scratch, d->scratch_bytes);
    if (d->copied)
        munmap(d->copied, d->copied_bytes);
    free(d->copies);
    free(d->made);
    free(d);
    s->backend_state = NULL;
}

static int make_all(rt_stage *s, Dnnl *d)
{
    int n = s->program->n_kernels;
    d->made = calloc((size_t)n + 1, sizeof *d->made);
    if (!d->made)
        return rt_fail(s, RT_E_MEMORY, "no memory for %d kernels", n);
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) ||
        dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags))
        return rt_fail(s, RT_E_KERNEL, "oneDNN has no engine for this processor");
    for (int i = 0; i < n; i++) {
        d->n_made = i + 1;
        int error = rt__dnnl_make(s, d, &kernels(s)[i], &d->made[i]);
        if (error)
            return error;
    }
    return 0;
}

static int dnnl_init(rt_stage *s)
{
    Dnnl *d = s->backend_state = calloc(1, sizeof *d);
    if (!d)
        return rt_fail(s, RT_E_MEMORY, "no memory for the kernels");
    int error = check_threads(s);
    if (!error && s->program->n_kernels)
        error = check_isa(s);
    if (!error)
        error = make_all(s, d);
    if (!error)
        error = plan_copies(s, d);
    if (!error)
        error = map_memory(s, d);
    if (error)
        return error;
    place_scratch(d);
    return 0;
}

// Calls
// ----------------------------------------------------------------------------------------------

static dnnl_status_t copy(const Dnnl *d, const Arg *a)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, a->result ? a->inside : a->outside},
                              {DNNL_ARG_TO, a->result ? a->outside : a->inside}};
    return dnnl_primitive_execute(a->reorder, d->stream, 2, args);
}

static Copy *find_copy(const Dnnl *d, const void *weight, int kernel)
{
    Copy key = {.weight = weight, .kernel = kernel}; // in the first version
    return d->n_copies ? bsearch(&key, d->copies, (size_t)d->n_copies, sizeof key, by_weight)
                       : NULL;
}

static dnnl_status_t take_in(rt_stage *s, const Made *m, const Arg *a, const void *tensor)
{
    Dnnl *d = state(s);
    const uint8_t *first = (const uint8_t *)tensor - s->weights_at - s->base;
    Copy *kept = a == rt__dnnl_copied(m) ? find_copy(d, first, whose(d, m)) : NULL;
    if (!kept)
        return copy(d, a);
    dnnl_memory_set_data_handle(a->inside, kept->at);
    if (kept->version == s->version && rt__mb_of_step(s) >= s->replicas)
        return dnnl_success;
    kept->version = s->version;
    return copy(d, a);
}

// tensors: in the order of Made.args.
static void call(rt_stage *s, int kernel, const void *const tensors[MAX_ARGS])
{
    Dnnl *d = state(s);
    const Made *m = &d->made[kernel];
    dnnl_exec_arg_t args[MAX_ARGS + 1] = {{0}};
    dnnl_status_t bad = dnnl_success;
    for (int i = 0; i < m->n_args && !bad; i++) {
        const Arg *a = &m->args[i];
        // The library's handle is writable; it writes results only.
        bad = dnnl_memory_set_data_handle(a->outside, (void *)(uintptr_t)tensors[i]);
        if (!bad && a->inside_bytes && !a->result)
            bad = take_in(s, m, a, tensors[i]);
        args[i] = (dnnl_exec_arg_t){a->name, a->inside};
    }
    args[m->n_args] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, m->scratchpad};
    if (!bad)
        bad = dnnl_primitive_execute(m->primitive, d->stream, m->n_args + 1, args);
    for (int i = 0; i < m->n_args && !bad; i++)
        if (m->args[i].inside_bytes && m->args[i].result)
            bad = copy(d, &m->args[i]);
    if (!bad)
        bad = dnnl_stream_wait(d->stream);
    if (bad)
        rt_fail(s, RT_E_KERNEL, "oneDNN's `%s` failed with status %d", m->kernel->key,
                (int)bad);
}

void rt_conv2d(rt_stage *s, int kernel, const void *x, const float *w, const float *b, void *y)
{
    const void *with_bias[MAX_ARGS] = {x, w, b, y}, *without[MAX_ARGS] = {x, w, y};
    call(s, kernel, b ? with_bias : without);
}

void rt_conv2d_grad_input(rt_stage *s, int kernel, const void *dy, const float *w, void *dx)
{
    call(s, kernel, (const void *[MAX_ARGS]){dy, w, dx});
}

void rt_conv2d_grad_weight(rt_stage *s, int kernel, const void *x, const void *dy, float *dw)
{
    call(s, kernel, (const void *[MAX_ARGS]){x, dy, dw});
}

void rt_matmul(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
               void *c)
{
    const void *with_bias[MAX_ARGS] = {a, b, bias, c}, *without[MAX_ARGS] = {a, b, c};
    const rt_product *p = &kernels(s)[kernel].product;
    if (kernels(s)[kernel].fast)
        rt__strassen(&(StrassenCall){p, a, b, bias, c, (float *)(void *)state(s)->scratch,
                                     s->program->threads});
    else
        call(s, kernel, bias ? with_bias : without);
}

const rt_backend rt_dnnl = {.name = "c",
                            .init = dnnl_init,
                            .release = dnnl_release,
                            .pack = rt__dnnl_pack,
                            .unpack = rt__dnnl_unpack,
                            .probe = rt__dnnl_probe,
                            .layout = rt__dnnl_layout};
