// safetensors: what is written reads back; every kind of malformed file is refused, with its text.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/crc32c.h"
#include "runtime/safetensors.h"
#include "tests/runtime/files.h"

#include <inttypes.h>

static rt__why why;

// A file of this header and so many bytes of data: 0, 1, 2, …
static const char *make(const char *header, size_t data)
{
    uint8_t bytes[4096];
    uint64_t n = strlen(header);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < data; i++)
        bytes[8 + n + i] = (uint8_t)i;
    return files_write("t.safetensors", bytes, 8 + n + data);
}

static void refused(const char *header, size_t data, const char *text)
{
    rt__st_file f;
    const char *path = make(header, data);
    assert_int_equal(rt__st_open(&f, path, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), text);
    assert_null(f.header);
    assert_null(f.tensors);
    assert_null(f.file.bytes);
}

static void test_reads(void **state)
{
    (void)state;
    rt__st_file f;
    const char *path =
        make("{\"__metadata__\":{\"format\":\"pt\"},"
             "\"b\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[4,20]},"
             "\"empty\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[4,4]},"
             "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}  ",
             20);
    assert_int_equal(rt__st_open(&f, path, &why), 0);
    assert_int_equal(f.n_tensors, 3);
    const rt__st_tensor *a = rt__st_find(&f, "a"), *b = rt__st_find(&f, "b");
    assert_non_null(a);
    assert_int_equal(a->dtype, RT_F32);
    assert_int_equal(a->rank, 0);
    assert_int_equal(a->bytes, 4);
    assert_int_equal(a->data[3], 3);
    assert_false(a->has_crc);
    assert_int_equal(b->dtype, 0); // known to the format, not to us
    assert_string_equal(b->type, "I64");
    assert_int_equal(b->dim[0], 2);
    assert_int_equal(b->data[0], 4);
    assert_int_equal(rt__st_find(&f, "empty")->bytes, 0);
    assert_null(rt__st_find(&f, "c"));
    assert_int_equal(rt__st_verify(&f, &why), 0);
    rt__st_close(&f);
    assert_int_equal(rt__st_open(&f, make("{}", 0), &why), 0);
    assert_null(rt__st_find(&f, "a"));
    rt__st_close(&f);
}

#define ENTRY(name, dtype, shape, from, to)                                                    \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to \
    "]}"
#define P "DIR/t.safetensors: "

static void test_bad_headers(void **state)
{
    (void)state;
    refused(" {}", 0, P "offset 8: the header does not begin with '{'");
    refused("", 0, P "offset 8: the header does not begin with '{'");
    refused("{\"a\":}", 0, P "offset 14: header: unexpected token near '}'");
    refused("{} x", 0, P "offset 12: header: end of file expected near 'x'");
    refused("{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("a", "U8", "[1]", "1", "2") "}", 2,
            P "offset 64: header: duplicate object key near '\"a\"'");
    refused("{\"a\":1}", 0, P "tensor a: its entry is not an object");
    refused("{\"__metadata__\":{\"a\":1}}", 0, P "__metadata__ is not an object of strings");
    refused("{\"__metadata__\":[]}", 0, P "__metadata__ is not an object of strings");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1,
            P "tensor a: data_offsets is not a pair of numbers");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1,
            P "tensor a: entries other than dtype, shape and data_offsets");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1,
            P "tensor a: data_offsets is not a pair of numbers");
    refused("{" ENTRY("a", "U8", "[1]", "0.0", "1") "}", 1,
            P "tensor a: data_offsets is not a pair of numbers");
}

static void test_bad_types(void **state)
{
    (void)state;
    refused("{" ENTRY("a", "F99", "[1]", "0", "4") "}", 4, P "tensor a: unknown dtype");
    refused("{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
            P "tensor a: unknown dtype");
    refused("{" ENTRY("a", "U8", "4", "0", "4") "}", 4,
            P "tensor a: shape is not a list of at most 6 numbers");
    refused("{" ENTRY("a", "U8", "[1,1,1,1,1,1,1]", "0", "1") "}", 1,
            P "tensor a: shape is not a list of at most 6 numbers");
    refused("{" ENTRY("a", "U8", "[-1]", "0", "1") "}", 1,
            P "tensor a: shape is not a list of sizes, or too large");
    refused("{" ENTRY("a", "U8", "[1.5]", "0", "1") "}", 1,
            P "tensor a: shape is not a list of sizes, or too large");
    refused("{" ENTRY("a", "F32", "[4611686018427387904]", "0", "0") "}", 0,
            P "tensor a: shape is not a list of sizes, or too large"); // 2^62 * 4 = 2^64
    refused("{" ENTRY("a", "U8", "[4294967296,4294967296]", "0", "0") "}", 0,
            P "tensor a: shape is not a list of sizes, or too large");
    refused("{" ENTRY("a", "U8", "[99999999999999999999]", "0", "0") "}", 0,
            P "offset 56: header: too big integer near '99999999999999999999'");
    refused("{" ENTRY("a", "F32", "[2]", "0", "4") "}", 4,
            P "tensor a: 4 bytes, dtype and shape make 8");
}

