// Data sets: every kind read back, resized as PyTorch does it, every wrong file with its exact text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/data.h"
#include "tests/runtime/files.h"

#include <math.h>

static rt__why why;
static rt__data *data;

// Opening
// ----------------------------------------------------------------------------------------------

static rt_input samples(rt_dtype dtype, int rank, int64_t d0, int64_t d1, int64_t d2,
                        int64_t d3)
{
    return (rt_input){.name = "x", .dtype = dtype, .rank = rank, .dim = {d0, d1, d2, d3}};
}

static rt_input targets(int64_t batch, int64_t length)
{
    return (rt_input){.name = "y",
                      .is_target = 1,
                      .dtype = RT_I32,
                      .rank = length ? 2 : 1,
                      .dim = {batch, length}};
}

// The spec, with "DIR" standing for the test's folder.
static const char *with_folder(const char *spec)
{
    static char text[2048];
    size_t used = 0;
    for (; *spec && used < sizeof text - FILES_PATH; spec++) {
        if (strncmp(spec, "DIR", 3) == 0) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s", files_dir);
            spec += 2;
        } else {
            text[used++] = *spec;
        }
    }
    text[used] = 0;
    return text;
}

static int open_data(const char *spec, const rt_input *inputs, int n, bool test)
{
    rt__data_options o = {.spec = with_folder(spec),
                          .inputs = inputs,
                          .n_inputs = n,
                          .classes = 10,
                          .seed = 1,
                          .test = test};
    return rt__data_open(&data, &o, &why);
}

static void opens(const char *spec, const rt_input *inputs, int n)
{
    if (open_data(spec, inputs, n, false))
        fail_msg("%s", why.text);
}

static void refused(const char *spec, const rt_input *inputs, int n, const char *text)
{
    assert_int_equal(open_data(spec, inputs, n, false), RT__INPUT);
    assert_string_equal(files_neutral(why.text), text);
    assert_null(data);
}

static void closes(void)
{
    rt__data_close(data);
    data = NULL;
}

// IDX
// ----------------------------------------------------------------------------------------------

static uint8_t pixel(int i)
{
    return (uint8_t)(37 * i * i + 11 * i);
}

static void put32(uint8_t *at, uint32_t value) // big-endian
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

// n images of h x w, labels 0, 1, 2, … and so many bytes too few or too many.
static void write_idx(uint32_t n, uint32_t h, uint32_t w, int images_off, int labels_off)
{
    static uint8_t bytes[16 + 4096], labels[8 + 64];
    put32(bytes, 0x803);
    put32(bytes + 4, n);
    put32(bytes + 8, h);
    put32(bytes + 12, w);
    for (uint32_t i = 0; i < n * h * w; i++)
        bytes[16 + i] = pixel((int)(i % (h * w)) + (int)(i / (h * w)));
    put32(labels, 0x801);
    put32(labels + 4, n);
    for (uint32_t i = 0; i < n; i++)
        labels[8 + i] = (uint8_t)i;
    files_write("d-images.idx3-ubyte", bytes, (size_t)(16 + (int)(n * h * w) + images_off));
    files_write("d-labels.idx1-ubyte", labels, (size_t)(8 + (int)n + labels_off));
}

static void test_idx(void **state)
{
    (void)state;
    rt_input in[2] = {samples(RT_F32, 4, 2, 1, 5, 4), targets(2, 0)};
    float x[2][20];
    int32_t y[2];
    write_idx(7, 5, 4, 0, 0);
    opens("idx:DIR/d", in, 2);
    assert_int_equal(rt__data_samples(data), 7);
    assert_string_equal(files_neutral(rt__data_summary(data)),
                        "idx:DIR/d: 7 images of 1x5x4 as 1x5x4, (pixel/255 - 0.5)/0.5");
    assert_int_equal(rt__data_eval(data, 0, 3, x, &why), 0);
    assert_int_equal(rt__data_eval(data, 1, 3, y, &why), 0);
    for (int s = 0; s < 2; s++) {
        assert_int_equal(y[s], 3 + s);
        for (int i = 0; i < 20; i++)
            assert_true(x[s][i] == ((float)pixel(i + 3 + s) / 255.0f - 0.5f) / 0.5f);
    }
    closes();
}

// As MNIST is published: "-images-idx3-ubyte".
static void test_idx_dashed(void **state)
{
    (void)state;
    rt_input in = targets(1, 0);
    write_idx(3, 5, 4, 0, 0);
    rename(files_path("d-images.idx3-ubyte"), files_path("e-images-idx3-ubyte"));
    rename(files_path("d-labels.idx1-ubyte"), files_path("e-labels-idx1-ubyte"));
    opens("idx:DIR/e", &in, 1);
    assert_int_equal(rt__data_samples(data), 3);
    closes();
}

static const struct resized {
    int height, width;
    double values[80];
} resized[] = {
#include "tests/runtime/resize_reference.inc"
};

