// The kinds of nodes: one row each, how its description becomes calls of layers. Operands have passed
// the row's count; what is wrong about them otherwise says the layer, at the node's place.
#include "frontend/profile/import.h"

#include <inttypes.h>
#include <string.h>

static const int64_t zero[] = {0, 0}, one[] = {1, 1};

static Shape operand_shape(const Maker *m, int i)
{
    return m->im->made[m->from[i]].node->shape;
}

// A field that must be there: a whole number from 1.
static bool wanted(const Maker *m, const char *key, int i, int64_t *out)
{
    if (field_int(description_field(m->d, key, i), out) && *out > 0)
        return true;
    if (key)
        maker_wrong(m, "`%s=` and a whole number from 1 are expected in `%.80s`", key,
                    m->node->description);
    else
        maker_wrong(m, "a whole number from 1 is expected in place %d of `%.80s`", i + 1,
                    m->node->description);
    return false;
}

// A field that may be missing; fallback NULL: it must not.
static bool pair(const Maker *m, const char *key, const int64_t *fallback, int64_t out[2])
{
    const char *text = description_field(m->d, key, 0);
    for (int i = 0; !text && fallback && i < 2; i++)
        out[i] = fallback[i];
    if ((!text && fallback) || field_pair(text, out))
        return true;
    maker_wrong(m, "`%s=` takes a number or two, as in `%s=(3, 3)`, in `%.80s`", key, key,
                m->node->description);
    return false;
}

static bool flag(const Maker *m, const char *key, bool fallback, bool *out)
{
    const char *text = description_field(m->d, key, 0);
    *out = fallback;
    if (!text || field_bool(text, out))
        return true;
    maker_wrong(m, "`%s=` is True or False, not `%.40s`", key, text);
    return false;
}

static bool number(const Maker *m, const char *key, double fallback, double *out)
{
    const char *text = description_field(m->d, key, 0);
    *out = fallback;
    if (!text || field_real(text, out))
        return true;
    maker_wrong(m, "`%s=` is a number, not `%.40s`", key, text);
    return false;
}

// The operand has as many channels (axis 1) or features (axis -1) as the description says.
static bool agrees(const Maker *m, int axis, int64_t described)
{
    Shape x = operand_shape(m, 0);
    int at = axis < 0 ? x.rank + axis : axis;
    if (at < 0 || at >= x.rank || x.dim[at] == described)
        return true; // of too few dimensions the layer complains
    maker_wrong(m, "the description says %" PRId64 " %s, but `%.80s` gives %" PRId64, described,
                axis < 0 ? "features" : "channels", m->im->profile->nodes.items[m->from[0]].id,
                x.dim[at]);
    return false;
}

static Tensor make_input(Maker *m)
{
    Importer *im = m->im;
    if (im->label[m->index])
        return label_make(im, m->node, m->node->loc, (Shape){0});
    const Kind *reader = im->reader[m->index];
    bool tokens = reader && reader->make == make_embedding;
    bool lengths =
        reader && (reader->make == make_bidirectional || reader->make == make_attention);
    Line *l = line_begin(im, m->node, "input", m->node->id);
    vec_push(im->arena, &l->args, ((Arg){.kind = ARG_STRING, .s = m->node->id}));
    vec_push(im->arena, &l->args,
             ((Arg){.kind = ARG_TYPE, .i = tokens || lengths ? LAYER_I32 : LAYER_F32}));
    for (int i = 0; !lengths && i < im->script->input.rank; i++)
        line_int(l, im, im->script->input.dim[i]);
    return line_make(im, l);
}

static Tensor make_plain(Maker *m)
{
    return line_make(m->im, maker_line(m, m->im->kind[m->index]->layer));
}

