// The rules a graph must keep, one function a rule. They trust nothing but the pointers
// themselves: a node that another list owns or that stands behind its user is found by its id.
#include "ir/verify.h"

#include "ir/shapes.h"

#include <ctype.h>
#include <string.h>

typedef struct Verifier {
    const Graph *g;
    Arena arena;
    const Node **seen; // [next_id] nodes met so far, by id
    VerifyReport *report;
    void *user;
    bool failed;
} Verifier;

__attribute__((format(printf, 3, 4))) static void violation(Verifier *v, const Node *n,
                                                            const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const char *message = arena_vprintf(&v->arena, format, ap);
    va_end(ap);
    if (n)
        message = arena_printf(&v->arena, "%s: %s", n->name, message);
    v->report(v->user, n, message);
    v->failed = true;
}

static bool is_identifier(const char *s)
{
    bool good = isalpha((unsigned char)*s) || *s == '_';
    for (; good && *s; s++)
        good = isalnum((unsigned char)*s) || *s == '_' || *s == '.';
    return good;
}

static void check_names(Verifier *v, const char **names, int n, const char *what)
{
    size_t size = 16;
    while (size < 2 * (size_t)n)
        size *= 2;
    const char **table = arena_array(&v->arena, const char *, size); // open addressing
    for (int i = 0; i < n; i++) {
        size_t at = str_hash(names[i], strlen(names[i])) & (size - 1);
        while (table[at] && strcmp(table[at], names[i]) != 0)
            at = (at + 1) & (size - 1);
        if (!is_identifier(names[i]))
            violation(v, NULL, "%s name '%s' is no identifier", what, names[i]);
        if (table[at])
            violation(v, NULL, "two %ss are called %s", what, names[i]);
        table[at] = names[i];
    }
}

static void check_all_names(Verifier *v)
{
    const Graph *g = v->g;
    const char **nodes = arena_array(&v->arena, const char *, g->nodes.n);
    for (int i = 0; i < g->nodes.n; i++)
        nodes[i] = g->nodes.items[i]->name;
    check_names(v, nodes, g->nodes.n, "node");
    const char **layers = arena_array(&v->arena, const char *, g->layers.n);
    for (int i = 0; i < g->layers.n; i++) {
        layers[i] = g->layers.items[i]->name;
        if (g->layers.items[i]->id != i)
            violation(v, NULL, "layer %s has id %d at index %d", layers[i],
                      g->layers.items[i]->id, i);
    }
    check_names(v, layers, g->layers.n, "layer");
}

static bool met(const Verifier *v, const Node *n)
{
    return n->id >= 0 && n->id < v->g->next_id && v->seen[n->id] == n;
}

// Tensors that outlive a step or never change: parameters, buffers, constants, views of them.
static bool is_stored(const Verifier *v, const Node *n)
{
    for (int i = 0; i < v->g->nodes.n && node_is(n, 'V') && n->n_inputs > 0; i++)
        n = n->inputs[0]; // counted, for a broken graph may have a cycle
    return node_is(n, 'L') && n->op != OP_RESULT && n->op != OP_INPUT;
}

// May a node of this phase read that input?
static bool may_read(const Verifier *v, Phase phase, const Node *input)
{
    if (input->phase == phase)
        return true;
    switch (phase) {
    case PHASE_FORWARD: return false;
    case PHASE_BACKWARD: return input->phase == PHASE_FORWARD;
    case PHASE_BACKWARD_WEIGHT:
        return input->phase == PHASE_FORWARD || input->phase == PHASE_BACKWARD;
    case PHASE_UPDATE:
        return input->phase == PHASE_BACKWARD ||
               (input->phase == PHASE_FORWARD && is_stored(v, input));
    case PHASE_EVAL: return input->phase == PHASE_FORWARD && is_stored(v, input);
    case N_PHASES: break;
    }
    return false;
}

static bool check_inputs(Verifier *v, const Node *n)
{
    bool good = true;
    for (int i = 0; i < n->n_inputs; i++) {
        const Node *input = n->inputs[i];
        if (!met(v, input)) {
            violation(v, n, "input %s does not stand before it", input->name);
            good = false;
        } else if (!may_read(v, n->phase, input)) {
            violation(v, n, "a node of phase %s reads %s of phase %s", phase_name[n->phase],
                      input->name, phase_name[input->phase]);
        }
    }
    return good;
}

static void check_type(Verifier *v, const Node *n)
{
    Type type[MAX_OUTPUTS];
    Text why = {0};
    if (!shapes_check(n, type, &why))
        violation(v, n, "%s", why.data);
    else if (type[0].dtype != n->dtype || !shape_equal(type[0].shape, n->shape))
        violation(v, n, "its type is %s%s, but %s gives %s%s", dtype_name(n->dtype),
                  shape_text(&v->arena, n->shape), op_info[n->op].name,
                  dtype_name(type[0].dtype), shape_text(&v->arena, type[0].shape));
    else if (n->op == OP_INPUT && (!n->shape.rank || n->shape.dim[0] != v->g->micro_batch))
        violation(v, n, "dimension 0 of an input must be the micro-batch");
    else if (node_is(n, 'X') && !is_stored(v, n->inputs[0]))
        violation(v, n, "it writes %s, which is no stored tensor", n->inputs[0]->name);
    text_release(&why);
}

