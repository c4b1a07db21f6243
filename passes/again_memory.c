// What a stage takes that computes a set of nodes again: what waits for backward, and what lives within
// one instruction. Moments and lifetimes are those of the pass `memory`, which places the tensors.
#include "passes/again.h"

#include "passes/pack.h"

typedef struct Life {
    int begin, end;
    bool made, read;
    bool outside; // by others than its group
} Life;

typedef struct Region {
    Block *blocks;
    int n;
} Region;

typedef struct Times {
    Again *a;
    const bool *again;
    Life *values;       // by id
    Life *copies;       // likewise, of those that the running phase makes again
    int ends[N_PHASES]; // moments up to its end
    int now;
    Region slot, scratch[N_PHASES];
    double seconds[N_PHASES]; // of what is made again
} Times;

static int64_t aligned(int64_t bytes)
{
    return (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

static Times times_new(Again *a, const bool *again)
{
    Times t = {.a = a, .again = again};
    int n = a->values->graph->nodes.n;
    t.values = arena_array(&a->work, Life, n);
    t.slot.blocks = arena_array(&a->work, Block, n);
    return t;
}

static void add_block(Region *r, const Node *n, const Life *life)
{
    CHECK(r->blocks, "recompute", "%s is of a phase that has not run", n->name);
    r->blocks[r->n++] = (Block){.bytes = n->bytes, .begin = life->begin, .end = life->end};
}

// Phases
// -------------------------------------------------------------------------------------------

// The order of forward, update and evaluation stays.
static AgainSteps steps_of(const Times *t, Phase phase)
{
    AgainSteps steps = {0};
    const NodeList *nodes = &t->a->nodes[phase];
    if (phase_is_backward(phase))
        return again_steps(t->a, t->again, phase);
    for (int i = 0, moment = 0; i < nodes->n; i++) {
        Node *n = nodes->items[i];
        moment += i && (n->group < 0 || n->group != nodes->items[i - 1]->group);
        AgainStep step = {n, false, moment};
        vec_push(&t->a->work, &steps, step);
    }
    return steps;
}

static void read_inputs(Times *t, const Node *n, Phase phase, int moment)
{
    for (int k = 0; k < n->n_inputs; k++) {
        Node *root = value_root(n->inputs[k]);
        bool copy = phase != PHASE_FORWARD && again_made(t->a, t->again, root);
        Life *life = copy ? &t->copies[root->id] : &t->values[root->id];
        life->end = moment;
        life->read = true;
        life->outside |= !value_handed_on(root, n);
    }
}

static void make(Life *life, int moment)
{
    life->made = true;
    life->begin = moment;
    life->end = life->read ? life->end : moment;
}

static void make_results(Times *t)
{
    for (int i = 0; i < t->a->results.n; i++) {
        const Node *n = t->a->results.items[i];
        int maker = n->inputs[0]->id;
        if (t->values[maker].made && !t->values[n->id].made)
            make(&t->values[n->id], t->values[maker].begin);
        if (t->copies[maker].made)
            make(&t->copies[n->id], t->copies[maker].begin);
    }
}

static bool internal(const Life *life)
{
    return life->read && !life->outside;
}

// Copies of outputs that nobody reads are not made.
static void place_copies(Times *t, Phase phase)
{
    const NodeList *all = &t->a->values->graph->nodes;
    for (int i = 0; i < all->n; i++) {
        const Node *n = all->items[i];
        bool wanted = n->op != OP_RESULT || t->copies[i].read;
        if (t->copies[i].made && wanted && !internal(&t->copies[i]) && value_stored(n))
            add_block(&t->scratch[phase], n, &t->copies[i]);
    }
}

static void run(Times *t, Phase phase)
{
    int n = t->a->values->graph->nodes.n;
    AgainSteps steps = steps_of(t, phase);
    t->copies = arena_array(&t->a->work, Life, n);
    t->scratch[phase].blocks = arena_array(&t->a->work, Block, 2 * n);
    for (int i = 0; i < steps.n; i++) {
        const AgainStep *s = &steps.items[i];
        int moment = t->now + s->moment, id = s->node->id;
        make(s->again ? &t->copies[id] : &t->values[id], moment);
        read_inputs(t, s->node, phase, moment);
        t->seconds[phase] += s->again ? t->a->c->node_s[id] : 0;
    }
    t->now += steps.n ? steps.items[steps.n - 1].moment + 1 : 0;
    t->ends[phase] = t->now;
    make_results(t);
    place_copies(t, phase);
}

// Places
// --------------------------------------------------------------------------------------------

// Inputs are there before the first node runs; in evaluation, what the runtime reads stays.
static void live_outside(Times *t, Phase phase)
{
    const Graph *g = t->a->values->graph;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        bool input = n->op == OP_INPUT && n->phase == phase && t->a->stage == 0;
        bool target = input && node_string(n, A_ROLE)[0] == 't';
        t->values[i].made |= input;
        t->values[i].outside |= t->a->values->kept[i];
        if (phase == PHASE_EVAL && (target || t->a->values->kept[i]))
            t->values[i].end = t->now - 1;
    }
}

static void place_values(Times *t)
{
    const Graph *g = t->a->values->graph;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        const Life *life = &t->values[i];
        if (!life->made || internal(life) || t->a->crosses[i] || !value_stored(n) ||
            value_persistent(n))
            continue;
        bool waits = n->phase == PHASE_FORWARD && (n->op == OP_INPUT || n == g->loss);
        waits |= n->phase < PHASE_UPDATE && life->end >= t->ends[n->phase];
        add_block(waits ? &t->slot : &t->scratch[n->phase], n, life);
    }
}

static int64_t peak(const Times *t, const Region *r)
{
    int64_t *change = arena_array(&t->a->work, int64_t, t->now + 1), alive = 0, most = 0;
    for (int i = 0; i < r->n; i++) {
        change[r->blocks[i].begin] += aligned(r->blocks[i].bytes);
        change[r->blocks[i].end + 1] -= aligned(r->blocks[i].bytes);
    }
    for (int i = 0; i < t->now; i++) {
        alive += change[i];
        most = alive > most ? alive : most;
    }
    return most;
}

static int64_t size(const Times *t, const Region *r, bool packed)
{
    return packed ? pack(&t->a->work, r->blocks, r->n) : peak(t, r);
}

int64_t again_scratch(Again *a, Phase phase)
{
    Times t = times_new(a, NULL);
    run(&t, phase);
    live_outside(&t, phase);
    place_values(&t);
    int64_t bytes = size(&t, &t.scratch[phase], true);
    arena_reset(&a->work);
    return bytes;
}

AgainCost again_cost(Again *a, const bool *again, bool packed)
{
    Times t = times_new(a, again);
    for (int phase = PHASE_FORWARD; phase < PHASE_UPDATE; phase++)
        run(&t, (Phase)phase);
    live_outside(&t, PHASE_FORWARD);
    place_values(&t);
    AgainCost cost = {.slot_bytes = size(&t, &t.slot, packed), .scratch_bytes = a->others};
    for (int phase = PHASE_FORWARD; phase < PHASE_UPDATE; phase++) {
        int64_t bytes = size(&t, &t.scratch[phase], packed);
        cost.scratch_bytes = bytes > cost.scratch_bytes ? bytes : cost.scratch_bytes;
        cost.seconds += cost.of_phase[phase] = t.seconds[phase];
    }
    arena_reset(&a->work);
    return cost;
}

int64_t again_bytes(const Again *a, AgainCost cost)
{
    return a->in_flight * cost.slot_bytes + cost.scratch_bytes;
}
