// Backends with a second source a stage, and what else one asks for whose tensors lie on a device: numbers by
// pointer, updates of all parameters at once, programs in steps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "codegen/kernel_text.h"
#include "tests/passes/from_text.h"

#include <unistd.h>

static const CodegenPaths paths = {.cc = "cc", .include_dir = "in clude", .lib_dir = "lib"};

// The backend
// ----------------------------------------------------------------------------------------------

// A kernel per number of elements.
static void relu(Emit *e, const Node *n)
{
    int64_t elements = shape_count(n->shape);
    const char *code = arena_printf(e->scratch, "extern @head\n{\n    launch(%lld);\n}\n",
                                    (long long)elements);
    const char *name = emit_kernel(
        e, (KernelText){"cu_relu", "void @name(float *y, const float *x)", code, NULL});
    emit(e, "$name($y, $x);\n", "name", EMIT_TEXT, name, "y", EMIT_VALUE, n, "x", EMIT_VALUE,
         n->inputs[0], NULL);
}

static const char *number(Emit *e, const Node *n)
{
    return n->op == OP_SHARE ? "&now(s)->share"
                             : arena_printf(e->scratch, "number(s, %s)", emit_number(e, n));
}

static void updates(Emit *e, Node *const *nodes, int n)
{
    text_puts(e->out, "    static const row rows[] = {\n");
    for (int i = 0; i < n; i++)
        text_printf(e->out, "        {%s, %s},\n", emit_table_place(e, nodes[i]->inputs[0]),
                    emit_table_place(e, nodes[i]->inputs[1]));
    text_puts(e->out, "    };\n    all(s, rows);\n");
}

static void kernel_source(Emit *e)
{
    text_puts(e->out, "#include \"launch.h\"\n");
    kernel_texts_write(e);
}

static KernelCompiler compiler(Arena *a, const Plan *p, const CodegenPaths *at)
{
    (void)a;
    (void)p;
    (void)at;
    return (KernelCompiler){.name = "kcc",
                            .what = "the kernel compiler",
                            .tool = "/opt/kcc",
                            .flags = "-k --fast",
                            .libraries = "-lk -lm",
                            .lib_dir = "/opt/lib"};
}

// Machine code for each of a list of devices, for the usual ones, or for this processor.
static void devices_are_named(void **state)
{
    (void)state;
    Arena a = {0};
    CodegenPaths at = paths;
    const char *flags = backend_cuda.kernel_compiler(&a, NULL, &at).flags;
    assert_non_null(strstr(flags, " -gencode arch=compute_80,code=sm_80 "
                                  "-gencode arch=compute_90,code=sm_90"));
    at.architectures = "sm_90a,sm_120";
    flags = backend_cuda.kernel_compiler(&a, NULL, &at).flags;
    assert_string_equal(strstr(flags, " -gencode"), " -gencode arch=compute_90a,code=sm_90a "
                                                    "-gencode arch=compute_120,code=sm_120");
    at.emulated = true;
    assert_null(strstr(backend_cuda.kernel_compiler(&a, NULL, &at).flags, "gencode"));
    arena_release(&a);
}

static EmitNode *emitters[N_OPS];

static Backend apart(void)
{
    memcpy(emitters, backend_ref.emit, sizeof emitters);
    emitters[OP_RELU] = relu;
    Backend b = backend_ref;
    b.emit = emitters;
    b.number = number;
    b.emit_updates = updates;
    b.kernel_extension = ".k";
    b.kernel_source = kernel_source;
    b.kernel_compiler = compiler;
    return b;
}

static const char model[] = "graph g micro_batch 2 block 16\n"
                            "x = input {shape=[2,8], dtype=\"f32\", role=\"sample\"}\n"
                            "t = input {shape=[2,4], dtype=\"f32\", role=\"target\"}\n"
                            "w = param {shape=[4,8], dtype=\"f32\", init=\"normal\"}\n"
                            "v = param {shape=[4], dtype=\"f32\", init=\"normal\"}\n"
                            "u = param {shape=[4], dtype=\"f32\", init=\"normal\"}\n"
                            "one = relu x\n"
                            "two = relu one\n"
                            "z = linear two w u\n"
                            "a = mul z v\n"
                            "y = mul a v\n"
                            "three = relu y\n"
                            "c = constant {shape=[1], dtype=\"f32\", value=0.25}\n"
                            "more = add three c\n"
                            "l = mse more t\nloss l\n";

static Case *planned(void)
{
    Case *t = case_new(model);
    t->options.isa = "avx2";
    t->options.micro_batches = 2;
    t->c.fuse = false;
    t->c.stages = 1;
    case_run(t, NULL);
    return t;
}

