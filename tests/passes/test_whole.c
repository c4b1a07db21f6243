// All passes on random models with skip connections, tied weights, several losses, integer inputs,
// views, dropout and batch norm: whatever the model, the number of stages, the schedule and the
// layouts, there is a plan that the passes' own checks accept, whose memory holds (pretend.h), and
// whose groups keep what the head of passes/fuse.c promises.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"
#include "tests/passes/pretend.h"

enum { BATCH = 4, CHANNELS = 8, WIDTH = 24, MAX_VALUES = 80 };

static uint64_t random_state;

static int below(int n) // xorshift64*
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (int)((random_state * UINT64_C(0x2545f4914f6cdd1d) >> 33) % (uint32_t)n);
}

typedef struct Maker {
    Text text;
    int n_images, n_rows; // values of each kind: i0.., v0..; shapes [B,C,6,6] and [B,W]
    int weights, squares, dropouts; // w0.., q0..: those of linear layers
} Maker;

static void line(Maker *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(Maker *m, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    text_vprintf(&m->text, format, ap);
    va_end(ap);
    text_puts(&m->text, "\n");
}

// Mostly the newest value, sometimes any, and often one of every eighth, which so get many users.
static int pick(int n)
{
    int any = below(n), kind = below(4);
    return kind > 1 ? n - 1 : kind ? any : any / 8 * 8;
}

static void param(Maker *m, const char *shape)
{
    line(m, "w%d = param {shape=[%s], dtype=\"f32\", init=\"normal\"}", m->weights++, shape);
}

static void batch_norm(Maker *m, char kind, int x, int y)
{
    static int serial;
    const char *shape = kind == 'i' ? "8" : "24";
    param(m, shape);
    param(m, shape);
    line(m, "m%d = buffer {shape=[%s], dtype=\"f32\", init=\"constant\"}", ++serial, shape);
    line(m, "s%d = buffer {shape=[%s], dtype=\"f32\", init=\"constant\"}", serial, shape);
    line(m, "%c%d = batch_norm %c%d w%d w%d {eps=1e-5}", kind, y, kind, x, m->weights - 2,
         m->weights - 1);
    line(m, "a%d = result %c%d {index=1}", serial, kind, y);
    line(m, "b%d = result %c%d {index=2}", serial, kind, y);
    line(m, "u%d = running_update m%d s%d a%d b%d {momentum=0.1, count=9}", serial, serial,
         serial, serial, serial);
}

// Ops that both kinds know.
static void element_wise(Maker *m, char kind, int x, int z, int y)
{
    switch (below(8)) {
    case 0: line(m, "%c%d = relu %c%d", kind, y, kind, x); break;
    case 1: line(m, "%c%d = gelu %c%d", kind, y, kind, x); break;
    case 2: line(m, "%c%d = sigmoid %c%d", kind, y, kind, x); break;
    case 3: line(m, "%c%d = add %c%d %c%d", kind, y, kind, x, kind, z); break;
    case 4: line(m, "%c%d = mul %c%d %c%d", kind, y, kind, x, kind, z); break;
    case 5: line(m, "%c%d = scale %c%d {value=0.5}", kind, y, kind, x); break;
    case 6:
        line(m, "%c%d = dropout %c%d {rate=0.5, stream=%d}", kind, y, kind, x, m->dropouts++);
        break;
    case 7: batch_norm(m, kind, x, y); break;
    }
}

static void image_layer(Maker *m)
{
    int x = pick(m->n_images), z = pick(m->n_images), y = m->n_images++;
    switch (below(8)) {
    case 0:
        param(m, "8,8,3,3");
        line(m, "i%d = conv2d i%d w%d {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}", y, x,
             m->weights - 1);
        break;
    case 1:
        line(m,
             "i%d = max_pool2d i%d {kernel=[3,3], stride=[1,1], padding=[1,1,1,1], "
             "dilation=[1,1]}",
             y, x);
        break;
    case 2:
        line(m, "k%d = concat i%d i%d {axis=1}", y, x, z);
        line(m, "i%d = slice k%d {axis=1, begin=4, length=8}", y, y);
        break;
    case 3: // a gate for each channel
        line(m, "h%d = global_avg_pool i%d", y, z);
        line(m, "i%d = mul i%d h%d", y, x, y);
        break;
    case 4: // a view of a view
        line(m, "f%d = reshape i%d {shape=[4,288]}", y, x);
        line(m, "i%d = reshape f%d {shape=[4,8,6,6]}", y, y);
        break;
    default: element_wise(m, 'i', x, z, y); break;
    }
}

static void row_layer(Maker *m)
{
    int x = pick(m->n_rows), z = pick(m->n_rows), y = m->n_rows++;
    switch (below(9)) {
    case 0:
    case 1:
        if (!m->squares || below(15)) // else tied
            line(m, "q%d = param {shape=[24,24], dtype=\"f32\", init=\"normal\"}",
                 m->squares++);
        line(m, "v%d = linear v%d q%d", y, x, pick(m->squares));
        break;
    case 2: line(m, "v%d = softmax v%d", y, x); break;
    case 3:
        line(m, "r%d = reshape v%d {shape=[4,4,6]}", y, x);
        line(m, "p%d = transpose r%d {perm=[0,2,1]}", y, y);
        line(m, "v%d = reshape p%d {shape=[4,24]}", y, y);
        break;
    case 4:
        param(m, "24");
        line(m, "v%d = %s v%d w%d", y, below(2) ? "add" : "mul", x, m->weights - 1);
        break;
    default: element_wise(m, 'v', x, z, y); break;
    }
}

static char *random_text(void)
{
    Maker m = {0};
    line(&m, "graph random micro_batch 4 block 8");
    line(&m, "i0 = input {shape=[4,8,6,6], dtype=\"f32\", role=\"sample\"}");
    line(&m, "ids = input {shape=[4], dtype=\"i32\", role=\"sample\"}");
    line(&m, "t = input {shape=[4,24], dtype=\"f32\", role=\"target\"}");
    line(&m, "table = param {shape=[9,24], dtype=\"f32\", init=\"normal\"}");
    line(&m, "mix = param {shape=[24,8], dtype=\"f32\", init=\"normal\"}");
    m.n_images = 1;
    for (int i = below(12); i-- > 0;)
        image_layer(&m);
    line(&m, "pool = global_avg_pool i%d", m.n_images - 1);
    line(&m, "flat = reshape pool {shape=[4,8]}");
    line(&m, "mixed = linear flat mix");
    line(&m, "words = embedding ids table");
    line(&m, "v0 = add mixed words");
    m.n_rows = 1;
    for (int i = 2 + below(24); i-- > 0;)
        row_layer(&m);
    line(&m, "main = mse v%d t", m.n_rows - 1);
    if (below(2)) {
        line(&m, "side = mse v%d t", below(m.n_rows));
        line(&m, "weak = scale side {value=0.3}");
        line(&m, "both = add main weak");
    }
    line(&m, "loss %s", strstr(m.text.data, "both") ? "both" : "main");
    line(&m, "output v%d", m.n_rows - 1 - below(2));
    return m.text.data;
}

static bool repeats(Shape s, Shape x)
{
    int64_t count = 1, tail = 1;
    for (int i = 0; i < x.rank; i++)
        count *= x.dim[i];
    for (int i = s.rank; i-- > 0 && tail < count;)
        tail *= s.dim[i];
    return tail == count;
}

static void check_member(const Node *n, Shape shape)
{
    bool image = shape.rank == 4;
    assert_true(node_is(n, 'E') && !(image && n->op == OP_DROPOUT));
    for (int i = 0; i < n->n_inputs; i++) {
        Shape x = n->inputs[i]->shape;
        bool trailing = i == 1 && (n->op == OP_ADD || n->op == OP_MUL) && !image;
        assert_true(shape_equal(x, shape) || shape_count(x) == 1 ||
                    (trailing && repeats(shape, x)));
    }
}

static bool is_norm(const Node *n)
{
    return n->op == OP_BATCH_NORM || n->op == OP_BATCH_NORM_INFER ||
           n->op == OP_BATCH_NORM_GRAD;
}

static bool connected(Node *const *nodes, int begin, int k)
{
    const Node *n = nodes[k];
    bool backward = phase_is_backward(n->phase);
    for (int i = 0; i < n->n_inputs; i++)
        for (int m = begin; m < k; m++) {
            if (n->inputs[i] == nodes[m])
                return true;
            for (int j = 0; j < nodes[m]->n_inputs && backward; j++)
                if (nodes[m]->inputs[j] == n->inputs[i] &&
                    shape_equal(n->inputs[i]->shape, n->shape))
                    return true;
        }
    return false;
}

// A backend that knows some heads.
static bool heads(const Node *n, const Node *next, bool kept)
{
    bool norm = next->op == OP_BATCH_NORM && n->op == OP_CONV2D;
    return norm || next->op == OP_GELU || (next->op == OP_RELU && !kept);
}

// What is read by others than `next` is kept.
static void check_head(const Graph *g, const Node *head, const Node *next)
{
    bool kept = head == g->output;
    for (int i = 0; i < g->nodes.n; i++)
        for (int k = 0; k < g->nodes.items[i]->n_inputs; k++)
            kept |= g->nodes.items[i] != next && g->nodes.items[i]->inputs[k] == head;
    assert_true(next->inputs[0] == head && next->phase == head->phase &&
                next->unit == head->unit && heads(head, next, kept));
}

// The group at nodes[begin .. end), as fuse.c promises it.
static void check_group(const Graph *g, int begin, int end)
{
    Node *const *nodes = g->nodes.items;
    const Node *first = nodes[begin];
    int norms = 0;
    assert_in_range(end - begin, 2, 17);
    assert_true(shape_count(first->shape) > 1);
    if (node_is(first, 'H'))
        check_head(g, first, nodes[++begin]);
    for (int k = begin; k < end; k++) {
        const Node *n = nodes[k];
        assert_int_equal(n->phase, first->phase);
        assert_true(n->dtype == F32 || n->dtype == BF16);
        assert_int_equal(n->unit, first->unit);
        assert_true(shape_equal(n->shape, first->shape));
        assert_true(k == begin || connected(nodes, begin, k));
        for (int i = 0; i < n->n_inputs; i++) {
            Node *root = value_root(n->inputs[i]);
            assert_true(root->id < begin || (root == n->inputs[i] && root->id < k));
            assert_true(root->op != OP_RESULT || root->inputs[0]->id < begin);
            if (n->op == OP_BATCH_NORM_GRAD && i != 1)
                assert_true(root->id < begin);
        }
        if (is_norm(n)) {
            norms++;
            assert_true(k == begin || n->op == OP_BATCH_NORM_GRAD);
        } else {
            check_member(n, first->shape);
        }
    }
    assert_in_range(norms, 0, 1);
}

static int check_groups(const Graph *g)
{
    int groups = 0;
    for (int i = 0; i < g->nodes.n;) {
        int group = g->nodes.items[i]->group, end = i + 1;
        while (group >= 0 && end < g->nodes.n && g->nodes.items[end]->group == group)
            end++;
        if (group >= 0) {
            check_group(g, i, end);
            groups++;
        }
        i = end;
    }
    return groups;
}

// Whole at all: every parameter that the loss depends on is updated exactly once.
static void check_updates(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        int updates = 0, sums = 0;
        for (int k = 0; n->op == OP_PARAM && k < g->nodes.n; k++) {
            const Node *u = g->nodes.items[k];
            updates += u->op == OP_SGD && u->inputs[0] == n;
            sums += u->op == OP_ACCUMULATOR && u->forward == n;
        }
        assert_true(updates == (sums > 0));
    }
}

