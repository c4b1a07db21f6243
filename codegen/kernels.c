// Rows of library kernels. A convolution's three kernels say the same sizes, and so do attention's two; linear layers, their
// gradients and matmul are all one kind of product, told apart by how far their elements lie apart. Beside
// bf16 a weight is still the parameter in f32: the library's copy of it, in a layout of its own, is bf16.
#include "codegen/kernels.h"

#include "ir/product.h"

#include <string.h>

// One row of rt_program.kernels. Everything follows from the node's shapes, attributes and layouts.
typedef struct KernelRow {
    const char *key;           // all that decides the kernel; unique, no quotes
    const char *name;          // of its index in the program: CONV2D_64X56X56_64_3X3
    const char *row;           // the initialiser
    VEC(const Node *) weights; // parameters that the library copies for it once a step
} KernelRow;

typedef struct KernelTable {
    VEC(KernelRow) rows;
    int *row_of, *adding; // by node id; -1: none
} KernelTable;

typedef long long ll; // printf's

typedef enum Into { IN_KEY, IN_ROW } Into;

// What is computed with it, in its key, its name and its row.
typedef struct Epilogue {
    const char *key, *name, *row;
} Epilogue;

static const Epilogue nothing = {"", "", ""};

static Epilogue epilogue_of(const Emit *e, const Node *n)
{
    const Node *with = emit_with_head(e, n);
    if (!with)
        return nothing;
    switch ((int)with->op) {
    case OP_RELU: return (Epilogue){", relu", "_RELU", " .epilogue = RT_RELU,"};
    case OP_BATCH_NORM: return (Epilogue){", sums", "_SUMS", " .epilogue = RT_SUMS,"};
    case OP_GELU_TANH:
        return emit_stored(e, n)
                   ? (Epilogue){", gelu aux", "_GELU_AUX", " .epilogue = RT_GELU_AUX,"}
                   : (Epilogue){", gelu", "_GELU", " .epilogue = RT_GELU,"};
    }
    BUG("codegen", "no row computes %s with %s", with->name, n->name);
}

// Element types of the operands and the result, in the order of calls; nothing where all are f32.
static const char *types(Arena *a, const Node *x, const Node *w, const Node *y, Into into)
{
    static const char *const constant[N_DTYPES] = {[F32] = "RT_F32", [BF16] = "RT_BF16"};
    if (x->dtype != BF16)
        return "";
    if (into == IN_KEY)
        return arena_printf(a, ", %s by %s to %s", dtype_name(x->dtype), dtype_name(w->dtype),
                            dtype_name(y->dtype));
    return arena_printf(a, " .types = {%s, %s, %s},", constant[x->dtype], constant[w->dtype],
                        constant[y->dtype]);
}

// The parameter of which the library keeps a copy if it wants one; NULL: none.
static const Node *copied_weight(const Node *n)
{
    bool weight = n->op == OP_CONV2D || n->op == OP_CONV2D_GRAD_INPUT || n->op == OP_LINEAR ||
                  n->op == OP_LINEAR_GRAD_INPUT;
    const Node *w = weight ? emit_root(n->inputs[1]) : NULL;
    return w && w->op == OP_PARAM ? w : NULL;
}

// Convolutions
// ----------------------------------------------------------------------------------------

Conv conv_of(const Node *n)
{
    Node *const *in = n->inputs;
    switch ((int)n->op) {
    case OP_CONV2D: return (Conv){.x = in[0], .w = in[1], .y = n};
    case OP_CONV2D_GRAD_INPUT: return (Conv){.x = n, .w = in[1], .y = in[0]};
    case OP_CONV2D_GRAD_WEIGHT: return (Conv){.x = in[0], .w = n, .y = in[1]};
    }
    BUG("codegen", "%s is no convolution", n->name);
}

static bool has_bias(const Node *n)
{
    return n->op == OP_CONV2D && n->n_inputs > 2;
}

static const char *conv_sizes(Arena *a, const Node *n, const KernelWords *words)
{
    Conv c = conv_of(n);
    const int64_t *x = c.x->shape.dim, *y = c.y->shape.dim, *w = c.w->shape.dim;
    const int64_t *stride = node_ints(n, A_STRIDE), *pad = node_ints(n, A_PADDING);
    const int64_t *dilation = node_ints(n, A_DILATION);
    return arena_printf(a,
                        ".conv = {.n = %lld, .c = %lld, .h = %lld, .w = %lld, .k = %lld, "
                        ".p = %lld, .q = %lld,\n              .r = %lld, .s = %lld, "
                        ".groups = %lld, .stride = {%lld, %lld}, .padding = {%lld, %lld, %lld, "
                        "%lld},\n              .dilation = {%lld, %lld}%s%s}",
                        (ll)x[0], (ll)x[1], (ll)x[2], (ll)x[3], (ll)y[1], (ll)y[2], (ll)y[3],
                        (ll)w[2], (ll)w[3], (ll)node_int(n, A_GROUPS), (ll)stride[0],
                        (ll)stride[1], (ll)pad[0], (ll)pad[1], (ll)pad[2], (ll)pad[3],
                        (ll)dilation[0], (ll)dilation[1], words->row,
                        has_bias(n) ? ", .bias = 1" : "");
}

