// Sums of gradients, and the update: one launch for all parameters of the stage (<stagecc/cu_update.cuh>), after a table
// of them. What the step decides, learning rate and clip factor, lies in the device's memory.
#include "codegen/cuda/cuda.h"

#include "base/vec.h"
#include "codegen/heavy.h"

#include <string.h>

void cuda_emit_accumulate(Emit *e, const Node *n)
{
    GradSum done = emit_grad_sum(e, n->inputs[1]);
    if (done == GRAD_SUM_ALL)
        return;
    if (done == GRAD_SUM_FIRST)
        emit(e, "if ($place > 0)\n    ", "place", EMIT_TEXT, emit_place_in_step(e), NULL);
    int64_t elements = emit_elements(n->inputs[0]);
    Function f =
        function_new(e, "accumulate", arena_printf(e->scratch, "%lld", (long long)elements));
    function_out(&f, "sum", n->inputs[0]);
    function_in(&f, "grad", n->inputs[1]);
    function_pass_int(&f, elements);
    function_argument(&f, "int ", "first", done == GRAD_SUM_FIRST ? "0" : emit_is_first(e));
    function_end(&f, "cu_accumulate");
}

// Optimizers
// ----------------------------------------------------------------------------------------------

typedef VEC(const Node *) Updates;

// Parameters whose optimizer has the same options: mostly all.
typedef struct Group {
    Updates members;
    const char *number; // behind names, "" of the first group
} Group;

static const char *real_of(Emit *e, const Node *n, AttrKey key)
{
    return emit_real(e, node_real(n, key));
}

// What cu_sgd or cu_adam takes, rounded as c_adam_prepare does (runtime/kernels/c_update.h).
static const char *options_of(Emit *e, const Node *n)
{
    if (n->op == OP_SGD)
        return arena_printf(e->scratch, "{%s, %s, %s}", real_of(e, n, A_MOMENTUM),
                            real_of(e, n, A_WEIGHT_DECAY),
                            node_int(n, A_NESTEROV) ? "true" : "false");
    double decay = node_int(n, A_DECOUPLED) ? 0 : node_real(n, A_WEIGHT_DECAY);
    return arena_printf(e->scratch, "{%s, %s, %s, %s, %s}", emit_real(e, decay),
                        real_of(e, n, A_BETA2), emit_real(e, 1 - node_real(n, A_BETA1)),
                        emit_real(e, 1 - node_real(n, A_BETA2)), real_of(e, n, A_EPS));
}

static const char *rates_of(Emit *e, const Node *n)
{
    if (n->op == OP_SGD)
        return "{0}";
    double decay = node_int(n, A_DECOUPLED) ? node_real(n, A_WEIGHT_DECAY) : 0;
    return arena_printf(e->scratch, "{.beta1 = %s, .beta2 = %s, .shrink = %s}",
                        emit_double(e, node_real(n, A_BETA1)),
                        emit_double(e, node_real(n, A_BETA2)), emit_double(e, decay));
}

static bool alike(Emit *e, const Node *a, const Node *b)
{
    return a->op == b->op && !strcmp(options_of(e, a), options_of(e, b)) &&
           !strcmp(rates_of(e, a), rates_of(e, b));
}

typedef VEC(Group) Groups;

static void add_update(Emit *e, Groups *groups, const Node *n)
{
    for (int i = 0; i < groups->n; i++)
        if (alike(e, groups->items[i].members.items[0], n)) {
            vec_push(e->scratch, &groups->items[i].members, n);
            return;
        }
    Group g = {.number = groups->n ? arena_printf(e->scratch, "_%d", groups->n + 1) : ""};
    vec_push(e->scratch, &g.members, n);
    vec_push(e->scratch, groups, g);
}

static const char *place_of(Emit *e, const Node *n, int input)
{
    return input < n->n_inputs ? emit_table_place(e, n->inputs[input]) : "RT_NOWHERE";
}

static void write_table(Emit *e, const Group *g)
{
    emit(
        e,
        "static const rt_update updates$number[] = { // parameter, gradient, states, elements\n",
        "number", EMIT_TEXT, g->number, NULL);
    for (int i = 0; i < g->members.n; i++) {
        const Node *n = g->members.items[i];
        emit(e, "    // $name\n    {$param, $grad,\n     {$first, $second}, $n},\n", "name",
             EMIT_TEXT, emit_comment(e, n->inputs[0]->name), "param", EMIT_TEXT,
             place_of(e, n, 0), "grad", EMIT_TEXT, place_of(e, n, 1), "first", EMIT_TEXT,
             place_of(e, n, 2), "second", EMIT_TEXT, place_of(e, n, 3), "n", EMIT_INT,
             emit_elements(n->inputs[0]), NULL);
    }
    emit(e, "};\nstatic const rt_rates rates$number = $rates;\n", "number", EMIT_TEXT,
         g->number, "rates", EMIT_TEXT, rates_of(e, g->members.items[0]), NULL);
}

static void write_call(Emit *e, const Group *g)
{
    const Node *n = g->members.items[0];
    Arena *a = e->scratch;
    int rows = g->members.n;
    const char *name = op_info[n->op].name;
    Function f = function_new(e, name, arena_printf(a, "%d", rows));
    function_argument(&f, "const rt_update *", "updates",
                      arena_printf(a, "updates%s", g->number));
    function_argument(&f, "const cu_step *", "step",
                      arena_printf(a, "rt_cuda_step(s, &rates%s)", g->number));
    function_end_with(
        &f, emit_text(e,
                      "    cu_update_all<$rows>(s, updates, "
                      "[=](const cu_update *rows, int64_t blocks) {\n"
                      "        cu_$op(cu_stream(s), rows, $rows, blocks, rt_next(s), step, "
                      "$options);\n"
                      "    });\n",
                      "rows", EMIT_INT, (int64_t)rows, "op", EMIT_TEXT, name, "options",
                      EMIT_TEXT, options_of(e, n), NULL));
}

void cuda_emit_updates(Emit *e, Node *const *nodes, int n)
{
    Groups groups = {0};
    for (int i = 0; i < n; i++)
        add_update(e, &groups, nodes[i]);
    for (int i = 0; i < groups.n; i++) {
        write_table(e, &groups.items[i]);
        write_call(e, &groups.items[i]);
    }
}

static void emit_update(Emit *e, const Node *n)
{
    cuda_emit_updates(e, &(Node *){(Node *)(uintptr_t)n}, 1);
}

void cuda_emit_sgd(Emit *e, const Node *n)
{
    emit_update(e, n);
}

void cuda_emit_adam(Emit *e, const Node *n)
{
    emit_update(e, n);
}
