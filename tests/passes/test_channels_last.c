// Images channels last: a whole model as text, and each rule of passes/images.c that is not that of images in blocks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

static Case *laid_out(const char *text, const char *passes)
{
    Case *t = case_new(text);
    t->c.images = IMAGES_CHANNELS_LAST;
    case_run(t, passes);
    return t;
}

// "NAME = OP INPUT... [LAYOUT]", or without names; leaves only where they are not plain.
static char *as_text(const Case *t, bool names)
{
    Text out = {0};
    text_puts(&out, "");
    for (int i = 0; i < t->c.graph->nodes.n; i++) {
        const Node *n = t->c.graph->nodes.items[i];
        if (node_is(n, 'L') && n->layout == LAYOUT_PLAIN)
            continue;
        text_printf(&out, "%s%s%s", names ? n->name : "", names ? " = " : "",
                    op_info[n->op].name);
        for (int k = 0; k < n->n_inputs && names; k++)
            text_printf(&out, " %s", n->inputs[k]->name);
        if (n->layout != LAYOUT_PLAIN)
            text_printf(&out, " %s", layout_name[n->layout]);
        text_puts(&out, "\n");
        if (n->layout != LAYOUT_KERNEL)
            assert_int_equal(n->bytes, node_logical_bytes(n));
    }
    return out.data;
}

static void expect(const char *text, const char *passes, const char *lines)
{
    Case *t = laid_out(text, passes);
    char *got = as_text(t, true);
    if (strcmp(got, lines) != 0)
        fail_msg("expected\n%s\ngot\n%s", lines, got);
    free(got);
    case_free(t);
}

