// The body of a chain is written in scalars; compilers make vectors or threads of it.
//
// Members before batch_norm_grad are stored by the first look if they have memory, and else computed
// again by the second. Where batch_norm was followed by relu, relu_grad does not read what relu made,
// but computes its sign from the norm's input, which is read anyhow.
#include "codegen/chain.h"

#include <string.h>

// The expression of each op: $a and $b are its inputs' elements, $value an attribute.
static const struct {
    const char *function; // of the backend: "relu" is c_relu, around the text; NULL: none
    const char *text;
    AttrKey value; // of $value
} expression[N_OPS] = {
    [OP_RELU] = {"relu", "$a", 0},
    [OP_RELU6] = {"relu6", "$a", 0},
    [OP_GELU] = {"gelu", "$a", 0},
    [OP_GELU_TANH] = {"gelu_tanh", "$a", 0},
    [OP_SIGMOID] = {"sigmoid", "$a", 0},
    [OP_TANH] = {NULL, "rt_tanh($a)", 0},
    [OP_ADD] = {NULL, "$a + $b", 0},
    [OP_MUL] = {NULL, "$a * $b", 0},
    [OP_SCALE] = {NULL, "$a * $value", A_VALUE},
    [OP_CAST] = {NULL, "$a", 0},
    [OP_DROPOUT] = {"dropout", "$a, $value, q[$key], $index", A_RATE},
    [OP_RELU_GRAD] = {"relu_grad", "$a, $b", 0},
    [OP_RELU6_GRAD] = {"relu6_grad", "$a, $b", 0},
    [OP_GELU_GRAD] = {"gelu_grad", "$a, $b", 0},
    [OP_GELU_TANH_GRAD] = {"gelu_tanh_grad", "$a, $b", 0},
    [OP_SIGMOID_GRAD] = {"sigmoid_grad", "$a, $b", 0},
    [OP_TANH_GRAD] = {"tanh_grad", "$a, $b", 0},
    [OP_BATCH_NORM] = {"norm_at", "&k, $channel, $a", 0},
    [OP_BATCH_NORM_INFER] = {"norm_at", "&k, $channel, $a", 0},
    [OP_BATCH_NORM_GRAD] = {"norm_grad_at", "&k, $channel, $b, $a", 0},
};

static const char *expression_of(const Chain *c, const Node *n)
{
    const char *text = expression[n->op].text, *function = expression[n->op].function;
    return function ? arena_printf(c->e->scratch, "%s_%s(%s)", c->form->prefix, function, text)
                    : text;
}

// The relu behind batch_norm whose sign the gradient of both can find out for itself; NULL: none.
static const Node *known_relu(const Node *norm_grad)
{
    if (norm_grad->op != OP_BATCH_NORM_GRAD)
        return NULL;
    const Node *relu_grad = norm_grad->inputs[1], *mean = norm_grad->inputs[3];
    if (relu_grad->op != OP_RELU_GRAD || relu_grad->group < 0 ||
        relu_grad->group != norm_grad->group)
        return NULL;
    const Node *relu = relu_grad->inputs[1];
    const Node *norm = relu->op == OP_RELU ? relu->inputs[0] : NULL;
    bool same = norm && norm->op == OP_BATCH_NORM && norm->inputs[0] == norm_grad->inputs[0] &&
                norm->inputs[1] == norm_grad->inputs[2] && mean->op == OP_RESULT &&
                mean->inputs[0] == norm && norm->layout == norm_grad->layout;
    return same ? relu : NULL;
}

const Node *chain_also_reads(const Node *n)
{
    const Node *relu = known_relu(n);
    return relu ? relu->inputs[0]->inputs[2] : NULL;
}

static bool is_norm(Op op)
{
    return op == OP_BATCH_NORM || op == OP_BATCH_NORM_INFER || op == OP_BATCH_NORM_GRAD;
}

Chain chain_of(Emit *e, const Form *form, const Node *const *nodes, int n)
{
    Chain c = {.e = e, .form = form, .nodes = nodes, .n = n, .norm = -1, .channel = ""};
    CHECK(n <= CHAIN_MAX, "codegen", "a group of %d nodes", n);
    for (int i = 0; i < n && c.norm < 0; i++) {
        Op op = nodes[i]->op;
        CHECK(expression[op].text, "codegen", "%s is not element-wise", op_info[op].name);
        if (is_norm(op))
            c.norm = i;
    }
    c.known = c.norm >= 0 ? known_relu(nodes[c.norm]) : NULL;
    return c;
}

