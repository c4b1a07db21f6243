// --init: one file, an index with shards, a directory; conversion of dtypes; what is missing or too much.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/checkpoint.h"
#include "runtime/safetensors.h"
#include "tests/runtime/files.h"

#include <inttypes.h>
#include <math.h>

enum { N = 6 };

static rt__why why, extra;

// The model: a weight, a bias, a statistic; state and accumulators are never looked for.
static rt_tensor model[] = {
    {.name = "w", .role = RT_PARAM, .dtype = RT_F32, .rank = 2, .dim = {2, 3}, .kernel = -1},
    {.name = "b", .role = RT_PARAM, .dtype = RT_F32, .rank = 1, .dim = {N}, .kernel = -1},
    {.name = "mean", .role = RT_BUFFER, .dtype = RT_F32, .rank = 1, .dim = {N}, .kernel = -1},
    {.name = "w.momentum",
     .role = RT_STATE,
     .dtype = RT_F32,
     .rank = 1,
     .dim = {N},
     .kernel = -1},
    {.name = "w.grad",
     .role = RT_ACCUMULATOR,
     .dtype = RT_F32,
     .rank = 1,
     .dim = {N},
     .kernel = -1},
};
enum { TENSORS = sizeof model / sizeof *model, SPACE = 64 };
static uint8_t bytes[TENSORS * SPACE];

static rt__memory memory(rt_dtype dtype)
{
    memset(bytes, 0x55, sizeof bytes);
    for (int i = 0; i < TENSORS; i++) {
        model[i].dtype = dtype;
        model[i].offset = i * SPACE;
        model[i].bytes = rt__plain_bytes(&model[i]);
    }
    return (rt__memory){.tensors = model, .n_tensors = TENSORS, .base = bytes};
}

static bool untouched(void)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        if (bytes[i] != 0x55)
            return false;
    return true;
}

// Writing files of any dtype
// ----------------------------------------------------------------------------------------------

// An entry of N elements, the bytes of which are given.
typedef struct Entry {
    const char *name, *type, *shape;
    const void *data;
    size_t bytes;
} Entry;

static void write_file(const char *name, const Entry *entries, int n)
{
    uint8_t file[8192];
    char header[4096] = "{";
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        size_t used = strlen(header);
        snprintf(header + used, sizeof header - used,
                 "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                 i ? "," : "", entries[i].name, entries[i].type, entries[i].shape, at,
                 at + entries[i].bytes);
        at += entries[i].bytes;
    }
    strcat(header, "}");
    uint64_t length = strlen(header);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    at = 8 + length;
    for (int i = 0; i < n; i++) {
        memcpy(file + at, entries[i].data, entries[i].bytes);
        at += entries[i].bytes;
    }
    files_write(name, file, at);
}

static const float f32[N] = {0, 1, -2.5f, 3e-20f, 65504, 1.0f / 3};
static const double f64[N] = {0, 1, -2.5, 1e-300, 65504, 1.0 / 3};
static const uint16_t bf16[N] = {0, 0x3f80, 0xc020, 0x7f80, 0x0001, 0x8000};
static const uint16_t f16[N] = {0, 0x3c00, 0xc100, 0x0001, 0x7bff, 0x8000};
static const int64_t i64[1] = {12};

#define F32(name)                                                                              \
    {                                                                                          \
        name, "F32", "[6]", f32, sizeof f32                                                    \
    }
#define W(type, of)                                                                            \
    {                                                                                          \
        "w", type, "[2,3]", of, sizeof of                                                      \
    }

static float at(int tensor, int i)
{
    float value;
    memcpy(&value, bytes + tensor * SPACE + 4 * i, 4);
    return value;
}

// Tests
// ----------------------------------------------------------------------------------------------