// In bf16 every node's types are those of the table, and what outlives a step, or is a number, is f32.
static void check_types(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        bool lasts = node_is(n, 'L') && n->op != OP_INPUT && n->op != OP_RESULT;
        if (lasts || n == g->loss || n->phase == PHASE_UPDATE)
            assert_true(n->dtype != BF16);
        else if (op_bf16_output(n->op, 0) == FORM_BF16 && shape_count(n->shape) > 1)
            assert_int_equal(n->dtype, BF16);
    }
}

static bool is_conv(const Node *n)
{
    return n->op == OP_CONV2D || n->op == OP_CONV2D_GRAD_INPUT ||
           n->op == OP_CONV2D_GRAD_WEIGHT;
}

static bool is_pool(const Node *n)
{
    return n->op == OP_MAX_POOL2D || n->op == OP_MAX_POOL2D_GRAD ||
           n->op == OP_GLOBAL_AVG_POOL || n->op == OP_GLOBAL_AVG_POOL_GRAD;
}

static bool follows(const Node *n)
{
    return (node_is(n, 'E') && n->op != OP_DROPOUT) || n->op == OP_CONCAT ||
           n->op == OP_SLICE || n->op == OP_PAD;
}

static bool takes_any(const Node *n)
{
    return n->op == OP_BIAS_GRAD || n->op == OP_SUM_TO || n->op == OP_REORDER ||
           n->op == OP_ENCODE;
}

