// What `layout` writes for images channels last means what the plain graph does: ref trains both to the same bits. It
// knows plain images only, so every image that lies channels last is reordered to that where it is made, and back for each
// reader that knows such images. A reader of plain memory gets it as it is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "codegen/codegen.h"
#include "tests/capture.h"
#include "tests/passes/from_text.h"

#include <unistd.h>

static const CodegenPaths paths = {
    .cc = COMPILER, .include_dir = BINARY_DIR "/include", .lib_dir = BINARY_DIR};

// Few and odd channels, groups, a weight that is computed, parts, gates, a shift for each channel, one channel, dropout, views.
static const char model[] =
    "graph mixed micro_batch 4\n"
    "x = input {shape=[4,3,6,6], dtype=\"f32\", role=\"sample\"}\n"
    "w1 = param {shape=[8,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "w2 = param {shape=[8,1,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "w3 = param {shape=[5,8,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "w4 = param {shape=[1,9,1,1], dtype=\"f32\", init=\"normal\"}\n"
    "w5 = param {shape=[10,40], dtype=\"f32\", init=\"normal\"}\n"
    "b1 = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
    "g = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
    "b = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
    "k = param {shape=[9,1,1], dtype=\"f32\", init=\"normal\"}\n"
    "m = buffer {shape=[8], dtype=\"f32\", init=\"constant\"}\n"
    "v = buffer {shape=[8], dtype=\"f32\", init=\"constant\"}\n"
    "t = input {shape=[4], dtype=\"i32\", role=\"target\"}\n"
    "c1 = conv2d x w1 b1 {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
    "n1 = batch_norm c1 g b {eps=1e-5}\n"
    "mean = result n1 {index=1}\n"
    "var = result n1 {index=2}\n"
    "running = running_update m v mean var {momentum=0.1, count=144}\n"
    "r1 = relu n1\n"
    "c2 = conv2d r1 w2 {stride=[1,1], padding=[1,1,1,1], dilation=[1,1], groups=8}\n"
    "s1 = add c2 r1\n"
    "small = scale w3 {value=0.125}\n"
    "c3 = conv2d s1 small {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\n"
    "cat = concat c3 s1 {axis=1}\n"
    "part = slice cat {axis=1, begin=2, length=9}\n"
    "mid = global_avg_pool part\n"
    "gate = sigmoid mid\n"
    "gated = mul part gate\n"
    "moved = add gated k\n"
    "p = max_pool2d moved {kernel=[2,2], stride=[2,2], padding=[0,0,0,0], dilation=[1,1]}\n"
    "a = avg_pool2d p {kernel=[2,2], stride=[1,1], padding=[0,0,0,0]}\n"
    "d = dropout a {rate=0.25, stream=1}\n"
    "one = conv2d d w4 {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\n"
    "f1 = reshape one {shape=[4,4]}\n"
    "f2 = reshape d {shape=[4,36]}\n"
    "f = concat f1 f2 {axis=1}\n"
    "y = linear f w5\n"
    "l = cross_entropy y t\n"
    "loss l\noutput y\n";

static bool is_conv(const Node *n)
{
    return n->op == OP_CONV2D || n->op == OP_CONV2D_GRAD_INPUT ||
           n->op == OP_CONV2D_GRAD_WEIGHT;
}

// Does n read its input i, which is held like this, channels last?
static bool knows(const Node *n, int i, const Node *held)
{
    static const bool kernel[N_OPS] = {
        [OP_BATCH_NORM] = true,           [OP_BATCH_NORM_INFER] = true,
        [OP_BATCH_NORM_GRAD] = true,      [OP_MAX_POOL2D] = true,
        [OP_MAX_POOL2D_GRAD] = true,      [OP_AVG_POOL2D] = true,
        [OP_AVG_POOL2D_GRAD] = true,      [OP_GLOBAL_AVG_POOL] = true,
        [OP_GLOBAL_AVG_POOL_GRAD] = true,
    };
    const Node *x = n->inputs[i];
    bool differs = x->shape.rank == 4 && !shape_lies_alike(x->shape);
    if (!differs || x->layout == LAYOUT_KERNEL || n->op == OP_REORDER)
        return false;
    if (n->op == OP_BIAS_GRAD || n->op == OP_SUM_TO)
        return held->layout == LAYOUT_CHANNELS_LAST;
    return is_conv(n) || kernel[n->op] || n->layout == LAYOUT_CHANNELS_LAST;
}

static Node *reorder(Graph *g, Node *beside, Node *x, Layout to)
{
    Attr layout = attr_string(A_LAYOUT, layout_name[to]);
    NodeArgs args = {&x, 1, &layout, 1};
    Node *r = beside->phase == PHASE_FORWARD
                  ? graph_add(g, OP_REORDER, beside->layer, beside->loc, x->name, args)
                  : graph_derive(g, OP_REORDER, beside->phase, beside->forward, x->name, args);
    r->layout = to;
    r->bytes = node_logical_bytes(r);
    return r;
}

// Gives how many images lie channels last.
static int reorder_all(Case *t)
{
    Graph *g = t->c.graph;
    int n_old = g->nodes.n, images = 0;
    Node **old = arena_copy(&t->arena, g->nodes.items, sizeof(Node *) * (size_t)n_old);
    Node **lies = arena_array(&t->arena, Node *, n_old); // by id: where it lies channels last
    g->nodes.n = 0;
    for (int i = 0; i < n_old; i++) {
        Node *n = old[i];
        for (int k = 0; k < n->n_inputs && n->op != OP_RESULT; k++) {
            Node *held = lies[n->inputs[k]->id] ? lies[n->inputs[k]->id] : n->inputs[k];
            bool last = knows(n, k, held);
            if (last)
                assert_int_equal(held->layout, LAYOUT_CHANNELS_LAST);
            n->inputs[k] = last ? reorder(g, n, held, LAYOUT_PLAIN) : held;
        }
        vec_push(g->arena, &g->nodes, n);
        images += n->layout == LAYOUT_CHANNELS_LAST;
        if (n->layout != LAYOUT_CHANNELS_LAST || n->op == OP_REORDER)
            continue;
        n->layout = LAYOUT_PLAIN;
        lies[n->id] = reorder(g, n, n, LAYOUT_CHANNELS_LAST);
    }
    graph_renumber(g);
    return images;
}

// What the program of the model, written into `dir` and compiled there, reports of its losses.
static void train(const char *dir, char *losses, size_t size)
{
    char command[512];
    snprintf(command, sizeof command,
             "cd %s && sh -c \"$(sed -n 's|^//   compile  ||p' stage0.c)\" && "
             "STAGECC_REPORT_FD=9 ./stage0 --data synthetic:64,10 --test-data synthetic:16,10 "
             "--steps 4 --eval-every 2 9>&1 >/dev/null 2>&1 | "
             "grep -Eo '\"(loss_bits|test_loss)\": *[^,}]*'",
             dir);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    losses[fread(losses, 1, size - 1, f)] = 0;
    assert_int_equal(pclose(f), 0);
}

static void same_bits(void **state)
{
    (void)state;
    enum { SIZE = 1024, IMAGES = 30 };
    char losses[2][SIZE], dir[] = "/tmp/reorders.XXXXXX", clean[64];
    assert_non_null(mkdtemp(dir));
    for (int last = 0; last < 2; last++) {
        Case *t = case_new(model);
        Backend b = backend_ref;
        t->options.isa = "avx2";
        t->options.micro_batches = 2;
        t->options.momentum = 0.9;
        t->c.fuse = false;
        t->c.stages = 1;
        t->c.images = b.images = last ? IMAGES_CHANNELS_LAST : IMAGES_PLAIN;
        case_run(t, "fold,dce,eval,autodiff,optimizer,layout");
        if (last)
            assert_true(reorder_all(t) > IMAGES);
        case_run(t,
                 "units,split,cost,partition,synchronise,recompute,transfer,schedule,memory");
        assert_int_equal(codegen_write(t->c.graph, &t->plan, &b, "test", &paths, dir), 0);
        train(dir, losses[last], SIZE);
        case_free(t);
    }
    int lines = 0;
    for (const char *line = losses[0]; *line; line++)
        lines += *line == '\n';
    assert_int_equal(lines,
                     4 + 2 + 1); // of steps, of evaluations and, at the end, the last again
    assert_string_equal(losses[1], losses[0]);
    snprintf(clean, sizeof clean, "rm -r %s", dir);
    assert_int_equal(system(clean), 0);
}

// A graph that was laid out for another backend.
static void other_layouts_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *layout;
        Images images;
        const char *why;
    } cases[] = {{"channels_last", IMAGES_PLAIN, "it wants plain layouts"},
                 {"blocked", IMAGES_PLAIN, "it wants plain layouts"},
                 {"channels_last", IMAGES_BLOCKED, "it wants other layouts of images"},
                 {"blocked", IMAGES_CHANNELS_LAST, "it wants other layouts of images"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena a = {0};
        Capture said;
        const char *word = cases[i].layout;
        Case *t = case_new(
            arena_printf(&a,
                         "graph g micro_batch 2\n"
                         "x = input {shape=[2,16,4,4], dtype=\"f32\", role=\"sample\"}\n"
                         "r = reorder x {layout=\"%s\"} layout %s\n",
                         word, word));
        Backend b = backend_ref;
        b.images = cases[i].images;
        capture_begin(&said, "");
        assert_int_equal(codegen_write(t->c.graph, &t->plan, &b, "x", &paths, "."), EXIT_INPUT);
        char *text = capture_end(&said);
        if (!strstr(text, "the ref backend cannot emit r: ") || !strstr(text, cases[i].why))
            fail_msg("%s: %s", word, text);
        free(text);
        case_free(t);
        arena_release(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits),
                                       cmocka_unit_test(other_layouts_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