static void test_conversions(void **state)
{
    (void)state;
    // A tensor of one byte first, so that everything after it lies unaligned.
    const Entry entries[] = {{"odd", "U8", "[1]", "x", 1},
                             W("F16", f16),
                             {"b", "BF16", "[6]", bf16, sizeof bf16},
                             {"mean", "F64", "[6]", f64, sizeof f64}};
    rt__memory m = memory(RT_F32);
    write_file("m.safetensors", entries, 4);
    assert_int_equal(rt__init_load(files_path("m.safetensors"), &m, true, &extra, &why), 0);
    static const float from_f16[N] = {0, 1, -2.5f, 0x1p-24f, 65504, -0.0f};
    static const float from_bf16[N] = {0, 1, -2.5f, INFINITY, 0x1p-133f, -0.0f};
    for (int i = 0; i < N; i++) {
        float mean = (float)f64[i];
        assert_true(at(0, i) == from_f16[i] && signbit(at(0, i)) == signbit(from_f16[i]));
        assert_true(at(1, i) == from_bf16[i] && signbit(at(1, i)) == signbit(from_bf16[i]));
        assert_true(at(2, i) == mean);
    }
    assert_int_equal(bytes[3 * SPACE], 0x55); // state and accumulators stay
    assert_int_equal(bytes[4 * SPACE], 0x55);
    assert_string_equal(files_neutral(extra.text),
                        "DIR/m.safetensors: tensors that the model does not have: odd");
}

static void test_special_halves(void **state)
{
    (void)state;
    static const uint16_t special[N] = {0x7c00, 0xfc00, 0x7e00, 0x03ff, 0x0400, 0x8001};
    const Entry entries[] = {W("F16", special), F32("b"), F32("mean")};
    rt__memory m = memory(RT_F64);
    model[1].dtype = model[2].dtype = RT_F64;
    write_file("m.safetensors", entries, 3);
    assert_int_equal(rt__init_load(files_path("m.safetensors"), &m, true, &extra, &why), 0);
    double w[N];
    memcpy(w, bytes, sizeof w);
    assert_true(w[0] == INFINITY && w[1] == -INFINITY && isnan(w[2]));
    assert_true(w[3] == 1023 * 0x1p-24 && w[4] == 0x1p-14 && w[5] == -0x1p-24);
    assert_string_equal(extra.text, "");
}

static void test_narrowing(void **state)
{
    (void)state;
    const Entry entries[] = {W("F32", f32), F32("b"), {"mean", "F64", "[6]", f64, sizeof f64}};
    rt__memory m = memory(RT_BF16);
    write_file("m.safetensors", entries, 3);
    assert_int_equal(rt__init_load(files_path("m.safetensors"), &m, true, &extra, &why), 0);
    uint16_t third;
    memcpy(&third, bytes + 2 * 5, 2);
    assert_int_equal(third, 0x3eab); // 1/3, to nearest
}

static void test_index_and_directory(void **state)
{
    (void)state;
    const Entry one[] = {W("F32", f32), {"bn.num_batches_tracked", "I64", "[]", i64, 8}};
    const Entry two[] = {F32("b"), F32("mean"), F32("more"), F32("and_more")};
    static const char index[] =
        "{\"weight_map\":{\"w\":\"one.safetensors\",\"b\":\"two.safetensors\","
        "\"mean\":\"two.safetensors\"}}";
    write_file("one.safetensors", one, 2);
    write_file("two.safetensors", two, 4);
    const char *path = files_write("model.safetensors.index.json", index, strlen(index));
    for (int directory = 0; directory < 2; directory++) {
        rt__memory m = memory(RT_F32);
        assert_int_equal(rt__init_load(directory ? files_dir : path, &m, true, &extra, &why),
                         0);
        assert_true(at(0, 2) == -2.5f && at(1, 4) == 65504 && at(2, 1) == 1);
        assert_string_equal(files_neutral(extra.text),
                            "DIR/model.safetensors.index.json: tensors that the model does not "
                            "have: and_more, more");
    }
    rt__memory m = memory(RT_F32);
    assert_int_equal(rt__init_load(path, &m, false, &extra, &why), 0); // a part of the model
    assert_string_equal(extra.text, "");
    unlink(path);
    write_file("model.safetensors", two, 4);
    m = memory(RT_F32);
    assert_int_equal(rt__init_load(files_dir, &m, true, &extra, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text),
                        "DIR/model.safetensors: tensors of the model are missing: w");
}

