// Rows of library kernels. A convolution's three kernels say the same sizes; linear layers, their
// gradients and matmul are all one kind of product, told apart by how far their elements lie apart. Beside
// bf16 a weight is still the parameter in f32: the library's copy of it, in a layout of its own, is bf16.
#include "codegen/c/kernels.h"

#include "ir/product.h"

#include <string.h>

typedef struct KernelTable {
    VEC(KernelRow) rows;
    int *row_of, *adding; // by node id; -1: none
} KernelTable;

typedef enum Form { IN_KEY, IN_ROW } Form;

// Element types of the operands and the result, in the order of calls; nothing where all are f32.
static const char *types(Arena *a, const Node *x, const Node *w, const Node *y, Form form)
{
    static const char *const constant[N_DTYPES] = {[F32] = "RT_F32", [BF16] = "RT_BF16"};
    if (x->dtype != BF16)
        return "";
    if (form == IN_KEY)
        return arena_printf(a, ", %s by %s to %s", dtype_name(x->dtype), dtype_name(w->dtype),
                            dtype_name(y->dtype));
    return arena_printf(a, " .types = {%s, %s, %s},", constant[x->dtype], constant[w->dtype],
                        constant[y->dtype]);
}

// The parameter of which the kernel needs a copy in another layout or type; NULL: it takes what is there.
static const Node *copied_weight(const Node *n)
{
    bool weight = n->op == OP_CONV2D || n->op == OP_CONV2D_GRAD_INPUT || n->op == OP_LINEAR ||
                  n->op == OP_LINEAR_GRAD_INPUT;
    if (!weight || (n->inputs[0]->dtype != BF16 && n->op != OP_CONV2D_GRAD_INPUT))
        return NULL;
    const Node *w = emit_root(n->inputs[1]);
    return w->op == OP_PARAM ? w : NULL;
}

// Convolutions
// ----------------------------------------------------------------------------------------

typedef struct Conv {
    Shape x, y, w;
    bool x_blocked, y_blocked, w_plain, bias;
} Conv;

// An image of one pixel is the same bytes either way, and the library wants one of them.
static bool may_block(const Graph *g, const Node *n, Shape s)
{
    bool pixel = s.dim[2] == 1 && s.dim[3] == 1 && s.dim[1] % g->block == 0;
    return n->layout == LAYOUT_BLOCKED || pixel;
}

static bool groups_block(const Graph *g, const Conv *c, int64_t groups)
{
    bool depthwise = groups == c->x.dim[1] && groups == c->y.dim[1];
    bool wide = c->x.dim[1] / groups % g->block == 0 && c->y.dim[1] / groups % g->block == 0;
    return groups == 1 || depthwise || wide;
}

static void settle_layouts(const Graph *g, const Node *n, const Node *x, const Node *y, Conv *c)
{
    bool fits = groups_block(g, c, node_int(n, A_GROUPS));
    c->y_blocked =
        y->layout == LAYOUT_BLOCKED ||
        (fits && may_block(g, y, c->y) && (may_block(g, x, c->x) || c->x.dim[1] % g->block));
    c->x_blocked = c->y_blocked && may_block(g, x, c->x);
    if (c->y_blocked && !c->x_blocked && node_int(n, A_GROUPS) > 1)
        c->y_blocked = false; // of one pixel, then
}

static Conv conv_of(const Graph *g, const Node *n)
{
    const Node *a = n->inputs[0], *b = n->inputs[1];
    Conv c = {.x = a->shape, .w = b->shape, .y = n->shape};
    const Node *x = a, *y = n, *w = b;
    if (n->op == OP_CONV2D_GRAD_INPUT) {
        c.x = n->shape;
        c.y = a->shape;
        x = n;
        y = a;
    } else if (n->op == OP_CONV2D_GRAD_WEIGHT) {
        c.w = n->shape;
        c.y = b->shape;
        w = n;
        y = b;
    }
    settle_layouts(g, n, x, y, &c);
    c.w_plain = c.y_blocked && w->layout != LAYOUT_KERNEL;
    c.bias = n->op == OP_CONV2D && n->n_inputs > 2;
    return c;
}

typedef long long ll; // printf's

