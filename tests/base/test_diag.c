// Diagnostics: places, source lines, carets, counts, colours, captured ones, and how the process ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/diag.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *heard;
static size_t heard_size;
static FILE *out;

static int begin(void **state)
{
    (void)state;
    unsetenv("NO_COLOR");
    diag_reset();
    out = open_memstream(&heard, &heard_size);
    diag_output(out, false);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fclose(out);
    free(heard);
    diag_output(stderr, false);
    diag_reset();
    return 0;
}

static void said(const char *text)
{
    fflush(out);
    assert_string_equal(heard, text);
}

static const char model[] = "first\n\tx = relu(y);\r\nlast";

static void test_caret(void **state)
{
    (void)state;
    diag_source("m.c", model);
    error_at((Loc){"m.c", 2, 6}, "%s of %d", "relu", 3);
    note_at((Loc){"m.c", 3, 1}, "here");
    said("m.c:2:6: error: relu of 3\n"
         "    \tx = relu(y);\n"
         "    \t    ^\n"
         "m.c:3:1: note: here\n"
         "    last\n"
         "    ^\n");
    assert_int_equal(diag_errors(), 1);
    assert_int_equal(diag_warnings(), 0);
}

static void test_places(void **state)
{
    (void)state;
    diag_source("m.c", model);
    error_at(NO_LOC, "nowhere");
    error_at((Loc){"m.c", 0, 0}, "the file");
    error_at((Loc){"m.c", 1, 0}, "the line");
    error_at((Loc){"m.c", 1, 6}, "at its end");
    error_at((Loc){"m.c", 1, 7}, "behind the line");
    error_at((Loc){"m.c", 9, 1}, "behind the file");
    error_at((Loc){"/no/such/file.c", 1, 1}, "gone");
    said("stagecc: error: nowhere\n"
         "m.c: error: the file\n"
         "m.c:1: error: the line\n"
         "    first\n"
         "m.c:1:6: error: at its end\n"
         "    first\n"
         "         ^\n"
         "m.c:1:7: error: behind the line\n"
         "    first\n"
         "m.c:9:1: error: behind the file\n"
         "/no/such/file.c:1:1: error: gone\n");
    assert_int_equal(diag_errors(), 7);
    warning_at(NO_LOC, "careful");
    assert_int_equal(diag_warnings(), 1);
    diag_reset();
    assert_int_equal(diag_errors() + diag_warnings(), 0);
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    static char wide[1001];
    memset(wide, 'x', 1000);
    diag_source("w.c", wide);
    error_at((Loc){"w.c", 1, 500}, "far out");
    fflush(out);
    assert_int_equal(strlen(heard), strlen("w.c:1:500: error: far out\n    \n") + 200);
}

// More files than are remembered: each still shows its own line.
static void test_many_files(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        char path[64], text[64];
        snprintf(path, sizeof path, "/tmp/stagecc-diag-%d-%d.c", (int)getpid(), i);
        FILE *f = fopen(path, "w");
        fprintf(f, "line of %d\n", i);
        fclose(f);
        note_at((Loc){path, 1, 1}, "n");
        unlink(path);
        fflush(out);
        snprintf(text, sizeof text, "    line of %d\n    ^\n", i);
        assert_non_null(strstr(heard, text));
    }
}

static void test_colour(void **state)
{
    (void)state;
    diag_source("m.c", model);
    diag_output(out, true);
    error_at((Loc){"m.c", 1, 2}, "red");
    said("\033[1mm.c:1:2: \033[1;31merror: \033[0m\033[1mred\033[0m\n"
         "    first\n"
         "     \033[1;32m^\033[0m\n");
    setenv("NO_COLOR", "1", 1);
    diag_output(out, true);
    rewind(out);
    error_at((Loc){"m.c", 1, 0}, "plain");
    fflush(out);
    assert_memory_equal(heard, "m.c:1: error: plain\n", 20);
    unsetenv("NO_COLOR");
}

static char captured[256];

static void capture(void *user, DiagKind kind, Loc loc, const char *message)
{
    snprintf(captured, sizeof captured, "%s %d %s:%d %s", (const char *)user, (int)kind,
             loc.file, loc.line, message);
}

static void test_capture(void **state)
{
    (void)state;
    DiagCapture output = diag_capture(capture, "me");
    error_at((Loc){"m.c", 2, 6}, "a %s", "b");
    assert_string_equal(captured, "me 0 m.c:2 a b");
    assert_int_equal(diag_errors(), 1);
    DiagCapture outer = diag_capture(capture, "inner");
    error_at((Loc){"m.c", 3, 0}, "c");
    assert_string_equal(captured, "inner 0 m.c:3 c");
    diag_restore(outer);
    error_at((Loc){"m.c", 4, 0}, "d");
    assert_string_equal(captured, "me 0 m.c:4 d");
    diag_restore(output);
    said("");
}

// Runs `die` in a child; its exit status.
static int status_of(void (*die)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        diag_output(stderr, false);
        if (!freopen("/dev/null", "w", stderr))
            abort();
        die();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void die_fatal(void)
{
    fatal("no %s", "disk");
}

static void die_bug(void)
{
    CHECK(1 + 1 == 2, "base", "not this one");
    CHECK(1 + 1 == 3, "base", "sums are %d", 3);
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(status_of(die_fatal), EXIT_ENVIRONMENT);
    assert_int_equal(status_of(die_bug), EXIT_BUG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_caret),      TEST(test_places), TEST(test_long_lines_are_cut),
        TEST(test_many_files), TEST(test_colour), TEST(test_capture),
        TEST(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
