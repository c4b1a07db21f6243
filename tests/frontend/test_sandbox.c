// What a model may read, and what it cannot do to the process that reads it.
#include "tests/frontend/model.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

// The memory limit is off under sanitizers, whose own memory is larger than any limit.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMITED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LIMITED 0
#endif
#endif
#ifndef LIMITED
#define LIMITED 1
#endif

static char secret[] = "the_secret_that_nobody_may_see";
static char outside[64], inside[64];

static void put(const char *path, const char *text)
{
    assert_int_equal(file_write(path, text, strlen(text)), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(outside, sizeof outside, "/tmp/stagecc-outside-%d", (int)getpid());
    snprintf(inside, sizeof inside, "/tmp/stagecc-inside-%d", (int)getpid());
    assert_int_equal(mkdir(outside, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    put(arena_printf(&model_arena, "%s/secret.h", outside), secret);
    put(arena_printf(&model_arena, "%s/own.h", inside), "enum { OWN = 3 };\n");
    assert_int_equal(symlink(arena_printf(&model_arena, "%s/secret.h", outside),
                             arena_printf(&model_arena, "%s/link.h", inside)),
                     0);
    return 0;
}

static int teardown(void **state)
{
    const char *const files[] = {"secret.h", "own.h", "link.h", "m.c"};
    for (int i = 0; i < 4; i++) {
        unlink(arena_printf(&model_arena, "%s/%s", outside, files[i]));
        unlink(arena_printf(&model_arena, "%s/%s", inside, files[i]));
    }
    rmdir(outside);
    rmdir(inside);
    return model_teardown(state);
}

static Graph *with(const char *first_lines)
{
    const char *text =
        arena_printf(&model_arena,
                     "%s\n#include <stagecc/model.h>\nMODEL(m)\n{\n"
                     "loss(mse(input(\"x\", F32, 3), target(\"y\", F32, 3)));\n}\n",
                     first_lines);
    const char *path = arena_printf(&model_arena, "%s/m.c", inside);
    return model_parse(path, text, &(ModelOptions){0});
}

static void refused(const char *lines, const char *message)
{
    if (with(lines))
        fail_msg("accepted: %s", lines);
    if (!model_said(message))
        fail_msg("%s\nsaid: %s", lines, model_messages.data);
    assert_false(model_said("the_secret"));
    assert_false(model_said("root:"));
}

static void test_own_headers(void **state)
{
    (void)state;
    assert_non_null(with("#include \"own.h\"\n_Static_assert(OWN == 3, \"\");"));
    const char *self = strrchr(inside, '/') + 1;
    assert_non_null(with(arena_printf(&model_arena, "#include \"./../%s/own.h\"", self)));
}

static void test_other_files(void **state)
{
    (void)state;
    const char *up =
        arena_printf(&model_arena, "#include \"../%s/secret.h\"", strrchr(outside, '/') + 1);
    refused(up, "file not found");
    refused(arena_printf(&model_arena, "#include \"%s/secret.h\"", outside), "file not found");
    refused(arena_printf(&model_arena, "#include <%s/secret.h>", outside), "file not found");
    refused("#include \"/etc/passwd\"", "file not found");
    refused("#include \"../../../../../../etc/passwd\"", "file not found");
    refused("#define F \"/etc/passwd\"\n#include F", "file not found");
    refused("#include \"/proc/self/environ\"", "file not found");
    refused("#include \"/dev/zero\"", "file not found");
    refused("#include <stdio.h>", "file not found");
    refused("#include <sys/socket.h>", "file not found");
    refused("#include \"link.h\"", "is a link to a place that a model may not read");
    refused("#embed \"link.h\"", "#embed is not supported");
    refused("int a[] = {\n#em\\\nbed \"link.h\"\n};", "#embed is not supported");
    refused("int a[] = {\n%:embed \"own.h\"\n};", "#embed is not supported");
    refused("#include \"own.h\"\n#import \"link.h\"", "is a link");
}

// Installed below /usr, our headers lie beside the system's, which stay out of reach.
static void test_headers_of_a_prefix(void **state)
{
    (void)state;
    char *header = file_read(BINARY_DIR "/include/stagecc/model.h", NULL);
    const char *dir = arena_printf(&model_arena, "%s/stagecc", outside);
    assert_int_equal(mkdir(dir, 0700), 0);
    const char *path = arena_printf(&model_arena, "%s/model.h", dir);
    put(path, header);
    free(header);
    const char *text = "#include <stagecc/model.h>\n#include <secret.h>\n";
    ModelOptions options = {.header_dir = outside};
    assert_null(model_parse("m.c", text, &options));
    assert_true(model_said("'secret.h' file not found"));
    assert_false(model_said("the_secret"));
    unlink(path);
    rmdir(dir);
}

static void test_no_process_is_hurt(void **state)
{
    (void)state;
    if (!LIMITED)
        return;
    // An initialiser nested far too deeply for the parser, and a macro that explodes.
    Text deep = {0};
    text_puts(&deep, "int x = ");
    for (int i = 0; i < 200000; i++)
        text_puts(&deep, "-+");
    text_puts(&deep, "1;");
    assert_null(with(deep.data));
    assert_true(model_said("the C parser failed on this model"));
    text_release(&deep);
    refused(
        "#define A(x) x x x x x x x x x x\n#define B(x) A(A(A(x)))\n#define C(x) B(B(B(x)))\n"
        "int x = C(C(+)) 1;",
        "error: ");
}

static void test_options_are_no_options(void **state)
{
    (void)state;
    const char *text = "#include <stagecc/model.h>\nMODEL(m)\n{\n"
                       "loss(mse(input(\"x\", F32, 3), target(\"y\", F32, 3)));\n}\n";
    assert_non_null(model_parse("-fplugin=x.c", text, &(ModelOptions){0}));
    assert_non_null(model_parse("@x.c", text, &(ModelOptions){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_headers),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_headers_of_a_prefix),
        cmocka_unit_test(test_no_process_is_hurt),
        cmocka_unit_test(test_options_are_no_options),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
