#include "passes/ranges.h"

#include "passes/tied.h"
#include "passes/transfer.h"
#include "plan/schedule.h"

#include <stdlib.h>

enum { ALIGN = 64 };

// Shared memory between two processes on one host, messages of tens of MiB.
static const double send_bytes_per_s = 7e9;

static int64_t aligned(int64_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static bool is_activation(const Values *v, const Node *n)
{
    return n->phase == PHASE_FORWARD && n->unit >= 0 && value_stored(n) &&
           !value_persistent(n) && !value_internal(v, n);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static Crossing crossing_of(const Compile *c, Arena *a, const Values *v, const Node *n)
{
    Node **readers;
    int count = value_readers(v, n, &readers);
    int64_t sent = transfer_bytes(&c->plan->options, n);
    Crossing t = {.made = value_unit(n), .bytes = aligned(n->bytes), .sent = aligned(sent)};
    t.coded = sent < n->bytes ? n->bytes + sent : 0;
    t.stays = t.saved = n->op == OP_INPUT || n == v->graph->loss;
    t.last = t.made;
    t.readers = arena_array(a, int, count + 1);
    for (int i = 0; i < count; i++) {
        bool late = readers[i]->phase == PHASE_BACKWARD_WEIGHT;
        bool backward = phase_is_backward(readers[i]->phase);
        t.late |= late;
        t.saved |= backward;
        t.kept |= backward && readers[i]->unit == t.made && sent < n->bytes;
        if (readers[i]->unit > t.made)
            t.readers[t.n_readers++] = readers[i]->unit;
    }
    qsort(t.readers, (size_t)t.n_readers, sizeof(int), by_number);
    if (t.n_readers)
        t.last = t.readers[t.n_readers - 1];
    return t;
}

static void find_tensors(Ranges *r, Arena *a, const Values *v)
{
    const NodeList *nodes = &r->c->graph->nodes;
    r->tensors = arena_array(a, Crossing, nodes->n);
    r->last_at = arena_array(a, int, r->n + 1);
    r->leaving = arena_array(a, int64_t, r->n);
    r->encoded = arena_array(a, int64_t, r->n);
    r->keeping = arena_array(a, int64_t, r->n);
    for (int i = 0; i < nodes->n; i++)
        if (is_activation(v, nodes->items[i])) {
            Crossing t = r->tensors[r->n_tensors++] = crossing_of(r->c, a, v, nodes->items[i]);
            r->last_at[t.last + 1]++;
            r->leaving[t.made] += t.last > t.made ? t.sent : 0;
            r->encoded[t.made] += t.last > t.made ? t.coded : 0;
            r->keeping[t.made] += t.last > t.made && t.kept ? t.bytes : 0;
        }
    for (int u = 0; u < r->n; u++)
        r->last_at[u + 1] += r->last_at[u];
    int *filled = arena_array(a, int, r->n);
    r->by_last = arena_array(a, int, r->n_tensors);
    for (int i = 0; i < r->n_tensors; i++) {
        int last = r->tensors[i].last;
        r->by_last[r->last_at[last] + filled[last]++] = i;
    }
}

static void keep_together(Ranges *r, int first, int last)
{
    for (int u = first; u < last; u++)
        r->cut[u] = false;
}

// One program reports loss and predictions, so they share a stage; so do their eval twins. (The twin
// of a dropout is a view of what stands before it.)
static void keep_results_together(Ranges *r, const Graph *g)
{
    int low = r->n, high = 0;
    if (!g->loss || !g->output)
        return;
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        const Node *of = n->phase == PHASE_EVAL ? n->forward : n;
        if (!of || (of != g->loss && of != g->output))
            continue;
        int unit = value_unit(value_root(n));
        low = unit < low ? unit : low;
        high = unit > high ? unit : high;
    }
    keep_together(r, low, high);
}

// Stages may share a parameter if an update waits for all gradients of its step.
static bool may_share(const Ranges *r, const Node *n)
{
    return tied_owner(n) && !schedule_asynchronous(&r->c->plan->options);
}

static void find_tied(Ranges *r, Arena *a, const Values *v)
{
    const NodeList *nodes = &r->c->graph->nodes;
    Tied *of = arena_array(a, Tied, nodes->n);
    for (int i = 0; i < nodes->n; i++) {
        Node *n = nodes->items[i], **readers;
        const Node *owner = value_persistent(n) ? tied_owner(n) : NULL;
        if (!owner || !may_share(r, n))
            continue;
        TiedPart part = {n->unit, aligned(n->bytes), n->op == OP_ACCUMULATOR};
        vec_push(a, &of[owner->id].parts, part);
        for (int k = n == owner ? value_readers(v, n, &readers) : 0; k-- > 0;)
            if (readers[k]->phase != PHASE_UPDATE && readers[k]->unit != n->unit)
                vec_push(a, &of[owner->id].users, readers[k]->unit);
    }
    for (int i = 0; i < nodes->n; i++)
        if (of[i].users.n) {
            vec_push(a, &of[i].users, nodes->items[i]->unit);
            vec_push(a, &r->tied, of[i]);
        }
}

// A stored tensor and all its readers share a stage.
static void find_cuts(Ranges *r, const Values *v)
{
    const Graph *g = r->c->graph;
    for (int u = 0; u < r->n; u++)
        r->cut[u] = u < r->n - 1;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (!value_persistent(n) || n->unit < 0 || may_share(r, n))
            continue;
        Node **readers;
        int low = n->unit, high = n->unit;
        for (int k = value_readers(v, n, &readers); k-- > 0;) {
            low = readers[k]->unit < low ? readers[k]->unit : low;
            high = readers[k]->unit > high ? readers[k]->unit : high;
        }
        keep_together(r, low, high);
    }
    keep_results_together(r, g);
}

