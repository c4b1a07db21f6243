// Which logits get rows that begin at multiples of 16 bytes (passes/pitch.c), in training and in evaluation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

#define LOSS "l = cross_entropy y t\n"

// y: logits of so many classes, from x[4,8]. What is pitched, in order, by name.
static void expect(int classes, const char *dtype, const char *code, const char *names)
{
    Text text = {0}, got = {0};
    text_printf(&text,
                "graph g micro_batch 4\n" SAMPLE("x", "4,8") //
                "t = input {shape=[4], dtype=\"i32\", role=\"target\"}\n"
                "w = param {shape=[%d,8], dtype=\"f32\", init=\"normal\"}\n"
                "b = param {shape=[%d], dtype=\"f32\", init=\"normal\"}\n" //
                "%sloss l\noutput y\n",
                classes, classes, code);
    Case *c = case_new(text.data);
    c->c.pitch = true;
    c->options.dtype = dtype;
    case_run(c, "eval,autodiff,precision,fuse,layout");
    for (int i = 0; i < c->c.graph->nodes.n; i++) {
        const Node *n = c->c.graph->nodes.items[i];
        if (n->layout != LAYOUT_PITCHED)
            continue;
        text_printf(&got, " %s", n->name);
        assert_true(node_row(n) > classes && node_row(n) % 8 == 0 && node_row(n) < classes + 8);
        assert_int_equal(n->bytes, 4 * node_row(n) * 2);
    }
    assert_string_equal(got.data ? got.data : "", names);
    case_free(c);
    text_release(&text);
    text_release(&got);
}

static void odd_rows_in_bf16(void **state)
{
    (void)state;
    expect(10, "bf16", "y = linear x w b\n" LOSS, " y y.eval d_y");
    expect(51, "bf16", "y = linear x w\n" LOSS, " y y.eval d_y");
    expect(16, "bf16", "y = linear x w b\n" LOSS, "");
    expect(10, "f32", "y = linear x w b\n" LOSS, "");
}

// What anybody reads who does not know of it, as a view does not, stays as it is.
static void not_beside_others(void **state)
{
    (void)state;
    // Two losses' gradients are added up.
    expect(10, "bf16",
           "y = linear x w b\nm = cross_entropy y t\nk = cross_entropy y t\nl = add m k\n",
           " y.eval");
    expect(10, "bf16", "h = linear x w b\ny = relu h\n" LOSS, "");
    expect(10, "bf16", "h = linear x w b\ny = reshape h {shape=[4,10]}\n" LOSS, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(odd_rows_in_bf16),
                                       cmocka_unit_test(not_beside_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