static void test_resizing_as_pytorch(void **state)
{
    (void)state;
    write_idx(1, 5, 4, 0, 0);
    for (size_t k = 0; k < sizeof resized / sizeof *resized; k++) {
        int h = resized[k].height, w = resized[k].width;
        rt_input in = samples(RT_F32, 4, 1, 1, h, w);
        float x[80];
        opens("idx:DIR/d", &in, 1);
        assert_int_equal(rt__data_eval(data, 0, 0, x, &why), 0);
        for (int i = 0; i < h * w; i++)
            if (fabs((double)x[i] - resized[k].values[i]) > 1e-6)
                fail_msg("%dx%d, element %d: %.9g, PyTorch %.9g", h, w, i, (double)x[i],
                         resized[k].values[i]);
        closes();
    }
}

static void test_grey_to_rgb_and_types(void **state)
{
    (void)state;
    write_idx(2, 5, 4, 0, 0);
    rt_input rgb = samples(RT_F64, 4, 1, 3, 7, 9), grey = samples(RT_F32, 3, 1, 7, 9, 0);
    double x[3][63];
    float one[63];
    opens("idx:DIR/d", &rgb, 1);
    assert_string_equal(
        files_neutral(rt__data_summary(data)),
        "idx:DIR/d: 2 images of 1x5x4, bilinear to 3x7x9, (pixel/255 - 0.5)/0.5");
    assert_int_equal(rt__data_eval(data, 0, 1, x, &why), 0);
    closes();
    opens("idx:DIR/d", &grey, 1);
    assert_int_equal(rt__data_eval(data, 0, 1, one, &why), 0);
    closes();
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 63; i++)
            assert_true(x[c][i] == (double)one[i]);
    rt_input flat = samples(RT_BF16, 2, 1, 20, 0, 0);
    uint16_t half[20];
    opens("idx:DIR/d", &flat, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, half, &why), 0);
    assert_int_equal(half[0], 0xbf80); // pixel 0 is -1
    closes();
}

static void test_idx_wrong_files(void **state)
{
    (void)state;
    rt_input in[2] = {samples(RT_F32, 4, 2, 1, 5, 4), targets(2, 0)};
#define IMAGES "DIR/d-images.idx3-ubyte: "
#define LABELS "DIR/d-labels.idx1-ubyte: "
    write_idx(7, 5, 4, -1, 0);
    refused("idx:DIR/d", in, 2,
            IMAGES "truncated: 155 bytes, its header (offset 4) promises 156");
    write_idx(7, 5, 4, 3, 0);
    refused("idx:DIR/d", in, 2,
            IMAGES "too long: 159 bytes, its header (offset 4) promises 156");
    write_idx(7, 5, 4, -145, 0);
    refused("idx:DIR/d", in, 2, IMAGES "truncated: 11 bytes, the IDX header alone has 16");
    write_idx(7, 5, 4, 0, -2);
    refused("idx:DIR/d", in, 2,
            LABELS "truncated: 13 bytes, its header (offset 4) promises 15");
    write_idx(7, 0, 4, 0, 0);
    refused("idx:DIR/d", in, 2, IMAGES "offset 8: dimension 1 is 0");
    write_idx(7, 5, 4, 0, 0);
    uint8_t labels[8] = {0, 0, 8, 1, 0, 0, 0, 0};
    files_write("d-labels.idx1-ubyte", labels, 8);
    refused("idx:DIR/d", in, 2, LABELS "offset 4: dimension 0 is 0");
    uint8_t one[9] = {0, 0, 8, 1, 0, 0, 0, 1, 0};
    files_write("d-labels.idx1-ubyte", one, 9);
    refused("idx:DIR/d", in, 2,
            LABELS "offset 4: 1 labels for 7 images in DIR/d-images.idx3-ubyte");
    one[3] = 3;
    files_write("d-labels.idx1-ubyte", one, 9);
    refused("idx:DIR/d", in, 2,
            LABELS "offset 0: not IDX with 1 dimensions of bytes: magic 0x00000803, expected "
                   "0x00000801");
    unlink(files_path("d-labels.idx1-ubyte"));
    refused("idx:DIR/d", in, 2, LABELS "No such file or directory");
    // More pixels than 64 bits count.
    uint8_t huge[16] = {0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x80, 0, 0, 0, 0x80, 0};
    files_write("d-images.idx3-ubyte", huge, 16);
    write_idx(0, 0, 0, 0, 0);
    files_write("d-images.idx3-ubyte", huge, 16);
    files_write("d-labels.idx1-ubyte", one, 9);
    assert_int_equal(open_data("idx:DIR/d", in, 2, false), RT__INPUT);
}