// The largest sum, over the moments in which a unit runs, of values that live within one instruction.
static void find_scratch(Ranges *r, Arena *a, const Values *v)
{
    const NodeList *nodes = &r->c->graph->nodes;
    int64_t *change = arena_array(a, int64_t, nodes->n + 1), alive = 0;
    for (int i = 0; i < nodes->n; i++) {
        const Node *n = nodes->items[i];
        Node **readers;
        int last = i;
        bool saved = n->op == OP_INPUT || !value_stored(n) || value_persistent(n) ||
                     value_internal(v, n);
        for (int k = value_readers(v, n, &readers); k-- > 0;) {
            saved |= readers[k]->phase != n->phase;
            last = readers[k]->id > last ? readers[k]->id : last;
        }
        change[i] += saved ? 0 : aligned(n->bytes);
        change[last + 1] -= saved ? 0 : aligned(n->bytes);
    }
    for (int i = 0; i < nodes->n; i++) {
        int unit = value_unit(nodes->items[i]);
        alive += change[i];
        if (unit >= 0 && alive > r->scratch[unit])
            r->scratch[unit] = alive;
    }
}

static bool waits_for_weights(const Values *v, const Node *n)
{
    Node **readers;
    bool late = false;
    for (int k = value_readers(v, n, &readers); k-- > 0;)
        late |= readers[k]->phase == PHASE_BACKWARD_WEIGHT;
    return late && n->phase == PHASE_BACKWARD && value_stored(n) && !value_persistent(n);
}

Ranges ranges_of(Compile *c)
{
    const Plan *p = c->plan;
    Arena *a = c->scratch;
    int n = p->n_units;
    Values v = values_of(a, c->graph);
    Ranges r = {.c = c, .n = n};
    r.cut = arena_array(a, bool, n);
    r.work = arena_array(a, double, n + 1);
    r.forward = arena_array(a, double, n + 1);
    r.persistent = arena_array(a, int64_t, n + 1);
    r.parameters = arena_array(a, int64_t, n + 1);
    r.gradients = arena_array(a, int64_t, n + 1);
    r.late = arena_array(a, int64_t, n + 1);
    r.scratch = arena_array(a, int64_t, n);
    r.arriving = arena_array(a, int64_t, n);
    r.decoded = arena_array(a, int64_t, n);
    for (int i = 0; i < c->graph->nodes.n; i++) {
        const Node *node = c->graph->nodes.items[i];
        if (value_persistent(node) && node->unit >= 0)
            r.persistent[node->unit + 1] += aligned(node->bytes);
        if (node->op == OP_PARAM && node->unit >= 0)
            r.parameters[node->unit + 1] += aligned(node->bytes);
        if (node->op == OP_ACCUMULATOR && node->unit >= 0)
            r.gradients[node->unit + 1] += aligned(node->bytes);
        if (waits_for_weights(&v, node))
            r.late[value_unit(node) + 1] += aligned(node->bytes);
    }
    for (int u = 0; u < n; u++) {
        r.work[u + 1] = r.work[u] + p->units[u].forward_s + p->units[u].backward_s;
        r.forward[u + 1] = r.forward[u] + p->units[u].forward_s;
        r.persistent[u + 1] += r.persistent[u];
        r.parameters[u + 1] += r.parameters[u];
        r.gradients[u + 1] += r.gradients[u];
        r.late[u + 1] += r.late[u];
    }
    find_tensors(&r, a, &v);
    find_cuts(&r, &v);
    find_tied(&r, a, &v);
    find_scratch(&r, a, &v);
    return r;
}

void ranges_begin(Ranges *r, int first)
{
    for (int u = 0; u < r->n; u++)
        r->arriving[u] = r->decoded[u] = 0;
    for (int i = 0; i < r->n_tensors; i++) {
        Crossing *t = &r->tensors[i];
        if (first == 0 || (t->next && t->readers[t->next - 1] >= first))
            t->next = 0; // runs need not be asked for in order
        while (t->next < t->n_readers && t->readers[t->next] < first)
            t->next++;
        if (t->made < first && t->next < t->n_readers) {
            r->arriving[t->readers[t->next]] += t->sent;
            r->decoded[t->readers[t->next]] += t->coded;
        }
    }
    r->run = (Range){.first = first, .last = first - 1};
}