static const char *conv_sizes(Arena *a, const Graph *g, const Node *n, const Conv *c)
{
    const int64_t *stride = node_ints(n, A_STRIDE), *pad = node_ints(n, A_PADDING);
    const int64_t *dilation = node_ints(n, A_DILATION);
    return arena_printf(a,
                        ".conv = {.n = %lld, .c = %lld, .h = %lld, .w = %lld, .k = %lld, "
                        ".p = %lld, .q = %lld,\n              .r = %lld, .s = %lld, "
                        ".groups = %lld, .stride = {%lld, %lld}, .padding = {%lld, %lld, %lld, "
                        "%lld},\n              .dilation = {%lld, %lld}, .block = %d, "
                        ".x_blocked = %d, .y_blocked = %d%s%s}",
                        (ll)c->x.dim[0], (ll)c->x.dim[1], (ll)c->x.dim[2], (ll)c->x.dim[3],
                        (ll)c->y.dim[1], (ll)c->y.dim[2], (ll)c->y.dim[3], (ll)c->w.dim[2],
                        (ll)c->w.dim[3], (ll)node_int(n, A_GROUPS), (ll)stride[0],
                        (ll)stride[1], (ll)pad[0], (ll)pad[1], (ll)pad[2], (ll)pad[3],
                        (ll)dilation[0], (ll)dilation[1], g->block, c->x_blocked, c->y_blocked,
                        c->w_plain ? ", .w_plain = 1" : "", c->bias ? ", .bias = 1" : "");
}

static const char *conv_key(Arena *a, const Graph *g, const Node *n, const Conv *c)
{
    const int64_t *stride = node_ints(n, A_STRIDE), *pad = node_ints(n, A_PADDING);
    const int64_t *dilation = node_ints(n, A_DILATION);
    return arena_printf(
        a,
        "%s %lldx%lldx%lldx%lld to %lldx%lldx%lld, %lldx%lld, stride %lldx%lld, "
        "padding %lld %lld %lld %lld, dilation %lldx%lld, groups %lld, %s to "
        "%s%d%s%s%s%s",
        op_info[n->op].name, (ll)c->x.dim[0], (ll)c->x.dim[1], (ll)c->x.dim[2], (ll)c->x.dim[3],
        (ll)c->y.dim[1], (ll)c->y.dim[2], (ll)c->y.dim[3], (ll)c->w.dim[2], (ll)c->w.dim[3],
        (ll)stride[0], (ll)stride[1], (ll)pad[0], (ll)pad[1], (ll)pad[2], (ll)pad[3],
        (ll)dilation[0], (ll)dilation[1], (ll)node_int(n, A_GROUPS),
        c->x_blocked ? "blocked" : "plain", c->y_blocked ? "blocked " : "plain ", g->block,
        c->w_plain ? ", plain weight" : "", c->bias ? ", bias" : "",
        node_int(n, A_FAST) ? ", winograd" : "",
        types(a, n->inputs[0], n->inputs[1], n, IN_KEY));
}

static void conv_row(Arena *a, const Graph *g, const Node *n, KernelRow *row)
{
    Conv c = conv_of(g, n);
    const char *op = n->op == OP_CONV2D              ? "RT_CONV2D"
                     : n->op == OP_CONV2D_GRAD_INPUT ? "RT_CONV2D_GRAD_INPUT"
                                                     : "RT_CONV2D_GRAD_WEIGHT";
    row->key = conv_key(a, g, n, &c);
    row->name = arena_printf(a, "%s_%lldX%lldX%lld_%lld_%lldX%lld", op + strlen("RT_"),
                             (ll)c.x.dim[1], (ll)c.x.dim[2], (ll)c.x.dim[3], (ll)c.y.dim[1],
                             (ll)c.w.dim[2], (ll)c.w.dim[3]);
    row->row =
        arena_printf(a, ".op = %s,%s%s\n     %s", op, node_int(n, A_FAST) ? " .fast = 1," : "",
                     types(a, n->inputs[0], n->inputs[1], n, IN_ROW), conv_sizes(a, g, n, &c));
}

// Products
// --------------------------------------------------------------------------------------------

static const char *matrix(Arena *a, const Product *p, int64_t rows, int64_t columns,
                          bool turned)
{
    return arena_printf(a, "{%lld, %lld, %lld, %lld}", (ll)p->batch * rows * columns,
                        (ll)rows * columns, turned ? 1LL : (ll)columns,
                        turned ? (ll)rows : 1LL);
}

