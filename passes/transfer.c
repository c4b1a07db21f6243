// Tensors that cross stages travel in fewer bytes (--transfer). Behind what makes the tensor an `encode` writes
// the message; in front of its first reader each stage has a `decode`, one for every phase that reads it. They are
// ordinary nodes, so edges, slots, memory and pictures see the bytes that travel, and schedules and runtime
// need to know nothing. What backward needs again waits as it was sent, and is decoded once more. A `decode` stands in
// front of all of the user's call that reads it, which so stays like other calls of the function (codegen/pieces.h).
//
// Tensors of a data set (images, labels, lengths), integers, numbers and what would not get smaller
// travel as they are; so do buckets and norms, which are no tensors of the graph.
#include "passes/transfer.h"

#include "ir/codec.h"
#include "passes/schedule.h"
#include "passes/values.h"

enum { MOST_TOGETHER = 128 }; // nodes

typedef struct Received { // what a stage reads in place of a tensor, or of a view of it
    Node *of, *decode;
    int stage;
    Phase phase;
} Received;

typedef struct Sender {
    Compile *c;
    Graph *g;
    const Codec *codec;
    Values values;
    int n_old;
    Node **encode; // [n_old] by id; NULL: not sent, or not as a message
    VEC(Received) received;
} Sender;

int64_t transfer_bytes(const Options *o, const Node *n)
{
    const Codec *codec = codec_find(o->transfer);
    bool real = n->dtype == F32 || n->dtype == F64 || n->dtype == BF16;
    if (!codec || !real || n->op == OP_INPUT || value_persistent(n) ||
        n->layout == LAYOUT_PITCHED)
        return n->bytes;
    int64_t bytes = codec_bytes(codec, shape_count(n->shape));
    return bytes < n->bytes ? bytes : n->bytes;
}

static int stage_of(const Sender *s, const Node *n)
{
    return node_stage(s->c->plan, n);
}

static bool sends(const Sender *s, const Node *n)
{
    Node **readers;
    if (!value_stored(n) || value_internal(&s->values, n) ||
        transfer_bytes(s->c->options, n) == n->bytes)
        return false;
    for (int i = value_readers(&s->values, n, &readers); i-- > 0;)
        if (stage_of(s, readers[i]) != stage_of(s, n))
            return true;
    return false;
}

static Node *append(Sender *s, Op op, const Node *like, const char *suffix, NodeArgs args)
{
    const char *name = arena_printf(s->g->arena, "%s.%s", like->name, suffix);
    Node *n = graph_add(s->g, op, NULL, like->loc, name, args);
    n->bytes = node_logical_bytes(n);
    return n;
}

static Node *append_encode(Sender *s, Node *n)
{
    Attr codec = attr_string(A_CODEC, s->codec->name);
    Node *encode = append(s, OP_ENCODE, n, "sent", (NodeArgs){&n, 1, &codec, 1});
    encode->phase = n->phase;
    encode->unit = value_unit(n);
    return encode;
}

static Node *append_decode(Sender *s, Node *of, const Node *reader)
{
    Node *message = s->encode[value_root(of)->id];
    Attr attrs[] = {attr_string(A_CODEC, s->codec->name), attr_shape(of->shape),
                    attr_string(A_DTYPE, dtype_name(of->dtype))};
    Node *decode = append(s, OP_DECODE, of, "received", (NodeArgs){&message, 1, attrs, 3});
    decode->phase = reader->phase;
    decode->unit = reader->unit;
    decode->layout = of->layout;
    return decode;
}

static Node *received(Sender *s, Node *of, const Node *reader)
{
    int stage = stage_of(s, reader);
    for (int i = 0; i < s->received.n; i++) {
        const Received *r = &s->received.items[i];
        if (r->of == of && r->stage == stage && r->phase == reader->phase)
            return r->decode;
    }
    Received r = {of, append_decode(s, of, reader), stage, reader->phase};
    vec_push(s->c->scratch, &s->received, r);
    return r.decode;
}

static void receive_inputs(Sender *s, Node *n)
{
    if (node_is(n, 'V') || n->op == OP_RESULT)
        return;
    for (int i = 0; i < n->n_inputs; i++) {
        const Node *root = value_root(n->inputs[i]);
        if (s->encode[root->id] && stage_of(s, root) != stage_of(s, n))
            n->inputs[i] = received(s, n->inputs[i], n);
    }
}

// A node, or a group with the leaves between its members. Gives the position behind it.
static int run_end(Node *const *old, int n, int begin)
{
    int end = begin + 1;
    for (int i = end; old[begin]->group >= 0 && i < n; i++)
        if (old[i]->group == old[begin]->group)
            end = i + 1;
        else if (!node_is(old[i], 'L'))
            break;
    return end;
}

