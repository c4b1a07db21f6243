// Measures every library kernel of a program by itself, in the ways that the library's heuristics name first, and writes the
// fastest to kernels.json (docs/formats.md), and its plans beside the program. There is no arena: a row's tensors lie in
// memory of its own, and are drawn.
#include "runtime/bf16.h"
#include "runtime/cuda/card/algorithms.h"
#include "runtime/cuda/card/attention.h"
#include "runtime/cuda/card/card.h"
#include "runtime/cuda/card/fastest.h"
#include "runtime/cuda/card/row_tensors.h"
#include "runtime/cuda/private/shared.h"
#include "runtime/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8, PATTERN = 1 << 20 }; // candidates of a row; bytes that are drawn, and repeated

typedef char Name[DNN_IMPLEMENTATIONS];

typedef struct Probe {
    rt_stage *stage;
    Dnn dnn;          // opened where a row is cuDNN's
    rt__plans plans;  // of those that won
    uint8_t *pattern; // of the device's memory
    FILE *out;
    int written;
} Probe;

// One row in the race
typedef struct Entry {
    Probe *probe;
    int row;
    const rt_kernel *kernel;
    Name names[MOST];
    uint8_t *memory;            // of its tensors
    void *tensors[DNN_TENSORS]; // by number, from 1
    // cuDNN's
    DnnWish wish;
    int form;
    rt__plans tried;
    DnnKernel made;
    uint8_t *workspace;
    int64_t workspace_bytes;
} Entry;

// Tensors
// ----------------------------------------------------------------------------------------

// Memory that may be more than there is.
static uint8_t *try_memory(int64_t bytes)
{
    void *at = NULL;
    if (!cudaMalloc(&at, (size_t)bytes))
        return at;
    (void)cudaGetLastError();
    return NULL;
}

// Numbers of both signs and no denormals: what a kernel costs must not depend on them. Two in bf16 make a float that is
// hardly more than the second of them.
static int make_pattern(Probe *p)
{
    uint32_t state = 1;
    rt_bf16 *numbers = malloc(PATTERN);
    for (size_t i = 0; numbers && i < PATTERN / sizeof *numbers; i++) {
        state = state * 1664525 + 1013904223;
        numbers[i] = rt_to_bf16((float)(state >> 16) / 32768.f - 1);
    }
    if (!numbers)
        return rt_fail(p->stage, RT_E_MEMORY, "no memory for numbers");
    int error = rt__card_check(p->stage, cudaMalloc((void **)&p->pattern, PATTERN),
                               "get memory for numbers");
    if (!error)
        error =
            rt__card_check(p->stage,
                           cudaMemcpyAsync(p->pattern, numbers, PATTERN, cudaMemcpyHostToDevice,
                                           rt__card_of(p->stage)->work),
                           "copy");
    if (!error) // what was not pinned may still be read
        error = rt__card_check(p->stage, cudaStreamSynchronize(rt__card_of(p->stage)->work),
                               "go on");
    free(numbers);
    return error;
}

static void draw(const Probe *p, uint8_t *at, int64_t bytes)
{
    for (int64_t done = 0; done < bytes; done += PATTERN) {
        int64_t n = bytes - done < PATTERN ? bytes - done : PATTERN;
        rt__card_check(p->stage,
                       cudaMemcpyAsync(at + done, p->pattern, (size_t)n,
                                       cudaMemcpyDeviceToDevice, rt__card_of(p->stage)->work),
                       "copy");
    }
}

// What is read, and behind it what is written, twice. false: there is not so much memory.
static bool place(Entry *e, rt__race *r)
{
    rt__row_tensors t = rt__row_tensors_of(e->kernel);
    e->memory = try_memory(t.read + 2 * t.written + CARD_ALIGN);
    if (!e->memory)
        return false;
    for (int i = 0; i < DNN_TENSORS; i++)
        e->tensors[i] = t.at[i] < 0 ? NULL : e->memory + t.at[i];
    draw(e->probe, e->memory, t.read);
    r->results = e->memory + t.read;
    r->again = r->results + t.written;
    r->bytes = t.written;
    r->differ = (int32_t *)(void *)(r->again + t.written);
    return true;
}

// Products
// ------------------------------------------------------------------------------------------

static bool take_product(void *of, int i)
{
    const Entry *e = of;
    rt__card *c = rt__card_of(e->probe->stage);
    return rt__products_take(c->products, e->row, e->names[i]);
}

