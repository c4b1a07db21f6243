// What a worker holds: which tensors, found by the state that they are of; what the core holds is never dropped nor
// written over, and nothing else is kept.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifndef STAGECC_ZMQ
int main(void)
{
    return 77;
}
#else
#include "control/worker/parcel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PLAN = 7, RANK = 1 };

static json_t *parts;

static int open_parts(void **state)
{
    (void)state;
    parts = json_loads("{\"conv1\": 0, \"layer1.0.conv1\": 3, \"layer1.0\": 4, \"fc\": 5, "
                       "\"layer2\": 6, \"layer2.1\": 7}",
                       0, NULL);
    return !parts;
}

static int close_parts(void **state)
{
    (void)state;
    json_decref(parts);
    return 0;
}

static void parts_of_names(void **state)
{
    (void)state;
    assert_int_equal(part_of(parts, "conv1"), 0);
    assert_int_equal(part_of(parts, "conv1.weight.momentum"), 0);
    assert_int_equal(part_of(parts, "conv10.weight"), -1);
    assert_int_equal(part_of(parts, "layer1.0.conv1.weight"), 3);
    assert_int_equal(part_of(parts, "layer1.0.conv2.weight"), 4);
    assert_int_equal(part_of(parts, "layer1.1.conv2.weight"), -1);
    assert_int_equal(part_of(parts, "layer2.0.conv1.weight"), 6);
    assert_int_equal(part_of(parts, "layer2.1.conv1.weight"), 7);
    assert_int_equal(part_of(parts, ""), -1);
}

#define TENSOR(name, at, bytes)                                                                \
    "{\"name\": \"" name "\", \"role\": \"param\", \"at\": " #at ", \"bytes\": " #bytes        \
    ", \"layout\": \"F32 plain\"}"
#define PROGRAM(tensors) "{\"generation_bytes\": 4096, \"tensors\": [" tensors "]}"

static const char *const two =
    PROGRAM(TENSOR("fc.weight", 0, 400) ", " TENSOR("conv1.weight", 512, 100));

static void tensors_of_programs(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "{}",
        PROGRAM("1"),
        PROGRAM(TENSOR("fc.weight", 4000, 100)),
        PROGRAM(TENSOR("fc.weight", 4097, 0)),
        PROGRAM(TENSOR("fc.weight", 0, 10) ", " TENSOR("fc.weight", 64, 10)),
        PROGRAM(TENSOR("fc.weight", -1, 10)),
        PROGRAM(TENSOR("head.weight", 0, 10)),
    };
    Tensors t = {0};
    char why[TENSORS_WHY];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(tensors_of_program(&t, wrong[i], parts, why));
        assert_int_equal(t.n, 0);
    }
    assert_string_equal(why, "no part has the tensor head.weight");
    assert_true(tensors_of_program(&t, two, parts, why));
    assert_int_equal(tensors_find(&t, "fc.weight")->part, 5);
    assert_int_equal(tensors_find(&t, "conv1.weight")->at, 512);
    assert_null(tensors_find(&t, "conv1"));
    tensors_release(&t);
}

// ------------------------------------------------------------------------------------------------

static Tensors of_two(void)
{
    Tensors t = {0};
    char why[TENSORS_WHY];
    assert_true(tensors_of_program(&t, two, parts, why));
    return t;
}

// An image with the state (step, made) in generation 0, every byte of it `value`; no program works in it.
static Image *image_of(States *s, uint64_t plan, uint64_t step, uint64_t made, int value)
{
    Tensors t = of_two();
    Image *image = image_new(s, plan, RANK, &t);
    Beginning b = {.seed = value, .epoch = 3, .index = 99};
    assert_non_null(image);
    memset(image_generation(image->header, 0), value, image->header->bytes);
    image_settle(image, step, made, made + 1, &b);
    image->parts = 1 | 1 << 5;
    image->busy = false;
    return image;
}

// The program in it ends a step, in the other generation.
static void save(Image *image, int generation, uint64_t step, int value)
{
    image_set_step(image->header, generation, -1);
    memset(image_generation(image->header, generation), value, image->header->bytes);
    image_set_step(image->header, generation, (int64_t)step);
}

