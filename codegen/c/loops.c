// Element-wise ops and fusion groups as generated loops: one loop nest for each, in which what lives
// inside the group is a local variable and only what has memory is stored. The body is written in
// scalars; `omp simd` states that elements are independent, and compilers make vectors of it.
//
// Inputs that repeat along some dimensions have strides of 0 there. Neighbouring dimensions that all
// inputs walk alike are merged, which mostly leaves one loop, or two.
#include "codegen/c/loop.h"

#include <string.h>

// The C expression of each op: $a and $b are its inputs' elements, $value an attribute.
static const struct {
    const char *text;
    AttrKey value; // of $value
} expression[N_OPS] = {
    [OP_RELU] = {"c_relu($a)", 0},
    [OP_RELU6] = {"c_relu6($a)", 0},
    [OP_GELU] = {"c_gelu($a)", 0},
    [OP_GELU_TANH] = {"c_gelu_tanh($a)", 0},
    [OP_SIGMOID] = {"c_sigmoid($a)", 0},
    [OP_TANH] = {"rt_tanh($a)", 0},
    [OP_ADD] = {"$a + $b", 0},
    [OP_MUL] = {"$a * $b", 0},
    [OP_SCALE] = {"$a * $value", A_VALUE},
    [OP_CAST] = {"$a", 0},
    [OP_DROPOUT] = {"c_dropout($a, $value, q[$key], i)", A_RATE},
    [OP_RELU_GRAD] = {"c_relu_grad($a, $b)", 0},
    [OP_RELU6_GRAD] = {"c_relu6_grad($a, $b)", 0},
    [OP_GELU_GRAD] = {"c_gelu_grad($a, $b)", 0},
    [OP_GELU_TANH_GRAD] = {"c_gelu_tanh_grad($a, $b)", 0},
    [OP_SIGMOID_GRAD] = {"c_sigmoid_grad($a, $b)", 0},
    [OP_TANH_GRAD] = {"c_tanh_grad($a, $b)", 0},
    [OP_BATCH_NORM] = {"c_norm_at(&k, $l, $a)", 0},
    [OP_BATCH_NORM_INFER] = {"c_norm_at(&k, $l, $a)", 0},
    [OP_BATCH_NORM_GRAD] = {"c_norm_grad_at(&k, $l, $b, $a)", 0},
};

int loop_member(const Loop *l, const Node *n)
{
    for (int i = 0; i < l->n; i++)
        if (l->nodes[i] == n)
            return i;
    return -1;
}

// A loop computes in float whatever its tensors are made of.
static const char *loaded(Loop *l, const Node *n, const char *place)
{
    return n->dtype == BF16 ? arena_printf(l->e->scratch, "rt_to_float(%s)", place) : place;
}

const char *loop_stored(Emit *e, const Node *n, const char *value)
{
    return n->dtype == BF16 ? arena_printf(e->scratch, "rt_to_bf16(%s)", value) : value;
}

const char *loop_value(Loop *l, const Node *n)
{
    int member = loop_member(l, n);
    const char *number = emit_number(l->e, n);
    if (number)
        return number;
    if (member >= 0 && l->in_variable[member])
        return arena_printf(l->e->scratch, "v%d", member + 1);
    if (shape_count(n->shape) == 1)
        return loaded(l, n, arena_printf(l->e->scratch, "%s[0]", emit_value(l->e, n)));
    if (!shape_equal(n->shape, l->nodes[0]->shape))
        return loaded(l, n, l->outside(l, n));
    return loaded(l, n, arena_printf(l->e->scratch, "%s[i]", emit_value(l->e, n)));
}

// Which of the group's keys is this dropout's?
static int key_index(const Loop *l, int member)
{
    int index = 0;
    for (int i = 0; i < member; i++)
        index += l->nodes[i]->op == OP_DROPOUT;
    return index;
}

static bool read_later(const Loop *l, int member)
{
    for (int i = member + 1; i < l->n; i++)
        for (int k = 0; k < l->nodes[i]->n_inputs; k++)
            if (l->nodes[i]->inputs[k] == l->nodes[member])
                return true;
    return false;
}

// What relu's gradient compares with 0.
static const char *relu_sign(Loop *l, const Node *relu)
{
    if (relu != l->known)
        return loop_value(l, relu);
    return arena_printf(l->e->scratch, "c_norm_again(&k, %s, %s)", l->channel,
                        loop_value(l, l->known_by->inputs[0]));
}

static const char *second_input(Loop *l, const Node *n)
{
    if (n->n_inputs < 2)
        return "";
    return n->op == OP_RELU_GRAD ? relu_sign(l, n->inputs[1]) : loop_value(l, n->inputs[1]);
}