static void refused(const char *name, rt_dtype dtype, const char *text)
{
    rt__memory m = memory(dtype);
    assert_int_equal(rt__init_load(files_path(name), &m, true, &extra, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), text);
    assert_true(untouched());
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    const Entry none[] = {{"w.weight", "F32", "[2,3]", f32, sizeof f32}};
    write_file("m.safetensors", none, 1);
    refused("m.safetensors", RT_F32,
            "DIR/m.safetensors: tensors of the model are missing: w, b, mean");
    const Entry shape[] = {W("F32", f32), F32("b"), {"mean", "F32", "[3,2]", f32, sizeof f32}};
    write_file("m.safetensors", shape, 3);
    refused("m.safetensors", RT_F32,
            "DIR/m.safetensors: tensor mean is [3,2], the model wants [6]");
    const Entry rank[] = {W("F32", f32), F32("b"), {"mean", "F32", "[6,1]", f32, sizeof f32}};
    write_file("m.safetensors", rank, 3);
    refused("m.safetensors", RT_F32,
            "DIR/m.safetensors: tensor mean is [6,1], the model wants [6]");
    const Entry type[] = {W("F32", f32), F32("b"), {"mean", "U8", "[6]", f32, 6}};
    write_file("m.safetensors", type, 3);
    refused("m.safetensors", RT_F32,
            "DIR/m.safetensors: tensor mean is of type U8, the model wants F32");
    const Entry half[] = {W("F32", f32), F32("b"), {"mean", "F16", "[6]", f16, 12}};
    write_file("m.safetensors", half, 3);
    refused("m.safetensors", RT_I32,
            "DIR/m.safetensors: tensor w is of type F32, the model wants I32");
    refused("none.safetensors", RT_F32, "DIR/none.safetensors: No such file or directory");
}

static void test_bad_indexes(void **state)
{
    (void)state;
    static const struct {
        const char *index, *text;
    } cases[] = {
        {"{", "offset 1: string or '}' expected near end of file"},
        {"{}", "weight_map is missing or no object"},
        {"{\"weight_map\":{\"w\":1}}", "weight_map: w is not in a file of the same directory"},
        {"{\"weight_map\":{\"w\":\"../w.safetensors\"}}",
         "weight_map: w is not in a file of the same directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        files_write("x.index.json", cases[i].index, strlen(cases[i].index));
        snprintf(text, sizeof text, "DIR/x.index.json: %s", cases[i].text);
        refused("x.index.json", RT_F32, text);
    }
    static const char gone[] = "{\"weight_map\":{\"w\":\"gone.safetensors\"}}";
    files_write("x.index.json", gone, strlen(gone));
    refused("x.index.json", RT_F32, "DIR/gone.safetensors: No such file or directory");
}

// More names than a message holds: the rest is counted.
static void test_many_missing(void **state)
{
    (void)state;
    enum { MANY = 100 };
    static rt_tensor many[MANY];
    static char names[MANY][32];
    static uint8_t base[64];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "block%d.conv.weight", i);
        many[i] = (rt_tensor){.name = names[i], .dtype = RT_F32, .kernel = -1};
    }
    rt__memory m = {.tensors = many, .n_tensors = MANY, .base = base};
    const Entry none[] = {F32("x")};
    write_file("m.safetensors", none, 1);
    assert_int_equal(rt__init_load(files_path("m.safetensors"), &m, true, &extra, &why),
                     RT__INPUT);
    assert_non_null(strstr(why.text, "missing: block0.conv.weight, block1.conv.weight, "));
    assert_non_null(strstr(why.text, " and 76 more"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversions),       cmocka_unit_test(test_special_halves),
        cmocka_unit_test(test_narrowing),         cmocka_unit_test(test_index_and_directory),
        cmocka_unit_test(test_what_does_not_fit), cmocka_unit_test(test_bad_indexes),
        cmocka_unit_test(test_many_missing),
    };
    return cmocka_run_group_tests(tests, files_begin, files_end);
}