static int value_of(const States *s, uint64_t step, uint64_t made, const char *name)
{
    Found found;
    if (!states_find(s, step, made, name, &found))
        return -1;
    for (uint64_t i = 1; i < found.tensor->bytes; i++)
        assert_int_equal(found.data[i], *found.data);
    return *found.data;
}

static void hold(Worker *w, uint64_t step, uint64_t made, uint64_t held)
{
    w->held[w->n_held++] = (Held){step, made, held};
}

static void states_have_names(void **state)
{
    (void)state;
    States s = {0};
    Image *image = image_of(&s, PLAN, 10, 2, 1);
    save(image, 1, 11, 2);
    assert_int_equal(value_of(&s, 10, 2, "fc.weight"), 1);
    assert_int_equal(value_of(&s, 11, 3, "fc.weight"), 2); // its program is of epoch 3
    assert_int_equal(value_of(&s, 11, 2, "fc.weight"), -1);
    assert_int_equal(value_of(&s, 10, 3, "fc.weight"), -1);
    assert_int_equal(value_of(&s, 10, 2, "fc.bias"), -1);
    // An epoch goes back to 10: what came behind it is no state any more.
    assert_null(image_with(&s, PLAN + 1, RANK, 10, 2));
    assert_null(image_with(&s, PLAN, RANK + 1, 10, 2));
    assert_ptr_equal(image_with(&s, PLAN, RANK, 10, 2), image);
    image_reuse(image, 10, 2, 4);
    assert_null(image_with(&s, PLAN, RANK, 10, 2)); // busy
    assert_int_equal(value_of(&s, 11, 3, "fc.weight"), -1);
    assert_int_equal(value_of(&s, 11, 4, "fc.weight"), -1);
    save(image, 1, 11, 5);
    assert_int_equal(value_of(&s, 11, 4, "fc.weight"), 5);
    states_release(&s);
}

static void found_may_go(void **state)
{
    (void)state;
    States s = {0};
    Found found;
    Image *image = image_of(&s, PLAN, 10, 2, 1);
    assert_true(states_find(&s, 10, 2, "fc.weight", &found));
    assert_true(found_stays(&found));
    save(image, 0, 12, 3);
    assert_false(found_stays(&found));
    states_release(&s);
}

static void lists(States *s, const Held *state, const char *expected)
{
    Parcel *p = parcel_new(s, state);
    assert_non_null(p);
    assert_string_equal(p->listing.data, expected);
    parcel_free(p);
}

static void listings(void **state)
{
    (void)state;
    States s = {0};
    Held all = {10, 2, UINT64_MAX}, fc = {10, 2, 1 << 5}, none = {10, 2, 2},
         later = {11, 2, 33};
    Tensors t = {0};
    char why[TENSORS_WHY];
    image_of(&s, PLAN, 10, 2, 1);
    image_of(&s, PLAN + 1, 10, 2, 1);
    assert_null(parcel_new(&s, &none));
    assert_null(parcel_new(&s, &later));
    Parcel *p = parcel_new(&s, &all);
    assert_non_null(p);
    Beginning beginning;
    assert_true(parcel_read(p->listing.data, p->listing.length, &t, &beginning, why));
    assert_int_equal(t.n, 2); // each once
    assert_int_equal(tensors_find(&t, "fc.weight")->bytes, 400);
    assert_int_equal(beginning.seed, 1);
    for (int i = 0; i < t.n; i++) // in the same order
        assert_string_equal(t.items[i].name, p->tensors[i].tensor->name);
    parcel_free(p);
    lists(&s, &fc,
          "{\"seed\":1,\"cursor\":[3,99],\"tensors\":[[\"fc.weight\",5,400,\"F32 plain\"]]}");
    tensors_release(&t);
    states_release(&s);
}