static Tensor make_conv(Maker *m)
{
    int64_t in, out, kernel[2], stride[2], padding[2], dilation[2], groups = 1;
    bool bias;
    if (!wanted(m, NULL, 0, &in) || !wanted(m, NULL, 1, &out) ||
        !pair(m, "kernel_size", NULL, kernel) || !pair(m, "stride", one, stride) ||
        !pair(m, "padding", zero, padding) || !pair(m, "dilation", one, dilation) ||
        !flag(m, "bias", true, &bias) || !agrees(m, 1, in))
        return NO_TENSOR;
    if (description_field(m->d, "groups", 0) && !wanted(m, "groups", 0, &groups))
        return NO_TENSOR;
    Line *l = maker_line(m, "conv2d");
    line_int(l, m->im, out);
    line_pair(l, m->im, "kernel", kernel, NULL);
    line_pair(l, m->im, "stride", stride, one);
    line_pair(l, m->im, "padding", padding, zero);
    line_pair(l, m->im, "dilation", dilation, one);
    line_option(l, m->im, "groups", groups, 1);
    line_flag(l, m->im, "bias", bias, true);
    return line_make(m->im, l);
}

static Tensor make_linear(Maker *m)
{
    int64_t in, out;
    bool bias;
    if (!wanted(m, "in_features", 0, &in) || !wanted(m, "out_features", 0, &out) ||
        !flag(m, "bias", true, &bias) || !agrees(m, -1, in))
        return NO_TENSOR;
    Line *l = maker_line(m, "linear");
    line_int(l, m->im, out);
    line_flag(l, m->im, "bias", bias, true);
    return line_make(m->im, l);
}

static Tensor make_batch_norm(Maker *m)
{
    int64_t channels;
    double eps, momentum;
    bool affine, track;
    if (!wanted(m, NULL, 0, &channels) || !number(m, "eps", 1e-5, &eps) ||
        !number(m, "momentum", 0.1, &momentum) || !flag(m, "affine", true, &affine) ||
        !flag(m, "track_running_stats", true, &track) || !agrees(m, 1, channels))
        return NO_TENSOR;
    if (!affine || !track)
        return maker_wrong(m, "only affine=True with track_running_stats=True is known");
    Line *l = maker_line(m, "batch_norm");
    line_number(l, m->im, "eps", eps, 1e-5);
    line_number(l, m->im, "momentum", momentum, 0.1);
    return line_make(m->im, l);
}

// A pooling of the whole image is a mean over it.
static bool is_global(const Maker *m, const int64_t kernel[2], const int64_t padding[2])
{
    Shape x = operand_shape(m, 0);
    return x.rank == 4 && kernel[0] == x.dim[2] && kernel[1] == x.dim[3] && !padding[0] &&
           !padding[1];
}

static Tensor make_pool(Maker *m)
{
    const char *layer = m->im->kind[m->index]->layer;
    bool average = !strcmp(layer, "avg_pool2d"), ceil_mode, count;
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    if (!pair(m, "kernel_size", NULL, kernel) || !pair(m, "stride", kernel, stride) ||
        !pair(m, "padding", zero, padding) || !pair(m, "dilation", one, dilation) ||
        !flag(m, "ceil_mode", false, &ceil_mode) || !flag(m, "count_include_pad", true, &count))
        return NO_TENSOR;
    if (average && is_global(m, kernel, padding))
        return line_make(m->im, maker_line(m, "global_avg_pool"));
    Line *l = maker_line(m, layer);
    line_pair(l, m->im, "kernel", kernel, NULL);
    line_pair(l, m->im, "stride", stride, kernel);
    line_pair(l, m->im, "padding", padding, zero);
    line_pair(l, m->im, "dilation", dilation, one);
    line_flag(l, m->im, "ceil_mode", ceil_mode, false);
    line_flag(l, m->im, "count_include_pad", count, true);
    return line_make(m->im, l);
}

static Tensor make_adaptive_pool(Maker *m)
{
    int64_t size[2];
    const char *text = description_field(m->d, "output_size", 0);
    if (!field_pair(text, size) || size[0] != 1 || size[1] != 1)
        return maker_wrong(m, "only output_size=(1, 1) is known, not `%.40s`",
                           text ? text : "none");
    return make_plain(m);
}

