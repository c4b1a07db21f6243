// The evaluator against the C compiler: the rows of c_values.inc are compiled into this test and
// evaluated as a model, in the same order, over the same declarations.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "frontend/frontend.h"

#include <stdio.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wparentheses"
#pragma GCC diagnostic ignored "-Woverflow"
#pragma GCC diagnostic ignored "-Wconstant-conversion"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wunused-value"
#pragma GCC diagnostic ignored "-Wbool-operation"
#pragma GCC diagnostic ignored "-Wswitch-unreachable"
#pragma GCC diagnostic ignored "-Wfloat-conversion"
#pragma GCC diagnostic ignored "-Wlogical-op-parentheses"
#pragma GCC diagnostic ignored "-Wbitwise-op-parentheses"
#pragma GCC diagnostic ignored "-Wunsequenced"
#pragma GCC diagnostic ignored "-Wint-in-bool-context"
#pragma GCC diagnostic ignored "-Wstring-compare"
#pragma GCC diagnostic ignored "-Wstring-concatenation"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Waddress"
#pragma GCC diagnostic ignored "-Wtautological-compare"
#pragma GCC diagnostic ignored "-Wgnu"
#pragma GCC diagnostic ignored "-Wimplicit-int-float-conversion"
#pragma GCC diagnostic ignored "-Wimplicit-const-int-float-conversion"
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wmissing-braces"
#pragma GCC diagnostic ignored "-Wsequence-point"
#pragma GCC diagnostic ignored "-Wdiv-by-zero"
#pragma GCC diagnostic ignored "-Wunused-function"

#include "tests/frontend/c_subset.h"

typedef struct Row {
    const char *text;
    double value;
} Row;

static Row rows[256];
static int n_rows;

static void compute_natively(void) // one statement a row: the rows have effects
{
#define X(...) rows[n_rows++] = (Row){#__VA_ARGS__, (double)(__VA_ARGS__)};
#include "tests/frontend/c_values.inc"
#undef X
}
#pragma GCC diagnostic pop

static const char model_text[] = "#include \"tests/frontend/c_subset.h\"\n"
                                 "#include <stagecc/model.h>\n"
                                 "MODEL(values)\n"
                                 "{\n"
                                 "    Tensor t = input(\"x\", F32, 1);\n"
                                 "#define X(...) t = scale(t, (double)(__VA_ARGS__));\n"
                                 "#include \"tests/frontend/c_values.inc\"\n"
                                 "    loss(mse(t, target(\"y\", F32, 1)));\n"
                                 "}\n";

static void show_errors(void *user, DiagKind kind, Loc loc, const char *message)
{
    (void)user;
    if (kind == DIAG_ERROR)
        printf("%s:%d:%d: %s\n", loc.file, loc.line, loc.col, message);
}

static void test_as_the_compiler(void **state)
{
    (void)state;
    compute_natively();
    Arena arena = {0};
    diag_capture(show_errors, NULL);
    const char *const dirs[] = {SOURCE_DIR};
    ModelOptions options = {.include_dirs = dirs,
                            .n_include_dirs = 1,
                            .micro_batch = 2,
                            .header_dir = BINARY_DIR "/include",
                            .real = F32};
    Graph *g = frontends[0]->parse(&arena, "values.c", model_text, &options);
    assert_non_null(g);
    int row = 0, wrong = 0;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (n->op != OP_SCALE)
            continue;
        double got = node_real(n, A_VALUE);
        double wanted = rows[row].value; // folded by the compiler, so another last bit
        if (!(got == wanted || fabs(got - wanted) <= 4e-16 * fabs(wanted))) {
            printf("%s: %.17g, the compiler says %.17g\n", rows[row].text, got,
                   rows[row].value);
            wrong++;
        }
        row++;
    }
    assert_int_equal(row, n_rows);
    assert_int_equal(wrong, 0);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_the_compiler)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