static void test_idx_that_does_not_fit(void **state)
{
    (void)state;
    write_idx(7, 5, 4, 0, 0);
    rt_input in = samples(RT_I32, 4, 2, 1, 5, 4);
    refused("idx:DIR/d", &in, 1, "idx:DIR/d: images do not fit input x of type I32");
    in = samples(RT_F32, 2, 2, 21, 0, 0);
    refused("idx:DIR/d", &in, 1, "idx:DIR/d: images of 1x5x4 do not fit input x of [21]");
    in = targets(2, 3);
    refused("idx:DIR/d", &in, 1,
            "idx:DIR/d: labels are one I32 a sample, target y takes I32 of shape [3]");
    rt_input two[2] = {targets(2, 0), targets(2, 0)};
    two[1].name = "z";
    refused("idx:DIR/d", two, 2,
            "idx:DIR/d: the data set has one array of targets, the model takes two: y and z");
    in = targets(2, 0);
    in.limit = 5;
    int32_t y[2];
    opens("idx:DIR/d", &in, 1);
    assert_int_equal(rt__data_eval(data, 0, 3, y, &why), 0);
    assert_int_equal(rt__data_eval(data, 0, 4, y, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR/d-labels.idx1-ubyte: offset 13: class or "
                                                 "token 5, the model has 5 (0 to 4)");
    closes();
}

// CIFAR-10
// ----------------------------------------------------------------------------------------------

enum { RECORD = 3073, RECORDS = 10000 };

// Zeros but for one record: label and, in the green plane, a pixel.
static void write_cifar(const char *name, long record, uint8_t label, long bytes_off)
{
    FILE *f = fopen(files_path(name), "wb");
    assert_non_null(f);
    fseek(f, record * RECORD, SEEK_SET);
    fputc(label, f);
    fseek(f, record * RECORD + 1 + 1024 + 33, SEEK_SET);
    fputc(255, f);
    fflush(f);
    assert_int_equal(ftruncate(fileno(f), (long)RECORD * RECORDS + bytes_off), 0);
    fclose(f);
}

static void test_cifar(void **state)
{
    (void)state;
    rt_input in[2] = {samples(RT_F32, 4, 1, 3, 32, 32), targets(1, 0)};
    static float x[3 * 1024];
    int32_t y;
    for (int b = 1; b <= 5; b++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", b);
        write_cifar(name, b, (uint8_t)b, 0);
    }
    write_cifar("test_batch.bin", 9999, 9, 0);
    opens("cifar10:DIR", in, 2);
    assert_int_equal(rt__data_samples(data), 50000);
    for (int b = 0; b < 5; b++) {
        uint64_t sample = (uint64_t)(b * RECORDS + b + 1);
        assert_int_equal(rt__data_eval(data, 1, sample, &y, &why), 0);
        assert_int_equal(y, b + 1);
        assert_int_equal(rt__data_eval(data, 0, sample, x, &why), 0);
        assert_true(x[1024 + 33] == 1 && x[1024 + 32] == -1);
    }
    closes();
    assert_int_equal(open_data("cifar10:DIR", in, 2, true), 0);
    assert_int_equal(rt__data_samples(data), 10000);
    assert_int_equal(rt__data_eval(data, 1, 9999, &y, &why), 0);
    assert_int_equal(y, 9);
    closes();
    write_cifar("data_batch_3.bin", 0, 0, -1);
    refused("cifar10:DIR", in, 2,
            "DIR/data_batch_3.bin: truncated: 30729999 bytes, a CIFAR-10 batch has 30730000 "
            "(10000 records of 3073)");
    unlink(files_path("data_batch_2.bin"));
    refused("cifar10:DIR", in, 2, "DIR/data_batch_2.bin: No such file or directory");
}

// NumPy
// ----------------------------------------------------------------------------------------------

static void write_npy(const char *name, const char *dict, const void *values, size_t bytes)
{
    uint8_t file[4096] = "\x93NUMPY\x01";
    size_t n = strlen(dict);
    file[8] = (uint8_t)n;
    file[9] = (uint8_t)(n >> 8);
    memcpy(file + 10, dict, n);
    memcpy(file + 10 + n, values, bytes);
    files_write(name, file, 10 + n + bytes);
}

#define DICT(descr, shape)                                                                     \
    "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }  \n"

static void test_npy(void **state)
{
    (void)state;
    static const float x[3][2] = {{0, 1}, {2, 3.5f}, {-4, 5}};
    static const int64_t y[3] = {7, -1, 9};
    write_npy("x.npy", DICT("<f4", "(3, 1, 2)"), x, sizeof x);
    write_npy("y.npy", DICT("<i8", "(3,)"), y, sizeof y);
    rt_input in[2] = {samples(RT_F32, 2, 2, 2, 0, 0), targets(2, 0)};
    float got[2][2];
    int32_t label[2];
    opens("npy:DIR/x.npy,DIR/y.npy", in, 2);
    assert_int_equal(rt__data_samples(data), 3);
    assert_int_equal(rt__data_eval(data, 0, 1, got, &why), 0);
    assert_memory_equal(got, x[1], sizeof got);
    assert_int_equal(rt__data_eval(data, 1, 1, label, &why), 0);
    assert_int_equal(label[0], -1); // ignored
    assert_int_equal(label[1], 9);
    // Behind the end: zeros, and targets that do not count.
    assert_int_equal(rt__data_eval(data, 0, 2, got, &why), 0);
    assert_true(got[0][1] == 5 && got[1][0] == 0 && got[1][1] == 0);
    assert_int_equal(rt__data_eval(data, 1, 2, label, &why), 0);
    assert_int_equal(label[1], -1);
    assert_int_equal(rt__data_valid(data, 2, 2), 1);
    assert_int_equal(rt__data_valid(data, 1, 2), 2);
    assert_int_equal(rt__data_valid(data, 3, 2), 0);
    closes();
    in[0].dtype = RT_F64;
    double wide[2][2];
    opens("npy:DIR/x.npy,DIR/y.npy", in, 1);
    assert_int_equal(rt__data_eval(data, 0, 1, wide, &why), 0);
    assert_true(wide[0][1] == 3.5);
    closes();
}

// Arrays by the names of the inputs, in any order.
static void test_npy_names(void **state)
{
    (void)state;
    static const float x[2][2] = {{0, 1}, {2, 3}};
    static const int32_t z[2] = {5, 6};
    write_npy("x.npy", DICT("<f4", "(2, 2)"), x, sizeof x);
    write_npy("z.npy", DICT("<i4", "(2,)"), z, sizeof z);
    rt_input in[3] = {samples(RT_F32, 2, 1, 2, 0, 0), samples(RT_I32, 1, 1, 0, 0, 0),
                      targets(1, 0)};
    in[1].name = "length";
    float got[2];
    int32_t length, label;
    opens("npy:y=DIR/z.npy,length=DIR/z.npy,x=DIR/x.npy", in, 3);
    assert_int_equal(rt__data_eval(data, 0, 1, got, &why), 0);
    assert_int_equal(rt__data_eval(data, 1, 1, &length, &why), 0);
    assert_int_equal(rt__data_eval(data, 2, 0, &label, &why), 0);
    assert_memory_equal(got, x[1], sizeof got);
    assert_true(length == 6 && label == 5);
    closes();
    refused("npy:x=DIR/x.npy,y=DIR/z.npy", in, 3,
            "npy:x=DIR/x.npy,y=DIR/z.npy: the model takes length as well: say length=PATH");
    refused(
        "npy:DIR/x.npy,DIR/z.npy", in, 3,
        "npy:DIR/x.npy,DIR/z.npy: the data set has one array of samples, the model takes two: "
        "x and length");
    refused("npy:x=DIR/x.npy,DIR/z.npy", in, 2,
            "data 'npy:x=DIR/x.npy,DIR/z.npy': say npy:X,Y, or npy:INPUT=X,INPUT=Y,...");
    write_npy("z.npy", DICT("<i4", "(1,)"), z, sizeof *z);
    refused("npy:x=DIR/x.npy,length=DIR/z.npy", in, 2,
            "DIR/z.npy: 1 length for 2 samples in DIR/x.npy");
}

static void test_npy_types(void **state)
{
    (void)state;
    static const double f8[2] = {1.0 / 3, -2};
    static const int32_t i4[2] = {70000, 3};
    static const uint8_t u1[2] = {200, 3};
    rt_input in = samples(RT_F32, 2, 2, 1, 0, 0);
    float x[2];
    write_npy("x.npy", DICT("<f8", "(2,)"), f8, sizeof f8);
    opens("npy:DIR/x.npy", &in, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, x, &why), 0);
    assert_true(x[0] == 1.0f / 3 && x[1] == -2);
    closes();
    write_npy("x.npy", DICT("|u1", "(2,)"), u1, sizeof u1);
    opens("npy:DIR/x.npy", &in, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, x, &why), 0);
    assert_true(x[0] == 200);
    closes();
    in.dtype = RT_U8;
    write_npy("x.npy", DICT("<i4", "(2,)"), i4, sizeof i4);
    opens("npy:DIR/x.npy", &in, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, x, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR/x.npy: offset 70: 70000 does not fit U8");
    closes();
    in.dtype = RT_I32;
    in.limit = 50000;
    opens("npy:DIR/x.npy", &in, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, x, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text),
                        "DIR/x.npy: offset 70: class or token 70000, the model has 50000 (0 to "
                        "49999)");
    closes();
    static const int32_t negative[2] = {-1, 3}; // no row of a table
    write_npy("x.npy", DICT("<i4", "(2,)"), negative, sizeof negative);
    opens("npy:DIR/x.npy", &in, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, x, &why), RT__INPUT);
    closes();
}

