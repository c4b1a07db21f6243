// Makes library kernels from the rows of the table. This is the one file that knows how version 2 of
// oneDNN describes an operation.
//
// A convolution is asked for with exactly the layouts of its row, first by Winograd's algorithm where
// the row says so, so that neighbours fit without copies; only backward-data may choose its weight,
// which no single layout suits. Where the library has nothing good for that (its `ref` is a hundred
// times slower), it chooses all layouts, and else gets plain or channels-last ones; then tensors are
// copied in and out. All of that depends on the row alone.
#include "runtime/kernels/private/dnnl_state.h"
#include "runtime/kernels/private/strassen.h"

#include <dnnl_debug.h>
#include <stdio.h>
#include <string.h>

typedef enum Form { WINOGRAD, AS_THE_ROW, ANY, PLAIN, CHANNELS_LAST, NAIVE, N_FORMS } Form;

typedef union Desc {
    dnnl_convolution_desc_t conv;
    dnnl_matmul_desc_t matmul;
} Desc;

typedef struct Maker {
    rt_stage *stage;
    const Dnnl *d;
    const rt_kernel *kernel;
    Made *made;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t forward, chosen; // forward: the hint of backward kernels
} Maker;

typedef struct Tensors { // of a convolution; hint_w: of the forward kernel that is a hint
    dnnl_memory_desc_t x, w, y, b, hint_w;
} Tensors;

static dnnl_data_type_t data_type(rt_dtype type)
{
    return type == RT_BF16 ? dnnl_bf16 : dnnl_f32;
}

// A weight beside bf16 is f32 outside alone.
static bool narrows_weight(const rt_kernel *k)
{
    return k->types[0] == RT_BF16 && k->types[1] != RT_BF16;
}

static bool depthwise(const rt_conv *c)
{
    return c->groups > 1 && c->groups == c->c && c->groups == c->k;
}

static dnnl_format_tag_t weight_tag(const rt_conv *c, bool plain)
{
    bool wide = c->block == 16, groups = c->groups > 1;
    if (plain || !c->y_blocked)
        return groups ? dnnl_goihw : dnnl_oihw;
    if (!c->x_blocked)
        return wide ? dnnl_Ohwi16o : dnnl_Ohwi8o;
    if (depthwise(c))
        return wide ? dnnl_Goihw16g : dnnl_Goihw8g;
    if (groups)
        return wide ? dnnl_gOIhw16i16o : dnnl_gOIhw8i8o;
    return wide ? dnnl_OIhw16i16o : dnnl_OIhw8i8o;
}

static dnnl_status_t describe_weight(const rt_conv *c, dnnl_format_tag_t tag,
                                     dnnl_data_type_t type, dnnl_memory_desc_t *w)
{
    dnnl_dims_t grouped = {c->groups, c->k / c->groups, c->c / c->groups, c->r, c->s};
    dnnl_dims_t simple = {c->k, c->c, c->r, c->s};
    bool groups = c->groups > 1;
    return dnnl_memory_desc_init_by_tag(w, groups ? 5 : 4, groups ? grouped : simple, type,
                                        tag);
}

dnnl_status_t rt__dnnl_weight(const rt_conv *c, bool plain, dnnl_memory_desc_t *weight)
{
    return describe_weight(c, weight_tag(c, plain), dnnl_f32, weight);
}

// In the library's words for the order of dimensions and blocks; groups divide a shape in another way.
void rt__dnnl_layout(const rt_stage *s, const rt_tensor *t, char *text, size_t size)
{
    const rt_conv *c = &((const rt_kernel *)s->program->kernels)[t->kernel].conv;
    dnnl_format_tag_t tag = weight_tag(c, false);
    if (tag == weight_tag(c, true))
        snprintf(text, size, "plain");
    else if (c->groups > 1)
        snprintf(text, size, "%s of %d groups", dnnl_fmt_tag2str(tag), c->groups);
    else
        snprintf(text, size, "%s", dnnl_fmt_tag2str(tag));
}

