// Bias and relu are part of the convolution's graph where an engine fuses them, else a graph of their own, behind it.
#include "runtime/cuda/card/convolutions.h"

#include "runtime/cuda/card/attention.h"
#include "runtime/report.h"

#include <stdio.h>
#include <stdlib.h>

// The library has engines for channels in packs of 16 bytes only.
static bool wants_sums(const rt_kernel *row)
{
    return row->epilogue == RT_SUMS && row->conv.k % 8 == 0;
}

static bool has_relu(const rt_kernel *row)
{
    return row->epilogue == RT_RELU;
}

// Tensors
// --------------------------------------------------------------------------------------------

// With one channel, or one pixel, both are the same; then engines know channels last better.
static DnnShape image(int64_t n, int64_t c, int64_t h, int64_t w, bool channels_last)
{
    return channels_last || c == 1 || h * w == 1 ? rt__dnn_channels_last(n, c, h, w)
                                                 : rt__dnn_plain(n, c, h, w);
}

static DnnShape x_shape(const rt_conv *c)
{
    return image(c->n, c->c, c->h, c->w, c->channels_last != 0);
}

static DnnShape w_shape(const rt_conv *c)
{
    return image(c->k, c->c / c->groups, c->r, c->s, c->channels_last != 0);
}

static DnnShape y_shape(const rt_conv *c)
{
    return image(c->n, c->k, c->p, c->q, c->channels_last != 0);
}

static int64_t y_bytes(const rt_kernel *row)
{
    const rt_conv *c = &row->conv;
    return c->n * c->k * c->p * c->q * (row->types[0] == RT_BF16 ? 2 : 4);
}

// Graphs
// --------------------------------------------------------------------------------------------