static void product_row(Arena *a, const Node *n, bool add, KernelRow *row)
{
    Product p = product_of(n);
    bool fast = node_int(n, A_FAST) != 0;
    const char *form = arena_printf(a, "%c%c", p.a_turned ? 'T' : 'N', p.b_turned ? 'T' : 'N');
    row->key = arena_printf(
        a, "matmul %s %lld of %lldx%lld by %lldx%lld%s%s%s%s", form, (ll)p.batch, (ll)p.m,
        (ll)p.k, (ll)p.k, (ll)p.n, p.bias ? ", bias" : "", add ? ", add" : "",
        fast ? ", strassen" : "", types(a, n->inputs[0], n->inputs[1], n, IN_KEY));
    row->name = arena_printf(a, "MATMUL_%s_%lldX%lldX%lld%s", form, (ll)p.m, (ll)p.k, (ll)p.n,
                             add ? "_ADD" : "");
    row->row = arena_printf(
        a,
        ".op = RT_MATMUL,%s%s\n     .product = {.batch = {1, %lld}, .m = %lld, .n = %lld, .k = %lld, "
        ".a = %s,\n                 .b = %s, .c = %s%s%s}",
        fast ? " .fast = 1," : "", types(a, n->inputs[0], n->inputs[1], n, IN_ROW), (ll)p.batch,
        (ll)p.m, (ll)p.n, (ll)p.k, matrix(a, &p, p.m, p.k, p.a_turned),
        matrix(a, &p, p.k, p.n, p.b_turned), matrix(a, &p, p.m, p.n, false),
        p.bias ? ", .bias = 1" : "", add ? ", .add = 1" : "");
}

bool kernel_row(Arena *a, const Graph *g, const Node *n, KernelRow *row)
{
    switch ((int)n->op) {
    case OP_CONV2D:
    case OP_CONV2D_GRAD_INPUT:
    case OP_CONV2D_GRAD_WEIGHT: conv_row(a, g, n, row); return true;
    }
    if (!is_product(n->op))
        return false;
    product_row(a, n, false, row);
    return true;
}

const char *kernel_key(Arena *a, const Graph *g, const Node *n)
{
    KernelRow row = {0};
    return kernel_row(a, g, n, &row) ? row.key : NULL;
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

static int add_row(Emit *e, KernelTable *t, KernelRow row)
{
    int at = find_key(t, row.key);
    if (at >= 0)
        return at;
    row.name = new_name(e->scratch, t, row.name);
    vec_push(e->scratch, &t->rows, row);
    return t->rows.n - 1;
}

static void add_weight(Emit *e, KernelRow *row, const Node *w)
{
    for (int i = 0; i < row->weights.n; i++)
        if (row->weights.items[i] == w)
            return;
    vec_push(e->scratch, &row->weights, w);
}

static void collect(Emit *e, KernelTable *t)
{
    int n_nodes = e->graph->nodes.n;
    t->row_of = arena_array(e->scratch, int, n_nodes);
    t->adding = arena_array(e->scratch, int, n_nodes);
    for (int i = 0; i < n_nodes; i++) {
        const Node *n = e->graph->nodes.items[i];
        KernelRow row = {0};
        t->row_of[i] = t->adding[i] = -1;
        if (!emit_here(e, n) || !kernel_row(e->scratch, e->graph, n, &row))
            continue;
        t->row_of[i] = add_row(e, t, row);
        if (copied_weight(n))
            add_weight(e, &t->rows.items[t->row_of[i]], copied_weight(n));
        if (n->op != OP_LINEAR_GRAD_WEIGHT || e->plan->options.micro_batches == 1)
            continue;
        product_row(e->scratch, n, true, &row);
        t->adding[i] = add_row(e, t, row);
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

void kernels_write(Emit *e)
{
    KernelTable *t = e->user = arena_new(e->scratch, KernelTable);
    collect(e, t);
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

int kernels_count(const Emit *e)
{
    return ((const KernelTable *)e->user)->rows.n;
}

int kernels_find(Emit *e, const Node *n)
{
    return ((const KernelTable *)e->user)->row_of[n->id];
}

const char *kernels_name(Emit *e, const Node *n)
{
    const KernelTable *t = e->user;
    CHECK(t->row_of[n->id] >= 0, "codegen", "%s has no library kernel", n->name);
    return t->rows.items[t->row_of[n->id]].name;
}

const char *kernels_adding(Emit *e, const Node *n)
{
    const KernelTable *t = e->user;
    CHECK(t->adding[n->id] >= 0, "codegen", "%s has no kernel that adds", n->name);
    return t->rows.items[t->adding[n->id]].name;
}