static dnnl_format_tag_t image_tag(const rt_conv *c, bool blocked, Form form)
{
    if (form == ANY || form == CHANNELS_LAST)
        return form == ANY ? dnnl_format_tag_any : dnnl_nhwc;
    if (form == PLAIN || form == NAIVE || !blocked)
        return dnnl_nchw;
    return c->block == 16 ? dnnl_nChw16c : dnnl_nChw8c;
}

static dnnl_status_t describe_weights(const rt_kernel *k, Form form, Tensors *t)
{
    const rt_conv *c = &k->conv;
    bool any = form == ANY || form == CHANNELS_LAST ||
               (form == AS_THE_ROW && (k->op == RT_CONV2D_GRAD_INPUT || narrows_weight(k)));
    dnnl_format_tag_t tag =
        any ? dnnl_format_tag_any : weight_tag(c, form == PLAIN || form == NAIVE);
    dnnl_status_t bad =
        describe_weight(c, tag, narrows_weight(k) ? dnnl_bf16 : dnnl_f32, &t->w);
    t->hint_w = t->w;
    if (!bad && k->types[0] == RT_BF16)
        bad = describe_weight(c, dnnl_format_tag_any, dnnl_bf16, &t->hint_w);
    return bad;
}

static dnnl_status_t describe_tensors(const rt_kernel *k, Form form, Tensors *t)
{
    const rt_conv *c = &k->conv;
    dnnl_dims_t x = {c->n, c->c, c->h, c->w}, y = {c->n, c->k, c->p, c->q}, b = {c->k};
    dnnl_data_type_t type = data_type(k->types[0]);
    dnnl_status_t bad =
        dnnl_memory_desc_init_by_tag(&t->x, 4, x, type, image_tag(c, c->x_blocked != 0, form));
    if (!bad)
        bad = dnnl_memory_desc_init_by_tag(&t->y, 4, y, type,
                                           image_tag(c, c->y_blocked != 0, form));
    if (!bad)
        bad = dnnl_memory_desc_init_by_tag(&t->b, 1, b, dnnl_f32, dnnl_a);
    return bad ? bad : describe_weights(k, form, t);
}

// A hint, which is for another op than the row's, is always direct.
static dnnl_status_t describe_conv(const rt_kernel *k, rt_kernel_op op, Form form,
                                   const Tensors *t, dnnl_convolution_desc_t *desc)
{
    const rt_conv *c = &k->conv;
    dnnl_alg_kind_t algorithm =
        form == WINOGRAD && op == k->op ? dnnl_convolution_winograd : dnnl_convolution_direct;
    dnnl_dims_t stride = {c->stride[0], c->stride[1]};
    dnnl_dims_t dilation = {c->dilation[0] - 1, c->dilation[1] - 1}; // 0 is dense
    dnnl_dims_t before = {c->padding[0], c->padding[1]}, after = {c->padding[2], c->padding[3]};
    switch (op) {
    case RT_CONV2D:
        return dnnl_dilated_convolution_forward_desc_init(
            desc, dnnl_forward_training, algorithm, &t->x, op == k->op ? &t->w : &t->hint_w,
            c->bias ? &t->b : NULL, &t->y, stride, dilation, before, after);
    case RT_CONV2D_GRAD_INPUT:
        return dnnl_dilated_convolution_backward_data_desc_init(
            desc, algorithm, &t->x, &t->w, &t->y, stride, dilation, before, after);
    case RT_CONV2D_GRAD_WEIGHT:
        return dnnl_dilated_convolution_backward_weights_desc_init(
            desc, algorithm, &t->x, &t->w, NULL, &t->y, stride, dilation, before, after);
    case RT_MATMUL:
    case RT_ATTENTION:
    case RT_ATTENTION_GRAD: break;
    }
    return dnnl_invalid_arguments;
}

static const char *implementation(const_dnnl_primitive_desc_t desc)
{
    const char *name = NULL;
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name);
    return name ? name : "unknown";
}

