// What compiles kernels, as the PATH and the environment say: found, or missed in the user's words. Toolkits that this
// machine has are out of sight.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "driver/driver.h"
#include "tests/capture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const Backend host = {.name = "c"}, device = {.name = "cuda", .kernel_extension = ".cu"};

#define WITHOUT                                                                                \
    "install the CUDA toolkit (12.4 or newer), or name it in NVCC; without it: --dry-run "     \
    "shows the sources, STAGECC_CUDA=emulated runs them on this processor\n"

typedef struct Machine {
    char root[64];
    Arena arena;
    Toolchain t;
} Machine;

static const char *in(Machine *m, const char *name)
{
    return arena_printf(&m->arena, "%s/%s", m->root, name);
}

static void put_file(Machine *m, const char *name, mode_t mode)
{
    FILE *f = fopen(in(m, name), "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(chmod(in(m, name), mode), 0);
}

static int begin(void **state)
{
    Machine *m = calloc(1, sizeof *m);
    strcpy(m->root, "/tmp/kernel_tools.XXXXXX");
    assert_non_null(mkdtemp(m->root));
    assert_int_equal(mkdir(in(m, "bin"), 0700), 0);
    setenv("PATH", arena_printf(&m->arena, "/nothing::%s", in(m, "bin")), 1);
    unsetenv("NVCC");
    unsetenv("CXX");
    unsetenv("STAGECC_CUDA");
    *state = m;
    return 0;
}

static int end(void **state)
{
    Machine *m = *state;
    static const char *const made[] = {"bin/nvcc", "bin/c++", "lib64/libcudart_static.a",
                                       "lib64",    "bin",     ""};
    for (int i = 0; i < 6; i++)
        remove(in(m, made[i]));
    arena_release(&m->arena);
    free(m);
    return 0;
}

static void expect(Machine *m, const Backend *backend, int status, const char *text)
{
    Capture c;
    capture_begin(&c, "");
    m->t = (Toolchain){.cc = "cc"};
    kernel_tools_find(&m->arena, &m->t);
    assert_int_equal(kernel_tools_check(&m->t, backend), status);
    char *said = capture_end(&c);
    assert_string_equal(said, text);
    free(said);
}

static void found_on_the_path(void **state)
{
    Machine *m = *state;
    put_file(m, "bin/nvcc", 0700);
    expect(m, &device, EXIT_DONE, "");
    assert_string_equal(m->t.nvcc, in(m, "bin/nvcc"));
    assert_false(m->t.emulated);
    assert_null(m->t.cxx);
    assert_null(m->t.cuda_lib_dir); // beside it there are none
    assert_int_equal(mkdir(in(m, "lib64"), 0700), 0);
    put_file(m, "lib64/libcudart_static.a", 0600);
    expect(m, &device, EXIT_DONE, "");
    assert_string_equal(m->t.cuda_lib_dir, in(m, "lib64"));
}

static void missed_with_advice(void **state)
{
    Machine *m = *state;
    const char *missed = "stagecc: error: --backend cuda needs nvcc, which is not on the PATH "
                         "nor in /nowhere: " WITHOUT;
    expect(m, &device, EXIT_ENVIRONMENT, missed);
    assert_null(m->t.nvcc);
    put_file(m, "bin/nvcc", 0600); // no program
    expect(m, &device, EXIT_ENVIRONMENT, missed);
    assert_int_equal(remove(in(m, "bin/nvcc")), 0);
    assert_int_equal(mkdir(in(m, "bin/nvcc"), 0700), 0); // a folder
    expect(m, &device, EXIT_ENVIRONMENT, missed);
}

static void named_by_the_user(void **state)
{
    Machine *m = *state;
    put_file(m, "bin/nvcc", 0700);
    setenv("NVCC", in(m, "bin/nvcc"), 1);
    setenv("PATH", "/nothing", 1);
    expect(m, &device, EXIT_DONE, "");
    assert_string_equal(m->t.nvcc, in(m, "bin/nvcc"));
    setenv("NVCC", "nvcc-12", 1);
    expect(m, &device, EXIT_ENVIRONMENT,
           "stagecc: error: --backend cuda needs nvcc, and NVCC is `nvcc-12`, which is no "
           "program: " WITHOUT);
    setenv("NVCC", "", 1); // as if it were not there
    expect(m, &device, EXIT_ENVIRONMENT,
           "stagecc: error: --backend cuda needs nvcc, which is not on the PATH nor in "
           "/nowhere: " WITHOUT);
}

static void emulated_by_a_compiler_of_this_processor(void **state)
{
    Machine *m = *state;
    put_file(m, "bin/nvcc", 0700);
    setenv("STAGECC_CUDA", "emulated", 1);
    expect(m, &device, EXIT_ENVIRONMENT,
           "stagecc: error: STAGECC_CUDA=emulated needs a C++ compiler, and c++ is not on the "
           "PATH: install g++, or name another one in CXX\n");
    put_file(m, "bin/c++", 0700);
    expect(m, &device, EXIT_DONE, "");
    assert_string_equal(m->t.cxx, in(m, "bin/c++"));
    assert_true(m->t.emulated);
    assert_int_equal(remove(in(m, "bin/nvcc")), 0);
    expect(m, &device, EXIT_DONE, "");
    setenv("CXX", "/nowhere/clang++", 1);
    expect(m, &device, EXIT_ENVIRONMENT,
           "stagecc: error: STAGECC_CUDA=emulated needs a C++ compiler, and CXX is "
           "`/nowhere/clang++`, which is no program\n");
    setenv("STAGECC_CUDA", "fast", 1);
    expect(m, &device, EXIT_ENVIRONMENT,
           "stagecc: error: STAGECC_CUDA is `fast`: it may only be `emulated`\n");
}

static void backends_without_kernels_need_nothing(void **state)
{
    Machine *m = *state;
    expect(m, &host, EXIT_DONE, "");
    setenv("STAGECC_CUDA", "fast", 1);
    expect(m, &host, EXIT_DONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(found_on_the_path, begin, end),
        cmocka_unit_test_setup_teardown(missed_with_advice, begin, end),
        cmocka_unit_test_setup_teardown(named_by_the_user, begin, end),
        cmocka_unit_test_setup_teardown(emulated_by_a_compiler_of_this_processor, begin, end),
        cmocka_unit_test_setup_teardown(backends_without_kernels_need_nothing, begin, end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
