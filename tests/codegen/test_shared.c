// What backends share, as one asks for it that is unlike c: elements in packs, functions with another
// prefix, a library with layouts of its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "codegen/chain.h"
#include "codegen/heavy.h"
#include "codegen/kernels.h"
#include "codegen/nest.h"
#include "codegen/walk.h"
#include "tests/passes/from_text.h"

static const CodegenPaths paths = {.cc = "cc", .include_dir = "include", .lib_dir = "lib"};

static const char model[] =
    "graph g micro_batch 2 block 16\n"
    "x = input {shape=[2,3,4,4], dtype=\"f32\", role=\"sample\"}\n"
    "t = input {shape=[2,8,4,5], dtype=\"f32\", role=\"target\"}\n"
    "kernel = param {shape=[8,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "g = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
    "b = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
    "scale = param {shape=[4,1], dtype=\"f32\", init=\"normal\"}\n"
    "w = param {shape=[5,4], dtype=\"f32\", init=\"normal\"}\n"
    "conv = conv2d x kernel {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
    "norm = batch_norm conv g b {eps=0.001}\n"
    "mean = result norm {index=1}\n"
    "var = result norm {index=2}\n"
    "sharp = relu norm\n"
    "thin = dropout sharp {rate=0.5, stream=7}\n"
    "scaled = mul thin scale\n"
    "y = linear scaled w\n"
    "l = mse y t\nloss l\n";

// The backend
// ----------------------------------------------------------------------------------------------

static const char *load(const Chain *c, const Node *n)
{
    const Nest *nest = c->user;
    const char *at =
        shape_equal(n->shape, nest->shape) ? "p" : nest_index(c->e, nest, n->shape);
    return arena_printf(c->e->scratch, "pk_get(%s, %s)", emit_value(c->e, n), at);
}

static const char *place(const Chain *c, const Node *n)
{
    return arena_printf(c->e->scratch, "%s_pack.item[p]", emit_value(c->e, n));
}

static const char *stored(Emit *e, const Node *n, const char *value)
{
    return arena_printf(e->scratch, "pk_%s(%s)", dtype_name(n->dtype), value);
}

static void group(Emit *e, Node *const *nodes, int n)
{
    static const Form form = {"pk", "o + p", load, place, stored};
    Chain chain = chain_of(e, &form, (const Node *const *)nodes, n);
    Nest nest = nest_of(&chain);
    chain.user = &nest;
    chain.channel = "lane";
    if (chain.norm < 0) {
        chain_body(&chain, 0, n);
        return;
    }
    emit(e, "first look;\n", NULL);
    chain_first_look(&chain);
    emit(e, "second look;\n", NULL);
    chain_second_look(&chain);
}

static void single(Emit *e, const Node *n)
{
    group(e, &(Node *){(Node *)(uintptr_t)n}, 1);
}

static void accumulate(Emit *e, const Node *n)
{
    static const char *const done[] = {"nothing", "the first", "all"};
    emit(e, "// $sum: $done was added\n", "sum", EMIT_VALUE, n->inputs[0], "done", EMIT_TEXT,
         done[emit_grad_sum(e, n->inputs[1])], NULL);
}

static KernelWords words(Arena *a, const Graph *g, const Node *n)
{
    (void)g;
    return (KernelWords){arena_printf(a, ", %s of packs", op_info[n->op].name), ", .packs = 1",
                         n->op == OP_CONV2D || n->op == OP_LINEAR};
}

static const char *key(Arena *a, const Graph *g, const Node *n)
{
    return kernel_key(a, g, n, words);
}

static void prologue(Emit *e)
{
    kernels_write(e, words);
}

static EmitNode *emitters[N_OPS];

static Backend packs(void)
{
    static const Op elementwise[] = {OP_RELU,      OP_DROPOUT,    OP_MUL,
                                     OP_RELU_GRAD, OP_BATCH_NORM, OP_BATCH_NORM_GRAD};
    memcpy(emitters, backend_ref.emit, sizeof emitters);
    for (size_t i = 0; i < sizeof elementwise / sizeof *elementwise; i++)
        emitters[elementwise[i]] = single;
    emitters[OP_ACCUMULATE] = accumulate;
    emitters[OP_CONV2D] = emit_conv2d;
    emitters[OP_CONV2D_GRAD_INPUT] = emit_conv2d_grad_input;
    emitters[OP_CONV2D_GRAD_WEIGHT] = emit_conv2d_grad_weight;
    emitters[OP_LINEAR] = emit_linear;
    emitters[OP_LINEAR_GRAD_INPUT] = emit_linear_grad_input;
    emitters[OP_LINEAR_GRAD_WEIGHT] = emit_linear_grad_weight;
    Backend b = backend_ref;
    b.name = "packs";
    b.emit = emitters;
    b.fuse = true;
    b.emit_group = group;
    b.also_reads = chain_also_reads;
    b.prologue = prologue;
    b.program_fields = kernels_fields;
    b.kernel_key = key;
    return b;
}