static void test_bad_places(void **state)
{
    (void)state;
    refused("{" ENTRY("a", "U8", "[4]", "0", "4") "}", 3,
            P "tensor a: data_offsets [0,4] outside the data of 3 bytes at offset 61 "
              "(truncated?)");
    refused("{" ENTRY("a", "U8", "[4]", "-4", "0") "}", 4,
            P "tensor a: data_offsets [-4,0] outside the data of 4 bytes at offset 62 "
              "(truncated?)");
    refused("{" ENTRY("a", "U8", "[4]", "4", "0") "}", 4,
            P "tensor a: data_offsets [4,0] outside the data of 4 bytes at offset 61 "
              "(truncated?)");
    refused("{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("b", "U8", "[2]", "0", "2") "}", 2,
            P "offset 113: tensor b overlaps the tensor before it");
    refused("{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("b", "U8", "[1]", "2", "3") "}", 3,
            P "offset 115: tensor b leaves a gap before it");
    refused("{" ENTRY("a", "U8", "[1]", "1", "2") "}", 2,
            P "offset 62: tensor a leaves a gap before it");
    refused("{" ENTRY("a", "U8", "[2]", "0", "2") "}", 5,
            P "offset 63: 3 bytes behind the last tensor");
}

static void test_bad_lengths(void **state)
{
    (void)state;
    rt__st_file f;
    uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{', '}'};
    assert_int_equal(rt__st_open(&f, files_write("t", huge, 10), &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text),
                        "DIR/t: offset 0: a header of 9223372036854775807 bytes is too long "
                        "(not a safetensors file?)");
    uint8_t longer[16] = {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    assert_int_equal(rt__st_open(&f, files_write("t", longer, 10), &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text),
                        "DIR/t: truncated: 10 bytes, the header ends at 11");
    assert_int_equal(rt__st_open(&f, files_write("t", "", 0), &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR/t: truncated: 0 bytes");
    assert_int_equal(rt__st_open(&f, files_path("none"), &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR/none: No such file or directory");
    assert_int_equal(rt__st_open(&f, files_dir, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR: not a regular file");
    assert_int_equal(mkfifo(files_path("pipe"), 0666), 0); // refused, not waited for
    assert_int_equal(rt__st_open(&f, files_path("pipe"), &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR/pipe: not a regular file");
}

// Writing
// ----------------------------------------------------------------------------------------------

static const rt_tensor w = {.name = "conv.weight", .dtype = RT_F32, .rank = 2, .dim = {3, 5}};
static const rt_tensor b = {.name = "conv.bias", .dtype = RT_BF16, .rank = 1, .dim = {3}};
static const rt_tensor c = {.name = "count", .dtype = RT_I32, .rank = 0};
static const rt_tensor *const table[] = {&w, &b, &c};
static uint8_t values[60 + 6 + 4];

static rt__st_writer write_table(const char *path, bool checksums)
{
    uint32_t crc[3];
    rt__st_writer writer;
    for (size_t i = 0; i < sizeof values; i++)
        values[i] = (uint8_t)(7 * i + 1);
    crc[0] = crc32c(0, values, 60);
    crc[1] = crc32c(0, values + 60, 6);
    crc[2] = crc32c(0, values + 66, 4);
    assert_int_equal(rt__st_create(&writer, path, table, checksums ? crc : NULL, 3, &why), 0);
    assert_int_equal(rt__st_write(&writer, values, 60, &why), 0);
    assert_int_equal(rt__st_write(&writer, values + 60, 6, &why), 0);
    assert_int_equal(rt__st_write(&writer, values + 66, 4, &why), 0);
    assert_int_equal(rt__st_finish(&writer, &why), 0);
    return writer;
}

static void test_written_reads_back(void **state)
{
    (void)state;
    for (int checksums = 0; checksums < 2; checksums++) {
        const char *path = files_path("w.safetensors");
        rt__st_writer writer = write_table(path, checksums);
        size_t n;
        uint8_t *bytes = files_read(path, &n);
        assert_int_equal(writer.written, n);
        assert_int_equal(writer.crc, crc32c(0, bytes, n));
        rt__st_file f;
        assert_int_equal(rt__st_open(&f, path, &why), 0);
        assert_int_equal(f.n_tensors, 3);
        assert_int_equal(rt__st_data_start(&f) % 8, 0);
        const rt__st_tensor *t = rt__st_find(&f, "conv.bias");
        assert_int_equal(t->dtype, RT_BF16);
        assert_int_equal(t->has_crc, checksums);
        assert_memory_equal(t->data, values + 60, 6);
        assert_int_equal(rt__st_find(&f, "count")->rank, 0);
        assert_memory_equal(rt__st_find(&f, "conv.weight")->data, values, 60);
        assert_int_equal(rt__st_verify(&f, &why), 0);
        rt__st_close(&f);
        free(bytes);
    }
}

static void test_truncated_everywhere(void **state)
{
    (void)state;
    const char *path = files_path("w.safetensors");
    write_table(path, true);
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    for (size_t k = 0; k < n; k++) {
        rt__st_file f;
        assert_int_equal(rt__st_open(&f, files_write("k", bytes, k), &why), RT__INPUT);
        assert_non_null(strstr(why.text, "truncated"));
    }
    free(bytes);
}

static void test_altered_tensor(void **state)
{
    (void)state;
    const char *path = files_path("w.safetensors");
    write_table(path, true);
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    for (size_t k = n - sizeof values; k < n; k++) {
        rt__st_file f;
        bytes[k] ^= 0x10;
        assert_int_equal(rt__st_open(&f, files_write("k", bytes, n), &why), 0);
        bytes[k] ^= 0x10;
        assert_int_equal(rt__st_verify(&f, &why), RT__INPUT);
        size_t at = k - (n - sizeof values), from = at < 60 ? 0 : at < 66 ? 60 : 66;
        char text[256];
        snprintf(text, sizeof text, "DIR/k: offset %zu: tensor %s was altered (CRC32C ",
                 n - sizeof values + from,
                 at < 60   ? "conv.weight"
                 : at < 66 ? "conv.bias"
                           : "count");
        assert_memory_equal(files_neutral(why.text), text, strlen(text));
        rt__st_close(&f);
    }
    free(bytes);
}

static void test_foreign_checksums(void **state)
{
    (void)state;
    static const char *const lists[] = {"", "12345678 12345678", "123456789", "1234567x",
                                        "12345678x"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char header[256];
        snprintf(header, sizeof header, "{\"__metadata__\":{\"crc32c\":\"%s\"},%s}", lists[i],
                 ENTRY("a", "U8", "[1]", "0", "1"));
        rt__st_file f;
        assert_int_equal(rt__st_open(&f, make(header, 1), &why), 0);
        assert_false(f.tensors[0].has_crc);
        rt__st_close(&f);
    }
}

static void test_writer_that_gives_up(void **state)
{
    (void)state;
    rt__st_writer writer;
    const char *path = files_path("gone");
    assert_int_equal(rt__st_create(&writer, path, table, NULL, 3, &why), 0);
    rt__st_abort(&writer);
    assert_false(files_exists(path));
    assert_int_equal(rt__st_create(&writer, path, table, NULL, 3, &why), 0);
    assert_int_equal(rt__st_finish(&writer, &why), RT__ENVIRONMENT);
    assert_non_null(strstr(why.text, "bug: "));
    assert_false(files_exists(path));
    assert_int_equal(rt__st_create(&writer, files_path("no/such"), table, NULL, 3, &why),
                     RT__ENVIRONMENT);
    assert_string_equal(files_neutral(why.text),
                        "DIR/no/such: cannot be written: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_types),
        cmocka_unit_test(test_bad_places),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_written_reads_back),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_altered_tensor),
        cmocka_unit_test(test_foreign_checksums),
        cmocka_unit_test(test_writer_that_gives_up),
    };
    return cmocka_run_group_tests(tests, files_begin, files_end);
}