static void test_npy_wrong_files(void **state)
{
    (void)state;
    static const struct {
        const char *dict, *text;
        size_t bytes;
    } cases[] = {
        {DICT("<f4", "(3, 2)"),
         "truncated: 23 bytes of elements at offset 72, its shape promises 24", 23},
        {DICT("<f4", "(3, 2)"),
         "too long: 25 bytes of elements at offset 72, its shape promises 24", 25},
        {DICT("<f4", "()"), "no samples: dimension 0 counts them", 4},
        {DICT("<f4", "(0, 2)"), "no samples: dimension 0 counts them", 0},
        {DICT("|O", "(3,)"),
         "dtype '|O' is not supported; float32, float64, int32, int64 and uint8 are (little-endian)",
         24},
        {DICT(">f4", "(3,)"),
         "dtype '>f4' is not supported; float32, float64, int32, int64 and uint8 are (little-endian)",
         12},
        {"{'descr': [('a', '<f4')], 'shape': (3,)}",
         "offset 20: npy header: expected a string (structured dtypes are not supported)", 12},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }",
         "offset 48: npy header: Fortran order is not supported: save "
         "numpy.ascontiguousarray(x)",
         12},
        {"{'descr': '<f4', 'shape': (3,), }",
         "offset 43: npy header: descr, fortran_order and shape are needed", 12},
        {"{'descr': '<f4', 'x': 1}", "offset 31: npy header: unknown key", 12},
        {"[]", "offset 10: npy header: expected '{'", 12},
        {"{'descr': '<f4' 'shape': (3,)}", "offset 26: npy header: expected ',' or '}'", 12},
        {"{'descr': '<f4', ",
         "offset 27: npy header: expected a string (structured dtypes are not supported)", 0},
    };
    static const uint8_t values[32];
    rt_input in = samples(RT_F32, 2, 1, 2, 0, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        write_npy("x.npy", cases[i].dict, values, cases[i].bytes);
        snprintf(text, sizeof text, "DIR/x.npy: %s", cases[i].text);
        refused("npy:DIR/x.npy", &in, 1, text);
    }
    files_write("x.npy", "PK\3\4 and more of a zip", 20);
    refused("npy:DIR/x.npy", &in, 1, "DIR/x.npy: offset 0: not a .npy file");
    files_write("x.npy", "\x93NUMPY\x04\0\0\0\0\0", 12);
    refused("npy:DIR/x.npy", &in, 1, "DIR/x.npy: offset 6: npy version 4, expected 1 to 3");
    files_write("x.npy", "\x93NUMPY\x01\0\x10\0{}", 12);
    refused("npy:DIR/x.npy", &in, 1, "DIR/x.npy: truncated: 12 bytes, the header ends at 26");
}