static void run_product(void *of)
{
    const Entry *e = of;
    rt__card *c = rt__card_of(e->probe->stage);
    const rt__operands operands = {.a = e->tensors[PRODUCT_A - 1],
                                   .b = e->tensors[PRODUCT_B - 1],
                                   .bias = e->tensors[PRODUCT_BIAS - 1],
                                   .c = e->tensors[PRODUCT_C - 1],
                                   .aux = e->tensors[PRODUCT_AUX - 1]};
    rt__products_run(e->probe->stage, c->products, e->row, &operands, c->workspace, c->work);
}

static int name_products(Entry *e)
{
    char *names[MOST];
    for (int i = 0; i < MOST; i++)
        names[i] = e->names[i];
    return rt__products_names(rt__card_of(e->probe->stage)->products, e->row, names, MOST);
}

// cuDNN's
// ------------------------------------------------------------------------------------------

// That plans count.
static int64_t most_workspace(const Entry *e)
{
    const rt_kernel *k = e->kernel;
    const rt_conv *c = &k->conv;
    if (k->op == RT_ATTENTION || k->op == RT_ATTENTION_GRAD)
        return card_attention_workspace(k->attention.n * k->attention.heads * k->attention.t,
                                        k->attention.t, k->op == RT_ATTENTION_GRAD);
    return card_convolution_workspace(k->types[0] == RT_BF16, c->c, c->n * c->c * c->h * c->w,
                                      c->n * c->k * c->p * c->q, rt__conv_weight(c)) +
           e->wish.forms[e->form].own_bytes;
}

// The first is what a program takes without a name, whatever it needs.
static bool is_too_large(const Entry *e, int i)
{
    return i > 0 && e->made.workspace_bytes > card_aligned(most_workspace(e));
}

static bool has_workspace(Entry *e)
{
    if (e->made.workspace_bytes <= e->workspace_bytes)
        return true;
    cudaFree(e->workspace);
    e->workspace = try_memory(e->made.workspace_bytes);
    e->workspace_bytes = e->workspace ? e->made.workspace_bytes : 0;
    return e->workspace;
}

static bool take_kernel(void *of, int i)
{
    Entry *e = of;
    DnnMaker m = {.stage = e->probe->stage,
                  .dnn = &e->probe->dnn,
                  .plans = &e->tried,
                  .tf32 = rt__cuda_kernels(e->probe->stage)->tf32 != 0};
    rt__dnn_unmake(&e->made);
    e->wish.implementation = e->names[i];
    return rt__dnn_make_named(&m, &e->wish, e->form, &e->made) && !is_too_large(e, i) &&
           has_workspace(e);
}

static void run_kernel(void *of)
{
    Entry *e = of;
    rt_stage *s = e->probe->stage;
    rt__dnn_run(s, &e->probe->dnn, &e->made, e->tensors, e->workspace, rt__card_of(s)->work);
}

static int name_kernels(Entry *e)
{
    DnnMaker m = {.stage = e->probe->stage, .dnn = &e->probe->dnn};
    return rt__dnn_names(&m, &e->wish, e->form, e->names, MOST);
}

// Rows
// ---------------------------------------------------------------------------------------------

static void refuse(void *of, int i, const char *why)
{
    const Entry *e = of;
    char text[1024];
    snprintf(text, sizeof text, "`%s` is not taken for `%s`: %s", e->names[i], e->kernel->key,
             why);
    rt__report_warning(e->probe->stage, text);
}

static void write_row(Entry *e, int winner, double seconds)
{
    Probe *p = e->probe;
    int64_t workspace = e->made.workspace_bytes;
    if (e->kernel->op == RT_MATMUL)
        workspace = rt__products_workspace(rt__card_of(p->stage)->products, e->row);
    fprintf(p->out,
            "%s\n{\"key\": \"%s\", \"implementation\": \"%s\", \"weight_bytes\": 0, "
            "\"workspace_bytes\": %" PRId64 ", \"scratch_bytes\": %" PRId64
            ", \"copy_bytes\": 0, \"seconds\": %.9g}",
            p->written++ ? "," : "", e->kernel->key, e->names[winner], workspace, workspace,
            seconds);
    fflush(p->out); // there may be no time for all
}

static void keep_plans(Entry *e)
{
    DnnMaker m = {.stage = e->probe->stage, .dnn = &e->probe->dnn, .plans = &e->probe->plans};
    rt__dnn_keep(&m, &e->wish, &e->made);
}