static bool naive(const_dnnl_primitive_desc_t desc)
{
    return !strncmp(implementation(desc), "ref", 3);
}

// A few odd shapes of tiny images have nothing but the naive kernel, and that takes milliseconds.
static bool small(const rt_conv *c)
{
    return c->n * c->k * c->p * c->q * (c->c / c->groups) * c->r * c->s <= 1 << 20;
}

static void drop(dnnl_primitive_desc_t *desc)
{
    if (*desc)
        dnnl_primitive_desc_destroy(*desc);
    *desc = NULL;
}

// false: the library has nothing good in this form.
static bool choose_conv(Maker *m, Form form)
{
    Tensors t;
    Desc desc;
    rt_kernel_op op = m->kernel->op;
    if (describe_tensors(m->kernel, form, &t))
        return false;
    if (op != RT_CONV2D &&
        (describe_conv(m->kernel, RT_CONV2D, form, &t, &desc.conv) ||
         dnnl_primitive_desc_create(&m->forward, &desc, m->attr, m->d->engine, NULL)))
        return false;
    bool made =
        !describe_conv(m->kernel, op, form, &t, &desc.conv) &&
        !dnnl_primitive_desc_create(&m->chosen, &desc, m->attr, m->d->engine, m->forward) &&
        (form == NAIVE ? small(&m->kernel->conv) : !naive(m->chosen));
    drop(&m->forward);
    if (!made)
        drop(&m->chosen);
    return made;
}

// Arguments
// -------------------------------------------------------------------------------------------

static dnnl_status_t add_reorder(const Maker *m, Arg *a, const dnnl_memory_desc_t *outside,
                                 const dnnl_memory_desc_t *inside)
{
    const dnnl_memory_desc_t *from = a->result ? inside : outside;
    const dnnl_memory_desc_t *to = a->result ? outside : inside;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t bad = dnnl_memory_create(&a->inside, inside, m->d->engine, DNNL_MEMORY_NONE);
    if (!bad)
        bad = dnnl_reorder_primitive_desc_create(&desc, from, m->d->engine, to, m->d->engine,
                                                 NULL);
    if (!bad)
        bad = dnnl_primitive_create(&a->reorder, desc);
    drop(&desc);
    a->inside_bytes = dnnl_memory_desc_get_size(inside);
    return bad;
}

static dnnl_status_t add_arg(Maker *m, int name, dnnl_query_t query, int index,
                             const dnnl_memory_desc_t *outside)
{
    const dnnl_memory_desc_t *inside = dnnl_primitive_desc_query_md(m->chosen, query, index);
    Arg *a = &m->made->args[m->made->n_args++];
    a->name = name;
    a->result = query == dnnl_query_dst_md || query == dnnl_query_diff_src_md ||
                query == dnnl_query_diff_weights_md;
    dnnl_status_t bad =
        dnnl_memory_create(&a->outside, outside, m->d->engine, DNNL_MEMORY_NONE);
    a->inside = a->outside;
    if (bad || dnnl_memory_desc_equal(outside, inside))
        return bad;
    return add_reorder(m, a, outside, inside);
}

static dnnl_status_t add_conv_args(Maker *m)
{
    Tensors t;
    dnnl_status_t bad = describe_tensors(m->kernel, AS_THE_ROW, &t);
    if (!bad)
        bad = rt__dnnl_weight(&m->kernel->conv, m->kernel->conv.w_plain != 0, &t.w);
    if (bad)
        return bad;
    switch (m->kernel->op) {
    case RT_CONV2D:
        bad = add_arg(m, DNNL_ARG_SRC, dnnl_query_src_md, 0, &t.x);
        bad = bad ? bad : add_arg(m, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, &t.w);
        if (m->kernel->conv.bias)
            bad = bad ? bad : add_arg(m, DNNL_ARG_BIAS, dnnl_query_weights_md, 1, &t.b);
        return bad ? bad : add_arg(m, DNNL_ARG_DST, dnnl_query_dst_md, 0, &t.y);
    case RT_CONV2D_GRAD_INPUT:
        bad = add_arg(m, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, &t.y);
        bad = bad ? bad : add_arg(m, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, &t.w);
        return bad ? bad : add_arg(m, DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, 0, &t.x);
    case RT_CONV2D_GRAD_WEIGHT:
        bad = add_arg(m, DNNL_ARG_SRC, dnnl_query_src_md, 0, &t.x);
        bad = bad ? bad : add_arg(m, DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, 0, &t.y);
        return bad ? bad
                   : add_arg(m, DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md, 0, &t.w);
    case RT_MATMUL:
    case RT_ATTENTION:
    case RT_ATTENTION_GRAD: break;
    }
    return dnnl_invalid_arguments;
}

