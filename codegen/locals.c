// What a routine calls its tensors: as the model does where it is called once; else after what is
// the same in all its pieces, `conv1_weight` for weights of block3.conv1, block4.conv1 and so on.
// Tensors of layers outside are `in...`.
#include "codegen/program.h"

#include <string.h>

typedef struct Base { // how the routine calls a layer
    const Layer *layer;
    const char *name;
} Base;
typedef VEC(Base) BaseList;

// The layer of a piece's k-th node.
static const Layer *layer_at(const Piece *p, int k)
{
    for (int i = 0; i < p->items.n; k -= p->items.items[i++].n)
        if (k < p->items.items[i].n)
            return p->items.items[i].nodes[k]->layer;
    return NULL;
}

static int count_nodes(const Piece *p)
{
    int n = 0;
    for (int i = 0; i < p->items.n; i++)
        n += p->items.items[i].n;
    return n;
}

static bool inside(const Piece *p, const Layer *layer)
{
    for (int i = count_nodes(p); i-- > 0;)
        if (layer_at(p, i) == layer)
            return true;
    return false;
}

// The last `parts` parts of a name between dots, or all of it.
static const char *suffix(const char *name, int parts)
{
    const char *at = name + strlen(name);
    while (at > name && (at[-1] != '.' || --parts > 0))
        at--;
    return at;
}

// Every piece ends its layer's name like this.
static bool common_suffix(const Routine *r, int node, int parts)
{
    const char *first = suffix(layer_at(r->like, node)->name, parts);
    for (int i = 1; i < r->pieces.n; i++)
        if (strcmp(suffix(layer_at(r->pieces.items[i], node)->name, parts), first) != 0)
            return false;
    return true;
}

// No other layer of the piece does.
static bool unique_suffix(const Routine *r, int node, int parts)
{
    const Layer *layer = layer_at(r->like, node);
    for (int i = count_nodes(r->like); i-- > 0;) {
        const Layer *other = layer_at(r->like, i);
        if (other && other != layer &&
            !strcmp(suffix(other->name, parts), suffix(layer->name, parts)))
            return false;
    }
    return true;
}

static bool common_stem(Arena *a, const Routine *r, int node)
{
    const char *first = name_stem(a, layer_at(r->like, node)->name);
    for (int i = 1; i < r->pieces.n; i++)
        if (strcmp(name_stem(a, layer_at(r->pieces.items[i], node)->name), first) != 0)
            return false;
    return true;
}

// What the names of a layer in all pieces have in common: "conv1" of block3.conv1 and block4.conv1,
// more parts where another layer of the piece ends so too; "conv" of conv1 and conv4; else its kind.
static const char *common_name(Arena *a, const Routine *r, int node)
{
    const Layer *layer = layer_at(r->like, node);
    int parts = 0;
    while (parts < 8 && common_suffix(r, node, parts + 1) &&
           (!parts || !unique_suffix(r, node, parts)))
        parts++;
    if (parts)
        return suffix(layer->name, parts);
    return common_stem(a, r, node) ? name_stem(a, layer->name) : layer->kind;
}

static bool has(const BaseList *bases, const Layer *layer)
{
    for (int i = 0; i < bases->n; i++)
        if (bases->items[i].layer == layer)
            return true;
    return false;
}

static int count_named(const BaseList *bases, const char *name)
{
    int n = 0;
    for (int i = 0; i < bases->n; i++)
        n += !strcmp(bases->items[i].name, name);
    return n;
}

// In the order of the model, which in backward is not that of the items.
static void sort_by_layer(BaseList *bases)
{
    for (int i = 1; i < bases->n; i++)
        for (int k = i; k > 0 && bases->items[k].layer->id < bases->items[k - 1].layer->id;
             k--) {
            Base b = bases->items[k];
            bases->items[k] = bases->items[k - 1];
            bases->items[k - 1] = b;
        }
}