// A part without tensors, like an activation by itself: nothing is to be moved, and it is held all the same.
static void bare_parts(void **state)
{
    (void)state;
    States s = {0};
    Beginning b;
    Held bare = {10, 2, 1 << 4}, both = {10, 2, 1 << 4 | 1 << 5};
    Image *image = image_of(&s, PLAN, 10, 2, 1);
    image->parts = 1 << 4 | 1 << 5;
    lists(&s, &bare, "{\"seed\":1,\"cursor\":[3,99],\"tensors\":[]}");
    Parcel *p = parcel_new(&s, &both);
    assert_non_null(p);
    parcel_free(p);
    image->parts = 1 << 5;
    assert_null(parcel_new(&s, &bare)); // another worker's
    assert_true(states_beginning(&s, 10, 2, &b));
    assert_int_equal(b.index, 99);
    assert_false(states_beginning(&s, 10, 3, &b));
    states_release(&s);
}

static int count_images(const States *s)
{
    int n = 0;
    for (const Image *i = s->images; i; i = i->older)
        n++;
    return n;
}

static void held_is_kept(void **state)
{
    (void)state;
    States s = {0};
    Worker w = {0};
    Image *image = image_of(&s, PLAN, 10, 2, 1);
    image_of(&s, PLAN + 1, 12, 2, 2);
    save(image, 1, 11, 3);
    hold(&w, 11, 3, 1);
    hold(&w, 12, 2, 1 << 5);
    states_sweep(&s, &w, true);
    assert_int_equal(count_images(&s), 2);
    // A newer image has the same: one of them is enough.
    image_of(&s, PLAN + 2, 12, 2, 4);
    states_sweep(&s, &w, true);
    assert_int_equal(count_images(&s), 2);
    assert_int_equal(value_of(&s, 12, 2, "fc.weight"), 4);
    assert_int_equal(value_of(&s, 11, 3, "fc.weight"), 3);
    // Nobody needs it, but its program may be alive.
    w.n_held = 1;
    s.images->busy = true;
    states_sweep(&s, &w, true);
    assert_int_equal(count_images(&s), 2);
    s.images->busy = false;
    states_sweep(&s, &w, true);
    assert_int_equal(count_images(&s), 1);
    w.n_held = 0;
    states_sweep(&s, &w, true);
    assert_int_equal(count_images(&s), 0);
}

// One that is filled has no state, and does not stand for those that have.
static void unfinished_is_no_state(void **state)
{
    (void)state;
    States s = {0};
    Worker w = {0};
    Tensors t = of_two();
    image_of(&s, PLAN, 10, 2, 1);
    Image *filled = image_new(&s, PLAN + 1, RANK, &t);
    filled->parts = 1 | 1 << 5;
    hold(&w, 10, 2, 33);
    states_sweep(&s, &w, true);
    assert_int_equal(count_images(&s), 2);
    assert_int_equal(value_of(&s, 10, 2, "fc.weight"), 1);
    states_release(&s);
}

static Copy *copy_of(States *s, uint64_t step, uint64_t made)
{
    Held held = {step, made, 33};
    Copy *c = copy_new(s, &held, 4096);
    memset(c->data, (int)step, c->room);
    return c;
}

static void settle(Copy *c)
{
    Tensors t = of_two();
    copy_settle(c, &t, &(Beginning){1, 3, 99});
}

// What is lost of an image when a program begins there.
static void images_have_more(void **state)
{
    (void)state;
    States s = {0};
    Worker w = {0};
    Image *image = image_of(&s, PLAN, 10, 2, 1);
    save(image, 1, 11, 2);
    hold(&w, 11, 3, 33);
    assert_int_equal(image_rest(&s, image, &w, 11).parts, 0);
    hold(&w, 10, 2, 1 | 1 << 7);
    Held rest = image_rest(&s, image, &w, 11);
    assert_int_equal(rest.step, 10);
    assert_int_equal(rest.made, 2);
    assert_int_equal(rest.parts, 1);
    Copy *c = copy_of(&s, 10, 2);
    settle(c); // may be dropped, since the image has it
    assert_int_equal(image_rest(&s, image, &w, 11).parts, 1);
    c->snapshot = true;
    assert_int_equal(image_rest(&s, image, &w, 11).parts, 0);
    states_release(&s);
}