// The first form that has any.
static int find_fastest(Entry *e, rt__race *r, double *seconds)
{
    bool product = e->kernel->op == RT_MATMUL;
    int forms = product ? 1 : e->wish.n_forms;
    for (e->form = 0; e->form < forms; e->form++) {
        memset(e->names, 0, sizeof e->names);
        r->n = product ? name_products(e) : name_kernels(e);
        int best = rt__fastest(e->probe->stage, r, seconds);
        if (best >= 0)
            return best;
    }
    return -1;
}

static void measure_row(Entry *e)
{
    bool product = e->kernel->op == RT_MATMUL;
    rt__race r = {.of = e,
                  .take = product ? take_product : take_kernel,
                  .run = product ? run_product : run_kernel,
                  .refused = refuse};
    double seconds = 0;
    char text[1024];
    if (!place(e, &r)) {
        snprintf(text, sizeof text, "`%s` is not measured: its tensors are too large",
                 e->kernel->key);
        rt__report_warning(e->probe->stage, text);
        return;
    }
    int winner = find_fastest(e, &r, &seconds);
    if (winner < 0 || !r.take(e, winner))
        return; // what programs do then, they say themselves
    write_row(e, winner, seconds);
    if (!product)
        keep_plans(e);
}

static void measure_rows(Probe *p)
{
    const rt_cuda_kernels *kernels = rt__cuda_kernels(p->stage);
    Entry *e = malloc(sizeof *e);
    if (!e) {
        rt_fail(p->stage, RT_E_MEMORY, "no memory for the names of kernels");
        return;
    }
    for (int i = 0; i < p->stage->program->n_kernels && !p->stage->error; i++) {
        *e = (Entry){.probe = p, .row = i, .kernel = &kernels->rows[i]};
        e->wish = rt__dnn_wish(e->kernel, kernels->tf32 != 0);
        measure_row(e);
        cudaStreamSynchronize(rt__card_of(p->stage)->work);
        rt__dnn_unmake(&e->made);
        rt__plans_release(&e->tried);
        cudaFree(e->workspace);
        cudaFree(e->memory);
    }
    free(e);
}

// The whole
// ----------------------------------------------------------------------------------------

static bool has_row(const rt_stage *s, bool product)
{
    for (int i = 0; i < s->program->n_kernels; i++)
        if ((rt__cuda_kernels(s)->rows[i].op == RT_MATMUL) == product)
            return true;
    return false;
}

static int open_libraries(Probe *p)
{
    rt_stage *s = p->stage;
    int error = has_row(s, true) ? rt__products_open(s, &rt__card_of(s)->products, true) : 0;
    return error || !has_row(s, false) ? error : rt__dnn_open(s, &p->dnn, NULL);
}

// What is found is of these libraries and this card.
static int write_all(Probe *p)
{
    rt_stage *s = p->stage;
    char whose[DNN_WHOSE] = "";
    struct cudaDeviceProp of;
    rt__why why;
    int error = rt__card_check(s, cudaGetDeviceProperties(&of, rt__card_of(s)->number),
                               "ask what its device is");
    if (error)
        return error;
    fprintf(p->out, "{\"library\": \"cublasLt %zu, ", rt__products_version());
    if (p->dnn.handle)
        rt__dnn_whose(whose, of.name);
    fprintf(p->out, "%s\", \"isa\": \"%s\", \"threads\": %d, \"kernels\": [",
            p->dnn.handle ? whose : of.name, s->program->isa, s->program->threads);
    measure_rows(p);
    fputs("\n]}\n", p->out);
    char beside[RT__PATH];
    if (!s->error && p->plans.n && rt__plans_beside(beside) &&
        rt__plans_write(&p->plans, beside, whose, &why))
        rt__report_warning(s, why.text);
    return (int)s->error;
}

int rt__card_probe(rt_stage *s, const char *path)
{
    Probe p = {.stage = s};
    uint8_t *nothing;
    int error = s->device->open(s, 0, &nothing);
    s->backend_state = error ? NULL : s->device_state; // so that libraries are released
    if (!error)
        error = open_libraries(&p);
    if (!error)
        error = make_pattern(&p);
    p.out = error ? NULL : fopen(path, "w");
    if (p.out)
        error = write_all(&p);
    if (!error && (!p.out || ferror(p.out) | fclose(p.out)))
        error = rt_fail(s, RT_E_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno));
    else if (p.out && error)
        fclose(p.out);
    rt__plans_release(&p.plans);
    rt__dnn_close(&p.dnn);
    cudaFree(p.pattern);
    return error;
}
