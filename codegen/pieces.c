#include "codegen/pieces.h"

#include "codegen/names.h"
#include "plan/schedule.h"

#include <string.h>

enum { MAX_ITEMS = 128, MAX_PERIOD = 24 }; // of a piece; of a loop's body

// Items
// ----------------------------------------------------------------------------------------------

typedef VEC(Item) ItemList;

static bool computes(const Emit *e, const Node *n, Phase phase)
{
    return n->phase == phase && !node_is(n, 'L') && !node_is(n, 'V') && emit_here(e, n);
}

static bool is_update(const Emit *e, const Node *n)
{
    return e->backend->emit_updates && n->phase == PHASE_UPDATE && node_is(n, 'X');
}

// Those of a group, or optimizers that this stage runs, follow each other.
static Item item_of(Emit *e, int first)
{
    Node *const *all = e->graph->nodes.items, *n = all[first];
    bool updates = is_update(e, n), group = e->backend->emit_group && n->group >= 0;
    VEC(Node *) mates = {0};
    vec_push(e->scratch, &mates, n);
    for (int i = first + 1; i < e->graph->nodes.n && (updates || group); i++) {
        if (node_is(all[i], 'L') || node_is(all[i], 'V') || (updates && !emit_here(e, all[i])))
            continue;
        if (updates ? !is_update(e, all[i]) : all[i]->group != n->group)
            break;
        vec_push(e->scratch, &mates, all[i]);
    }
    return (Item){mates.items, mates.n, updates, updates ? NULL : n->layer};
}

static ItemList items_of(Emit *e, Phase phase)
{
    ItemList items = {0};
    for (int i = 0; i < e->graph->nodes.n; i++)
        if (computes(e, e->graph->nodes.items[i], phase)) {
            Item item = item_of(e, i);
            vec_push(e->scratch, &items, item);
            i = item.nodes[item.n - 1]->id;
        }
    return items;
}

// Pieces
// ----------------------------------------------------------------------------------------------

typedef struct CallCount {
    const Call *call;
    int items;
} CallCount;
typedef VEC(CallCount) CallCounts;

static CallCount *count_of(Arena *a, CallCounts *counts, const Call *call)
{
    for (int i = counts->n; i-- > 0;)
        if (counts->items[i].call == call)
            return &counts->items[i];
    CallCount fresh = {call, 0};
    vec_push(a, counts, fresh);
    return &counts->items[counts->n - 1];
}

static CallCounts count_calls(Arena *a, const ItemList *items)
{
    CallCounts counts = {0};
    for (int i = 0; i < items->n; i++)
        for (const Call *c = items->items[i].layer ? items->items[i].layer->caller : NULL; c;
             c = c->caller)
            count_of(a, &counts, c)->items++;
    return counts;
}

// The outermost call that is not too large; NULL: the layer stands for itself.
static const Call *piece_call(Arena *a, CallCounts *counts, const Layer *layer)
{
    const Call *best = NULL;
    for (const Call *c = layer ? layer->caller : NULL; c; c = c->caller)
        if (count_of(a, counts, c)->items <= MAX_ITEMS)
            best = c;
    return best;
}

static void note_value(Emit *e, Piece *p, const Node *n)
{
    n = emit_root(n);
    if (emit_is_number(n))
        return;
    for (int i = 0; i < p->values.n; i++)
        if (p->values.items[i] == n)
            return;
    vec_push(e->scratch, &p->values, n);
}

static const Node *read_beside(const Emit *e, const Node *n)
{
    return e->backend->also_reads ? e->backend->also_reads(n) : NULL;
}

static void note_node(Emit *e, Piece *p, const Node *n)
{
    for (int i = 0; i < n->n_inputs; i++)
        note_value(e, p, n->inputs[i]);
    if (read_beside(e, n))
        note_value(e, p, read_beside(e, n));
    for (int i = 0; i < op_info[n->op].outputs && !node_is(n, 'X'); i++) {
        const Node *out = i ? emit_output(e, n, i) : n;
        if (out)
            note_value(e, p, out);
    }
    if (node_attr(n, A_STREAM))
        vec_push(e->scratch, &p->streams, n);
}