static void test_npy_that_does_not_fit(void **state)
{
    (void)state;
    static const float x[6] = {0};
    static const int64_t y[2] = {0};
    write_npy("x.npy", DICT("<f4", "(3, 2)"), x, sizeof x);
    write_npy("y.npy", DICT("<i8", "(2,)"), y, sizeof y);
    rt_input in[2] = {samples(RT_F32, 2, 1, 2, 0, 0), targets(1, 0)};
    refused("npy:DIR/x.npy,DIR/y.npy", in, 2,
            "DIR/y.npy: 2 targets for 3 samples in DIR/x.npy");
    refused("npy:DIR/x.npy", in, 2, "npy:DIR/x.npy: the model has a target, y: say npy:X,Y");
    in[0].dim[1] = 3;
    refused("npy:DIR/x.npy", in, 1, "DIR/x.npy: a sample is [2], input x takes [3]");
    in[0] = samples(RT_I32, 2, 1, 2, 0, 0);
    refused("npy:DIR/x.npy", in, 1, "DIR/x.npy: holds float32, input x takes I32");
}

// Text and tokens
// ----------------------------------------------------------------------------------------------

static void test_text(void **state)
{
    (void)state;
    enum { T = 4 };
    rt_input in[2] = {samples(RT_I32, 2, 1, T, 0, 0), targets(1, T)};
    in[0].limit = in[1].limit = 256;
    const char text[] = "hello, world."; // 13 bytes: three sequences of 4 + 1
    files_write("t.txt", text, 13);
    opens("text:DIR/t.txt", in, 2);
    assert_int_equal(rt__data_samples(data), 3);
    assert_string_equal(files_neutral(rt__data_summary(data)),
                        "text:DIR/t.txt: 3 sequences of 4 tokens");
    for (uint64_t s = 0; s < 3; s++) {
        int32_t x[T], y[T];
        assert_int_equal(rt__data_eval(data, 0, s, x, &why), 0);
        assert_int_equal(rt__data_eval(data, 1, s, y, &why), 0);
        for (uint64_t t = 0; t < T; t++) {
            assert_int_equal(x[t], text[4 * s + t]);
            assert_int_equal(y[t], text[4 * s + t + 1]);
        }
    }
    closes();
    files_write("t.txt", text, 12); // the last token of a sequence is needed too
    opens("text:DIR/t.txt", in, 2);
    assert_int_equal(rt__data_samples(data), 2);
    closes();
    in[0].limit = 120;
    int32_t x[T];
    files_write("t.txt", "abcz!", 5);
    opens("text:DIR/t.txt", in, 1);
    assert_int_equal(rt__data_eval(data, 0, 0, x, &why), RT__INPUT);
    assert_string_equal(
        files_neutral(why.text),
        "DIR/t.txt: offset 3: class or token 122, the model has 120 (0 to 119)");
    closes();
    files_write("t.txt", "abcd", 4);
    refused("text:DIR/t.txt", in, 2, "DIR/t.txt: 4 tokens are too few for one sample of 4 + 1");
    in[1] = targets(1, 5);
    refused("text:DIR/t.txt", in, 2,
            "text:DIR/t.txt: input y has 5 tokens a sample, another has 4");
    in[0] = samples(RT_F32, 2, 1, T, 0, 0);
    refused("text:DIR/t.txt", in, 1,
            "text:DIR/t.txt: a sample is [T] tokens of type I32, input x takes [4] of F32");
}

