// Computing in bf16 beside parameters in f32 (Micikevicius et al., "Mixed Precision Training", 2018;
// Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019). Activations and their
// gradients become bf16; parameters, their gradients, optimizer state, statistics and losses stay f32.
// What each op takes and makes says the column bf16 of ir/ops.def; where an input is of another type, a
// `cast` is written. Sums and functions are taken in float whatever is stored.
//
// One walk over the list. A narrowing cast stands right behind what it reads, so that bf16 is what
// crosses stages and waits for backward; a widening one stands before its reader, and readers of one
// layer and phase share it. Casts are element-wise, so most of them end inside a loop. Weights of
// convolutions and linear layers have no casts: the library copies them once a step in any case
// (runtime/kernels/dnnl.c). Neither have parameters that are added or multiplied: the loops read them.
//
// Update nodes stay as they are, and so does whatever is a single number: losses, and what is made of
// them. Samples are read from the data set in bf16 where nobody wants them otherwise. bf16 has the range
// of float, so losses are not scaled.
#include "ir/shapes.h"
#include "passes/pass.h"

#include <string.h>

typedef struct Caster {
    Graph *g;
    bool *bf16, *f32;      // by id: some reader wants it so, also through what moves elements
    Node **narrow, **wide; // by id: its last cast
} Caster;

static bool is_real(DType t)
{
    return t == F32 || t == BF16;
}

static bool is_leaf(const Node *n)
{
    return node_is(n, 'L') && n->op != OP_RESULT;
}

// A number made of numbers in f32.
static bool is_number(const Node *n)
{
    if (shape_count(n->shape) != 1)
        return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (shape_count(n->inputs[i]->shape) != 1 || n->inputs[i]->dtype == BF16)
            return false;
    return true;
}

// Has it inputs of a type of its own? (What a result stands for is no tensor that it reads.)
static bool has_wishes(const Node *n)
{
    return n->phase != PHASE_UPDATE && n->op != OP_RESULT && !is_number(n);
}

static void find_wishes(Caster *k)
{
    for (int i = k->g->nodes.n; i-- > 0;) { // readers first
        const Node *n = k->g->nodes.items[i];
        for (int j = 0; j < n->n_inputs && has_wishes(n); j++) {
            BF16Form form = op_bf16_input(n->op, j);
            int in = n->inputs[j]->id;
            k->bf16[in] |=
                form == FORM_BF16 || form == FORM_READABLE || (form == FORM_ANY && k->bf16[i]);
            k->f32[in] |= form == FORM_F32 || (form == FORM_ANY && k->f32[i]);
        }
    }
}

static Node *cast(Caster *k, const Node *beside, Node *x, DType to)
{
    Graph *g = k->g;
    Attr type = attr_string(A_DTYPE, dtype_name(to));
    const char *name = arena_printf(g->arena, "%s.%s", x->name, dtype_name(to));
    NodeArgs args = {&x, 1, &type, 1};
    return beside->phase == PHASE_FORWARD
               ? graph_add(g, OP_CAST, beside->layer, beside->loc, name, args)
               : graph_derive(g, OP_CAST, beside->phase, beside->forward, name, args);
}

static Node *as(Caster *k, Node *n, Node *x, DType to)
{
    Node **known = to == BF16 ? &k->narrow[x->id] : &k->wide[x->id];
    if (x->dtype == to || !is_real(x->dtype))
        return x;
    bool kept = *known && to == BF16 && !is_leaf(x);
    if (!kept && (!*known || (*known)->phase != n->phase || (*known)->layer != n->layer))
        *known = cast(k, n, x, to);
    return *known;
}

// What moves elements takes them all as bf16 if one of them is, or if all its readers want that.
static DType common_type(const Caster *k, const Node *n)
{
    bool bf16 = false;
    for (int i = 0; i < n->n_inputs; i++)
        bf16 |= n->inputs[i]->dtype == BF16 ||
                (k->bf16[n->id] && !k->f32[n->id] && k->narrow[n->inputs[i]->id]);
    return bf16 ? BF16 : F32;
}

static void settle_inputs(Caster *k, Node *n)
{
    DType common = common_type(k, n);
    for (int i = 0; i < n->n_inputs; i++) {
        BF16Form form = op_bf16_input(n->op, i);
        DType want = form == FORM_ANY ? common : form == FORM_F32 ? F32 : BF16;
        if (form != FORM_READABLE || !is_leaf(n->inputs[i]))
            n->inputs[i] = as(k, n, n->inputs[i], want);
    }
}

// Training and evaluation fill the same kind of input.
static void settle_sample(Caster *k, Node *input)
{
    const Node *like = input->phase == PHASE_EVAL ? input->forward : input;
    if (input->dtype == F32 &&
        (like == input ? k->bf16[input->id] && !k->f32[input->id] : like->dtype == BF16))
        graph_set_attr(k->g, input, attr_string(A_DTYPE, "bf16"));
}

static void settle_type(Node *n)
{
    Type type[MAX_OUTPUTS];
    if (shapes_infer(n, type))
        n->dtype = type[0].dtype;
}

static void take(Caster *k, Node *n)
{
    if (n->op == OP_INPUT)
        settle_sample(k, n);
    if (has_wishes(n))
        settle_inputs(k, n);
    settle_type(n);
    vec_push(k->g->arena, &k->g->nodes, n);
    if (n->dtype == F32 && k->bf16[n->id] && !is_leaf(n))
        k->narrow[n->id] = cast(k, n, n, BF16);
}

static bool has_bf16(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->dtype == BF16)
            return true;
    return false;
}

void pass_precision(Compile *c)
{
    Graph *g = c->graph;
    if (strcmp(c->options->dtype, "bf16") != 0 || has_bf16(g)) // a printed graph
        return;
    graph_renumber(g);
    int n = g->nodes.n;
    Node **old = arena_copy(c->scratch, g->nodes.items, sizeof(Node *) * (size_t)n);
    Caster k = {g, arena_array(c->scratch, bool, n), arena_array(c->scratch, bool, n),
                arena_array(c->scratch, Node *, n), arena_array(c->scratch, Node *, n)};
    find_wishes(&k);
    g->nodes.n = 0;
    for (int i = 0; i < n; i++)
        take(&k, old[i]);
    if (g->loss && g->loss->dtype == BF16)
        error_at(g->loss->loc,
                 "with --dtype bf16 a loss is made by cross_entropy or mse, or of "
                 "such losses by add and scale: this one is an element of a "
                 "tensor in bf16");
}