static const char *result_place(Loop *l, int member)
{
    if (!emit_stored(l->e, l->nodes[member]))
        return NULL;
    if (member == l->streamed)
        return "t[l]";
    return arena_printf(l->e->scratch, "%s[i]", emit_value(l->e, l->nodes[member]));
}

static void compute(Loop *l, int member)
{
    Emit *e = l->e;
    const Node *n = l->nodes[member];
    bool variable = read_later(l, member);
    const char *name = arena_printf(e->scratch, "v%d", member + 1);
    const char *place = result_place(l, member);
    bool local = variable || !place;
    const char *target = local ? arena_printf(e->scratch, "float %s", name) : place;
    const char *value = expression[n->op].text;
    AttrKey key = expression[n->op].value;
    emit(e,
         arena_printf(e->scratch, "$target = %s;\n", local ? value : loop_stored(e, n, value)),
         "target", EMIT_TEXT, target, "a", EMIT_TEXT, loop_value(l, n->inputs[0]), "b",
         EMIT_TEXT, second_input(l, n), "value", EMIT_REAL, key ? node_real(n, key) : 0.0,
         "key", EMIT_INT, (int64_t)key_index(l, member), "l", EMIT_TEXT, l->channel, NULL);
    if (variable && place)
        emit(e, "$place = $name;\n", "place", EMIT_TEXT, place, "name", EMIT_TEXT,
             loop_stored(e, n, name), NULL);
    l->in_variable[member] = variable;
}

void loop_body(Loop *l, int begin, int end)
{
    for (int i = begin; i < end; i++)
        compute(l, i);
}

void loop_keys(Loop *l)
{
    const char *keys = "";
    for (int i = 0; i < l->n; i++)
        if (l->nodes[i]->op == OP_DROPOUT)
            keys = arena_printf(l->e->scratch, "%s%srt_random_key(s, %s, mb)", keys,
                                *keys ? ", " : "", emit_stream(l->e, l->nodes[i]));
    if (*keys)
        emit(l->e, "const uint64_t q[] = {$keys};\n", "keys", EMIT_TEXT, keys, NULL);
}

bool loop_parallel(const Emit *e, int64_t elements)
{
    return e->plan->options.threads > 1 && elements >= 16384;
}

void loop_pragma(Emit *e, bool parallel, bool simd)
{
    if (parallel)
        emit(e, "#pragma omp parallel for$simd num_threads($threads) schedule(static)\n",
             "simd", EMIT_TEXT, simd ? " simd" : "", "threads", EMIT_INT,
             (int64_t)e->plan->options.threads, NULL);
    else if (simd)
        emit(e, "#pragma omp simd\n", NULL);
}

void loop_for(Emit *e, const char *i, int64_t end, int64_t step, const char *follows)
{
    const char *next = step == 1 ? arena_printf(e->scratch, "%s++", i)
                                 : arena_printf(e->scratch, "%s += %lld", i, (long long)step);
    emit(e, "for (int64_t $i = 0; $i < $end; $next)$follows\n", "i", EMIT_TEXT, i, "end",
         EMIT_INT, end, "next", EMIT_TEXT, next, "follows", EMIT_TEXT, follows, NULL);
}

// Nests
// ----------------------------------------------------------------------------------------------

typedef struct Nest { // merged dimensions of the members' shape, outermost first
    int n;
    int64_t dim[MAX_RANK];
    int source[MAX_RANK]; // the last of the dimensions that it was merged from
} Nest;

// Letters of loops; the names of a model's tensors have more than one.
static const char *const letters[MAX_RANK] = {"a", "b", "c", "d", "r", "j"};

static const char *letter(const Nest *nest, int d)
{
    return nest->n == 1 ? "i" : letters[MAX_RANK - nest->n + d];
}

// Elements from one to the next along dimension d of s, at which x, aligned at its end, is read.
static int64_t stride(Shape s, Shape x, int d)
{
    int own = d - (s.rank - x.rank);
    if (own < 0 || x.dim[own] == 1)
        return 0;
    return shape_product(x, own + 1, x.rank);
}

static bool merges(const Loop *l, int d, int inner)
{
    Shape s = l->nodes[0]->shape;
    for (int i = 0; i < l->n; i++)
        for (int k = 0; k < l->nodes[i]->n_inputs; k++) {
            Shape x = l->nodes[i]->inputs[k]->shape;
            if (shape_count(x) > 1 && stride(s, x, d) != stride(s, x, inner) * s.dim[inner])
                return false;
        }
    return true;
}

