// Loops over images channels last, and what is read beside them: the order is that of memory, and strides are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "codegen/nest.h"
#include "codegen/walk.h"
#include "tests/passes/from_text.h"

static const char images[] =
    "graph g micro_batch 2\n"
    "x = input {shape=[2,3,4,5], dtype=\"f32\", role=\"sample\"} layout channels_last\n"
    "gate = param {shape=[2,3,1,1], dtype=\"f32\", init=\"normal\"}\n"
    "shift = param {shape=[3,1,1], dtype=\"f32\", init=\"normal\"}\n"
    "map = param {shape=[4,5], dtype=\"f32\", init=\"normal\"}\n"
    "gated = mul x gate layout channels_last\n"
    "shifted = add x shift layout channels_last\n"
    "mapped = add x map layout channels_last\n"
    "even = relu x layout channels_last\n"
    "d_gate = sum_to x {shape=[2,3,1,1]} backward from gated\n"
    "d_shift = sum_to x {shape=[3,1,1]} backward from shifted\n"
    "d_map = sum_to x {shape=[4,5]} backward from mapped\n";

// Its loops, and where input 1 and the result are.
static void expect_nest(const Case *t, const char *name, const char *loops, const char *beside,
                        const char *at)
{
    Arena a = {0};
    Emit e = {.scratch = &a};
    const Node *n = case_node(t, name);
    Chain chain = {.nodes = &n, .n = 1};
    Nest nest = nest_of(&chain);
    const char *got = "";
    for (int d = 0; d < nest.n; d++)
        got = arena_printf(&a, "%s%s%s<%lld", got, d ? " " : "", nest_letter(&nest, d),
                           (long long)nest.dim[d]);
    assert_string_equal(got, loops);
    assert_string_equal(nest_index(&e, &nest, n->inputs[n->n_inputs - 1]->shape), beside);
    assert_string_equal(nest_index(&e, &nest, n->shape), at);
    arena_release(&a);
}

static void loops_go_as_memory_does(void **state)
{
    (void)state;
    Case *t = case_new(images);
    expect_nest(t, "gated", "d<2 r<20 j<3", "d * 3 + j", "d * 60 + r * 3 + j");
    expect_nest(t, "shifted", "r<40 j<3", "j", "r * 3 + j");
    expect_nest(t, "mapped", "d<2 r<20 j<3", "r", "d * 60 + r * 3 + j");
    expect_nest(t, "even", "i<120", "i", "i");
    case_free(t);
}

static void expect_walk(const Walk *w, int rank, const int64_t *dim, const int64_t *y,
                        const int64_t *x)
{
    assert_int_equal(w->rank, rank);
    for (int d = 0; d < rank; d++) {
        assert_int_equal(w->dim[d], dim[d]);
        assert_int_equal(w->y[d], y[d]);
        assert_int_equal(w->x[d], x[d]);
    }
}

static void sums_walk_over_pixels(void **state)
{
    (void)state;
    Case *t = case_new(images);
    Walk kept, summed;
    int64_t part[3];
    const Node *gate = case_node(t, "d_gate"), *map = case_node(t, "d_map");
    assert_false(walk_sum_parts(gate, part));
    walk_sum(gate, &kept, &summed);
    expect_walk(&kept, 2, (int64_t[]){2, 3}, (int64_t[]){3, 1}, (int64_t[]){60, 1});
    expect_walk(&summed, 1, (int64_t[]){20}, (int64_t[]){0}, (int64_t[]){3});
    assert_true(walk_sum_parts(case_node(t, "d_shift"), part));
    assert_int_equal(part[0], 40);
    assert_int_equal(part[1], 3);
    assert_int_equal(part[2], 1);
    assert_true(walk_sum_parts(map, part));
    assert_int_equal(part[0], 2);
    assert_int_equal(part[1], 20);
    assert_int_equal(part[2], 3);
    walk_sum(map, &kept, &summed);
    expect_walk(&kept, 1, (int64_t[]){20}, (int64_t[]){1}, (int64_t[]){3});
    expect_walk(&summed, 2, (int64_t[]){2, 3}, (int64_t[]){0, 0}, (int64_t[]){60, 1});
    case_free(t);
}

static void expect_rows(Layout layout, int axis, int64_t count, int64_t length, int64_t inner)
{
    Rows rows = rows_of((Shape){4, {2, 3, 4, 5}}, layout, axis);
    assert_int_equal(rows.count, count);
    assert_int_equal(rows.length, length);
    assert_int_equal(rows.inner, inner);
}

static void parts_are_rows(void **state)
{
    (void)state;
    expect_rows(LAYOUT_CHANNELS_LAST, 0, 1, 120, 60);
    expect_rows(LAYOUT_CHANNELS_LAST, 1, 40, 3, 1);
    expect_rows(LAYOUT_CHANNELS_LAST, 2, 2, 60, 15);
    expect_rows(LAYOUT_CHANNELS_LAST, 3, 8, 15, 3);
    expect_rows(LAYOUT_PLAIN, 1, 2, 60, 20);
    expect_rows(LAYOUT_BLOCKED, 1, 2, 60, 20); // whole blocks go as they would plain
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_go_as_memory_does),
        cmocka_unit_test(sums_walk_over_pixels),
        cmocka_unit_test(parts_are_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
