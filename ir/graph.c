// Building graphs. Every node is typed as it is appended, so that a wrong shape is reported at
// the call that made it, while the user's source line is still at hand.
#include "ir/graph.h"

#include "base/text.h"
#include "ir/shapes.h"

#include <ctype.h>
#include <string.h>

// Names that are taken, by open addressing; the table doubles when it is half full. An entry
// remembers the last number that was appended to its name, so that n equal wishes cost O(n).
typedef struct NameEntry {
    const char *name;
    int last;
} NameEntry;

typedef struct NameTable {
    NameEntry *entries;
    int n, size;
} NameTable;

typedef struct Names {
    NameTable nodes, layers, kinds;
} Names;

// What may stand behind a node's inputs in the text form, so no node can bear such a name.
static const char *const reserved[] = {"forward", "backward", "update", "eval",   "of",
                                       "from",    "group",    "unit",   "layout", "bytes"};

static NameEntry *name_entry(const NameTable *t, const char *name)
{
    size_t mask = (size_t)t->size - 1, i = str_hash(name, strlen(name)) & mask;
    while (t->entries[i].name && strcmp(t->entries[i].name, name) != 0)
        i = (i + 1) & mask;
    return &t->entries[i];
}

static bool name_taken(const NameTable *t, const char *name)
{
    return t->size && name_entry(t, name)->name;
}

// The entry of a name, made if need be. The pointer holds until the next insertion.
static NameEntry *name_insert(Arena *a, NameTable *t, const char *name)
{
    if (2 * (t->n + 1) > t->size) {
        NameTable grown = {.n = t->n, .size = t->size ? 2 * t->size : 256};
        grown.entries = arena_array(a, NameEntry, grown.size);
        for (int i = 0; i < t->size; i++)
            if (t->entries[i].name)
                *name_entry(&grown, t->entries[i].name) = t->entries[i];
        *t = grown;
    }
    NameEntry *e = name_entry(t, name);
    if (!e->name) {
        *e = (NameEntry){name, 1};
        t->n++;
    }
    return e;
}

// Letters, digits, '_' and '.', beginning with none of the latter two kinds.
static char *identifier(Arena *a, const char *wish)
{
    char *name = arena_strdup(a, wish);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '.')
            *c = '_';
    return isalpha((unsigned char)*name) || *name == '_' ? name : arena_printf(a, "_%s", name);
}

static const char *unique(Arena *a, NameTable *t, const char *wish)
{
    const char *stem = identifier(a, wish), *name = stem;
    while (name_taken(t, name))
        name = arena_printf(a, "%s_%d", stem, ++name_entry(t, stem)->last);
    name_insert(a, t, name);
    return name;
}

const char *graph_unique(Graph *g, const char *wish)
{
    return unique(g->arena, &((Names *)g->names)->nodes, wish);
}

Graph *graph_new(Arena *a, const char *name, int64_t micro_batch)
{
    Graph *g = arena_new(a, Graph);
    Names *names = arena_new(a, Names);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        name_insert(a, &names->nodes, reserved[i]);
    g->arena = a;
    g->name = identifier(a, name);
    g->micro_batch = micro_batch;
    g->block = 16;
    g->names = names;
    return g;
}

Layer *graph_layer(Graph *g, const char *name, const char *kind, Loc loc, const Call *caller)
{
    Names *names = g->names;
    kind = identifier(g->arena, kind);
    const char *wish = name;
    while (!wish) {
        int number = name_insert(g->arena, &names->kinds, kind)->last++;
        wish = arena_printf(g->arena, "%s%d", kind, number);
        if (name_taken(&names->layers, wish))
            wish = NULL;
    }
    Layer *l = arena_new(g->arena, Layer);
    *l = (Layer){g->layers.n, unique(g->arena, &names->layers, wish), kind, loc, caller, -1};
    vec_push(g->arena, &g->layers, l);
    return l;
}

static const char *default_name(Graph *g, Op op, const Layer *layer)
{
    const char *name = op_info[op].name;
    if (!layer)
        return name;
    if (!strcmp(layer->kind, name))
        return layer->name;
    return arena_printf(g->arena, "%s.%s", layer->name, name);
}

static void infer(Node *n)
{
    Type type[MAX_OUTPUTS] = {0};
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i]->dtype == DTYPE_ERROR)
            return;
    if (!shapes_infer(n, type))
        return;
    n->dtype = type[0].dtype;
    n->shape = type[0].shape;
    for (int i = 0; n->op == OP_RESHAPE && i < n->n_attrs; i++) // a -1 is resolved for good
        if (n->attrs[i].key == A_SHAPE)
            n->attrs[i] = attr_shape(n->shape);
}

Node *graph_add(Graph *g, Op op, Layer *layer, Loc loc, const char *name, NodeArgs args)
{
    Node *n = arena_new(g->arena, Node);
    n->id = g->next_id++;
    n->op = op;
    n->name = graph_unique(g, name ? name : default_name(g, op, layer));
    n->layer = layer;
    n->loc = loc;
    n->group = n->unit = -1;
    n->inputs = arena_copy(g->arena, args.inputs, sizeof(Node *) * (size_t)args.n_inputs);
    n->n_inputs = args.n_inputs;
    n->attrs = arena_copy(g->arena, args.attrs, sizeof(Attr) * (size_t)args.n_attrs);
    n->n_attrs = args.n_attrs;
    infer(n);
    vec_push(g->arena, &g->nodes, n);
    return n;
}

void node_drop_attr(Node *n, AttrKey key)
{
    int kept = 0;
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].key != key)
            n->attrs[kept++] = n->attrs[i];
    n->n_attrs = kept;
}

void graph_set_attr(Graph *g, Node *n, Attr attr)
{
    node_drop_attr(n, attr.key);
    Attr *more = arena_array(g->arena, Attr, n->n_attrs + 1);
    for (int i = 0; i < n->n_attrs; i++)
        more[i] = n->attrs[i];
    more[n->n_attrs++] = attr;
    n->attrs = more;
}

Node *graph_derive(Graph *g, Op op, Phase phase, Node *forward, const char *name, NodeArgs args)
{
    Node *n = graph_add(g, op, forward ? forward->layer : NULL, forward ? forward->loc : NO_LOC,
                        name, args);
    n->phase = phase;
    n->forward = forward;
    return n;
}

Node *graph_result(Graph *g, Node *n, int i)
{
    if (i == 0)
        return n;
    for (int k = g->nodes.n; k-- > 0 && g->nodes.items[k] != n;) { // it stands behind n
        Node *r = g->nodes.items[k];
        if (r->op == OP_RESULT && r->inputs[0] == n && node_int(r, A_INDEX) == i)
            return r;
    }
    Attr index = attr_int(A_INDEX, i);
    Node *r =
        graph_add(g, OP_RESULT, n->layer, n->loc, arena_printf(g->arena, "%s.%d", n->name, i),
                  (NodeArgs){&n, 1, &index, 1});
    r->phase = n->phase;
    r->forward = n->forward;
    return r;
}

void graph_renumber(Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        g->nodes.items[i]->id = i;
    g->next_id = g->nodes.n;
}