static const char *conv_key(Arena *a, const Node *n, const KernelWords *words,
                            const Epilogue *with)
{
    Conv c = conv_of(n);
    const int64_t *x = c.x->shape.dim, *y = c.y->shape.dim, *w = c.w->shape.dim;
    const int64_t *stride = node_ints(n, A_STRIDE), *pad = node_ints(n, A_PADDING);
    const int64_t *dilation = node_ints(n, A_DILATION);
    return arena_printf(
        a,
        "%s %lldx%lldx%lldx%lld to %lldx%lldx%lld, %lldx%lld, stride %lldx%lld, "
        "padding %lld %lld %lld %lld, dilation %lldx%lld, groups %lld%s%s%s%s%s",
        op_info[n->op].name, (ll)x[0], (ll)x[1], (ll)x[2], (ll)x[3], (ll)y[1], (ll)y[2],
        (ll)y[3], (ll)w[2], (ll)w[3], (ll)stride[0], (ll)stride[1], (ll)pad[0], (ll)pad[1],
        (ll)pad[2], (ll)pad[3], (ll)dilation[0], (ll)dilation[1], (ll)node_int(n, A_GROUPS),
        words->key, has_bias(n) ? ", bias" : "", with->key,
        node_int(n, A_FAST) ? ", winograd" : "",
        types(a, n->inputs[0], n->inputs[1], n, IN_KEY));
}

static void conv_row(Arena *a, const Node *n, const KernelWords *words, const Epilogue *with,
                     KernelRow *row)
{
    Conv c = conv_of(n);
    const int64_t *x = c.x->shape.dim, *w = c.w->shape.dim;
    const char *op = n->op == OP_CONV2D              ? "RT_CONV2D"
                     : n->op == OP_CONV2D_GRAD_INPUT ? "RT_CONV2D_GRAD_INPUT"
                                                     : "RT_CONV2D_GRAD_WEIGHT";
    row->key = conv_key(a, n, words, with);
    row->name =
        arena_printf(a, "%s_%lldX%lldX%lld_%lld_%lldX%lld%s", op + strlen("RT_"), (ll)x[1],
                     (ll)x[2], (ll)x[3], (ll)c.y->shape.dim[1], (ll)w[2], (ll)w[3], with->name);
    row->row = arena_printf(
        a, ".op = %s,%s%s%s\n     %s", op, with->row, node_int(n, A_FAST) ? " .fast = 1," : "",
        types(a, n->inputs[0], n->inputs[1], n, IN_ROW), conv_sizes(a, n, words));
}

// Products
// --------------------------------------------------------------------------------------------

// A tensor as [rows, columns]; turned: its memory is [columns, rows].
static const char *matrix(Arena *a, const Product *p, const Node *n, int64_t rows,
                          int64_t columns, bool turned)
{
    int64_t outer = turned ? columns : rows, inner = turned ? rows : columns;
    int64_t row = n->layout == LAYOUT_PITCHED ? node_row(n) : inner;
    return arena_printf(a, "{%lld, %lld, %lld, %lld}", (ll)p->batch * outer * row,
                        (ll)outer * row, turned ? 1LL : (ll)row, turned ? (ll)row : 1LL);
}

// ", c in rows of 50264"
static const char *pitch_key(Arena *a, const char *which, const Node *n)
{
    return n->layout == LAYOUT_PITCHED
               ? arena_printf(a, ", %s in rows of %lld", which, (ll)node_row(n))
               : "";
}

