// Batch norm with its group (<stagecc/cu_norm_group.cuh>): kernels for the two looks at its tensors are generated, as far as
// there are members to compute. How a thread walks the packs of a channel, or of neighbouring ones, is <stagecc/cu_channels.cuh>'s.
// What the first look adds up and the second applies is of the same names as in the c backend: k, of the thread's channels.
//
//   forward   sums over x; the norm and what stands behind it
//   backward  members that make dy, and sums over it; those again that have no memory, the norm, and what stands
//             behind it
//
// Where replicas share their statistics (A_REPLICAS), the sums of all are added up between the two looks.
#include "codegen/cuda/pack.h"

typedef struct Norm {
    Chain *c;
    Pack *pack;
    const Node *n;
    const char *shares; // its channels: "cu_planes<float, 49>"
    const char *sizes;  // and how many there are: "{4, 64}"
    int64_t count;      // elements of a channel
    bool shared;        // its statistics are those of all replicas
} Norm;

static bool is_grad(const Norm *m)
{
    return m->n->op == OP_BATCH_NORM_GRAD;
}

// Kernels
// ----------------------------------------------------------------------------------------------

static void first_look(Chain *c)
{
    const Node *n = c->nodes[c->norm];
    chain_first_look(c);
    emit(c->e, "run[0][p] += $dy;\nrun[1][p] += $dy * ($x - k.at(p).mean);\n", "dy", EMIT_TEXT,
         chain_value(c, n->inputs[1]), "x", EMIT_TEXT, chain_value(c, n->inputs[0]), NULL);
}

// Its launch goes to *launch.
static const char *parts_kernel(const Norm *m, const char **launch)
{
    Chain *c = m->c;
    Emit *e = c->e;
    pack_next(m->pack);
    const char *body = pack_look(c, 12, first_look);
    *launch = emit_text(e,
                        "    CU_LAUNCH(@name_parts, room.shares.blocks(), CU_COLUMN_THREADS, "
                        "cu_stream(s), room.part, room.norm$tensors);\n",
                        "tensors", EMIT_TEXT, pack_passed(c), NULL);
    return emit_text(e,
                     "static __global__ void __launch_bounds__(CU_COLUMN_THREADS)\n"
                     "    @name_parts(double *part, const cu_norm *norm$tensors)\n"
                     "{\n"
                     "    constexpr $shares shares = $sizes;\n"
                     "    constexpr int N = shares.N;\n"
                     "$keys"
                     "    shares.add_up(part, [=](float(&run)[2][N], int64_t i) {\n"
                     "        const cu_look k(shares, norm);\n"
                     "$loads$loop$stores"
                     "    });\n"
                     "}\n\n",
                     "tensors", EMIT_TEXT, pack_parameters(c), "shares", EMIT_TEXT, m->shares,
                     "sizes", EMIT_TEXT, m->sizes, "keys", EMIT_TEXT, pack_keys(c, 4), "loads",
                     EMIT_TEXT, pack_loads(c, 8), "loop", EMIT_TEXT, pack_loop(c, 8, body),
                     "stores", EMIT_TEXT, pack_stores(c, 8), NULL);
}

static const char *apply_kernel(const Norm *m, const char **launch)
{
    Chain *c = m->c;
    Emit *e = c->e;
    bool grad = is_grad(m);
    pack_next(m->pack);
    const char *body = pack_look(c, 12, chain_second_look);
    *launch = emit_text(e,
                        "    CU_LAUNCH(@name_apply, room.shares.blocks(), CU_COLUMN_THREADS, "
                        "cu_stream(s), room.norm$grad$tensors);\n",
                        "grad", EMIT_TEXT, grad ? ", room.grad" : "", "tensors", EMIT_TEXT,
                        pack_passed(c), NULL);
    return emit_text(e,
                     "static __global__ void __launch_bounds__(CU_COLUMN_THREADS)\n"
                     "    @name_apply(const cu_norm *norm$grad$tensors)\n"
                     "{\n"
                     "    constexpr $shares shares = $sizes;\n"
                     "    constexpr int N = shares.N;\n"
                     "    if (shares.left_over())\n"
                     "        return;\n"
                     "$keys"
                     "    const $look k(shares, norm$of_grad);\n"
                     "    shares.each([&](int64_t i) {\n"
                     "$loads$loop$stores"
                     "    });\n"
                     "}\n\n",
                     "grad", EMIT_TEXT, grad ? ", const cu_norm_grad *grad" : "", "tensors",
                     EMIT_TEXT, pack_parameters(c), "shares", EMIT_TEXT, m->shares, "sizes",
                     EMIT_TEXT, m->sizes, "keys", EMIT_TEXT, pack_keys(c, 4), "look", EMIT_TEXT,
                     grad ? "cu_look_back" : "cu_look", "of_grad", EMIT_TEXT,
                     grad ? ", grad" : "", "loads", EMIT_TEXT, pack_loads(c, 8), "loop",
                     EMIT_TEXT, pack_loop(c, 8, body), "stores", EMIT_TEXT, pack_stores(c, 8),
                     NULL);
}

// The function around them
// ----------------------------------------------------------------------------------------------

// A parameter of this name, if there is a node; its text in a call.
static const char *vector_in(Function *f, const char *name, const Node *n)
{
    if (n)
        function_in(f, name, n);
    return n ? name : "NULL";
}

static const char *vector_out(Function *f, const char *name, const Node *n)
{
    if (n)
        function_out(f, name, n);
    return n ? name : "NULL";
}

static const char *eps_of(const Norm *m)
{
    return emit_double(m->c->e, node_real(m->n, A_EPS));
}