static BaseList bases_inside(Arena *a, const Routine *r)
{
    BaseList stems = {0}, bases = {0};
    for (int i = 0; i < count_nodes(r->like); i++) {
        const Layer *layer = layer_at(r->like, i);
        if (!layer || has(&stems, layer))
            continue;
        Base b = {layer, common_name(a, r, i)};
        vec_push(a, &stems, b);
    }
    sort_by_layer(&stems);
    for (int i = 0; i < stems.n; i++) {
        Base b = stems.items[i];
        BaseList before = {stems.items, i, i};
        if (count_named(&stems, b.name) > 1)
            b.name = arena_printf(a, "%s_%d", b.name, count_named(&before, b.name) + 1);
        vec_push(a, &bases, b);
    }
    return bases;
}

static const char *base_of(Arena *a, BaseList *bases, const Piece *p, const Layer *layer)
{
    for (int i = 0; i < bases->n; i++)
        if (bases->items[i].layer == layer)
            return bases->items[i].name;
    int outside = 1;
    for (int i = 0; i < bases->n; i++)
        outside += !inside(p, bases->items[i].layer);
    Base b = {layer, outside > 1 ? arena_printf(a, "in_%d", outside) : "in"};
    vec_push(a, bases, b);
    return b.name;
}

static bool is_word(const char *text, const char *at, size_t n)
{
    bool begins = at == text || at[-1] == '_' || at[-1] == '.';
    return begins && (!at[n] || at[n] == '_' || at[n] == '.');
}

// The layer whose name is in the node's name (the longest such; where gradients come from decides what
// they are called, not who computes them) and where.
static const Layer *layer_in_name(const Graph *g, const Node *n, const char **where)
{
    const Layer *best = NULL;
    for (int i = 0; i < g->layers.n; i++) {
        const Layer *layer = g->layers.items[i];
        size_t length = strlen(layer->name);
        const char *at = strstr(n->name, layer->name);
        if (at && is_word(n->name, at, length) && (!best || length > strlen(best->name))) {
            best = layer;
            *where = at;
        }
    }
    return best;
}

// Further outputs of forward ops bear the number of the output in the graph.
static const char *output_name(Arena *a, const Node *n, const char *name)
{
    static const char *const role[N_OPS][MAX_OUTPUTS] = {
        [OP_BATCH_NORM] = {NULL, "mean", "var"},
        [OP_LAYER_NORM] = {NULL, "mean", "rstd"},
        [OP_MAX_POOL2D] = {NULL, "argmax"},
        [OP_CROSS_ENTROPY] = {NULL, "lse"},
        [OP_LSTM] = {NULL, "gates"},
        [OP_L2_NORMALIZE] = {NULL, "factor"},
        [OP_ATTENTION] = {NULL, "lse"},
    };
    const char *dot = strrchr(name, '.');
    int64_t index = n->op == OP_RESULT ? node_int(n, A_INDEX) : 0;
    const char *word = index ? role[n->inputs[0]->op][index] : NULL;
    bool numbered = dot && dot[1] == '0' + (char)index && !dot[2];
    return word && numbered ? arena_printf(a, "%.*s.%s", (int)(dot - name), name, word) : name;
}

// The layer's name inside the node's, replaced.
static const char *rename_node(const Graph *g, Arena *a, BaseList *bases, const Piece *p,
                               const Node *n)
{
    const char *at = NULL;
    const Layer *layer = layer_in_name(g, n, &at);
    if (!layer)
        return n->name;
    return arena_printf(a, "%.*s%s%s", (int)(at - n->name), n->name,
                        base_of(a, bases, p, layer), at + strlen(layer->name));
}

void routine_name_locals(Routine *r, const Graph *g)
{
    Names names = {.arena = r->arena};
    BaseList bases = {0};
    bool shared = r->pieces.n > 1;
    if (shared)
        bases = bases_inside(r->arena, r);
    for (int i = 0; i < r->like->values.n; i++) {
        const Node *n = r->like->values.items[i];
        const char *wish = shared ? rename_node(g, r->arena, &bases, r->like, n) : n->name;
        r->local[i] = names_add(&names, output_name(r->arena, n, wish));
    }
}