static void write_tokens(const char *name, uint32_t magic, uint32_t version, uint32_t n,
                         int bytes_off)
{
    static uint8_t file[1024 + 512];
    uint32_t header[3] = {magic, version, n};
    memcpy(file, header, sizeof header);
    for (uint32_t i = 0; i < n && i < 256; i++) {
        file[1024 + 2 * i] = (uint8_t)i;
        file[1024 + 2 * i + 1] = 1; // token 256 + i
    }
    files_write(name, file, (size_t)(1024 + 2 * (int)n + bytes_off));
}

static void test_tokens(void **state)
{
    (void)state;
    enum { T = 4 };
    rt_input in[2] = {samples(RT_I32, 2, 1, T, 0, 0), targets(1, T)};
    in[0].limit = in[1].limit = 50257;
    int32_t x[T];
    write_tokens("a_1.bin", 20240520, 1, 10, 0);
    write_tokens("a_2.bin", 20240520, 1, 13, 0);
    opens("tokens:DIR/a_*.bin", in, 2);
    assert_int_equal(rt__data_samples(data), 2 + 3); // a shard at a time
    assert_int_equal(rt__data_eval(data, 0, 1, x, &why), 0);
    assert_int_equal(x[0], 256 + 4);
    assert_int_equal(rt__data_eval(data, 0, 2, x, &why), 0);
    assert_int_equal(x[0], 256);
    assert_int_equal(rt__data_eval(data, 1, 4, x, &why), 0);
    assert_int_equal(x[3], 256 + 12);
    closes();
    write_tokens("a_1.bin", 20240521, 1, 10, 0);
    refused("tokens:DIR/a_1.bin", in, 2,
            "DIR/a_1.bin: offset 0: magic 20240521, expected 20240520");
    write_tokens("a_1.bin", 20240520, 2, 10, 0);
    refused("tokens:DIR/a_1.bin", in, 2, "DIR/a_1.bin: offset 4: version 2, expected 1");
    write_tokens("a_1.bin", 20240520, 1, 10, -1);
    refused("tokens:DIR/a_1.bin", in, 2,
            "DIR/a_1.bin: truncated: 1043 bytes, its header (offset 8) promises 1044 (10 "
            "tokens)");
    write_tokens("a_1.bin", 20240520, 1, 10, 2);
    refused("tokens:DIR/a_1.bin", in, 2,
            "DIR/a_1.bin: too long: 1046 bytes, its header (offset 8) promises 1044 (10 "
            "tokens)");
    write_tokens("a_1.bin", 20240520, 1, 0, -24);
    refused("tokens:DIR/a_1.bin", in, 2,
            "DIR/a_1.bin: truncated: 1000 bytes, the header alone has 1024");
    refused("tokens:DIR/b_*.bin", in, 2, "DIR/b_*.bin: No such file or directory");
}

// Synthetic
// ----------------------------------------------------------------------------------------------

static void test_synthetic(void **state)
{
    (void)state;
    enum { N = 10000 };
    static float x[N], again[N];
    rt_input in[2] = {samples(RT_F32, 2, 1, N, 0, 0), targets(1, N)};
    static int32_t y[N];
    opens("synthetic:8,4", in, 2);
    assert_int_equal(rt__data_samples(data), 8);
    assert_int_equal(rt__data_eval(data, 0, 5, x, &why), 0);
    assert_int_equal(rt__data_eval(data, 0, 5, again, &why), 0);
    assert_memory_equal(x, again, sizeof x);
    assert_int_equal(rt__data_eval(data, 0, 6, again, &why), 0);
    assert_memory_not_equal(x, again, sizeof x);
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(sum / N) < 0.05 && fabs(squares / N - 1) < 0.07);
    int seen[4] = {0};
    assert_int_equal(rt__data_eval(data, 1, 0, y, &why), 0);
    for (int i = 0; i < N; i++)
        seen[y[i]]++;
    for (int c = 0; c < 4; c++)
        assert_true(abs(seen[c] - N / 4) < 250);
    closes();
}