static bool is_image(const Node *n)
{
    return n->shape.rank == 4 && n->shape.dim[2] * n->shape.dim[3] > 1;
}

// What reads an image that is not plain knows that, and has all its images so; what is not plain is read by nothing else.
static void check_layouts(const Graph *g, Images images)
{
    Layout own = images == IMAGES_BLOCKED ? LAYOUT_BLOCKED : LAYOUT_CHANNELS_LAST;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        assert_true(n->layout == LAYOUT_PLAIN || n->layout == LAYOUT_KERNEL ||
                    (images != IMAGES_PLAIN && n->layout == own && is_image(n)));
        for (int k = 0; k < n->n_inputs && n->op != OP_RESULT; k++) {
            const Node *x = n->inputs[k];
            bool weight = is_conv(n) && k == 1 && n->op != OP_CONV2D_GRAD_WEIGHT;
            bool kernel = is_conv(n) || is_pool(n) || is_norm(n);
            if (x->layout == own && images != IMAGES_PLAIN)
                assert_true(kernel || takes_any(n) || (follows(n) && n->layout == own));
            else if (is_image(x) && x->layout == LAYOUT_PLAIN &&
                     !weight) // this test's images can all be laid out
                assert_true(images == IMAGES_PLAIN || (!kernel && n->layout != own) ||
                            n->op == OP_REORDER);
        }
    }
}

