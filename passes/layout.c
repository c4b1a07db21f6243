// Decides how tensors lie in memory, before the cut, so that a cut changes no bit.
//
// Kernels for images want them in blocks of channels, or channels last: what the backend says. Which ops have images so
// say the rules of passes/images.c; a fusion group has one layout. One walk over the graph writes a `reorder` wherever
// a reader wants what its input is not; two readers of one phase share it.
//
// Weights of convolutions lie as their kernel wants them, and so do all tensors that meet them
// element by element: gradients, accumulators, optimizer state. `kernel_bytes` is asked of the
// conv2d_grad_weight node for a weight's family (of the parameter itself where there is none), and
// of the result node for the argmax of a pool.
//
// Rows of logits may lie apart (passes/pitch.c).
#include "passes/images.h"
#include "passes/pitch.h"
#include "passes/transfer.h"
#include "passes/values.h"

#include <string.h>

typedef struct Layouter {
    Compile *c;
    Graph *g;
    Values values;
    ImageRules rules;
    Layout *group;  // by group
    Node **reorder; // by 2 * id of the source + (to != LAYOUT_PLAIN): the phase's reorder
    Phase *reorder_phase;
    int n_old; // nodes before the first reorder
} Layouter;

static Node *reorder_of(Layouter *l, Node *user, Node *source, Layout to)
{
    int key = 2 * source->id + (to != LAYOUT_PLAIN);
    if (source->id < l->n_old && l->reorder[key] && l->reorder_phase[key] == user->phase)
        return l->reorder[key];
    Attr layout = attr_string(A_LAYOUT, layout_name[to]);
    const char *name = arena_printf(l->g->arena, "%s.%s", source->name, layout_name[to]);
    Node *r = user->phase == PHASE_FORWARD
                  ? graph_add(l->g, OP_REORDER, user->layer, user->loc, name,
                              (NodeArgs){&source, 1, &layout, 1})
                  : graph_derive(l->g, OP_REORDER, user->phase, user->forward, name,
                                 (NodeArgs){&source, 1, &layout, 1});
    r->layout = to;
    if (source->id < l->n_old) {
        l->reorder[key] = r;
        l->reorder_phase[key] = user->phase;
    }
    return r;
}

// A member of n's own group has the right layout already, and so has a kernel's own tensor.
static void reorder_inputs(Layouter *l, Node *n)
{
    for (int i = 0; i < n->n_inputs; i++) {
        Node *source = n->inputs[i];
        bool mate = n->group >= 0 && source->group == n->group;
        Layout have = source->layout, want = image_wanted(&l->rules, n, i);
        bool effect = node_is(n, 'X') && n->op != OP_ACCUMULATE;
        if (mate || effect || n->op == OP_RESULT || have == LAYOUT_KERNEL ||
            want == LAYOUT_KERNEL || have == want || !image_differs(&l->rules, source->shape))
            continue;
        n->inputs[i] = reorder_of(l, n, source, want);
    }
}

// The layout of a group whose first member stands at position i of the old list. Returns its end.
static int decide_group(Layouter *l, Node **nodes, int i)
{
    int group = nodes[i]->group;
    bool reason = false, able = true;
    int end = i + 1;
    for (int k = i; k < l->n_old && (nodes[k]->group == group || node_is(nodes[k], 'L')); k++) {
        Node *n = nodes[k];
        if (n->group != group)
            continue;
        end = k + 1;
        if (n->op == OP_RESULT)
            continue;
        if (node_is(n, 'H')) { // what its own kernel makes, the others follow
            n->layout = image_made(&l->rules, n);
            able &= n->layout == l->rules.own;
            continue;
        }
        able &= image_able(&l->rules, n);
        reason |= image_reason(&l->rules, n);
    }
    l->group[group] = able && reason ? l->rules.own : LAYOUT_PLAIN;
    return end;
}

// Outside a group, n itself; else all members, whose reorders must stand before the first.
static int place_run(Layouter *l, Node **nodes, int i)
{
    int end = i + 1, group = nodes[i]->group;
    if (group >= 0)
        end = decide_group(l, nodes, i);
    for (int k = i; k < end; k++) { // inputs first: members read what lies before the group
        Node *n = nodes[k];
        if (!node_is(n, 'L') && !node_is(n, 'V'))
            n->layout = image_made(&l->rules, n);
    }
    for (int k = i; k < end; k++)
        if (!node_is(nodes[k], 'L'))
            reorder_inputs(l, nodes[k]);
    for (int k = i; k < end; k++)
        vec_push(l->g->arena, &l->g->nodes, nodes[k]);
    return end;
}

static void write_reorders(Layouter *l)
{
    Graph *g = l->g;
    Node **old = arena_copy(l->c->scratch, g->nodes.items, sizeof(Node *) * (size_t)g->nodes.n);
    int groups = 0;
    l->n_old = g->nodes.n;
    for (int i = 0; i < l->n_old; i++)
        groups = old[i]->group >= groups ? old[i]->group + 1 : groups;
    l->group = arena_array(l->c->scratch, Layout, groups);
    l->rules.group = l->group;
    l->reorder = arena_array(l->c->scratch, Node *, 2 * l->n_old);
    l->reorder_phase = arena_array(l->c->scratch, Phase, 2 * l->n_old);
    g->nodes.n = 0;
    for (int i = 0; i < l->n_old;)
        i = place_run(l, old, i);
    graph_renumber(g);
}