// The sums of all replicas, of how many elements a channel the caller is told by the parameter `all`.
static const char *exchange(const Norm *m, Function *f)
{
    Emit *e = f->e;
    function_argument(f, "int ", "mb", "mb");
    function_argument(f, "int64_t ", "all",
                      arena_printf(e->scratch, "%lld * rt_round(s, mb)", (long long)m->count));
    return arena_printf(e->scratch, "    rt_cuda_add_round(s, mb, room.sums, %lld);\n",
                        2 * (long long)m->n->shape.dim[1]);
}

static const char *statistics(const Norm *m, Function *f, const char *x)
{
    const Node *n = m->n;
    bool known = emit_with_head(f->e, n->inputs[0]) == n; // by the convolution's call
    const char *mean = vector_out(f, "mean", emit_output(f->e, n, 1));
    const char *var = vector_out(f, "var", emit_output(f->e, n, 2));
    function_in(f, "gamma", n->inputs[1]);
    function_in(f, "beta", n->inputs[2]);
    if (m->shared)
        return arena_printf(f->e->scratch,
                            "    cu_norm_give(cu_stream(s), room, %s);\n%s"
                            "    cu_norm_take(cu_stream(s), room, %s, %s, gamma, beta, all, "
                            "%s);\n",
                            x, exchange(m, f), mean, var, eps_of(m));
    if (known)
        function_argument(f, "const float *", "sums", "sums");
    return arena_printf(
        f->e->scratch,
        "    cu_norm_statistics(cu_stream(s), room, %s, %s, %s, %s, gamma, beta, %s);\n", mean,
        var, x, known ? "sums" : "NULL", eps_of(m));
}

static const char *fixed(const Norm *m, Function *f, const Node *gamma, const Node *beta)
{
    function_in(f, "mean", m->n->inputs[3]);
    function_in(f, "var", m->n->inputs[4]);
    function_in(f, "gamma", gamma);
    const char *shift = vector_in(f, "beta", beta);
    return arena_printf(f->e->scratch,
                        "    cu_norm_fixed(cu_stream(s), room, mean, var, gamma, %s, %s);\n",
                        shift, eps_of(m));
}

static const char *gradients(const Norm *m, Function *f)
{
    const char *dgamma = vector_out(f, "dgamma", emit_output(f->e, m->n, 1));
    const char *dbeta = vector_out(f, "dbeta", emit_output(f->e, m->n, 2));
    if (m->shared)
        return arena_printf(f->e->scratch,
                            "    cu_norm_grad_give(cu_stream(s), room, %s, %s, var, %s);\n%s"
                            "    cu_norm_grad_take(cu_stream(s), room, var, all, %s);\n",
                            dgamma, dbeta, eps_of(m), exchange(m, f), eps_of(m));
    return arena_printf(f->e->scratch,
                        "    cu_norm_gradients(cu_stream(s), room, %s, %s, var, %s);\n", dgamma,
                        dbeta, eps_of(m));
}

// What comes before the second look.
static const char *before(const Norm *m, Function *f, const char *x, const char *parts)
{
    const Node *n = m->n;
    switch ((int)n->op) {
    case OP_BATCH_NORM: return statistics(m, f, x);
    case OP_BATCH_NORM_INFER: return fixed(m, f, n->inputs[1], n->inputs[2]);
    }
    const char *first = fixed(m, f, n->inputs[2], chain_also_reads(n));
    return arena_printf(f->e->scratch, "%s%s%s", first, parts, gradients(m, f));
}

// Channels are neighbours, or a channel's elements are, in runs.
static Norm norm_of(Chain *c, Pack *pack)
{
    const Node *n = c->nodes[c->norm];
    Arena *a = c->e->scratch;
    int64_t channels = n->shape.dim[1], count = cuda_elements(n) / channels;
    int64_t before = n->shape.dim[0], after = count / before;
    bool columns = n->layout == LAYOUT_CHANNELS_LAST || after == 1;
    pack->row = columns ? channels : after;
    return (Norm){.c = c,
                  .pack = pack,
                  .n = n,
                  .shares = arena_printf(a, "cu_%s<%s, %lld>", columns ? "pixels" : "planes",
                                         cuda_type(n->inputs[0]), (long long)pack->row),
                  .sizes = columns ? arena_printf(a, "{%lld}", (long long)count)
                                   : arena_printf(a, "{%lld, %lld}", (long long)before,
                                                  (long long)channels),
                  .count = count,
                  .shared = node_int(n, A_REPLICAS) > 1};
}

void cuda_emit_norm(Chain *c)
{
    Emit *e = c->e;
    Pack pack = {.width = "N"};
    Norm m = norm_of(c, &pack);
    Function f = function_new(e, pack_ops(c),
                              arena_printf(e->scratch, "%lld", (long long)cuda_elements(m.n)));
    const char *parts = "", *apply = "", *kernels = "";
    c->user = &pack;
    c->channel = "p";
    const char *first = pack_input(c, m.n->inputs[0]);
    if (is_grad(&m))
        kernels = parts_kernel(&m, &parts);
    if (chain_applies(c))
        kernels = arena_printf(e->scratch, "%s%s", kernels, apply_kernel(&m, &apply));
    f.before = kernels;
    f.room = arena_printf(e->scratch, "cu_norm_room<%s>::bytes(%s)", m.shares, m.sizes);
    pack_arguments(c, &f);
    const char *body = before(&m, &f, first, parts);
    function_end_with(&f,
                      arena_printf(e->scratch, "    const cu_norm_room<%s> room(s, %s);\n%s%s",
                                   m.shares, m.sizes, body, apply));
}
