// The tests of kernels as one program, for a device or, compiled by a C++ compiler, for this processor (tools/gpu-check):
//
//   device_tests [NAME ...]     those of tests/kernels/cuda_NAME.cpp; without names it lists them
//
// TESTS is a list of TEST(NAME); each file was compiled with its main called main_NAME.
#include <stdio.h>
#include <string.h>

#define TEST(name) int main_##name();
TESTS
#undef TEST

static const struct {
    const char *name;
    int (*run)();
} tests[] = {
#define TEST(name) {#name, main_##name},
    TESTS
#undef TEST
};

int main(int argc, char **argv)
{
    int status = 0, found = 0;
    for (const auto &test : tests) {
        if (argc < 2)
            puts(test.name);
        for (int i = 1; i < argc; i++)
            if (!strcmp(argv[i], test.name)) {
                found++;
                printf("== %s\n", test.name);
                status |= test.run();
            }
    }
    fflush(stdout);
    return found == argc - 1 ? status : 1;
}