int chain_member(const Chain *c, const Node *n)
{
    for (int i = 0; i < c->n; i++)
        if (c->nodes[i] == n)
            return i;
    return -1;
}

const char *chain_value(const Chain *c, const Node *n)
{
    int member = chain_member(c, n);
    const char *number = emit_number(c->e, n);
    if (number)
        return number;
    if (member >= 0 && c->in_variable[member])
        return arena_printf(c->e->scratch, "v%d", member + 1);
    return c->form->load(c, n);
}

// Which of the group's keys is this dropout's?
static int key_index(const Chain *c, int member)
{
    int index = 0;
    for (int i = 0; i < member; i++)
        index += c->nodes[i]->op == OP_DROPOUT;
    return index;
}

static bool read_later(const Chain *c, int member)
{
    for (int i = member + 1; i < c->n; i++)
        for (int k = 0; k < c->nodes[i]->n_inputs; k++)
            if (c->nodes[i]->inputs[k] == c->nodes[member])
                return true;
    return false;
}

// What relu's gradient compares with 0.
static const char *relu_sign(const Chain *c, const Node *relu)
{
    if (relu != c->known)
        return chain_value(c, relu);
    return arena_printf(c->e->scratch, "%s_norm_again(&k, %s, %s)", c->form->prefix, c->channel,
                        chain_value(c, c->nodes[c->norm]->inputs[0]));
}

static const char *second_input(const Chain *c, const Node *n)
{
    if (!strstr(expression[n->op].text, "$b"))
        return "";
    return n->op == OP_RELU_GRAD ? relu_sign(c, n->inputs[1]) : chain_value(c, n->inputs[1]);
}

static void compute(Chain *c, int member)
{
    Emit *e = c->e;
    const Node *n = c->nodes[member];
    bool variable = read_later(c, member);
    const char *name = arena_printf(e->scratch, "v%d", member + 1);
    const char *place = emit_stored(e, n) ? c->form->place(c, n) : NULL;
    bool local = variable || !place;
    const char *target = local ? arena_printf(e->scratch, "float %s", name) : place;
    const char *value = expression_of(c, n);
    AttrKey key = expression[n->op].value;
    const char *b = second_input(c, n), *a = chain_value(c, n->inputs[0]);
    emit(e,
         arena_printf(e->scratch, "$target = %s;\n",
                      local ? value : c->form->stored(e, n, value)),
         "target", EMIT_TEXT, target, "a", EMIT_TEXT, a, "b", EMIT_TEXT, b, "value", EMIT_REAL,
         key ? node_real(n, key) : 0.0, "key", EMIT_INT, (int64_t)key_index(c, member), "index",
         EMIT_TEXT, c->form->index, "channel", EMIT_TEXT, c->channel, NULL);
    if (variable && place)
        emit(e, "$place = $name;\n", "place", EMIT_TEXT, place, "name", EMIT_TEXT,
             c->form->stored(e, n, name), NULL);
    c->in_variable[member] = variable;
}

void chain_body(Chain *c, int begin, int end)
{
    for (int i = begin; i < end; i++)
        compute(c, i);
}

// Looks
// ----------------------------------------------------------------------------------------------

// The members before the norm that `needed` or members from `from` on read, save those in memory.
static void find_needed(const Chain *c, bool *needed, int from)
{
    for (int i = c->n; i-- > 0;)
        for (int k = 0; k < c->nodes[i]->n_inputs && (i >= from || needed[i]); k++) {
            int member = chain_member(c, c->nodes[i]->inputs[k]);
            if (member >= 0 && member < c->norm)
                needed[member] |= !emit_stored(c->e, c->nodes[member]);
        }
}

static void compute_needed(Chain *c, const bool *needed)
{
    for (int i = 0; i < c->n; i++)
        c->in_variable[i] = false;
    for (int i = 0; i < c->norm; i++)
        if (needed[i])
            compute(c, i);
}

void chain_first_look(Chain *c)
{
    bool needed[CHAIN_MAX] = {false};
    for (int i = 0; i < c->norm; i++)
        needed[i] =
            c->nodes[i] == c->nodes[c->norm]->inputs[1] || emit_stored(c->e, c->nodes[i]);
    find_needed(c, needed, c->n);
    compute_needed(c, needed);
}

void chain_second_look(Chain *c)
{
    bool needed[CHAIN_MAX] = {false};
    find_needed(c, needed, c->norm);
    compute_needed(c, needed);
    chain_body(c, c->norm, c->n);
}

bool chain_applies(const Chain *c)
{
    for (int i = c->norm; i < c->n; i++)
        if (emit_stored(c->e, c->nodes[i]))
            return true;
    return false;
}
