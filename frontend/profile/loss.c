// What a profile is trained for: it ends in logits, so cross entropy with labels. Of several ends, as
// auxiliary classifiers are, the one with the most layers behind it is the output; the others' losses
// count 0.4 (Szegedy et al., 2014 have 0.3, the profiled models 0.4).
#include "frontend/profile/import.h"

static const double auxiliary = 0.4;

typedef VEC(int) Nodes;

// Nodes with a tensor that nobody reads; parts of tuples that are not wanted are none.
static Nodes find_sinks(const Importer *im)
{
    const Profile *p = im->profile;
    Nodes sinks = {0};
    bool *read = arena_array(im->arena, bool, p->nodes.n + 1);
    for (int i = 0; i < p->nodes.n; i++)
        for (int k = im->first[i]; k < im->first[i + 1]; k++)
            read[im->from[k]] = true;
    for (int i = 0; i < p->nodes.n; i++)
        if (!read[i] && im->made[i].node && im->kind[i]->fewest > 0)
            vec_push(im->arena, &sinks, i);
    return sinks;
}

// How many nodes it depends on.
static int ancestors(const Importer *im, int node)
{
    int n = im->profile->nodes.n, top = 0, count = 0;
    int *stack = arena_array(im->arena, int, n + 1);
    bool *seen = arena_array(im->arena, bool, n + 1);
    stack[top++] = node;
    seen[node] = true;
    while (top) {
        int v = stack[--top];
        count++;
        for (int k = im->first[v]; k < im->first[v + 1]; k++) {
            if (!seen[im->from[k]])
                stack[top++] = im->from[k];
            seen[im->from[k]] = true;
        }
    }
    return count;
}

static Tensor flat(Importer *im, int node)
{
    Tensor t = im->made[node];
    if (t.node->shape.rank != 4)
        return t;
    const ProfileNode *n = &im->profile->nodes.items[node];
    Line *l = line_begin(im, n, "flatten", arena_printf(im->arena, "%s_flat", n->id));
    line_tensor(l, im, t);
    return line_make(im, l);
}

// One label for every row of the logits, which are of that shape and were made at loc.
Tensor label_make(Importer *im, const ProfileNode *node, Loc loc, Shape logits)
{
    const char *name = node ? node->id : "label";
    Line *l = line_begin(im, node, "target", name);
    l->call.loc = loc;
    vec_push(im->arena, &l->args, ((Arg){.kind = ARG_STRING, .s = name}));
    vec_push(im->arena, &l->args, ((Arg){.kind = ARG_TYPE, .i = LAYER_I32}));
    for (int i = 1; i < logits.rank - 1; i++)
        line_int(l, im, logits.dim[i]);
    return line_make(im, l);
}

static Tensor join(Importer *im, const char *kind, const char *name, Tensor a, Tensor b)
{
    Line *l = line_begin(im, NULL, kind, name);
    l->call.loc = a.node ? a.node->loc : NO_LOC;
    line_tensor(l, im, a);
    line_tensor(l, im, b);
    return line_make(im, l);
}

// The loss so far and the weighted one of an auxiliary output.
static Tensor add_auxiliary(Importer *im, Tensor loss, Tensor logits, Tensor label, int i)
{
    Arena *a = im->arena;
    Tensor own =
        join(im, "cross_entropy", arena_printf(a, "auxiliary_loss%d", i), logits, label);
    Line *l = line_begin(im, NULL, "scale", arena_printf(a, "auxiliary_part%d", i));
    l->call.loc = own.node ? own.node->loc : NO_LOC;
    line_tensor(l, im, own);
    line_real(l, im, auxiliary);
    Tensor part = line_make(im, l);
    return join(im, "add", arena_printf(a, "total_loss%d", i), loss, part);
}

// Cross entropy of one output, and of auxiliary ones.
static Tensor loss_of_logits(Importer *im, const Nodes *sinks, int best)
{
    Tensor logits = flat(im, sinks->items[best]), label = NO_TENSOR;
    if (logits.node)
        label = label_make(im, NULL, logits.node->loc, logits.node->shape);
    Tensor loss = join(im, "cross_entropy", "main_loss", logits, label);
    for (int i = 0, k = 0; i < sinks->n; i++)
        if (i != best)
            loss = add_auxiliary(im, loss, flat(im, sinks->items[i]), label, ++k);
    im->draft.graph->output = logits.node;
    return loss;
}

static int deepest(const Importer *im, const Nodes *sinks)
{
    int best = 0, most = 0;
    for (int i = 0; i < sinks->n; i++) {
        int depth = ancestors(im, sinks->items[i]);
        best = depth > most ? i : best;
        most = depth > most ? depth : most;
    }
    return best;
}

void loss_add(Importer *im)
{
    enum { MOST = 16 };
    Nodes sinks = find_sinks(im);
    Graph *g = im->draft.graph;
    if (!sinks.n)
        error_at((Loc){im->path, 0, 0}, "nothing is computed: there is no output to train");
    if (sinks.n > MOST)
        error_at((Loc){im->path, 0, 0},
                 "%d nodes are read by no other; a loss is made of %d outputs at most", sinks.n,
                 MOST);
    if (!sinks.n || sinks.n > MOST)
        return;
    im->script->sinks = sinks.n;
    Node *first = im->made[sinks.items[0]].node;
    if (sinks.n > 1 || !kind_is_loss(im->kind[sinks.items[0]])) {
        g->loss = loss_of_logits(im, &sinks, deepest(im, &sinks)).node;
    } else { // the profile has its own
        g->loss = first;
        g->output = first->inputs[0];
    }
}