static void check_links(Verifier *v, const Node *n)
{
    const Layer *l = n->layer;
    if (l && (l->id < 0 || l->id >= v->g->layers.n || v->g->layers.items[l->id] != l))
        violation(v, n, "its layer is not the graph's");
    if (n->forward && n->phase == PHASE_FORWARD)
        violation(v, n, "a forward node derives from %s", n->forward->name);
    if (n->forward && (!met(v, n->forward) || n->forward->phase != PHASE_FORWARD))
        violation(v, n, "it derives from %s, which is no forward node before it",
                  n->forward->name);
    if (n->group < -1 || n->unit < -1 || n->bytes < 0)
        violation(v, n, "group %d, unit %d or bytes %lld is out of range", n->group, n->unit,
                  (long long)n->bytes);
}

// A view has no memory of its own, and its shape is that of elements that lie row by row.
static void check_layout(Verifier *v, const Node *n)
{
    const Node *seen = node_is(n, 'V') && n->n_inputs > 0 ? n->inputs[0] : NULL;
    if (n->layout == LAYOUT_CHANNELS_LAST && n->shape.rank != 4)
        violation(v, n, "channels last lie those of images, and %s is none",
                  shape_text(&v->arena, n->shape));
    if (n->layout == LAYOUT_PITCHED && n->shape.rank < 2)
        violation(v, n, "%s has no rows that could begin apart",
                  shape_text(&v->arena, n->shape));
    if (seen && seen->layout != LAYOUT_PLAIN && seen->layout != LAYOUT_KERNEL)
        violation(v, n, "it is a view of %s, which is %s", seen->name,
                  layout_name[seen->layout]);
}

static void check_nodes(Verifier *v)
{
    v->seen = arena_array(&v->arena, const Node *, v->g->next_id);
    for (int i = 0; i < v->g->nodes.n; i++) {
        const Node *n = v->g->nodes.items[i];
        if (n->id < 0 || n->id >= v->g->next_id || v->seen[n->id]) {
            violation(v, n, "its id %d is not its own", n->id);
            continue;
        }
        if (check_inputs(v, n))
            check_type(v, n);
        check_links(v, n);
        check_layout(v, n);
        v->seen[n->id] = n;
    }
}

// Forward nodes run before all others, then backward nodes, weight gradients and update nodes. Leaves do not run,
// and eval nodes are a program of their own that may stand anywhere behind the forward nodes.
static void check_phases(Verifier *v)
{
    Phase latest = PHASE_FORWARD;
    for (int i = 0; i < v->g->nodes.n; i++) {
        const Node *n = v->g->nodes.items[i];
        if (node_is(n, 'L') || n->phase == latest)
            continue;
        if (n->phase == PHASE_FORWARD || (latest != PHASE_EVAL && n->phase < latest))
            violation(v, n, "a %s node stands behind %s nodes", phase_name[n->phase],
                      phase_name[latest]);
        else if (n->phase != PHASE_EVAL)
            latest = n->phase;
        else if (latest == PHASE_FORWARD)
            latest = PHASE_EVAL;
    }
}

// Nodes of a group stand together (leaves, which do not run, may lie between), in one phase; a
// backward group belongs to one unit.
static void check_groups(Verifier *v)
{
    int highest = -1;
    for (int i = 0; i < v->g->nodes.n; i++)
        if (v->g->nodes.items[i]->group > highest)
            highest = v->g->nodes.items[i]->group;
    if (highest >= v->g->nodes.n) {
        violation(v, NULL, "group %d: more groups than nodes", highest);
        return;
    }
    const Node **last = arena_array(&v->arena, const Node *, highest + 1), *before = NULL;
    for (int i = 0; i < v->g->nodes.n; i++) {
        const Node *n = v->g->nodes.items[i];
        if (n->group < 0 && node_is(n, 'L'))
            continue;
        const Node *mate = n->group >= 0 ? last[n->group] : NULL;
        if (mate && mate != before)
            violation(v, n, "group %d is not contiguous", n->group);
        if (mate && mate->phase != n->phase)
            violation(v, n, "group %d mixes phases", n->group);
        bool backward = phase_is_backward(n->phase);
        if (mate && backward && mate->unit != n->unit)
            violation(v, n, "backward group %d mixes units", n->group);
        if (n->group >= 0)
            last[n->group] = n;
        before = n;
    }
}

static void check_results(Verifier *v)
{
    const Node *loss = v->g->loss, *output = v->g->output;
    if (v->g->micro_batch < 1 || v->g->block < 1)
        violation(v, NULL, "micro_batch and block must be positive");
    if (loss && (!met(v, loss) || loss->phase != PHASE_FORWARD || loss->shape.rank))
        violation(v, loss, "the loss must be a scalar forward node of the graph");
    if (output && (!met(v, output) || output->phase != PHASE_FORWARD))
        violation(v, output, "the output must be a forward node of the graph");
}

bool ir_verify_each(const Graph *g, VerifyReport *report, void *user)
{
    Verifier v = {.g = g, .report = report, .user = user};
    check_all_names(&v);
    check_nodes(&v);
    check_phases(&v);
    check_groups(&v);
    check_results(&v);
    arena_release(&v.arena);
    return !v.failed;
}

static void append_line(void *user, const Node *n, const char *message)
{
    (void)n;
    text_printf(user, "%s\n", message);
}

bool ir_verify(const Graph *g, Text *why)
{
    return ir_verify_each(g, append_line, why);
}