// Of images and weights.
static cudnnDataType_t type_of(const rt_kernel *row)
{
    return row->types[0] == RT_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

static DnnDesc convolve(DnnParts *p, const rt_kernel *row, DnnDesc y)
{
    const rt_conv *conv = &row->conv;
    DnnDesc x = rt__dnn_tensor(p, type_of(row), x_shape(conv), DNN_X);
    DnnDesc w = rt__dnn_tensor(p, type_of(row), w_shape(conv), DNN_W);
    return rt__dnn_convolution(p, row->op, conv, x, w, y);
}

// Bias and relu of what the convolution made.
static void finish(DnnParts *p, const rt_kernel *row, DnnDesc y)
{
    const rt_conv *conv = &row->conv;
    DnnDesc out = rt__dnn_tensor(p, type_of(row), y_shape(conv), DNN_Y);
    if (conv->bias) {
        DnnShape channels = rt__dnn_channels_last(1, conv->k, 1, 1);
        DnnDesc b = rt__dnn_tensor(p, CUDNN_DATA_FLOAT, channels, DNN_B);
        DnnDesc sum =
            has_relu(row) ? rt__dnn_tensor(p, CUDNN_DATA_FLOAT, y_shape(conv), 0) : out;
        y = rt__dnn_pointwise(p, CUDNN_POINTWISE_ADD, y, b, sum);
    }
    if (has_relu(row))
        rt__dnn_pointwise(p, CUDNN_POINTWISE_RELU_FWD, y, NULL, out);
}

static void bare(DnnParts *p, const void *what, int part)
{
    const rt_kernel *row = what;
    (void)part;
    convolve(p, row, rt__dnn_tensor(p, type_of(row), y_shape(&row->conv), DNN_Y));
}

static void with_sums(DnnParts *p, const void *what, int part)
{
    const rt_kernel *row = what;
    const DnnShape channels = rt__dnn_channels_last(1, row->conv.k, 1, 1);
    (void)part;
    DnnDesc y = convolve(p, row, rt__dnn_tensor(p, type_of(row), y_shape(&row->conv), DNN_Y));
    rt__dnn_sums(p, y, rt__dnn_tensor(p, CUDNN_DATA_FLOAT, channels, DNN_SUM),
                 rt__dnn_tensor(p, CUDNN_DATA_FLOAT, channels, DNN_SQUARES));
}

static void fused(DnnParts *p, const void *what, int part)
{
    const rt_kernel *row = what;
    (void)part;
    DnnDesc y = rt__dnn_tensor(p, CUDNN_DATA_FLOAT, y_shape(&row->conv), 0);
    finish(p, row, convolve(p, row, y));
}

static void split(DnnParts *p, const void *what, int part)
{
    const rt_kernel *row = what;
    DnnDesc y = rt__dnn_tensor(p, type_of(row), y_shape(&row->conv), DNN_OWN);
    if (part == 0)
        convolve(p, row, y);
    else
        finish(p, row, y);
}

static DnnWish convolution_wish(const rt_kernel *row, bool tf32)
{
    bool bf16 = row->types[0] == RT_BF16, more = row->conv.bias || has_relu(row);
    unsigned allowed = (bf16 || tf32 ? DNN_CORES : 0) | (row->fast ? DNN_FAST : 0);
    DnnWish wish = {.key = row->key, .implementation = row->implementation, .what = row};
    if (more) {
        wish.forms[0] = (DnnForm){fused, 1, {allowed, 0}, 0};
        // Engines without products are noted as if they used tensor cores.
        wish.forms[1] = (DnnForm){split, 2, {allowed, DNN_CORES}, y_bytes(row)};
    } else if (wants_sums(row)) {
        wish.forms[0] = (DnnForm){with_sums, 1, {allowed, 0}, 0};
        wish.forms[1] = (DnnForm){bare, 1, {allowed, 0}, 0};
    } else {
        wish.forms[0] = (DnnForm){bare, 1, {allowed, 0}, 0};
    }
    wish.n_forms = more || wants_sums(row) ? 2 : 1;
    return wish;
}

int rt__dnn_convolution_kernel(const DnnMaker *m, const rt_kernel *row, DnnKernel *k)
{
    DnnWish wish = convolution_wish(row, m->tf32);
    return rt__dnn_make(m, &wish, k);
}

// All rows of a program
// --------------------------------------------------------------------------------------------

struct rt__convolutions {
    Dnn dnn;
    const rt_kernel *rows;
    int n;
    DnnKernel of[];
};

static bool is_convolution(const rt_kernel *row)
{
    return row->op == RT_CONV2D || row->op == RT_CONV2D_GRAD_INPUT ||
           row->op == RT_CONV2D_GRAD_WEIGHT;
}

DnnWish rt__dnn_wish(const rt_kernel *row, bool tf32)
{
    if (row->op == RT_ATTENTION || row->op == RT_ATTENTION_GRAD)
        return rt__dnn_attention_wish(row);
    return is_convolution(row) ? convolution_wish(row, tf32) : (DnnWish){.n_forms = 0};
}

static int make_one(const DnnMaker *m, const rt_kernel *row, DnnKernel *k)
{
    DnnWish wish = rt__dnn_wish(row, m->tf32);
    return wish.n_forms ? rt__dnn_make(m, &wish, k) : 0;
}

// Which the library does not do at once.
static void say_split(const DnnMaker *m, const rt_kernel *row, int n)
{
    char text[1024];
    snprintf(
        text, sizeof text,
        "cuDNN %zu has no engine that does all of `%s`%s at once: bias, relu or sums are computed behind it, "
        "which takes longer",
        cudnn.GetVersion(), row->key, n > 1 ? " and others" : "");
    rt__report_warning(m->stage, text);
}

static int make_all(const DnnMaker *m, const rt_kernel *rows, rt__convolutions *made)
{
    int error = 0, split = 0, first = 0;
    for (int i = 0; i < made->n && !error; i++) {
        error = make_one(m, &rows[i], &made->of[i]);
        if (made->of[i].form > 0)
            first = split++ ? first : i;
    }
    if (split && !error)
        say_split(m, &rows[first], split);
    return error;
}

void rt__dnn_whose(char whose[DNN_WHOSE], const char *card)
{
    snprintf(whose, DNN_WHOSE, "cuDNN %zu, %s", cudnn.GetVersion(), card ? card : "");
}

static int make_with_plans(const DnnMaker *m, const rt_kernel *rows,
                           const rt__convolutions_options *o, rt__convolutions *made)
{
    char whose[DNN_WHOSE];
    rt__plans plans = {0};
    rt__plan_folder folder = {.whose = whose};
    rt__why why;
    DnnMaker keeper = *m;
    rt__dnn_whose(whose, o->card);
    if (o->plans && rt__plans_read(&plans, o->plans, whose, &why))
        rt__report_warning(m->stage, why.text);
    keeper.plans = &plans;
    if (o->folder) {
        snprintf(folder.path, sizeof folder.path, "%s", o->folder);
        keeper.folder = &folder;
    }
    int error = make_all(&keeper, rows, made);
    bool write = !error && !o->folder && plans.changed;
    if (write && rt__plans_write(&plans, o->plans, whose, &why))
        rt__report_warning(m->stage, why.text);
    rt__plans_release(&plans);
    return error;
}

int rt__convolutions_open(rt_stage *s, const rt_kernel *rows, int n_rows,
                          const rt__convolutions_options *o, rt__convolutions **made)
{
    rt__convolutions *c = calloc(1, sizeof *c + (size_t)n_rows * sizeof *c->of);
    *made = c;
    if (!c)
        return rt_fail(s, RT_E_MEMORY, "no memory for %d kernels", n_rows);
    c->rows = rows;
    c->n = n_rows;
    int error = rt__dnn_open(s, &c->dnn, o->properties);
    if (error)
        return error;
    DnnMaker m = {.stage = s, .dnn = &c->dnn, .tf32 = o->tf32};
    return o->plans || o->folder ? make_with_plans(&m, rows, o, c) : make_all(&m, rows, c);
}

void rt__convolutions_close(rt__convolutions *made)
{
    if (!made)
        return;
    for (int i = 0; i < made->n; i++)
        rt__dnn_unmake(&made->of[i]);
    rt__dnn_close(&made->dnn);
    free(made);
}

const DnnKernel *rt__convolutions_kernel(const rt__convolutions *made, int row)
{
    return &made->of[row];
}

bool rt__convolutions_sums(const rt__convolutions *made, int row)
{
    return wants_sums(&made->rows[row]) && made->of[row].form == 0;
}

int64_t rt__convolutions_workspace(const rt__convolutions *made)
{
    int64_t most = 0;
    for (int i = 0; i < made->n; i++)
        most = made->of[i].workspace_bytes > most ? made->of[i].workspace_bytes : most;
    return most;
}

void rt__convolutions_run(rt_stage *s, rt__convolutions *made, int row,
                          void *const tensors[DNN_TENSORS], void *workspace, void *stream)
{
    rt__dnn_run(s, &made->dnn, &made->of[row], tensors, workspace, stream);
}