static void product_row(Arena *a, const Node *n, const KernelWords *words, const Epilogue *with,
                        bool add, KernelRow *row)
{
    Product p = product_of(n);
    bool fast = node_int(n, A_FAST) != 0;
    bool swapped = n->op == OP_LINEAR_GRAD_WEIGHT;
    const Node *left = n->inputs[swapped], *right = n->inputs[!swapped];
    const char *form = arena_printf(a, "%c%c", p.a_turned ? 'T' : 'N', p.b_turned ? 'T' : 'N');
    row->key = arena_printf(
        a, "matmul %s %lld of %lldx%lld by %lldx%lld%s%s%s%s%s%s%s%s", form, (ll)p.batch,
        (ll)p.m, (ll)p.k, (ll)p.k, (ll)p.n, pitch_key(a, "a", left), pitch_key(a, "c", n),
        words->key, p.bias ? ", bias" : "", with->key, add ? ", add" : "",
        fast ? ", strassen" : "", types(a, n->inputs[0], n->inputs[1], n, IN_KEY));
    row->name = arena_printf(a, "MATMUL_%s_%lldX%lldX%lld%s%s", form, (ll)p.m, (ll)p.k, (ll)p.n,
                             with->name, add ? "_ADD" : "");
    row->row = arena_printf(
        a,
        ".op = RT_MATMUL,%s%s%s\n     .product = {.batch = {1, %lld}, .m = %lld, .n = %lld, .k = %lld, "
        ".a = %s,\n                 .b = %s, .c = %s%s%s%s}",
        with->row, fast ? " .fast = 1," : "", types(a, n->inputs[0], n->inputs[1], n, IN_ROW),
        (ll)p.batch, (ll)p.m, (ll)p.n, (ll)p.k, matrix(a, &p, left, p.m, p.k, p.a_turned),
        matrix(a, &p, right, p.k, p.n, p.b_turned), matrix(a, &p, n, p.m, p.n, false),
        words->row, p.bias ? ", .bias = 1" : "", add ? ", .add = 1" : "");
}

// Attention
// --------------------------------------------------------------------------------------------

static void attention_row(Arena *a, const Node *n, KernelRow *row)
{
    bool grad = n->op == OP_ATTENTION_GRAD;
    const int64_t *q = n->inputs[grad]->shape.dim;
    ll heads = (ll)node_int(n, A_HEADS), size = (ll)q[2] / heads;
    const char *op = grad ? "ATTENTION_GRAD" : "ATTENTION";
    double scale = (double)(float)node_real(n, A_VALUE);
    bool causal = node_int(n, A_CAUSAL) != 0;
    row->key = arena_printf(a, "%s %lldx%lldx%lldx%lld, scale %.9g%s%s", op_info[n->op].name,
                            (ll)q[0], heads, (ll)q[1], size, scale, causal ? ", causal" : "",
                            types(a, n->inputs[0], n->inputs[1], n, IN_KEY));
    row->name = arena_printf(a, "%s_%lldX%lldX%lldX%lld", op, (ll)q[0], heads, (ll)q[1], size);
    row->row = arena_printf(
        a,
        ".op = RT_%s,%s\n     .attention = {.n = %lld, .heads = %lld, .t = %lld, .size = %lld, "
        ".scale = %.9g%s}",
        op, types(a, n->inputs[0], n->inputs[1], n, IN_ROW), (ll)q[0], heads, (ll)q[1], size,
        scale, causal ? ", .causal = 1" : "");
}

// Libraries draw other random numbers than ours.
static bool is_library_attention(const Node *n)
{
    return (n->op == OP_ATTENTION || n->op == OP_ATTENTION_GRAD) && node_real(n, A_RATE) == 0;
}

static bool is_convolution(Op op)
{
    return op == OP_CONV2D || op == OP_CONV2D_GRAD_INPUT || op == OP_CONV2D_GRAD_WEIGHT;
}

static bool has_row(const Node *n)
{
    return is_convolution(n->op) || is_product(n->op) || is_library_attention(n);
}

// Attention's row says all there is.
static KernelWords words_for(Arena *a, const Graph *g, const Node *n, KernelWordsOf *words_of)
{
    return is_library_attention(n) ? (KernelWords){0} : words_of(a, g, n);
}

// add: the kernel that adds to what is there.
static KernelRow kernel_row(Arena *a, const Node *n, const KernelWords *words,
                            const Epilogue *with, bool add)
{
    KernelRow row = {0};
    if (is_library_attention(n)) {
        attention_row(a, n, &row);
        return row;
    }
    if (is_convolution(n->op))
        conv_row(a, n, words, with, &row);
    else
        product_row(a, n, words, with, add, &row);
    if (words->copies_weight && copied_weight(n))
        vec_push(a, &row.weights, copied_weight(n));
    return row;
}

const char *kernel_key(Arena *a, const Graph *g, const Node *n, KernelWordsOf *words_of)
{
    if (!has_row(n))
        return NULL;
    KernelWords words = words_for(a, g, n, words_of);
    return kernel_row(a, n, &words, &nothing, false).key;
}

// The table
// --------------------------------------------------------------------------------------------

static int find_key(const KernelTable *t, const char *key)
{
    for (int i = 0; i < t->rows.n; i++)
        if (!strcmp(t->rows.items[i].key, key))
            return i;
    return -1;
}