// Matrix products
// -------------------------------------------------------------------------------------

typedef struct Matrices {
    dnnl_memory_desc_t a, b, c, bias;
} Matrices;

// The dimensions of a batch that are 1 are left out.
static int left_out(const rt_product *p)
{
    return p->batch[0] > 1 ? 0 : p->batch[1] > 1 ? 1 : 2;
}

static dnnl_status_t describe_matrix(const rt_product *p, const int64_t size[2],
                                     const int64_t *stride, dnnl_data_type_t type,
                                     dnnl_memory_desc_t *out)
{
    dnnl_dims_t dims = {p->batch[0], p->batch[1], size[0], size[1]}, strides;
    int skip = left_out(p);
    memcpy(strides, stride, sizeof(int64_t) * 4);
    return dnnl_memory_desc_init_by_strides(out, 4 - skip, dims + skip, type, strides + skip);
}

// Inside, a weight beside bf16 is bf16 in the same layout, so that one copy is for all products. In a layout of its
// own for each, which takes five to fifteen times as long to make, the library would be 2 to 14 % faster.
static dnnl_status_t describe_matrices(const rt_kernel *k, bool inside, Matrices *m)
{
    const rt_product *p = &k->product;
    dnnl_dims_t bias = {1, 1, 1, p->n}, strides = {p->n, p->n, p->n, 1};
    int skip = left_out(p);
    dnnl_data_type_t weight = inside && narrows_weight(k) ? dnnl_bf16 : data_type(k->types[1]);
    dnnl_status_t bad =
        describe_matrix(p, (int64_t[]){p->m, p->k}, p->a, data_type(k->types[0]), &m->a);
    if (!bad)
        bad = describe_matrix(p, (int64_t[]){p->k, p->n}, p->b, weight, &m->b);
    if (!bad)
        bad = describe_matrix(p, (int64_t[]){p->m, p->n}, p->c, data_type(k->types[2]), &m->c);
    if (!bad)
        bad = dnnl_memory_desc_init_by_strides(&m->bias, 4 - skip, bias + skip, dnnl_f32,
                                               strides + skip);
    return bad;
}

static bool choose_matmul(Maker *m)
{
    Matrices t;
    Desc desc;
    const rt_product *p = &m->kernel->product;
    return !describe_matrices(m->kernel, true, &t) &&
           !dnnl_matmul_desc_init(&desc.matmul, &t.a, &t.b, p->bias ? &t.bias : NULL, &t.c) &&
           !dnnl_primitive_desc_create(&m->chosen, &desc, m->attr, m->d->engine, NULL);
}

static dnnl_status_t add_matmul_args(Maker *m)
{
    Matrices t;
    dnnl_status_t bad = describe_matrices(m->kernel, false, &t);
    bad = bad ? bad : add_arg(m, DNNL_ARG_SRC, dnnl_query_src_md, 0, &t.a);
    bad = bad ? bad : add_arg(m, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, 0, &t.b);
    if (m->kernel->product.bias)
        bad = bad ? bad : add_arg(m, DNNL_ARG_BIAS, dnnl_query_weights_md, 1, &t.bias);
    return bad ? bad : add_arg(m, DNNL_ARG_DST, dnnl_query_dst_md, 0, &t.c);
}

// Making
// ----------------------------------------------------------------------------------------------