static Piece *begin_piece(Emit *e, PieceList *pieces, Phase phase, const Call *call)
{
    Piece *p = arena_new(e->scratch, Piece);
    *p = (Piece){.phase = phase, .function = call ? call->function : NULL};
    vec_push(e->scratch, pieces, p);
    return p;
}

bool phase_has_parts(const Emit *e, Phase phase)
{
    bool split = schedule_splits(&e->plan->options);
    return e->stage->n_parts > 1 && phase == (split ? PHASE_BACKWARD_WEIGHT : PHASE_BACKWARD);
}

// By item. Whatever stands before something of a part runs with it at the latest.
static const int *parts_of(Emit *e, Phase phase, const ItemList *items)
{
    int *part = arena_array(e->scratch, int, items->n + 1);
    int least = e->stage->n_parts;
    for (int i = items->n; i-- > 0 && phase_has_parts(e, phase);) {
        int own = plan_part_of_unit(e->stage, items->items[i].nodes[0]->unit);
        part[i] = least = own < least ? own : least;
    }
    return part;
}

static PieceList cut(Emit *e, Phase phase, const ItemList *items)
{
    PieceList pieces = {0};
    CallCounts counts = count_calls(e->scratch, items);
    const int *part = parts_of(e, phase, items);
    const void *last = NULL;
    Piece *p = NULL;
    for (int i = 0; i < items->n; i++) {
        const Item *item = &items->items[i];
        const Call *call = piece_call(e->scratch, &counts, item->layer);
        const void *key = call ? (const void *)call : item->layer;
        if (!p || key != last || part[i] != p->part)
            p = begin_piece(e, &pieces, phase, call);
        p->part = part[i];
        last = key;
        vec_push(e->scratch, &p->items, *item);
        for (int k = 0; k < item->n; k++)
            note_node(e, p, item->nodes[k]);
    }
    return pieces;
}

// Equality
// ----------------------------------------------------------------------------------------------

static void sign_type(Text *t, const Node *n)
{
    text_printf(t, "%d/%d/%lld[", (int)n->dtype, (int)n->layout, (long long)n->bytes);
    for (int i = 0; i < n->shape.rank; i++)
        text_printf(t, "%lld,", (long long)n->shape.dim[i]);
    text_puts(t, "]");
}

static void sign_attrs(Text *t, const Node *n)
{
    for (int i = 0; i < n->n_attrs; i++) {
        const Attr *a = &n->attrs[i];
        if (a->key == A_STREAM) // equal layers share code, not random numbers
            continue;
        text_printf(t, " %d=", (int)a->key);
        switch (a->kind) {
        case ATTR_INT: text_printf(t, "%lld", (long long)a->i); break;
        case ATTR_REAL: text_printf(t, "%a", a->r); break;
        case ATTR_STRING: text_puts(t, a->s); break;
        case ATTR_INTS:
            for (int k = 0; k < a->n; k++)
                text_printf(t, "%lld,", (long long)a->ints[k]);
        }
    }
}

static void sign_value(Emit *e, Text *t, const Piece *p, const Node *n)
{
    const char *number = emit_number(e, n);
    if (number)
        text_printf(t, " (%s)", number);
    for (int i = 0; i < p->values.n; i++)
        if (p->values.items[i] == emit_root(n))
            text_printf(t, " %d:", i);
    sign_type(t, n);
}

int item_layer(const Emit *e, const Item *item)
{
    return item->layer ? e->layer_index[item->layer->id] : -1;
}

