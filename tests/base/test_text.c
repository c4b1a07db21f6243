// Growing text, whole files, directories, small string helpers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/stagecc-text-XXXXXX";
static char path[256];

static const char *in_dir(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return rmdir(dir); // every test has cleaned up
}

static void test_grows(void **state)
{
    (void)state;
    Text t = {0};
    size_t expected = 0;
    for (int i = 0; i < 5000; i++) {
        text_puts(&t, "ab");
        text_append(&t, "c\0d", 3);
        text_printf(&t, "%d,", i);
        expected += 5 + strlen("0,") + (i > 9) + (i > 99) + (i > 999);
        assert_int_equal(t.length, expected);
        assert_int_equal(t.data[t.length], 0);
    }
    assert_memory_equal(t.data, "abc\0d0,abc\0d1,", 14);
    text_release(&t);
    assert_null(t.data);
    text_printf(&t, "%s", ""); // empty but terminated
    assert_string_equal(t.data, "");
    text_release(&t);
}

static void test_printf_at_every_length(void **state)
{
    (void)state;
    for (int n = 0; n < 1100; n++) {
        Text t = {0};
        text_printf(&t, "%*s|", n, "");
        assert_int_equal(t.length, n + 1);
        assert_int_equal(t.data[n], '|');
        text_release(&t);
    }
}

static void test_files(void **state)
{
    (void)state;
    size_t n = 99;
    assert_int_equal(file_write(in_dir("f"), "a\0b\n", 4), 0);
    char *text = file_read(path, &n);
    assert_int_equal(n, 4);
    assert_memory_equal(text, "a\0b\n", 5); // and terminated
    free(text);
    assert_int_equal(file_write(path, "", 0), 0); // replaces
    text = file_read(path, NULL);
    assert_string_equal(text, "");
    free(text);
    unlink(path);
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    assert_null(file_read(in_dir("none"), NULL));
    assert_int_equal(errno, ENOENT);
    assert_null(file_read(dir, NULL));
    assert_int_equal(errno, EISDIR);
    assert_int_equal(mkfifo(in_dir("pipe"), 0666), 0);
    assert_null(file_read(path, NULL)); // refused, not waited for
    assert_int_equal(errno, EINVAL);
    unlink(path);
    assert_int_equal(file_write(in_dir("no/such"), "x", 1), -1);
    assert_int_equal(errno, ENOENT);
    // A directory bears the name: nothing is left beside it.
    assert_int_equal(mkdir(in_dir("d"), 0777), 0);
    assert_int_equal(file_write(path, "x", 1), -1);
    assert_int_equal(errno, EISDIR);
    rmdir(path);
    char temporary[64];
    snprintf(temporary, sizeof temporary, "d.%d.tmp", (int)getpid());
    assert_int_not_equal(access(in_dir(temporary), F_OK), 0);
}

// What stands behind a name stays what it is.
static void test_files_that_are_links(void **state)
{
    (void)state;
    char target[256], *text;
    struct stat st;
    snprintf(target, sizeof target, "%s", in_dir("target"));
    assert_int_equal(file_write(target, "old", 3), 0);
    assert_int_equal(symlink("target", in_dir("link")), 0);
    assert_int_equal(file_write(path, "new", 3), 0);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    text = file_read(target, NULL);
    assert_string_equal(text, "new");
    free(text);
    unlink(path);
    unlink(target);
    assert_int_equal(symlink("/dev/full", in_dir("device")), 0);
    assert_int_equal(file_write(path, "x", 1), -1);
    assert_int_equal(errno, ENOSPC); // it was written to
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    unlink(path);
}

static void test_directories(void **state)
{
    (void)state;
    assert_int_equal(dir_make(in_dir("a/b/c")), 0);
    assert_int_equal(dir_make(in_dir("a/b/c/")), 0);
    assert_int_equal(access(in_dir("a/b/c"), F_OK), 0);
    assert_int_equal(file_sync_entry(in_dir("a/b/new")), 0);
    assert_int_equal(file_sync_entry("new"), 0); // here
    assert_int_equal(file_sync_entry("/new"), 0);
    assert_int_equal(file_sync_entry(in_dir("none/new")), -1);
    assert_int_equal(errno, ENOENT);
    in_dir("a/b/c");
    rmdir(path);
    rmdir(in_dir("a/b"));
    assert_int_equal(file_write(in_dir("a/b"), "", 0), 0);
    assert_int_equal(dir_make(path), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(dir_make(in_dir("a/b/c")), -1);
    assert_int_equal(errno, ENOTDIR);
    unlink(in_dir("a/b"));
    rmdir(in_dir("a"));
    assert_int_equal(dir_make(""), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_strings(void **state)
{
    (void)state;
    assert_true(str_starts("abc", "ab") && str_starts("abc", "") && !str_starts("ab", "abc"));
    assert_true(str_ends("abc", "bc") && str_ends("abc", "") && !str_ends("bc", "abc"));
    assert_true(str_hash("", 0) == 0xcbf29ce484222325u); // FNV's own test values
    assert_true(str_hash("a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(str_hash("foobar", 6) == 0x85944171f73967e8u);
}

static void test_human_bytes(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},
                 {42572186, "40.6 MiB"},
                 {INT64_C(3) << 30, "3.0 GiB"},
                 {INT64_MAX, "8192.0 PiB"}};
    char out[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(human_bytes(out, cases[i].bytes), cases[i].text);
}

// What is written is what a shell reads.
static void quotes_words(void **state)
{
    (void)state;
    Text t = {0};
    text_put_word(&t, "a-b=c/d");
    text_puts(&t, " ");
    text_put_word(&t, "");
    text_puts(&t, " ");
    text_put_word(&t, "it's $5");
    assert_string_equal(t.data, "a-b=c/d '' 'it'\\''s $5'");
    text_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_words),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_printf_at_every_length),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_files_that_are_links),
        cmocka_unit_test(test_directories),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_human_bytes),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