static void place_run(Sender *s, Node *const *old, int begin, int end)
{
    for (int i = begin; i < end; i++)
        vec_push(s->g->arena, &s->g->nodes, old[i]);
    for (int i = begin; i < end; i++)
        if (sends(s, old[i]))
            s->encode[old[i]->id] = append_encode(s, old[i]);
}

static bool made_by(const Node *n, const Layer *layer, const Call *call)
{
    if (!call || !n->layer)
        return n->layer == layer;
    const Call *c = n->layer->caller;
    while (c && c != call)
        c = c->caller;
    return c;
}

// The position behind the runs that stand together, of one phase and stage and made through a call; NULL:
// by the layer itself.
static int extent(const Sender *s, Node *const *old, int begin, const Call *call)
{
    int end = begin;
    for (int i = begin; i < s->n_old; i = run_end(old, s->n_old, i)) {
        const Node *n = old[i];
        if (call && end - begin > MOST_TOGETHER)
            break;
        if (node_is(n, 'L') || node_is(n, 'V'))
            continue;
        if (n->phase != old[begin]->phase || stage_of(s, n) != stage_of(s, old[begin]) ||
            !made_by(n, old[begin]->layer, call))
            break;
        end = run_end(old, s->n_old, i);
    }
    return end;
}

// That of the outermost call that is not too long; 0: all are.
static int call_end(const Sender *s, Node *const *old, int begin, const Call *call)
{
    if (!call)
        return 0;
    int outer = call_end(s, old, begin, call->caller);
    int end = outer ? outer : extent(s, old, begin, call);
    return end - begin <= MOST_TOGETHER ? end : 0;
}

static int together_end(const Sender *s, Node *const *old, int begin)
{
    const Layer *layer = old[begin]->layer;
    int end = layer ? call_end(s, old, begin, layer->caller) : 0;
    return end ? end : extent(s, old, begin, NULL);
}

static void write_messages(Sender *s)
{
    Graph *g = s->g;
    Arena *a = s->c->scratch;
    Node **old = arena_copy(a, g->nodes.items, sizeof(Node *) * (size_t)g->nodes.n);
    s->n_old = g->nodes.n;
    s->encode = arena_array(a, Node *, s->n_old);
    g->nodes.n = 0;
    for (int i = 0, end, received = 0; i < s->n_old; i = end) {
        bool computes = !node_is(old[i], 'L') && !node_is(old[i], 'V');
        int ahead = i >= received && computes ? together_end(s, old, i) : received;
        for (; received < ahead; received++)
            receive_inputs(s, old[received]);
        end = run_end(old, s->n_old, i);
        place_run(s, old, i, end);
    }
}

// Ids change.
static void follow_nodes(Plan *p, Node *const *old)
{
    for (int u = 0; u < p->n_units; u++)
        p->units[u].node = old[p->units[u].node]->id;
}

void pass_transfer(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p || !p->n_stages || !codec_find(c->options->transfer))
        return;
    Graph *g = c->graph;
    Sender s = {.c = c, .g = g, .codec = codec_find(c->options->transfer)};
    s.values = values_of(c->scratch, g);
    Node **old = arena_copy(c->scratch, g->nodes.items, sizeof(Node *) * (size_t)g->nodes.n);
    write_messages(&s);
    graph_renumber(g);
    follow_nodes(p, old);
}

// Undone
// ---------------------------------------------------------------------------------------------

static bool is_received(const Node *n)
{
    return n->op == OP_DECODE && n->inputs[0]->op == OP_ENCODE;
}

static Node *sent(const Node *received)
{
    return received->inputs[0]->inputs[0];
}

static bool only_received(const Graph *g, const Node *encode)
{
    for (int i = 0; i < g->nodes.n; i++)
        for (int k = 0; k < g->nodes.items[i]->n_inputs; k++)
            if (g->nodes.items[i]->inputs[k] == encode && !is_received(g->nodes.items[i]))
                return false;
    return true;
}

// What was received as another shape was a view of what was sent.
static bool keep(const Graph *g, Node *n)
{
    if (n->op == OP_ENCODE)
        return !only_received(g, n);
    if (!is_received(n))
        return true;
    return !shape_equal(n->shape, sent(n)->shape);
}

void transfer_forget(Graph *g)
{
    int kept = 0;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        for (int k = 0; k < n->n_inputs; k++)
            if (is_received(n->inputs[k]) &&
                shape_equal(n->inputs[k]->shape, sent(n->inputs[k])->shape))
                n->inputs[k] = sent(n->inputs[k]);
    }
    for (int i = 0; i < g->nodes.n; i++)
        if (keep(g, g->nodes.items[i]))
            g->nodes.items[kept++] = g->nodes.items[i];
    g->nodes.n = kept;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        if (!is_received(n))
            continue;
        n->inputs[0] = sent(n);
        n->op = OP_RESHAPE;
        node_drop_attr(n, A_CODEC);
        node_drop_attr(n, A_DTYPE);
    }
}