static uint64_t hash_of(const uint8_t *bytes, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

// Losses of benchmarks are compared from version to version.
static void test_synthetic_stays(void **state)
{
    (void)state;
    enum { N = 3, ELEMENTS = 4099 };
    static const uint64_t want[] = {0xac1376bd0434609a, 0x9eabbf855df86d9d};
    static uint8_t x[N * ELEMENTS * 4];
    for (int k = 0; k < 2; k++) {
        const rt_input in = samples(k ? RT_BF16 : RT_F32, 2, N, ELEMENTS, 0, 0);
        rt__data_options o = {.spec = "synthetic:100", .inputs = &in, .n_inputs = 1, .seed = 5};
        assert_int_equal(rt__data_open(&data, &o, &why), 0);
        assert_int_equal(rt__data_train(data, 0, (rt__cursor){1, 7}, N, x, &why), 0);
        assert_int_equal(hash_of(x, sizeof x / (k ? 2 : 1)), want[k]);
        closes();
    }
}

// Whoever draws it, and however often it was asked for.
static void test_synthetic_with_helpers(void **state)
{
    (void)state;
    enum { N = 70, ELEMENTS = 3 * 33 * 33, TIMES = 20 };
    const rt_input in = {
        .name = "x", .dtype = RT_F32, .rank = 4, .dim = {N, 3, 33, 33}, .edge = RT_NO_EDGE};
    rt__data_options o = {.spec = "synthetic:100", .inputs = &in, .n_inputs = 1, .seed = 5};
    float *want = malloc(sizeof(float[N * ELEMENTS])),
          *got = malloc(sizeof(float[N * ELEMENTS]));
    rt__data *alone, *helped;
    assert_int_equal(rt__data_open(&alone, &o, &why), 0);
    o.helpers = 3;
    assert_int_equal(rt__data_open(&helped, &o, &why), 0);
    for (uint64_t k = 0; k < TIMES; k++) {
        rt__cursor at = {k / 3, k * N % 100};
        memset(got, 0xff, sizeof(float[N * ELEMENTS]));
        assert_int_equal(rt__data_train(alone, 0, at, N, want, &why), 0);
        assert_int_equal(rt__data_train(helped, 0, at, N, got, &why), 0);
        assert_memory_equal(want, got, sizeof(float[N * ELEMENTS]));
    }
    rt__data_close(alone);
    rt__data_close(helped);
    free(want);
    free(got);
}

static void test_synthetic_specs(void **state)
{
    (void)state;
    rt_input label = targets(1, 0), ids = samples(RT_I32, 2, 1, 4, 0, 0);
    opens("synthetic", &label, 1); // as many as the model has classes
    assert_int_equal(rt__data_samples(data), 4096);
    closes();
    refused("synthetic", &ids, 1,
            "synthetic: input x takes integers, but how many classes or tokens are there? Say "
            "synthetic:SAMPLES,CLASSES");
    refused("synthetic:8,11", &label, 1, "synthetic:8,11: input y takes integers below 10");
    rt_input byte = samples(RT_U8, 2, 1, 4, 0, 0);
    refused("synthetic:8,257", &byte, 1, "synthetic:8,257: input x takes bytes");
    ids.limit = 3;
    int32_t x[4];
    opens("synthetic:8", &ids, 1);
    for (uint64_t s = 0; s < 8; s++) {
        assert_int_equal(rt__data_eval(data, 0, s, x, &why), 0);
        for (int i = 0; i < 4; i++)
            assert_in_range(x[i], 0, 2);
    }
    closes();
    static const char *const wrong[] = {"synthetic:x", "synthetic:8,", "synthetic:-8",
                                        "synthetic:8,0", "synthetic:8,2x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(open_data(wrong[i], NULL, 0, false), RT__INPUT);
        assert_non_null(strstr(why.text, "expected synthetic[:SAMPLES[,CLASSES]]"));
    }
    refused("synthetic:0", NULL, 0, "synthetic:0: no samples");
    refused("zip:x", NULL, 0,
            "data 'zip:x': no such kind of data; known: idx:PREFIX, cifar10:DIR, npy:X,Y, "
            "text:FILE, tokens:FILE, synthetic[:SAMPLES[,CLASSES]]");
}

// Order
// ----------------------------------------------------------------------------------------------

static void test_order_is_a_permutation(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 64, 65, 1000, 1797, 4096, 60000};
    static uint8_t seen[60000];
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (uint64_t epoch = 0; epoch < 3; epoch++) {
            uint64_t n = sizes[k];
            memset(seen, 0, sizeof seen);
            for (uint64_t i = 0; i < n; i++) {
                uint64_t at = rt__data_order(42, epoch, n, i);
                assert_true(at < n && !seen[at]);
                seen[at] = 1;
            }
        }
}

static void test_order_is_mixed(void **state)
{
    (void)state;
    enum { N = 10000 };
    int same_epoch = 0, same_seed = 0, stay = 0, neighbours = 0;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t at = rt__data_order(1, 0, N, i);
        same_epoch += at == rt__data_order(1, 1, N, i);
        same_seed += at == rt__data_order(2, 0, N, i);
        stay += at == i;
        neighbours += rt__data_order(1, 0, N, (i + 1) % N) == (at + 1) % N;
    }
    // One of N by chance each time.
    assert_true(same_epoch < 10 && same_seed < 10 && stay < 10 && neighbours < 10);
    // The first half of the order holds half of the first half of the samples.
    int first = 0;
    for (uint64_t i = 0; i < N / 2; i++)
        first += rt__data_order(1, 0, N, i) < N / 2;
    assert_true(abs(first - N / 4) < 150);
}

