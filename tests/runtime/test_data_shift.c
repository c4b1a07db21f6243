// --random-shift: training images move at random, in a way that no cut of the run can change.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/data.h"
#include "tests/runtime/files.h"

enum { N = 3, H = 5, W = 4, SHIFT = 2, EPOCHS = 200 };

static rt__why why;

static rt_input images(rt_dtype dtype, int64_t batch, int64_t channels, int64_t h, int64_t w)
{
    return (rt_input){.name = "x", .dtype = dtype, .rank = 4, .dim = {batch, channels, h, w}};
}

static rt__data *opens(const rt_input *in, int64_t shift, int64_t seed)
{
    char spec[FILES_PATH + 16];
    snprintf(spec, sizeof spec, "idx:%s/d", files_dir);
    rt__data_options o = {
        .spec = spec, .inputs = in, .n_inputs = 1, .classes = 10, .seed = seed, .shift = shift};
    rt__data *data;
    if (rt__data_open(&data, &o, &why))
        fail_msg("%s", why.text);
    return data;
}

// N images of H x W whose pixels all differ and none of which is black.
static int write_images(void **state)
{
    uint8_t bytes[16 + N * H * W] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, H, 0, 0, 0, W};
    uint8_t labels[8 + N] = {0, 0, 8, 1, 0, 0, 0, N, 0, 1, 2};
    for (int i = 0; i < N * H * W; i++)
        bytes[16 + i] = (uint8_t)(1 + 4 * i);
    if (files_begin(state))
        return -1;
    files_write("d-images.idx3-ubyte", bytes, sizeof bytes);
    files_write("d-labels.idx1-ubyte", labels, sizeof labels);
    return 0;
}

// Is `moved` the image with so many rows and columns of black pushed in?
static bool is_moved(const float *image, const float *moved, int down, int right)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            bool inside = y >= down && y < H + down && x >= right && x < W + right;
            float wanted = inside ? image[(y - down) * W + x - right] : -1;
            if (moved[y * W + x] != wanted)
                return false;
        }
    return true;
}

// The one move that explains the image, as a number below (2 * SHIFT + 1)^2; -1: none does.
static int move_of(const float *image, const float *moved)
{
    int side = 2 * SHIFT + 1;
    for (int m = 0; m < side * side; m++)
        if (is_moved(image, moved, m / side - SHIFT, m % side - SHIFT))
            return m;
    return -1;
}

// Every move up to SHIFT comes about as often as every other; evaluation sees images as they are.
static void test_moves(void **state)
{
    (void)state;
    rt_input in = images(RT_F32, 1, 1, H, W);
    rt__data *data = opens(&in, SHIFT, 1);
    int seen[(2 * SHIFT + 1) * (2 * SHIFT + 1)] = {0};
    float still[N][H * W], moved[H * W];
    for (uint64_t s = 0; s < N; s++)
        assert_int_equal(rt__data_eval(data, 0, s, still[s], &why), 0);
    assert_true(still[0][0] == (1.0f / 255 - 0.5f) / 0.5f);
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++)
        for (uint64_t position = 0; position < N; position++) {
            uint64_t sample = rt__data_order(1, epoch, N, position);
            assert_int_equal(
                rt__data_train(data, 0, (rt__cursor){epoch, position}, 1, moved, &why), 0);
            int move = move_of(still[sample], moved);
            assert_in_range(move, 0, (2 * SHIFT + 1) * (2 * SHIFT + 1) - 1);
            seen[move]++;
        }
    for (size_t m = 0; m < sizeof seen / sizeof *seen; m++)
        assert_in_range(seen[m], 8, 48); // 24 wanted
    rt__data_close(data);
}

// A sample moves alike whatever it shares a micro-batch with; another seed moves it otherwise.
static void test_depends_on_seed_epoch_sample_alone(void **state)
{
    (void)state;
    rt_input one = images(RT_F32, 1, 1, H, W), all = images(RT_F32, N, 1, H, W);
    rt__data *single = opens(&one, SHIFT, 7), *whole = opens(&all, SHIFT, 7);
    float alone[H * W], together[N][H * W];
    for (uint64_t epoch = 0; epoch < 9; epoch++) {
        assert_int_equal(rt__data_train(whole, 0, (rt__cursor){epoch, 0}, N, together, &why),
                         0);
        for (uint64_t s = 0; s < N; s++) {
            rt__cursor at = {epoch, s};
            assert_int_equal(rt__data_train(single, 0, at, 1, alone, &why), 0);
            assert_memory_equal(alone, together[s], sizeof alone);
        }
    }
    rt__data *other = opens(&all, SHIFT, 8);
    float differently[N][H * W];
    assert_int_equal(rt__data_train(other, 0, (rt__cursor){8, 0}, N, differently, &why), 0);
    assert_memory_not_equal(together, differently, sizeof together);
    rt__data_close(single);
    rt__data_close(whole);
    rt__data_close(other);
}

// Every channel moves alike, in every type, and after resizing: by pixels of the model.
static void test_channels_types_and_sizes(void **state)
{
    (void)state;
    enum { BIG = 9 * 7 };
    rt_input grey = images(RT_F32, 1, 1, 9, 7), rgb = images(RT_F64, 1, 3, 9, 7),
             half = images(RT_BF16, 1, 1, 9, 7);
    rt__data *d[3] = {opens(&grey, 6, 1), opens(&rgb, 6, 1), opens(&half, 6, 1)};
    float one[BIG];
    double three[3][BIG];
    uint16_t short_one[BIG];
    for (uint64_t epoch = 0; epoch < 30; epoch++) {
        rt__cursor at = {epoch, 1};
        assert_int_equal(rt__data_train(d[0], 0, at, 1, one, &why), 0);
        assert_int_equal(rt__data_train(d[1], 0, at, 1, three, &why), 0);
        assert_int_equal(rt__data_train(d[2], 0, at, 1, short_one, &why), 0);
        for (int i = 0; i < BIG; i++) {
            uint16_t rounded;
            rt__put(RT_BF16, &rounded, 0, (double)one[i]);
            assert_int_equal(short_one[i], rounded);
            for (int c = 0; c < 3; c++)
                assert_true(three[c][i] == (double)one[i]);
        }
    }
    for (int i = 0; i < 3; i++)
        rt__data_close(d[i]);
}

static void test_summary_and_complaints(void **state)
{
    (void)state;
    rt_input in = images(RT_F32, 1, 1, H, W);
    rt__data *data = opens(&in, 3, 1);
    assert_string_equal(files_neutral(rt__data_summary(data)),
                        "idx:DIR/d: 3 images of 1x5x4 as 1x5x4, (pixel/255 - 0.5)/0.5, "
                        "moved by up to 3");
    rt__data_close(data);
    char spec[FILES_PATH + 16];
    snprintf(spec, sizeof spec, "idx:%s/d", files_dir);
    rt__data_options o = {.spec = spec, .inputs = &in, .n_inputs = 1, .seed = 1, .shift = 4};
    assert_int_equal(rt__data_open(&data, &o, &why), RT__INPUT);
    assert_string_equal(
        files_neutral(why.text),
        "idx:DIR/d: --random-shift 4 moves images of 5x4 out of sight; at most 3");
    o.spec = "synthetic";
    assert_int_equal(rt__data_open(&data, &o, &why), RT__INPUT);
    assert_string_equal(why.text, "synthetic: no images: leave --random-shift out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_depends_on_seed_epoch_sample_alone),
        cmocka_unit_test(test_channels_types_and_sizes),
        cmocka_unit_test(test_summary_and_complaints),
    };
    return cmocka_run_group_tests(tests, write_images, files_end);
}
