// Names from a model on their way into C: whatever they are, the code compiles and means the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/text.h"
#include "codegen/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Arena arena;

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void identifiers_look_like_names(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"conv1", "conv1"},   {"block3.qkv.weight", "block3_qkv_weight"},
        {"a..b", "a_b"},      {"x", "x"},
        {"n", "v_n"}, // emitters' loops
        {"int", "v_int"},     {"linux", "v_linux"},
        {"tanh", "v_tanh"},   {"mb", "v_mb"},
        {"rt_at", "v_rt_at"}, {"ref_add", "v_ref_add"},
        {"NULL", "v_NULL"},   {"M_PI", "v_M_PI"},
        {"_Bool", "Bool"},    {"__attribute__", "attribute"},
        {"3d", "v_3d"},       {"", "v_"},
        {"\xc3\xa4", "v_"},   {"a b;c", "a_b_c"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Names names = {.arena = &arena};
        assert_string_equal(names_add(&names, rows[i][0]), rows[i][1]);
    }
}

static void identifiers_are_new(void **state)
{
    (void)state;
    Names names = {.arena = &arena};
    assert_string_equal(names_add(&names, "a.b"), "a_b");
    assert_string_equal(names_add(&names, "a_b"), "a_b_2");
    assert_string_equal(names_add(&names, "a_b_2"), "a_b_2_2");
    assert_string_equal(names_add(&names, "a/b"), "a_b_3");
}

// What a compiler makes of the literal is the text again.
static void strings_mean_themselves(void **state)
{
    (void)state;
    char all[256];
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = 0;
    const char *const rows[] = {"plain", "it\"s \\ ?\?/ %s",
                                "line\nbreak\ttab\x7f"
                                "12",
                                all, ""};
    Text t = {0};
    text_puts(&t, "#include <stdio.h>\nint main(void)\n{\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        text_printf(&t, "    puts(%s);\n", name_string(&arena, rows[i]));
    text_puts(&t, "}\n");
    assert_int_equal(file_write("names_string.c", t.data, t.length), 0);
    text_release(&t);
    assert_int_equal(
        system("cc -std=c17 -Wall -Wextra -Werror names_string.c -o names_string && "
               "./names_string > names_string.out"),
        0);
    size_t size;
    char *out = file_read("names_string.out", &size), *at = out;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i]);
        assert_memory_equal(at, rows[i], n);
        assert_int_equal(at[n], '\n');
        at += n + 1;
    }
    assert_int_equal(at - out, size);
    free(out);
}

// A comment stays one, whatever stands in it and however the compiler treats trigraphs.
static void comments_stay_comments(void **state)
{
    (void)state;
    const char *const rows[] = {"*/ int x;", "a\\",          "a?\?/", "/* b",
                                "a\nint y;", "\xe2\x80\xae", "\\\n"};
    Text t = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        text_printf(&t, "// %s\nint after_%zu = %zu;\n", name_comment(&arena, rows[i]), i, i);
    text_puts(&t, "int main(void)\n{\n    return after_0");
    for (size_t i = 1; i < sizeof rows / sizeof *rows; i++)
        text_printf(&t, " + after_%zu", i);
    text_puts(&t, " - 21;\n}\n");
    assert_int_equal(file_write("names_comment.c", t.data, t.length), 0);
    text_release(&t);
    assert_int_equal(system("cc -std=c17 -trigraphs -Wall -Wextra -Werror names_comment.c -o "
                            "names_comment && ./names_comment"),
                     0);
}

static void stems_are_what_is_common(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"conv2d_3", "conv2d"},       {"fc1", "fc"}, {"block3.qkv", "qkv"},
        {"layer1.0", "layer1"},       {"x", "x"},    {"12", "12"},
        {"max_pool2d", "max_pool2d"}, {"a.", "a."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(name_stem(&arena, rows[i][0]), rows[i][1]);
}

static int remove_folder(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    char folder[] =
        "/tmp/stagecc-codegen-XXXXXX"; // for sources and what compilers make of them
    if (!mkdtemp(folder) || chdir(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identifiers_look_like_names), cmocka_unit_test(identifiers_are_new),
        cmocka_unit_test(strings_mean_themselves), cmocka_unit_test(comments_stay_comments),
        cmocka_unit_test(stems_are_what_is_common)};
    int failed = cmocka_run_group_tests(tests, NULL, release);
    return remove_folder(folder) ? 1 : failed;
}