// Two convolutions that want their weight alike.
static bool same_kernel(const Node *a, const Node *b)
{
    static const AttrKey keys[] = {A_STRIDE, A_PADDING, A_DILATION};
    for (int k = 0; k < 3; k++)
        if (memcmp(node_ints(a, keys[k]), node_ints(b, keys[k]),
                   sizeof(int64_t) * (size_t)node_attr(a, keys[k])->n) != 0)
            return false;
    return shape_equal(a->shape, b->shape) &&
           shape_equal(a->inputs[0]->shape, b->inputs[0]->shape) &&
           node_int(a, A_GROUPS) == node_int(b, A_GROUPS) && a->layout == b->layout &&
           a->inputs[0]->layout == b->inputs[0]->layout;
}

// A parameter is a kernel's own if convolutions alone compute with it, all in one way: channels last there is no other.
static bool kernel_weight(const Layouter *l, const Node *param)
{
    Node **readers;
    const Node *conv = NULL;
    int n = value_readers(&l->values, param, &readers);
    for (int i = 0; i < n; i++) {
        Node *r = readers[i];
        bool weight =
            (r->op == OP_CONV2D || r->op == OP_CONV2D_GRAD_INPUT) && r->inputs[1] == param;
        if (!weight && r->phase != PHASE_UPDATE)
            return false;
        bool one_way = l->rules.own == LAYOUT_CHANNELS_LAST;
        if (r->op == OP_CONV2D && conv && !one_way && !same_kernel(r, conv))
            return false;
        conv = r->op == OP_CONV2D ? r : conv;
    }
    return conv != NULL;
}

static void find_weights(Layouter *l)
{
    l->values = values_of(l->c->scratch, l->g);
    for (int i = 0; i < l->g->nodes.n; i++) {
        Node *n = l->g->nodes.items[i];
        if (n->op == OP_PARAM && kernel_weight(l, n))
            n->layout = LAYOUT_KERNEL;
    }
}

static int64_t ask_bytes(const Compile *c, const Node *n)
{
    int64_t bytes = c->kernel_bytes ? c->kernel_bytes(c->user, n) : 0;
    return bytes > 0 ? bytes : node_logical_bytes(n);
}

// The gradient that meets an accumulator: the node that `accumulate` adds.
static void spread_backward(Layouter *l)
{
    for (int i = 0; i < l->g->nodes.n; i++) {
        Node *n = l->g->nodes.items[i];
        if (n->op == OP_ACCUMULATE && n->inputs[1]->layout == LAYOUT_KERNEL) {
            n->inputs[0]->layout = LAYOUT_KERNEL;
            n->inputs[0]->bytes = n->inputs[1]->bytes;
        }
    }
}

// Update nodes: everything of the parameter's shape is laid out as its gradient.
static void spread_update(Layouter *l)
{
    for (int i = 0; i < l->g->nodes.n; i++) {
        Node *n = l->g->nodes.items[i];
        if (n->phase != PHASE_UPDATE || !n->n_inputs)
            continue;
        const Node *like = n->inputs[n->op == OP_SGD || n->op == OP_ADAM ? 1 : 0];
        if (like->layout != LAYOUT_KERNEL)
            continue;
        n->layout = LAYOUT_KERNEL;
        n->bytes = like->bytes;
        for (int k = 0; k < n->n_inputs; k++) {
            n->inputs[k]->layout = LAYOUT_KERNEL;
            n->inputs[k]->bytes = like->bytes;
        }
    }
}

static void lay_out_kernels(Layouter *l)
{
    Graph *g = l->g;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        bool argmax = n->op == OP_RESULT && n->inputs[0]->op == OP_MAX_POOL2D;
        if (argmax || (n->op == OP_PARAM && n->layout == LAYOUT_KERNEL)) {
            n->layout = LAYOUT_KERNEL;
            n->bytes = ask_bytes(l->c, n);
        } else if (n->op == OP_CONV2D_GRAD_WEIGHT && n->layout == LAYOUT_KERNEL) {
            Node *param = n->forward ? value_root(n->forward->inputs[1]) : NULL;
            n->layout = param ? param->layout : LAYOUT_PLAIN;
            if (n->layout != LAYOUT_KERNEL)
                continue;
            n->bytes = ask_bytes(l->c, n);
            param->bytes = n->bytes;
        }
    }
    spread_backward(l);
    spread_update(l);
}

// A printed graph may have been laid out for another backend.
static void forget_layouts(Graph *g)
{
    int kept = 0;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        n->layout = LAYOUT_PLAIN;
        n->bytes = 0;
        for (int k = 0; k < n->n_inputs; k++)
            while (n->inputs[k]->op == OP_REORDER)
                n->inputs[k] = n->inputs[k]->inputs[0];
        if (n->op != OP_REORDER)
            g->nodes.items[kept++] = n;
    }
    g->nodes.n = kept;
}

void pass_layout(Compile *c)
{
    static const Layout own[] = {[IMAGES_PLAIN] = LAYOUT_PLAIN,
                                 [IMAGES_BLOCKED] = LAYOUT_BLOCKED,
                                 [IMAGES_CHANNELS_LAST] = LAYOUT_CHANNELS_LAST};
    Layouter l = {.c = c, .g = c->graph, .rules = {.g = c->graph, .own = own[c->images]}};
    transfer_forget(c->graph);
    forget_layouts(c->graph);
    if (c->images != IMAGES_PLAIN) {
        bool channels_last = c->images == IMAGES_CHANNELS_LAST;
        graph_renumber(c->graph);
        if (channels_last) // others are reordered for convolutions
            find_weights(&l);
        write_reorders(&l);
        if (!channels_last) // which see there how images lie
            find_weights(&l);
        lay_out_kernels(&l);
    }
    for (int i = 0; i < c->graph->nodes.n; i++) {
        Node *n = c->graph->nodes.items[i];
        if (n->layout != LAYOUT_KERNEL)
            n->bytes = node_logical_bytes(n);
    }
    graph_renumber(c->graph);
    if (c->pitch)
        pitch_logits(c->graph, c->scratch);
}