// Of seven samples: what is left of an epoch is a step, too, in multiples of the least.
static void test_cursor(void **state)
{
    (void)state;
    rt_input in = targets(2, 0);
    write_idx(7, 5, 4, 0, 0);
    opens("idx:DIR/d", &in, 1);
    static const struct {
        rt__portion of;
        int steps;
        int64_t samples[4];
    } rows[] = {{{3, 1}, 3, {3, 3, 1}}, {{3, 2}, 2, {3, 3}},      {{4, 2}, 2, {4, 2}},
                {{8, 1}, 1, {7}},       {{8, 4}, 1, {4}},         {{7, 7}, 1, {7}},
                {{8, 8}, 0, {0}},       {{2, 1}, 4, {2, 2, 2, 1}}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        assert_int_equal(rt__steps_per_epoch(data, rows[r].of), rows[r].steps);
        rt__cursor at = {4, 0};
        for (int i = 0; i < rows[r].steps; i++) {
            assert_int_equal(at.epoch, 4);
            assert_int_equal(rt__step_samples(data, at, rows[r].of), rows[r].samples[i]);
            at = rt__cursor_next(data, at, rows[r].of);
        }
        assert_true(!rows[r].steps || (at.epoch == 5 && at.index == 0));
    }
    rt__cursor at = rt__cursor_mb((rt__cursor){2, 1}, 2, 2);
    assert_int_equal(at.epoch, 2);
    assert_int_equal(at.index, 5);
    int32_t y[2];
    assert_int_equal(rt__data_train(data, 0, at, 2, y, &why), 0); // label = sample
    assert_int_equal(y[0], rt__data_order(1, 2, 7, 5));
    assert_int_equal(y[1], rt__data_order(1, 2, 7, 6));
    closes();
}

// What fills up a micro-batch are the epoch's first samples, which do not count.
static void test_filled_up(void **state)
{
    (void)state;
    rt_input in[2] = {samples(RT_F32, 4, 2, 1, 5, 4), targets(2, 0)};
    write_idx(7, 5, 4, 0, 0);
    opens("idx:DIR/d", in, 2);
    float x[2][20], want[2][20];
    int32_t y[2];
    for (rt__cursor at = {0, 6}; at.epoch < 5; at.epoch++) {
        rt__cursor first = {at.epoch, 0};
        assert_int_equal(rt__data_train(data, 0, at, 1, x, &why), 0);
        assert_int_equal(rt__data_train(data, 0, first, 2, want, &why), 0);
        assert_memory_equal(x[1], want[0], sizeof x[1]);
        assert_int_equal(rt__data_train(data, 1, at, 1, y, &why), 0);
        assert_int_equal(y[0], rt__data_order(1, at.epoch, 7, 6));
        assert_int_equal(y[1], -1);
    }
    assert_int_equal(rt__data_alone(data, 0, 6, x, &why), 0);
    assert_int_equal(rt__data_eval(data, 0, 6, want, &why), 0);
    assert_memory_equal(x[0], want[0], sizeof x[0]);
    assert_memory_equal(x[1], want[0], sizeof x[0]);
    assert_int_equal(rt__data_alone(data, 1, 6, y, &why), 0);
    assert_true(y[0] == 6 && y[1] == -1);
    assert_int_equal(rt__data_alone(data, 1, 7, y, &why), 0); // there is none
    assert_true(y[0] == -1 && y[1] == -1);
    closes();
}

// Anywhere a file may end.
static void test_truncated_everywhere(void **state)
{
    (void)state;
    static const float x[6] = {0};
    rt_input in[2] = {samples(RT_F32, 2, 1, 2, 0, 0), targets(1, 0)};
    size_t n;
    write_npy("x.npy", DICT("<f4", "(3, 2)"), x, sizeof x);
    uint8_t *bytes = files_read(files_path("x.npy"), &n);
    for (size_t k = 0; k < n; k++) {
        files_write("x.npy", bytes, k);
        assert_int_equal(open_data("npy:DIR/x.npy", in, 1, false), RT__INPUT);
    }
    free(bytes);
    in[0] = samples(RT_F32, 4, 1, 1, 5, 4);
    write_idx(2, 5, 4, 0, 0);
    bytes = files_read(files_path("d-images.idx3-ubyte"), &n);
    for (size_t k = 0; k < n; k++) {
        files_write("d-images.idx3-ubyte", bytes, k);
        assert_int_equal(open_data("idx:DIR/d", in, 2, false), RT__INPUT);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_idx_dashed),
        cmocka_unit_test(test_resizing_as_pytorch),
        cmocka_unit_test(test_grey_to_rgb_and_types),
        cmocka_unit_test(test_idx_wrong_files),
        cmocka_unit_test(test_idx_that_does_not_fit),
        cmocka_unit_test(test_cifar),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_npy_names),
        cmocka_unit_test(test_npy_types),
        cmocka_unit_test(test_npy_wrong_files),
        cmocka_unit_test(test_npy_that_does_not_fit),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_synthetic_stays),
        cmocka_unit_test(test_synthetic_with_helpers),
        cmocka_unit_test(test_synthetic_specs),
        cmocka_unit_test(test_order_is_a_permutation),
        cmocka_unit_test(test_order_is_mixed),
        cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_filled_up),
        cmocka_unit_test(test_truncated_everywhere),
    };
    return cmocka_run_group_tests(tests, files_begin, files_end);
}