static Nest nest_of(const Loop *l)
{
    Shape s = l->nodes[0]->shape;
    Nest nest = {0};
    int64_t dim[MAX_RANK] = {0};
    int last[MAX_RANK] = {0}, inner = -1;
    for (int d = s.rank - 1; d >= 0; d--) { // innermost first
        if (s.dim[d] == 1)
            continue;
        if (inner >= 0 && merges(l, d, inner)) {
            dim[nest.n - 1] *= s.dim[d];
        } else {
            last[nest.n] = d;
            dim[nest.n++] = s.dim[d];
        }
        inner = d;
    }
    if (!nest.n)
        dim[nest.n++] = 1;
    for (int i = 0; i < nest.n; i++) {
        nest.dim[i] = dim[nest.n - 1 - i];
        nest.source[i] = s.rank ? last[nest.n - 1 - i] : 0;
    }
    return nest;
}

// "r * 5 + j": where x is read.
static const char *nest_index(Emit *e, const Nest *nest, Shape s, Shape x)
{
    const char *text = "";
    for (int d = 0; d < nest->n; d++) {
        int64_t step = shape_count(x) > 1 ? stride(s, x, nest->source[d]) : 0;
        if (!step)
            continue;
        text = arena_printf(e->scratch, "%s%s%s", text, *text ? " + " : "", letter(nest, d));
        if (step > 1)
            text = arena_printf(e->scratch, "%s * %lld", text, (long long)step);
    }
    return *text ? text : "0";
}

static const char *outside(Loop *l, const Node *n)
{
    const char *at = nest_index(l->e, l->user, l->nodes[0]->shape, n->shape);
    return arena_printf(l->e->scratch, "%s[%s]", emit_value(l->e, n), at);
}

static void open_nest(Emit *e, const Nest *nest, Shape s, int64_t elements, const char *brace)
{
    bool parallel = loop_parallel(e, elements);
    for (int d = 0; d < nest->n; d++) {
        bool innermost = d == nest->n - 1;
        loop_pragma(e, parallel && d == 0, innermost);
        loop_for(e, letter(nest, d), nest->dim[d], 1, innermost ? brace : "");
        e->indent += 4;
    }
    if (nest->n > 1)
        emit(e, "const int64_t i = $at;\n", "at", EMIT_TEXT, nest_index(e, nest, s, s), NULL);
}

static void elementwise(Loop *l)
{
    Emit *e = l->e;
    const Node *first = l->nodes[0];
    Nest nest = nest_of(l);
    int indent = e->indent;
    if (first->layout == LAYOUT_KERNEL)
        nest = (Nest){1, {c_stored(first)}, {0}};
    bool statement = l->n == 1 && nest.n == 1;
    l->user = &nest;
    l->outside = outside;
    loop_keys(l);
    open_nest(e, &nest, first->shape, c_stored(first), statement ? "" : " {");
    loop_body(l, 0, l->n);
    e->indent -= 4;
    if (!statement)
        emit(e, "}\n", NULL);
    e->indent = indent;
    l->user = NULL;
}

static void emit_loop(Emit *e, const Node *const *nodes, int n)
{
    Loop l = {.e = e, .nodes = nodes, .n = n, .channel = "", .streamed = -1};
    CHECK(n <= LOOP_MAX, "codegen", "a group of %d nodes", n);
    for (int i = 0; i < n; i++) {
        Op op = nodes[i]->op;
        CHECK(expression[op].text, "codegen", "%s is not element-wise", op_info[op].name);
        if (op == OP_BATCH_NORM || op == OP_BATCH_NORM_INFER || op == OP_BATCH_NORM_GRAD) {
            loop_norm(&l, i);
            return;
        }
    }
    elementwise(&l);
}

void c_emit_group(Emit *e, Node *const *nodes, int n)
{
    emit_loop(e, (const Node *const *)nodes, n);
}

#define LOOP(name)                                                                             \
    void c_emit_##name(Emit *e, const Node *n)                                                 \
    {                                                                                          \
        emit_loop(e, &n, 1);                                                                   \
    }
LOOP(relu)
LOOP(relu6)
LOOP(gelu)
LOOP(gelu_tanh)
LOOP(sigmoid)
LOOP(tanh)
LOOP(add)
LOOP(mul)
LOOP(scale)
LOOP(cast)
LOOP(dropout)
LOOP(relu_grad)
LOOP(relu6_grad)
LOOP(gelu_grad)
LOOP(gelu_tanh_grad)
LOOP(sigmoid_grad)
LOOP(tanh_grad)
LOOP(batch_norm)
LOOP(batch_norm_infer)
LOOP(batch_norm_grad)