static Tensor make_dropout(Maker *m)
{
    double rate;
    if (!number(m, "p", 0.5, &rate))
        return NO_TENSOR;
    if (!(rate >= 0 && rate < 1))
        return maker_wrong(m, "`p=` is from 0 to below 1, not %g", rate);
    Line *l = maker_line(m, "dropout");
    line_real(l, m->im, rate);
    return line_make(m->im, l);
}

// An edge stands once in the file, so a sum of one operand is of that with itself.
static Tensor make_add(Maker *m)
{
    Line *l = maker_line(m, "add");
    line_tensor(l, m->im, m->im->made[m->from[m->n - 1]]);
    return line_make(m->im, l);
}

static Tensor make_concat(Maker *m)
{
    int64_t axis;
    if (!field_int(description_field(m->d, NULL, 0), &axis))
        return maker_wrong(m,
                           "the dimension along which it joins is expected, as in Concat(1)");
    Line *l = maker_line(m, m->n > 16 ? "concat_list" : "concat");
    for (int i = 1; i < m->n; i++)
        line_tensor(l, m->im, m->im->made[m->from[i]]);
    line_option(l, m->im, "axis", axis, 1);
    if (m->n > 1 && !m->im->joined++)
        m->im->first_joined = m->node;
    return line_make(m->im, l);
}

// View(n): the batch, which it has from a Size, and n behind it; -1 is all the rest.
static Tensor make_view(Maker *m)
{
    int64_t dims[MAX_RANK];
    int n = m->d->fields.n;
    Shape x = operand_shape(m, 0);
    if (n < 1 || n >= MAX_RANK)
        return maker_wrong(m, "1 to %d dimensions are expected, as in View(1000)",
                           MAX_RANK - 1);
    for (int i = 0; i < n; i++)
        if (!field_int(description_field(m->d, NULL, i), &dims[i]))
            return maker_wrong(m, "dimensions are whole numbers, as in View(-1)");
    int64_t all = shape_count(x) / x.dim[0];
    if (n == 1 && (dims[0] == -1 || dims[0] == all))
        return line_make(m->im, maker_line(m, "flatten"));
    Line *l = maker_line(m, "reshape");
    for (int i = 0; i < n; i++)
        line_int(l, m->im, dims[i]);
    return line_make(m->im, l);
}

// An axis without its first element (slice), or with a zero behind its last (pad).
static Tensor move(Maker *m, Tensor x, const char *kind, int axis, const char *name)
{
    bool pads = !strcmp(kind, "pad");
    if (!x.node)
        return x;
    Line *l = line_begin(m->im, m->node, kind, name);
    line_tensor(l, m->im, x);
    line_int(l, m->im, pads ? 0 : 1);
    line_int(l, m->im, pads ? 1 : x.node->shape.dim[axis] - 1);
    line_option(l, m->im, "axis", axis, 1);
    return line_make(m->im, l);
}

// `x[:, :, 1:, 1:]`, as NASNet's halving of images has it. Where the file says that it is as large as
// before, a row and a column of zeros were put behind the image first, which is no node of its own.
static Tensor crop(Maker *m)
{
    const ProfileNode *of = &m->im->profile->nodes.items[m->from[0]];
    Shape x = operand_shape(m, 0);
    const char *id = m->node->id;
    Arena *a = m->im->arena;
    if (x.rank != 4 || x.dim[2] < 2 || x.dim[3] < 2)
        return maker_wrong(m,
                           "without an index it is a part of images, x[:, :, 1:, 1:], but "
                           "its operand is %s",
                           shape_text(a, x));
    double before = of->activation_bytes, now = m->node->activation_bytes;
    double area = (double)(x.dim[2] * x.dim[3]),
           inner = (double)((x.dim[2] - 1) * (x.dim[3] - 1));
    bool same = now <= 0 || before <= 0 || now == before;
    if (!same && now * area != before * inner)
        return maker_wrong(
            m,
            "without an index it is x[:, :, 1:, 1:]: activation_size=%.0f is neither that of "
            "`%.80s`, %.0f, nor %.0f without a row and a column",
            now, of->id, before, before * inner / area);
    Tensor t = move(m, m->im->made[m->from[0]], "slice", 2, arena_printf(a, "%s_rows", id));
    if (!same)
        return move(m, t, "slice", 3, id);
    t = move(m, t, "slice", 3, arena_printf(a, "%s_columns", id));
    t = move(m, t, "pad", 2, arena_printf(a, "%s_padded", id));
    return move(m, t, "pad", 3, id);
}