// Everything that the piece's code depends on, but for places and streams.
static char *sign(Emit *e, const Piece *p)
{
    Text t = {0};
    text_puts(&t, p->function ? p->function : "");
    for (int i = 0; i < p->items.n; i++) {
        const Item *item = &p->items.items[i];
        text_printf(&t, "; %d %d:", item->n,
                    item_layer(e, item) - item_layer(e, p->items.items));
        for (int k = 0; k < item->n; k++) {
            const Node *n = item->nodes[k];
            text_printf(&t, "\n%d", (int)n->op);
            sign_attrs(&t, n);
            for (int j = 0; j < n->n_inputs; j++)
                sign_value(e, &t, p, n->inputs[j]);
            if (read_beside(e, n))
                sign_value(e, &t, p, read_beside(e, n));
            for (int j = 0; j < op_info[n->op].outputs && !node_is(n, 'X'); j++) {
                const Node *out = emit_output(e, n, j);
                text_puts(&t, " ->");
                if (out)
                    sign_value(e, &t, p, out);
            }
        }
    }
    char *text = arena_strdup(e->scratch, t.data);
    text_release(&t);
    return text;
}

typedef struct Signed { // the routines of a phase so far
    VEC(const char *) signs;
    RoutineList routines;
} Signed;

static Routine *find_routine(Emit *e, Piece *p, Signed *known)
{
    const char *text = sign(e, p);
    for (int i = 0; i < known->signs.n; i++)
        if (!strcmp(known->signs.items[i], text))
            return known->routines.items[i];
    Routine *r = arena_new(e->scratch, Routine);
    *r = (Routine){.like = p, .arena = e->scratch};
    r->local = arena_array(e->scratch, const char *, p->values.n);
    r->used = arena_array(e->scratch, bool, p->values.n);
    vec_push(e->scratch, &known->signs, text);
    vec_push(e->scratch, &known->routines, r);
    return r;
}

PieceList pieces_of(Emit *e, Phase phase, RoutineList *routines)
{
    ItemList items = items_of(e, phase);
    PieceList pieces = cut(e, phase, &items);
    Signed known = {0};
    for (int i = 0; i < pieces.n; i++) {
        Piece *p = pieces.items[i];
        p->routine = find_routine(e, p, &known);
        p->row = p->routine->pieces.n;
        vec_push(e->scratch, &p->routine->pieces, p);
    }
    *routines = known.routines;
    return pieces;
}

// Repetition
// ----------------------------------------------------------------------------------------------

static bool same_calls(const PieceList *pieces, int i, int k, int n)
{
    for (int j = 0; j < n; j++)
        if (pieces->items[i + j]->routine != pieces->items[k + j]->routine)
            return false;
    return true;
}

void pieces_repeat(const PieceList *pieces, int i, int *length, int *times)
{
    *length = *times = 1;
    for (int n = 1; n <= MAX_PERIOD && i + 2 * n <= pieces->n; n++) {
        int t = 1;
        while (i + (t + 1) * n <= pieces->n && same_calls(pieces, i, i + t * n, n))
            t++;
        if (t > 1 && t * n > *length * *times) {
            *length = n;
            *times = t;
        }
    }
}

const char *routine_local(Routine *r, const Node *root)
{
    for (int i = 0; i < r->like->values.n; i++)
        if (r->like->values.items[i] == root) {
            if (!r->used[i])
                vec_push(r->arena, &r->order, i);
            r->used[i] = true;
            return r->local[i];
        }
    BUG("codegen", "%s is no value of %s", root->name, r->name);
}

const char *routine_stream(Routine *r, const Node *dropout)
{
    int at = 0;
    while (r->like->streams.items[at] != dropout)
        at++;
    if (r->pieces.n == 1)
        return arena_printf(r->arena, "%lld", (long long)node_int(dropout, A_STREAM));
    int seen = 0;
    while (seen < r->streams.n && r->streams.items[seen] != at)
        seen++;
    if (seen == r->streams.n)
        vec_push(r->arena, &r->streams, at);
    return arena_printf(r->arena, "call->stream_%d", at + 1);
}