static bool inside(const Range *run, int unit)
{
    return unit >= run->first && unit <= run->last;
}

// What the run holds of a parameter that it uses beside what is counted with its own units. Its gradients are
// sent and the others' received, each in a message.
static void add_tied(Range *run, const Tied *t)
{
    int used = 0;
    for (int i = 0; i < t->users.n; i++)
        used += inside(run, t->users.items[i]);
    if (!used || used == t->users.n)
        return;
    for (int i = 0; i < t->parts.n; i++) {
        const TiedPart *part = &t->parts.items[i];
        bool own = inside(run, part->unit);
        run->persistent += own ? 0 : part->bytes;
        run->shared += part->gradient ? part->bytes : 0;
        run->sent += own && part->gradient ? part->bytes : 0;
    }
}

const Range *ranges_extend(Ranges *r)
{
    Range *run = &r->run;
    int u = ++run->last;
    run->forward_s = r->forward[u + 1] - r->forward[run->first];
    run->persistent = r->persistent[u + 1] - r->persistent[run->first];
    run->parameters = r->parameters[u + 1] - r->parameters[run->first];
    run->gradients = r->gradients[u + 1] - r->gradients[run->first];
    run->late += r->late[u + 1] - r->late[u];
    run->made_late += r->late[u + 1] - r->late[u];
    run->in += r->arriving[u];
    run->out += r->leaving[u];
    run->decoded += r->decoded[u];
    run->encoded += r->encoded[u];
    run->saved += r->keeping[u];
    run->scratch = r->scratch[u] > run->scratch ? r->scratch[u] : run->scratch;
    for (int i = r->last_at[u]; i < r->last_at[u + 1]; i++) {
        const Crossing *t = &r->tensors[r->by_last[i]];
        if (t->made < run->first)
            continue;
        run->out -= t->made < u ? t->sent : 0;
        run->encoded -= t->made < u ? t->coded : 0;
        run->saved += t->saved ? t->bytes : 0;
        run->saved -= t->made < u && t->kept ? t->bytes : 0;
        run->stays += t->stays ? t->bytes : 0;
        run->late += t->late ? t->bytes : 0;
    }
    run->compute_s = r->work[u + 1] - r->work[run->first] + 2 * range_codec_s(r, run);
    run->shared = run->sent = 0;
    for (int i = 0; i < r->tied.n; i++)
        add_tied(run, &r->tied.items[i]);
    return run;
}

const Range *range_of(Ranges *r, int first, int last)
{
    ranges_begin(r, first);
    while (r->run.last < last)
        ranges_extend(r);
    return &r->run;
}

double range_send_s(const Range *r)
{
    return (double)(r->in + r->out) / send_bytes_per_s;
}

double range_codec_s(const Ranges *all, const Range *r)
{
    return cost_move_s(all->c, r->decoded + r->encoded);
}

// Every replica sends the buckets that others sum up, sums up its own, and receives the others' sums. Gradients
// of tied weights are copied into messages and out of them.
double range_sync_s(const Ranges *all, const Range *r, int replicas)
{
    double moved = (double)r->shared;
    if (replicas > 1)
        moved += (2.0 * (replicas - 1) / replicas + 1) * (double)r->gradients;
    return moved / send_bytes_per_s / (double)all->c->plan->options.micro_batches;
}

Range range_again(const Range *r)
{
    Range again = *r;
    again.compute_s += r->forward_s;
    again.scratch += r->saved - r->stays;
    again.saved = r->stays;
    again.late = r->made_late + r->stays;
    return again;
}

// Outgoing activations wait in their edges as long as in flight; gradients, as large as what came in,
// need two slots, or wait for the gradients of weights. What backward has read makes room for those that
// it leaves behind for them. What came in encoded is decoded in scratch.
StageMemory range_memory(const Ranges *all, const Range *r, int replicas, int in_flight,
                         int versions, const DeviceMemory *device)
{
    const Options *o = &all->c->plan->options;
    int64_t gradients = schedule_splits(o) ? in_flight + 1 : 2;
    int64_t micro_batches = schedule_asynchronous(o) ? gradients : o->micro_batches; // or more
    int64_t edges =
        r->out * in_flight + r->in * (micro_batches < gradients ? micro_batches : gradients);
    edges += replicas > 1 ? r->gradients : 0; // a message each
    edges += r->sent;
    int64_t older = r->parameters * (versions - 1);
    return (StageMemory){
        .persistent = r->persistent,
        .older_weights = older,
        .slot = r->late > r->saved ? r->late : r->saved,
        .in_flight = in_flight,
        .scratch = r->scratch + r->decoded,
        .edges = edges,
        .library = memory_of_device(all->c, device, r->parameters + older, r->first == 0),
        .on_device = device != NULL};
}