// Flattened behind dropout, which is bound to the plain order, as a view is.
static const char cnn[] =
    "graph cnn micro_batch 4\n"
    "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n"
    "w1 = param {shape=[16,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "g = param {shape=[16], dtype=\"f32\", init=\"normal\"}\n"
    "b = param {shape=[16], dtype=\"f32\", init=\"normal\"}\n"
    "w2 = param {shape=[5,16,1,1], dtype=\"f32\", init=\"normal\"}\n"
    "w3 = param {shape=[16,1,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "w4 = param {shape=[10,336], dtype=\"f32\", init=\"normal\"}\n"
    "t = input {shape=[4], dtype=\"i32\", role=\"target\"}\n"
    "c1 = conv2d x w1 {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
    "n1 = batch_norm c1 g b {eps=1e-5}\n"
    "r1 = relu n1\n"
    "c2 = conv2d r1 w2 {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\n"
    "c3 = conv2d r1 w3 {stride=[1,1], padding=[1,1,1,1], dilation=[1,1], groups=16}\n"
    "cat = concat c2 c3 {axis=1}\n"
    "p = max_pool2d cat {kernel=[2,2], stride=[2,2], padding=[0,0,0,0], dilation=[1,1]}\n"
    "d = dropout p {rate=0.5, stream=1}\n"
    "f = reshape d {shape=[4,336]}\n"
    "y = linear f w4\n"
    "l = cross_entropy y t\n"
    "loss l\n"
    "output y\n";

static void a_model(void **state)
{
    (void)state;
    expect(cnn, "autodiff,fuse,layout",
           "w1 = param kernel\n"
           "w2 = param kernel\n"
           "w3 = param kernel\n"
           "x.channels_last = reorder x channels_last\n"
           "c1 = conv2d x.channels_last w1 channels_last\n"
           "n1 = batch_norm c1 g b channels_last\n"
           "r1 = relu n1 channels_last\n"
           "c2 = conv2d r1 w2 channels_last\n"
           "c3 = conv2d r1 w3 channels_last\n"
           "cat = concat c2 c3 channels_last\n"
           "p = max_pool2d cat channels_last\n"
           "p.1 = result p kernel\n"
           "p.plain = reorder p\n"
           "d = dropout p.plain\n"
           "f = reshape d\n"
           "y = linear f w4\n"
           "l = cross_entropy y t\n"
           "d_y = cross_entropy_grad y t l.1 seed\n"
           "d_w4 = linear_grad_weight f d_y\n"
           "w4.accumulate = accumulate w4.grad d_w4\n"
           "d_f = linear_grad_input d_y w4\n"
           "d_d = reshape d_f\n"
           "d_p = dropout d_d\n"
           "d_p.channels_last = reorder d_p channels_last\n"
           "d_cat = max_pool2d_grad d_p.channels_last p.1 channels_last\n"
           "d_c2 = slice d_cat channels_last\n"
           "d_c3 = slice d_cat channels_last\n"
           "d_w3 = conv2d_grad_weight r1 d_c3 kernel\n"
           "w3.grad = accumulator kernel\n"
           "w3.accumulate = accumulate w3.grad d_w3\n"
           "d_r1 = conv2d_grad_input d_c3 w3 channels_last\n"
           "d_w2 = conv2d_grad_weight r1 d_c2 kernel\n"
           "w2.grad = accumulator kernel\n"
           "w2.accumulate = accumulate w2.grad d_w2\n"
           "d_r1_2 = conv2d_grad_input d_c2 w2 channels_last\n"
           "d_r1.sum = add d_r1 d_r1_2 channels_last\n"
           "d_n1 = relu_grad d_r1.sum r1 channels_last\n"
           "d_c1 = batch_norm_grad c1 d_n1 g n1.1 n1.2 channels_last\n"
           "g.accumulate = accumulate g.grad d_g\n"
           "b.accumulate = accumulate b.grad d_b\n"
           "x.channels_last_2 = reorder x channels_last\n"
           "d_w1 = conv2d_grad_weight x.channels_last_2 d_c1 kernel\n"
           "w1.grad = accumulator kernel\n"
           "w1.accumulate = accumulate w1.grad d_w1\n");
}

// Two convolutions that share a weight want it alike whatever their strides are. One that others read is plain, and
// is turned for convolutions.
static void weights_are_their_kernels(void **state)
{
    (void)state;
    expect("graph g micro_batch 4\n"
           "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n"
           "w = param {shape=[3,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
           "v = param {shape=[3,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
           "a = conv2d x w {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "b = conv2d a w {stride=[2,2], padding=[1,1,1,1], dilation=[1,1]}\n"
           "e = tanh v\n"
           "c = conv2d b e {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "d = conv2d c v {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "m = global_avg_pool d\n"
           "f = reshape m {shape=[12]}\n"
           "t = constant {shape=[12], dtype=\"f32\", value=1}\n"
           "l = mse f t\nloss l\n",
           "autodiff,layout",
           "w = param kernel\n"
           "x.channels_last = reorder x channels_last\n"
           "a = conv2d x.channels_last w channels_last\n"
           "b = conv2d a w channels_last\n"
           "e = tanh v\n"
           "e.channels_last = reorder e channels_last\n"
           "c = conv2d b e.channels_last channels_last\n"
           "v.channels_last = reorder v channels_last\n"
           "d = conv2d c v.channels_last channels_last\n"
           "m = global_avg_pool d\n"
           "f = reshape m\n"
           "l = mse f t\n"
           "d_f = mse_grad f t seed\n"
           "d_m = reshape d_f\n"
           "d_d = global_avg_pool_grad d_m channels_last\n"
           "d_v = conv2d_grad_weight c d_d channels_last\n"
           "d_v.plain = reorder d_v\n"
           "v.accumulate = accumulate v.grad d_v.plain\n"
           "v.channels_last_2 = reorder v channels_last\n"
           "d_c = conv2d_grad_input d_d v.channels_last_2 channels_last\n"
           "d_e = conv2d_grad_weight b d_c channels_last\n"
           "e.channels_last_2 = reorder e channels_last\n"
           "d_b = conv2d_grad_input d_c e.channels_last_2 channels_last\n"
           "d_v_2 = tanh_grad d_e e.channels_last_2 channels_last\n"
           "d_v_2.plain = reorder d_v_2\n"
           "v.accumulate_2 = accumulate v.grad_2 d_v_2.plain\n"
           "d_w = conv2d_grad_weight a d_b kernel\n"
           "w.grad = accumulator kernel\n"
           "w.accumulate = accumulate w.grad d_w\n"
           "d_a = conv2d_grad_input d_b w channels_last\n"
           "x.channels_last_2 = reorder x channels_last\n"
           "d_w_2 = conv2d_grad_weight x.channels_last_2 d_a kernel\n"
           "w.grad_2 = accumulator kernel\n"
           "w.accumulate_2 = accumulate w.grad_2 d_w_2\n");
}

// One channel, or one pixel: nothing has to be moved.
static void what_lies_alike_is_plain(void **state)
{
    (void)state;
    expect("graph g micro_batch 4\n"
           "x = input {shape=[4,1,8,8], dtype=\"f32\", role=\"sample\"}\n"
           "w = param {shape=[6,1,3,3], dtype=\"f32\", init=\"normal\"}\n"
           "v = param {shape=[1,6,1,1], dtype=\"f32\", init=\"normal\"}\n"
           "u = param {shape=[10,6], dtype=\"f32\", init=\"normal\"}\n"
           "a = conv2d x w {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "one = conv2d a v {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\n"
           "r = relu one\n"
           "s = reshape r {shape=[4,64]}\n"
           "m = global_avg_pool a\n"
           "f = reshape m {shape=[4,6]}\n"
           "y = linear f u\n"
           "h = reshape a {shape=[4,384]}\n",
           "layout",
           "w = param kernel\n"
           "v = param kernel\n"
           "a = conv2d x w channels_last\n"
           "one = conv2d a v\n"
           "r = relu one\n"
           "s = reshape r\n"
           "m = global_avg_pool a\n"
           "f = reshape m\n"
           "y = linear f u\n"
           "a.plain = reorder a\n"
           "h = reshape a.plain\n");
}

// What repeats over channels or over pixels is read beside an image, and an image is summed up to it; not so what
// repeats over samples alone, which lies otherwise itself.
static void what_repeats_is_read_beside_images(void **state)
{
    (void)state;
    expect("graph g micro_batch 4\n"
           "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n"
           "w = param {shape=[16,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
           "k = param {shape=[16,1,1], dtype=\"f32\", init=\"normal\"}\n"
           "row = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
           "map = param {shape=[8,8], dtype=\"f32\", init=\"normal\"}\n"
           "place = param {shape=[16,8,8], dtype=\"f32\", init=\"normal\"}\n"
           "c = conv2d x w {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "m = global_avg_pool c\n"
           "gate = sigmoid m\n"
           "gated = mul c gate\n"
           "shifted = add gated k\n"
           "rows = add shifted row\n"
           "mapped = add rows map\n"
           "placed = add mapped place\n"
           "d_gate = sum_to mapped {shape=[4,16,1,1]} backward from gated\n"
           "d_k = sum_to mapped {shape=[16,1,1]} backward from shifted\n"
           "d_map = sum_to mapped {shape=[8,8]} backward from mapped\n"
           "d_place = sum_to mapped {shape=[16,8,8]} backward from placed\n"
           "d_b = bias_grad mapped {axis=1} backward from c\n"
           "d_h = bias_grad mapped {axis=2} backward from c\n",
           "layout",
           "w = param kernel\n"
           "x.channels_last = reorder x channels_last\n"
           "c = conv2d x.channels_last w channels_last\n"
           "m = global_avg_pool c\n"
           "gate = sigmoid m\n"
           "gated = mul c gate channels_last\n"
           "shifted = add gated k channels_last\n"
           "rows = add shifted row channels_last\n"
           "mapped = add rows map channels_last\n"
           "mapped.plain = reorder mapped\n"
           "placed = add mapped.plain place\n"
           "d_gate = sum_to mapped\n"
           "d_k = sum_to mapped\n"
           "d_map = sum_to mapped\n"
           "mapped.plain_2 = reorder mapped\n"
           "d_place = sum_to mapped.plain_2\n"
           "d_b = bias_grad mapped\n"
           "d_h = bias_grad mapped.plain_2\n");
}

// Whatever the dimension and however many the channels. A part of one channel is plain as it is.
static void images_are_parts_of_images(void **state)
{
    (void)state;
    expect("graph g micro_batch 4\n"
           "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n"
           "z = input {shape=[4,1,8,8], dtype=\"f32\", role=\"sample\"}\n"
           "w = param {shape=[5,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
           "c = conv2d x w {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "wide = concat c z c {axis=1}\n"
           "high = concat c c {axis=2}\n"
           "s = slice wide {axis=1, begin=1, length=7}\n"
           "t = slice high {axis=3, begin=1, length=3}\n"
           "u = pad t {axis=1, begin=2, length=20}\n"
           "one = slice c {axis=1, begin=2, length=1}\n"
           "deep = concat x x {axis=1}\n",
           "layout",
           "w = param kernel\n"
           "x.channels_last = reorder x channels_last\n"
           "c = conv2d x.channels_last w channels_last\n"
           "wide = concat c z c channels_last\n"
           "high = concat c c channels_last\n"
           "s = slice wide channels_last\n"
           "t = slice high channels_last\n"
           "u = pad t channels_last\n"
           "c.plain = reorder c\n"
           "one = slice c.plain\n"
           "deep = concat x x\n");
}

// A group has one layout: plain where a member cannot be otherwise. Norms over what is no image are plain.
static void groups_have_one_layout(void **state)
{
    (void)state;
    expect("graph g micro_batch 4\n"
           "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n"
           "v = input {shape=[4,8], dtype=\"f32\", role=\"sample\"}\n"
           "w = param {shape=[16,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
           "g = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
           "c = conv2d x w {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
           "r = relu c group 0\n"
           "d = dropout r {rate=0.5, stream=1} group 0\n"
           "a = relu c group 1\n"
           "b = add a c group 1\n"
           "n = batch_norm v g g {eps=1e-5}\n",
           "layout",
           "w = param kernel\n"
           "x.channels_last = reorder x channels_last\n"
           "c = conv2d x.channels_last w channels_last\n"
           "c.plain = reorder c\n"
           "r = relu c.plain\n"
           "d = dropout r\n"
           "a = relu c channels_last\n"
           "b = add a c channels_last\n"
           "n = batch_norm v g g\n");
}

// Again from what is laid out: the same; and from there, plain.
static void starts_afresh(void **state)
{
    (void)state;
    Case *t = laid_out(cnn, "autodiff,fuse,layout");
    char *first = as_text(t, false);
    case_run(t, "layout");
    char *second = as_text(t, false);
    assert_string_equal(first, second);
    t->c.images = IMAGES_PLAIN;
    case_run(t, "layout");
    char *plain = as_text(t, false);
    assert_null(strstr(plain, "reorder"));
    assert_null(strstr(plain, "channels_last"));
    free(first);
    free(second);
    free(plain);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model),
        cmocka_unit_test(weights_are_their_kernels),
        cmocka_unit_test(what_lies_alike_is_plain),
        cmocka_unit_test(what_repeats_is_read_beside_images),
        cmocka_unit_test(images_are_parts_of_images),
        cmocka_unit_test(groups_have_one_layout),
        cmocka_unit_test(starts_afresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