static void has(const char *code, const char *what)
{
    if (!strstr(code, what))
        fail_msg("no `%s` in\n%s", what, code);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void release(Case *t, Sources s)
{
    free(s.host);
    free(s.kernels);
    case_free(t);
}

// Tests
// ----------------------------------------------------------------------------------------------

static void equal_texts_are_there_once(void **state)
{
    (void)state;
    Case *t = planned();
    Backend b = apart();
    Sources s = codegen_source(t->c.graph, &t->plan, 0, &b, "x", &paths);
    assert_true(str_starts(s.kernels, "// stage0.k: kernels of g, stage 0 of 1.  Generated"));
    has(s.kernels, "#include \"launch.h\"\n\nextern void cu_relu(float *y, const float *x)\n{\n"
                   "    launch(16);\n}\n\nextern void cu_relu_2(float *y, const float *x)\n{\n"
                   "    launch(8);\n}\n");
    assert_int_equal(count(s.kernels, "extern"), 2);
    has(s.host, "// Kernels of stage0.k.\nvoid cu_relu(float *y, const float *x);\n"
                "void cu_relu_2(float *y, const float *x);\n\n// Forward");
    assert_int_equal(count(s.host, "cu_relu("), 1 + 2 * 2); // in training and in evaluation
    assert_int_equal(count(s.host, "cu_relu_2("), 1 + 2);
    release(t, s);
}

static void numbers_are_the_backends(void **state)
{
    (void)state;
    Case *t = planned();
    Backend b = apart();
    Sources s = codegen_source(t->c.graph, &t->plan, 0, &b, "x", &paths);
    has(s.host, ", &now(s)->share, 8);");
    has(s.host, "number(s, 0.25f)");
    assert_null(strstr(s.host, "rt_share"));
    Emit e = {.scratch = &t->scratch, .graph = t->c.graph, .backend = &b};
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        if (t->c.graph->nodes.items[i]->op == OP_SHARE)
            assert_null(emit_number(&e, t->c.graph->nodes.items[i]));
    release(t, s);
}

// But for those that wait for something else of the update: here the sum of what both uses of a parameter have.
static void updates_that_follow_each_other_are_one(void **state)
{
    (void)state;
    Case *t = planned();
    Backend b = apart();
    Sources s = codegen_source(t->c.graph, &t->plan, 0, &b, "x", &paths);
    const char *phase = strstr(s.host, "// Update ");
    assert_non_null(phase);
    const char *add = strstr(phase, "    ref_add(v_grad_sum, ");
    assert_non_null(add);
    has(add, "    // sgd of 2 parameters\n    {\n        static const row rows[] = {\n"
             "            {RT_IN_PERSISTENT(128), RT_IN_SCRATCH(0)},\n");
    assert_int_equal(count(phase, "all(s, rows);"), 2);
    assert_int_equal(count(phase, "            {RT_IN_PERSISTENT("), 3);
    assert_null(strstr(s.host, "ref_sgd"));
    release(t, s);
}

static void steps_are_the_same_everywhere(void **state)
{
    (void)state;
    Case *t = planned();
    Backend b = apart();
    Sources s = codegen_source(t->c.graph, &t->plan, 0, &b, "x", &paths);
    has(s.kernels, "//   compile  /opt/kcc -k --fast -Iin clude -c stage0.k -o stage0.k.o\n");
    has(s.host, " -Iin clude -c stage0.c -o stage0.o && /opt/kcc -k --fast -Iin clude -c "
                "stage0.k -o stage0.k.o && cc");
    has(s.host, " stage0.o stage0.k.o -o stage0 -Llib -L/opt/lib -lk -lm");
    CompileSteps steps = codegen_steps(&t->scratch, &t->plan, &b, &paths, 3);
    assert_int_equal(steps.n, 3);
    assert_string_equal(steps.items[1].in[0], "stage3.k");
    assert_null(steps.items[1].in[1]);
    assert_string_equal(steps.items[1].before.items[2], "-Iin clude"); // one word
    assert_string_equal(steps.items[2].out, "stage3");
    steps = codegen_steps(&t->scratch, &t->plan, &backend_ref, &paths, 3);
    assert_int_equal(steps.n, 1);
    assert_string_equal(steps.items[0].in[0], "stage3.c");
    release(t, s);
}

static void ninja_makes_objects_first(void **state)
{
    (void)state;
    char folder[] = "/tmp/stagecc-second-XXXXXX";
    assert_non_null(mkdtemp(folder));
    Case *t = planned();
    Backend b = apart();
    assert_int_equal(codegen_write(t->c.graph, &t->plan, &b, "x", &paths, folder), EXIT_DONE);
    char *kernels = file_read(arena_printf(&t->scratch, "%s/stage0.k", folder), NULL);
    char *ninja = file_read(arena_printf(&t->scratch, "%s/build.ninja", folder), NULL);
    assert_non_null(kernels);
    assert_non_null(ninja);
    has(ninja, "\nkcc = /opt/kcc\nkernel_flags = -k --fast -Iin$ clude -c\n");
    has(ninja, "rule host\n  command = $cc $flags $in -o $out\n");
    has(ninja, "rule kernels\n  command = $kcc $kernel_flags $in -o $out\n");
    has(ninja, "build stage0.o: host stage0.c\nbuild stage0.k.o: kernels stage0.k\n"
               "build stage0: program stage0.o stage0.k.o\n");
    assert_int_equal(count(ninja, "\ncc = "), 1);
    free(kernels);
    free(ninja);
    assert_int_equal(system(arena_printf(&t->scratch, "rm -r %s", folder)), 0);
    case_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_are_there_once),
        cmocka_unit_test(numbers_are_the_backends),
        cmocka_unit_test(updates_that_follow_each_other_are_one),
        cmocka_unit_test(steps_are_the_same_everywhere),
        cmocka_unit_test(ninja_makes_objects_first),
        cmocka_unit_test(devices_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