static void snapshots_outlive_images(void **state)
{
    (void)state;
    States s = {0};
    Worker w = {0};
    Image *image = image_of(&s, PLAN, 10, 2, 1);
    Held held = {10, 2, 33};
    image->busy = true;
    hold(&w, 10, 2, 33);
    Copy *c = copy_of(&s, 10, 2);
    c->snapshot = true;
    assert_false(states_snapshot(&s, &held)); // it comes
    settle(c);
    states_sweep(&s, &w, false);
    assert_true(states_snapshot(&s, &held));
    save(image, 0, 12, 3);
    assert_int_equal(value_of(&s, 10, 2, "fc.weight"), 10);
    w.n_held = 0;
    states_sweep(&s, &w, false);
    assert_false(states_snapshot(&s, &held));
    assert_false(copy_of(&s, 11, 2)->snapshot); // the same block
    states_release(&s);
}

static void blocks_are_used_again(void **state)
{
    (void)state;
    States s = {0};
    Worker w = {0};
    Copy *first = copy_of(&s, 1, 1);
    assert_int_equal(value_of(&s, 1, 1, "fc.weight"), -1); // it comes
    states_sweep(&s, &w, true);
    settle(first);
    hold(&w, 1, 1, 33);
    assert_int_equal(value_of(&s, 1, 1, "fc.weight"), 1);
    states_sweep(&s, &w, false);
    Copy *second = copy_of(&s, 2, 1);
    assert_ptr_not_equal(first, second);
    assert_int_equal(value_of(&s, 1, 1, "fc.weight"), 1);
    settle(second);
    w.held[0].step = 2; // 1 is not held any more
    states_sweep(&s, &w, false);
    assert_int_equal(value_of(&s, 1, 1, "fc.weight"), -1);
    Copy *third = copy_of(&s, 3, 1);
    assert_ptr_equal(third, first);
    assert_int_equal(value_of(&s, 2, 1, "fc.weight"), 2);
    third->coming = false;
    third->state.parts = 0; // it was cut off
    states_sweep(&s, &w, true);
    assert_ptr_equal(s.copies, second);
    assert_null(second->next);
    states_release(&s);
}

static bool is_resident(const Copy *c)
{
    unsigned char pages[1 << 14] = {0};
    size_t n = (c->room + 4095) / 4096;
    assert_true(n <= sizeof pages && !mincore(c->data, c->room, pages));
    for (size_t i = 0; i < n; i++)
        if (!(pages[i] & 1))
            return false;
    return true;
}

// What will come finds memory that was touched; what is there does not get more.
static void blocks_are_ready_beforehand(void **state)
{
    (void)state;
    States s = {0};
    Worker w = {0};
    const uint64_t large[] = {40 << 20, 40 << 20}, smaller[] = {20 << 20, 30 << 20};
    int calls = 1;
    while (!copies_ready(&s, large, 2))
        calls++;
    assert_true(calls > 4); // a piece at a time
    assert_true(is_resident(s.copies) && is_resident(s.copies->next));
    assert_null(s.copies->next->next);
    Copy *first = copy_new(&s, &(Held){1, 1, 33}, 40 << 20);
    settle(first);
    hold(&w, 1, 1, 33);
    states_sweep(&s, &w, false);
    assert_true(copies_ready(&s, smaller, 2)); // once the one that holds something is free
    assert_ptr_not_equal(copy_new(&s, &(Held){2, 1, 33}, 40 << 20), first);
    assert_null(s.copies->next->next);
    states_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_names),
        cmocka_unit_test(tensors_of_programs),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(found_may_go),
        cmocka_unit_test(listings),
        cmocka_unit_test(bare_parts),
        cmocka_unit_test(held_is_kept),
        cmocka_unit_test(unfinished_is_no_state),
        cmocka_unit_test(images_have_more),
        cmocka_unit_test(snapshots_outlive_images),
        cmocka_unit_test(blocks_are_used_again),
        cmocka_unit_test(blocks_are_ready_beforehand),
    };
    return cmocka_run_group_tests(tests, open_parts, close_parts);
}
#endif