static void read_back(const Graph *g, Arena *a)
{
    Text text = {0}, again = {0};
    ir_print(&text, g);
    const Graph *copy = ir_read(a, "dump.ir", text.data);
    assert_non_null(copy);
    ir_print(&again, copy);
    assert_string_equal(text.data, again.data);
    text_release(&text);
    text_release(&again);
}

static bool plan(Case *t, int stages)
{
    t->c.stages = stages;
    t->c.no_plan = false;
    t->options.batch = t->options.micro_batches * BATCH;
    t->plan = (Plan){.model = "test", .cost_source = "estimate", .options = t->options};
    bool good = passes_run(&t->c, &(PassOptions){0});
    assert_true(good || t->c.no_plan);
    diag_reset();
    return good;
}

static void any_model(void **state)
{
    (void)state;
    int planned = 0, groups = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    for (int round = 0; round < 1000; round++) {
        random_state = (uint64_t)round * 104729 + 1;
        char *text = random_text();
        Case *t = case_new(text);
        free(text);
        t->c.fuse = below(4);
        t->c.images = (Images)below(3);
        t->c.heads = round % 2 ? heads : NULL;
        t->options.micro_batches = 1 + below(5);
        static const char *const schedules[] = {
            "1f1b", "gpipe", "zb-h1", "pipedream", "pipedream-vertical", "pipedream-2bw"};
        int kind = below(6);
        t->options.schedule = schedules[kind];
        t->options.clip_norm = kind < 3 && below(2);
        t->options.momentum = 0.5 * below(2);
        static const char *const transfers[] = {"exact", "exact", "bf16", "int8"};
        t->options.transfer = transfers[below(4)];
        int replicas[5];
        for (int s = 0; s < 5; s++)
            replicas[s] = 1 + below((int)t->options.micro_batches);
        t->c.replicas = below(2) ? replicas : NULL;
        t->c.bucket_bytes = 1000 + below(9000);
        bool bf16 = !below(3);
        t->options.dtype = bf16 ? "bf16" : "f32";
        diag_output(nowhere, false);
        for (int again = 0; again < 2; again++) { // the second time from the finished graph
            bool good = plan(t, 1 + below(5));
            planned += good;
            groups += check_groups(t->c.graph);
            check_layouts(t->c.graph, t->c.images);
            for (int s = 0; good && s < t->plan.n_stages; s++)
                pretend_stage(t->c.graph, &t->plan, s);
        }
        diag_output(stderr, false);
        check_updates(t->c.graph);
        if (bf16)
            check_types(t->c.graph);
        read_back(t->c.graph, &t->arena);
        case_free(t);
    }
    fclose(nowhere);
    assert_true(planned > 1300 && groups > 4000); // most were models worth testing
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
