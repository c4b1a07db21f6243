// Plans in a file: what was written is read; what is damaged, cut off or not ours is not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/cuda/card/plans.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/stagecc-plans-XXXXXX";

static void add(rt__plans *p, const char *key, const char *implementation, const char *json)
{
    assert_true(rt__plans_add(p, key, implementation, strdup(json), strlen(json)));
}

static void write_two(void)
{
    rt__plans p = {0};
    rt__why why;
    add(&p, "conv2d 1", "e1", "{}");
    add(&p, "conv2d 2", "e7 k24=21", "{\"a\":1}");
    add(&p, "conv2d 1", "e2", "{\"b\":2}"); // in place of the first
    assert_true(p.changed);
    assert_int_equal(rt__plans_write(&p, path, "cuDNN 1, a card", &why), 0);
    rt__plans_release(&p);
}

static int read_as(const char *whose, rt__plans *p)
{
    rt__why why;
    return rt__plans_read(p, path, whose, &why);
}

static void what_is_written_is_read(void **state)
{
    rt__plans p;
    (void)state;
    write_two();
    assert_int_equal(read_as("cuDNN 1, a card", &p), 0);
    assert_int_equal(p.n, 2);
    assert_false(p.changed);
    const rt__kept_plan *one = rt__plans_find(&p, "conv2d 1"),
                        *two = rt__plans_find(&p, "conv2d 2");
    assert_string_equal(one->implementation, "e2");
    assert_int_equal(one->json_bytes, 7);
    assert_memory_equal(one->json, "{\"b\":2}", 7);
    assert_string_equal(two->implementation, "e7 k24=21");
    assert_null(rt__plans_find(&p, "conv2d"));
    rt__plans_release(&p);
}

static void others_count_as_empty(void **state)
{
    rt__plans p;
    (void)state;
    write_two();
    assert_int_equal(read_as("cuDNN 1, another card", &p), 0);
    assert_int_equal(p.n, 0);
    assert_int_equal(read_as("cuDNN 1", &p), 0);
    assert_int_equal(p.n, 0);
    unlink(path);
    assert_int_equal(read_as("cuDNN 1, a card", &p), 0);
    assert_int_equal(p.n, 0);
}

static size_t load(uint8_t *bytes, size_t room)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, bytes, room);
    close(fd);
    assert_true(n > 0);
    return (size_t)n;
}

static void store(const uint8_t *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

// Wherever it is cut off, and whichever byte is another one.
static void damage_is_seen(void **state)
{
    enum { HEAD = 16 + 16 }; // two lines that say whose it is
    uint8_t bytes[512];
    rt__plans p;
    (void)state;
    write_two();
    size_t n = load(bytes, sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        store(bytes, i);
        int error = read_as("cuDNN 1, a card", &p);
        assert_int_equal(error, i < HEAD ? 0 : RT__INPUT);
        assert_int_equal(p.n, 0);
        bytes[i] ^= 1;
        store(bytes, n);
        bytes[i] ^= 1;
        error = read_as("cuDNN 1, a card", &p);
        assert_int_equal(error, i < HEAD ? 0 : RT__INPUT);
        assert_int_equal(p.n, 0);
    }
}

static void a_folder_that_is_not_there(void **state)
{
    rt__plans p = {0};
    rt__why why;
    (void)state;
    add(&p, "conv2d 1", "e1", "{}");
    assert_int_equal(rt__plans_write(&p, "/nowhere/plans", "x", &why), RT__ENVIRONMENT);
    assert_string_equal(why.text,
                        "/nowhere/plans cannot be written: No such file or directory");
    assert_true(p.changed);
    rt__plans_release(&p);
    assert_int_equal(rt__plans_read(&p, "/dev", "x", &why), RT__INPUT);
}

int main(void)
{
    close(mkstemp(path));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(others_count_as_empty),
        cmocka_unit_test(damage_is_seen), cmocka_unit_test(a_folder_that_is_not_there)};
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failures;
}