// Two kernels may differ in what their names do not say.
static const char *new_name(Arena *a, const KernelTable *t, const char *wish)
{
    const char *name = wish;
    for (int i = 0, n = 2; i < t->rows.n; i++)
        if (!strcmp(t->rows.items[i].name, name)) {
            name = arena_printf(a, "%s_%d", wish, n++);
            i = -1;
        }
    return name;
}

static void add_weight(Emit *e, KernelRow *row, const Node *w)
{
    for (int i = 0; i < row->weights.n; i++)
        if (row->weights.items[i] == w)
            return;
    vec_push(e->scratch, &row->weights, w);
}

static int add_row(Emit *e, KernelTable *t, KernelRow row)
{
    int at = find_key(t, row.key);
    if (at < 0) {
        row.name = new_name(e->scratch, t, row.name);
        vec_push(e->scratch, &t->rows, row);
        return t->rows.n - 1;
    }
    for (int i = 0; i < row.weights.n; i++)
        add_weight(e, &t->rows.items[at], row.weights.items[i]);
    return at;
}

static void collect(Emit *e, KernelTable *t, KernelWordsOf *words_of)
{
    int n_nodes = e->graph->nodes.n;
    t->row_of = arena_array(e->scratch, int, n_nodes);
    t->adding = arena_array(e->scratch, int, n_nodes);
    for (int i = 0; i < n_nodes; i++) {
        const Node *n = e->graph->nodes.items[i];
        t->row_of[i] = t->adding[i] = -1;
        if (!emit_here(e, n) || !has_row(n))
            continue;
        const KernelWords words = words_for(e->scratch, e->graph, n, words_of);
        const Epilogue with = epilogue_of(e, n);
        t->row_of[i] = add_row(e, t, kernel_row(e->scratch, n, &words, &with, false));
        if (n->op == OP_LINEAR_GRAD_WEIGHT && e->plan->options.micro_batches > 1)
            t->adding[i] = add_row(e, t, kernel_row(e->scratch, n, &words, &with, true));
    }
}

// Where the parameters lie.
static void write_weights(Emit *e, const KernelRow *row)
{
    if (!row->weights.n)
        return;
    text_puts(e->out, ",\n     .weights = (const int64_t[]){");
    for (int i = 0; i < row->weights.n; i++)
        text_printf(e->out, "%s%lld",
                    i % 10 ? ", "
                    : i    ? ",\n       "
                           : "",
                    (ll)e->stage->places[row->weights.items[i]->id].offset);
    text_printf(e->out, "}, .n_weights = %d", row->weights.n);
}

void kernels_write(Emit *e, KernelWordsOf *words_of)
{
    KernelTable *t = e->library = arena_new(e->scratch, KernelTable);
    collect(e, t, words_of);
    if (!t->rows.n)
        return;
    text_puts(e->out, "\nenum {\n");
    for (int i = 0; i < t->rows.n; i++)
        text_printf(e->out, "    %s,\n", t->rows.items[i].name);
    text_puts(e->out, "};\nstatic const rt_kernel kernels[] = {\n");
    for (int i = 0; i < t->rows.n; i++) {
        const KernelRow *row = &t->rows.items[i];
        const PlanKernel *measured = plan_kernel(e->plan, row->key);
        text_printf(e->out, "    {.key = \"%s\",\n", row->key);
        if (measured)
            text_printf(e->out, "     .implementation = %s,\n",
                        emit_string(e, measured->implementation));
        text_printf(e->out, "     %s", row->row);
        write_weights(e, row);
        text_puts(e->out, "},\n");
    }
    text_puts(e->out, "};\n");
}

int kernels_count(Emit *e)
{
    return e->library->rows.n;
}

void kernels_fields(Emit *e)
{
    int n = kernels_count(e);
    if (n)
        text_printf(e->out, "    .kernels = kernels,\n    .n_kernels = %d,\n", n);
}

int kernels_weight(Emit *e, const Node *param)
{
    for (int i = 0; i < e->graph->nodes.n; i++) {
        const Node *n = e->graph->nodes.items[i];
        if (n->op == OP_CONV2D && n->inputs[1] == param && emit_here(e, n))
            return e->library->row_of[n->id];
    }
    BUG("codegen", "no convolution computes with %s", param->name);
}

const char *kernels_name(Emit *e, const Node *n)
{
    const KernelTable *t = e->library;
    CHECK(t->row_of[n->id] >= 0, "codegen", "%s has no library kernel", n->name);
    return t->rows.items[t->row_of[n->id]].name;
}

const char *kernels_adding(Emit *e, const Node *n)
{
    const KernelTable *t = e->library;
    CHECK(t->adding[n->id] >= 0, "codegen", "%s has no kernel that adds", n->name);
    return t->rows.items[t->adding[n->id]].name;
}