// Of our own profiles: the label is the operand that nothing else reads.
static Tensor make_cross_entropy(Maker *m)
{
    bool first = m->im->label[m->from[0]];
    Line *l = line_begin(m->im, m->node, "cross_entropy", m->node->id);
    line_tensor(l, m->im, m->im->made[m->from[first]]);
    line_tensor(l, m->im, m->im->made[m->from[!first]]);
    return line_make(m->im, l);
}

static Tensor make_item(Maker *m)
{
    int64_t index;
    if (!m->n) { // of `hidden`
        m->im->absent[m->index] = ZERO_STATE;
        return NO_TENSOR;
    }
    const Tensor *parts = m->im->parts[m->from[0]];
    bool indexed = field_int(description_field(m->d, NULL, 0), &index) && index >= 0;
    if (parts && indexed) {
        Tensor t = index < PARTS ? parts[index] : NO_TENSOR;
        m->im->absent[m->index] = t.node ? PRESENT : NO_PART;
        return t;
    }
    if (!m->d->fields.n)
        return crop(m);
    if (!indexed || index)
        return maker_wrong(m, "part %.20s of `%.80s`: it has one output",
                           description_field(m->d, NULL, 0),
                           m->im->profile->nodes.items[m->from[0]].id);
    return m->im->made[m->from[0]];
}

static const Kind kinds[] = {
    {"Input", NULL, 0, 0, true, make_input},
    {"Conv2d", "conv2d", 1, 1, true, make_conv},
    {"Linear", "linear", 1, 1, true, make_linear},
    {"BatchNorm2d", "batch_norm", 1, 1, true, make_batch_norm},
    {"ReLU", "relu", 1, 1, true, make_plain},
    {"MaxPool2d", "max_pool2d", 1, 1, true, make_pool},
    {"AvgPool2d", "avg_pool2d", 1, 1, true, make_pool},
    {"AdaptiveAvgPool2d", "global_avg_pool", 1, 1, true, make_adaptive_pool},
    {"Dropout", "dropout", 1, 1, true, make_dropout},
    {"Add", "add", 1, 2, true, make_add},
    {"Concat", "concat", 1, -1, true, make_concat},
    {"View", "reshape", 1, 1, true, make_view},
    {"Size", NULL, 1, 1, false, NULL},
    {"__getitem__", NULL, 0, 1, true, make_item},
    {"Embedding", "embedding", 1, 1, true, make_embedding},
    {"LSTM", "lstm", 1, 2, true, make_lstm},
    {"EmuBidirLSTM", "lstm", 2, 2, true, make_bidirectional},
    {"RecurrentAttention", NULL, 3, 3, true, make_attention},
    {"Classifier", "linear", 1, 1, true, make_classifier},
    {"hidden", NULL, 0, 0, false, NULL},
    {"cross_entropy", "cross_entropy", 2, 2, true, make_cross_entropy},
};

bool kind_is_loss(const Kind *k)
{
    return k->make == make_cross_entropy;
}

const Kind *kind_find(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    while (n && name[n - 1] >= '0' && name[n - 1] <= '9')
        n--;
    return n == strlen(kinds[0].name) && !strncmp(name, kinds[0].name, n) ? &kinds[0] : NULL;
}

const char *kind_names(Arena *a)
{
    const char *s = kinds[0].name;
    for (size_t i = 1; i < sizeof kinds / sizeof *kinds; i++)
        s = arena_printf(a, "%s %s", s, kinds[i].name);
    return s;
}