typedef struct Made {
    Case *t;
    char *code;
} Made;

static Made made(int micro_batches)
{
    Backend b = packs();
    Case *t = case_new(model);
    t->options.isa = "avx2";
    t->options.micro_batches = micro_batches;
    t->c.stages = 1;
    t->c.kernel_key = key;
    case_run(t, NULL);
    return (Made){t, codegen_source(t->c.graph, &t->plan, 0, &b, "x", &paths).host};
}

static void release(Made m)
{
    free(m.code);
    case_free(m.t);
}

static void has(const char *code, const char *what)
{
    if (!strstr(code, what))
        fail_msg("no `%s` in\n%s", what, code);
}

// Tests
// ----------------------------------------------------------------------------------------------

static void elements_are_as_the_form_says(void **state)
{
    (void)state;
    Made m = made(1);
    has(m.code, "float v1 = pk_norm_at(&k, lane, pk_get(conv, p));\n");
    has(m.code, "sharp_pack.item[p] = pk_f32(pk_relu(v1));\n");
    has(m.code, "pk_dropout(pk_get(sharp, p), 0.5f, q[0], o + p)");
    has(m.code, "pk_get(thin, p) * pk_get(scale, r)"); // which repeats
    assert_null(strstr(m.code, "c_relu"));
    release(m);
}

static void looks_at_a_gradient_know_the_sign_of_relu(void **state)
{
    (void)state;
    Made m = made(1);
    const char *backward = strstr(m.code, "Backward");
    assert_non_null(backward);
    const char *first = strstr(backward, "first look;"),
               *second = strstr(backward, "second look;");
    assert_non_null(first);
    assert_non_null(second);
    has(first, "pk_relu_grad(");
    has(second, "pk_relu_grad("); // again: it has no memory
    has(second, "pk_norm_again(&k, lane, pk_get(conv, p))");
    has(second, "pk_norm_grad_at(&k, lane, ");
    release(m);
}

static void rows_have_the_words_of_the_library(void **state)
{
    (void)state;
    Made m = made(1);
    const Node *conv = case_node(m.t, "conv"), *y = case_node(m.t, "y");
    for (int i = 0; i < 2; i++) {
        const char *k = key(&m.t->scratch, m.t->c.graph, i ? conv : y);
        has(m.code, arena_printf(&m.t->scratch, "{.key = \"%s\",\n", k));
        has(k, i ? ", conv2d of packs" : ", linear of packs");
    }
    has(m.code, ".dilation = {1, 1}, .packs = 1},\n     .weights = (const int64_t[]){");
    has(m.code, "    .kernels = kernels,\n");
    has(m.code, "rt_conv2d(s, CONV2D_3X4X4_8_3X3, x, kernel, NULL, conv);");
    assert_null(key(&m.t->scratch, m.t->c.graph, case_node(m.t, "sharp")));
    release(m);
}

// Of weights' gradients, products add every micro-batch themselves, convolutions write the first.
static void gradients_go_where_they_are_summed_up(void **state)
{
    (void)state;
    Made one = made(1), two = made(2);
    has(one.code, "rt_matmul(s, MATMUL_TN_5X64X4, d_y, scaled, NULL, w_grad);");
    has(one.code, "// w_grad: all was added");
    has(one.code, "// kernel_grad: all was added");
    has(one.code, "// scale_grad: nothing was added");
    has(two.code,
        "mb == 0 ? MATMUL_TN_5X64X4 : MATMUL_TN_5X64X4_ADD, d_y, scaled, NULL, w_grad);");
    has(two.code, "// w_grad: all was added");
    has(two.code, " mb == 0 ? kernel_grad : d_kernel);");
    has(two.code, "// kernel_grad: the first was added");
    release(one);
    release(two);
}

static void walks_merge_what_both_tensors_allow(void **state)
{
    (void)state;
    Walk w = {0};
    walk_add(&w, 2, 60, 60); // [2,3,4,5], the last two turned
    walk_add(&w, 3, 20, 20);
    walk_add(&w, 1, 20, 20);
    walk_add(&w, 5, 4, 1);
    walk_add(&w, 4, 1, 5);
    assert_int_equal(w.rank, 3);
    assert_int_equal(w.dim[0], 6);
    assert_int_equal(w.x[0], 20);
    assert_int_equal(walk_inner(&w, w.x), 1);
    assert_int_equal(walk_inner(&w, w.y), 2);
    Walk around = walk_without(&w, 1, 2);
    assert_int_equal(around.rank, 1);
    assert_int_equal(walk_inner(&around, around.x), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_as_the_form_says),
        cmocka_unit_test(looks_at_a_gradient_know_the_sign_of_relu),
        cmocka_unit_test(rows_have_the_words_of_the_library),
        cmocka_unit_test(gradients_go_where_they_are_summed_up),
        cmocka_unit_test(walks_merge_what_both_tensors_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