static dnnl_status_t set_attributes(Maker *m)
{
    dnnl_status_t bad = dnnl_primitive_attr_create(&m->attr);
    if (!bad)
        bad = dnnl_primitive_attr_set_scratchpad_mode(m->attr, dnnl_scratchpad_mode_user);
    if (bad || m->kernel->op != RT_MATMUL || !m->kernel->product.add)
        return bad;
    dnnl_post_ops_t sum = NULL;
    bad = dnnl_post_ops_create(&sum);
    if (!bad)
        bad = dnnl_post_ops_append_sum(sum, 1.f);
    if (!bad)
        bad = dnnl_primitive_attr_set_post_ops(m->attr, sum);
    if (sum)
        dnnl_post_ops_destroy(sum);
    return bad;
}

static bool own(const rt_kernel *kernel)
{
    return kernel->op == RT_MATMUL && kernel->fast;
}

static bool choose(Maker *m)
{
    if (own(m->kernel))
        return rt__strassen_suits(&m->kernel->product);
    if (m->kernel->op == RT_MATMUL)
        return choose_matmul(m);
    for (int form = m->kernel->fast ? WINOGRAD : AS_THE_ROW; form < N_FORMS; form++)
        if (choose_conv(m, (Form)form))
            return true;
    return false;
}

static dnnl_status_t finish(Maker *m)
{
    Made *made = m->made;
    if (own(m->kernel)) {
        snprintf(made->implementation, sizeof made->implementation, "strassen:avx512");
        made->scratchpad_bytes = rt__strassen_scratch(m->stage->program->threads);
        return dnnl_success;
    }
    snprintf(made->implementation, sizeof made->implementation, "%s",
             implementation(m->chosen));
    const dnnl_memory_desc_t *pad =
        dnnl_primitive_desc_query_md(m->chosen, dnnl_query_scratchpad_md, 0);
    made->scratchpad_bytes = dnnl_memory_desc_get_size(pad);
    dnnl_status_t bad =
        dnnl_memory_create(&made->scratchpad, pad, m->d->engine, DNNL_MEMORY_NONE);
    if (!bad)
        bad = m->kernel->op == RT_MATMUL ? add_matmul_args(m) : add_conv_args(m);
    return bad ? bad : dnnl_primitive_create(&made->primitive, m->chosen);
}

int rt__dnnl_make(rt_stage *s, Dnnl *d, const rt_kernel *kernel, Made *made)
{
    Maker m = {.stage = s, .d = d, .kernel = kernel, .made = made};
    made->kernel = kernel;
    int error = 0;
    if (set_attributes(&m) || !choose(&m))
        error = rt_fail(s, RT_E_KERNEL,
                        "oneDNN has no fast kernel for `%s` with this instruction set",
                        kernel->key);
    else if (finish(&m))
        error = rt_fail(s, RT_E_KERNEL, "oneDNN could not make the kernel `%s`", kernel->key);
    else if (kernel->implementation &&
             strcmp(kernel->implementation, made->implementation) != 0)
        error =
            rt_fail(s, RT_E_KERNEL,
                    "the plan was made for oneDNN's `%s` as `%s`, here it is `%s`: the same "
                    "bits need the same library, instruction set and threads; else build "
                    "again on this machine",
                    kernel->implementation, kernel->key, made->implementation);
    drop(&m.chosen);
    if (m.attr)
        dnnl_primitive_attr_destroy(m.attr);
    return error;
}

void rt__dnnl_unmake(Made *made)
{
    for (int i = 0; i < made->n_args; i++) {
        Arg *a = &made->args[i];
        if (a->reorder)
            dnnl_primitive_destroy(a->reorder);
        if (a->inside != a->outside)
            dnnl_memory_destroy(a->inside);
        if (a->outside)
            dnnl_memory_destroy(a->outside);
    }
    if (made->scratchpad)
        dnnl_memory_destroy(made->scratchpad);
    if (made->primitive)
        dnnl_primitive_destroy(made->primitive);
}
