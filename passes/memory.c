// Gives every tensor of every stage its place (docs/internals.md, "Memory of a stage"). A tensor lies
// in the slot of an edge if it crosses stages; else with the parameters if it outlives a step; else in
// the micro-batch's slot if a later instruction reads it; else in scratch, where the instructions overlay each
// other and tensors overlay those that are dead. A group of fused nodes is one moment, but an element-wise
// result may lie where an input of its loop lies that dies there. Parameters with
// several versions lie at the end of what outlives a step, and their other versions right behind it.
#include "ir/product.h"
#include "passes/pack.h"
#include "passes/planner/planner.h"
#include "passes/tied.h"
#include "passes/values.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct Region { // blocks to be packed, and whose they are
    VEC(Block) blocks;
    VEC(int) nodes;
} Region;

typedef struct Library {
    int64_t bytes; // scratch and copies
    int calls;
} Library;

typedef struct Placer {
    Compile *c;
    Plan *plan;
    Values values;
    int *begin, *end; // [nodes] moments: ids of the first and last node of the node's group
    int *edge;        // [nodes] index of its first edge, or -1
    PlanStage *stage;
    Library whole; // calls of the whole model
    Region persistent, weights, slot, scratch[N_PHASES];
    bool in_place; // results may take over blocks
    Region **held; // [nodes] slot or scratch, where its block lies; NULL: neither
    int *block;    // [nodes] which one there
    bool *given;   // [nodes] its block was taken over
} Placer;

static int64_t aligned(int64_t bytes)
{
    return (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

static void find_moments(Placer *p)
{
    const NodeList *nodes = &p->c->graph->nodes;
    int *first = arena_array(p->c->scratch, int, nodes->n);
    int *last = arena_array(p->c->scratch, int, nodes->n);
    p->begin = arena_array(p->c->scratch, int, nodes->n);
    p->end = arena_array(p->c->scratch, int, nodes->n);
    for (int i = nodes->n; i-- > 0;)
        if (nodes->items[i]->group >= 0)
            first[nodes->items[i]->group] = i;
    for (int i = 0; i < nodes->n; i++)
        if (nodes->items[i]->group >= 0)
            last[nodes->items[i]->group] = i;
    for (int i = 0; i < nodes->n; i++) {
        const Node *n = nodes->items[i];
        while (n->op == OP_RESULT)
            n = n->inputs[0];
        p->begin[i] = n->group >= 0 ? first[n->group] : n->id;
        p->end[i] = n->group >= 0 ? last[n->group] : n->id;
    }
}

static bool mine(const Placer *p, const Node *n)
{
    return tied_in(p->plan, &p->values, n, p->stage->id);
}

static void add_block(Placer *p, Region *r, const Node *n, int begin, int end)
{
    Block b = {.bytes = n->bytes, .begin = begin, .end = end};
    vec_push(p->c->scratch, &r->blocks, b);
    vec_push(p->c->scratch, &r->nodes, n->id);
}

// Evaluation: inputs are there before the first node runs; what the runtime reads afterwards (loss,
// predictions and the targets that it compares them with) must not be overlaid.
static void live_outside(const Placer *p, const Node *n, int *begin, int *end)
{
    if (n->phase != PHASE_EVAL)
        return;
    bool input = n->op == OP_INPUT;
    if (input)
        *begin = 0;
    if (p->values.kept[n->id] || (input && node_string(n, A_ROLE)[0] == 't'))
        *end = INT_MAX;
}

static bool is_norm(const Node *n)
{
    return n->op == OP_BATCH_NORM || n->op == OP_BATCH_NORM_INFER ||
           n->op == OP_BATCH_NORM_GRAD;
}

static bool by_element(const Node *n)
{
    return node_is(n, 'E') || is_norm(n);
}

// Does v, an input of o's loop, die there, and before the member that makes o is through with an element? Then
// that element may be written over it.
static bool dies_for(const Placer *p, Node *v, const Node *o)
{
    Node **readers;
    bool same = v->dtype == o->dtype && v->layout == o->layout && v->bytes == o->bytes &&
                shape_equal(v->shape, o->shape);
    bool there =
        p->begin[v->id] < p->begin[o->id] || node_is(v, 'H'); // a head is no part of the loop
    bool free = same && v->op != OP_INPUT && p->held[v->id] && !p->given[v->id] &&
                !p->values.kept[v->id] && there;
    for (int i = free ? value_readers(&p->values, v, &readers) : 0; i-- > 0;)
        if (p->end[readers[i]->id] >= p->begin[o->id])
            free &= readers[i]->id <= o->id && by_element(readers[i]);
    return free;
}

// What is stored before a norm's gradients are summed up is too early: other members may be computed again
// from their inputs behind that.
static bool stored_early(const Placer *p, const Node *o)
{
    for (int i = o->id + 1; i <= p->end[o->id]; i++) {
        const Node *n = p->c->graph->nodes.items[i];
        if (n->group == o->group && n->op == OP_BATCH_NORM_GRAD)
            return true;
    }
    return false;
}

// NULL: there is none.
static const Node *dying_input(const Placer *p, const Node *o)
{
    if (!by_element(o) || stored_early(p, o))
        return NULL;
    for (int i = p->begin[o->id]; i <= o->id; i++) {
        const Node *n = p->c->graph->nodes.items[i];
        bool member = n == o || (n->group >= 0 && n->group == o->group);
        for (int k = 0; k < n->n_inputs && member; k++)
            if (dies_for(p, n->inputs[k], o))
                return n->inputs[k];
    }
    return NULL;
}

static void hold(Placer *p, Region *r, const Node *n, int begin, int end)
{
    p->held[n->id] = r;
    p->block[n->id] = r->blocks.n;
    add_block(p, r, n, begin, end);
}

// What waits for backward has a block of its own: it would take the memory of every micro-batch in flight from
// an earlier moment on.
static void take_over(Placer *p, const Node *v, const Node *o, int end)
{
    Block *b = &p->held[v->id]->blocks.items[p->block[v->id]];
    b->end = end > b->end ? end : b->end;
    p->held[o->id] = p->held[v->id];
    p->block[o->id] = p->block[v->id];
    p->given[v->id] = true;
}

static void place_value(Placer *p, const Node *n)
{
    Node **readers;
    int begin = p->begin[n->id], end = p->end[n->id];
    bool waits = n->phase == PHASE_FORWARD && (n->op == OP_INPUT || n == p->c->graph->loss);
    for (int i = value_readers(&p->values, n, &readers); i-- > 0;) {
        Phase by = readers[i]->phase;
        CHECK(by == n->phase || (n->phase < by && by <= PHASE_BACKWARD_WEIGHT), "memory",
              "%s does not live until %s", n->name, readers[i]->name);
        int used = p->end[readers[i]->id];
        end = used > end ? used : end;
        waits |= by != n->phase;
    }
    live_outside(p, n, &begin, &end);
    const Node *dying = p->in_place && !waits ? dying_input(p, n) : NULL;
    if (dying)
        take_over(p, dying, n, end);
    else
        hold(p, waits ? &p->slot : &p->scratch[n->phase], n, begin, end);
}

static void place_node(Placer *p, const Node *n)
{
    int e = p->edge[n->id];
    if (!value_stored(n) || value_internal(&p->values, n))
        return;
    if (e >= 0 && p->plan->edges[e].touch[p->stage->first_rank])
        p->stage->places[n->id] = (Place){PLACE_EDGE, e, 0, n->bytes};
    else if (e >= 0 || !mine(p, n))
        return;
    else if (n->op == OP_PARAM && p->stage->versions > 1)
        add_block(p, &p->weights, n, 0, INT_MAX);
    else if (value_persistent(n))
        add_block(p, &p->persistent, n, 0, INT_MAX);
    else
        place_value(p, n);
}

static int64_t pack_region(Placer *p, Region *r, PlaceKind kind)
{
    int64_t size = pack(p->c->scratch, r->blocks.items, r->blocks.n);
    for (int i = 0; i < p->plan->n_nodes; i++)
        if (p->held[i] == r) {
            const Block *b = &r->blocks.items[p->block[i]];
            p->stage->places[i] = (Place){kind, -1, b->offset, b->bytes};
        }
    return size;
}

// Parameters lie in the order of the model, so that a dump of the memory can be read. Gives the end.
static int64_t line_up(Placer *p, Region *r, PlaceKind kind, int64_t at)
{
    for (int i = 0; i < r->blocks.n; i++) {
        int64_t bytes = r->blocks.items[i].bytes;
        p->stage->places[r->nodes.items[i]] = (Place){kind, -1, at, bytes};
        at += aligned(bytes);
    }
    return at;
}

// Winograd's algorithm holds image, result and weight in tiles of 6 x 6 for every 4 x 4 pixels (for every
// 3 x 3 weights), and sums up the gradient of a weight in every thread; a fifth more for rounding up.
static int64_t winograd_scratch(const Compile *c, const Node *n)
{
    bool weight = n->op == OP_CONV2D_GRAD_WEIGHT;
    Shape x = n->inputs[0]->shape, y = weight ? n->inputs[1]->shape : n->shape;
    int64_t tiles = x.dim[0] * ((x.dim[2] + 3) / 4) * ((x.dim[3] + 3) / 4);
    int64_t weights = x.dim[1] * y.dim[1] * (weight ? 1 + c->options->threads : 1);
    return 36 * dtype_bytes(n->dtype) * (tiles * (x.dim[1] + y.dim[1]) + weights) * 6 / 5;
}

// Strassen's algorithm packs its operands in pieces, every thread its own (runtime/kernels/strassen.c).
static int64_t fast_scratch(const Compile *c, const Node *n)
{
    return is_product(n->op) ? (int64_t)c->options->threads * (5 << 20)
                             : winograd_scratch(c, n);
}

// What a library kernel takes beside its tensors where nobody has measured it: for every thread as
// much as its largest tensor, and a copy of the weight in another layout for the backward kernel.
static PlanKernel bound(const Compile *c, const Node *n)
{
    if (node_attr(n, A_FAST))
        return (PlanKernel){.scratch_bytes = fast_scratch(c, n)};
    PlanKernel k = {.scratch_bytes = n->bytes};
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i]->bytes > k.scratch_bytes)
            k.scratch_bytes = n->inputs[i]->bytes;
    k.scratch_bytes *= c->options->threads;
    const Node *weight =
        n->inputs[1]; // beside bf16 a weight is f32, and its copy half as large
    bool narrow = n->inputs[0]->dtype == BF16 && weight->dtype == F32;
    k.kept_bytes = narrow                          ? weight->bytes / 2
                   : n->op == OP_CONV2D_GRAD_INPUT ? weight->bytes
                                                   : 0;
    return k;
}

typedef struct Kept {
    const char *key;
    struct Kept *next;
} Kept;

// Is the kernel's copy of its weight one that no kernel before it keeps? All products share one, and so do
// equal kernels of forward, evaluation and what is computed again. kept: by weight.
static bool keeps_another(Arena *a, Kept **kept, const Node *n, const char *key)
{
    const Node *weight = value_root(n->inputs[1]);
    if (weight->op != OP_PARAM)
        return false;
    Kept copy = {is_product(n->op) ? "product" : key, kept[weight->id]};
    for (const Kept *k = copy.next; k; k = k->next)
        if (!strcmp(k->key, copy.key))
            return false;
    kept[weight->id] = arena_copy(a, &copy, sizeof copy);
    return true;
}

// Calls share one scratch memory; what is kept adds up (once a step, so one micro-batch keeps nothing).
// However many versions of a weight there are, there is one copy, of the version that is worked with.
static Library count_library(const Placer *p, bool whole_model)
{
    const Compile *c = p->c;
    Kept **copies = arena_array(c->scratch, Kept *, c->graph->next_id + 1);
    int64_t scratch = 0, kept = 0;
    int calls = 0;
    for (int i = 0; c->kernel_key && i < c->graph->nodes.n; i++) {
        const Node *n = c->graph->nodes.items[i];
        if (node_is(n, 'L') || (!whole_model && node_stage(p->plan, n) != p->stage->id))
            continue;
        const char *key = c->kernel_key(c->scratch, c->graph, n);
        const PlanKernel *found = key ? plan_kernel(c->plan, key) : NULL;
        PlanKernel k = found ? *found : key ? bound(c, n) : (PlanKernel){0};
        scratch = k.scratch_bytes > scratch ? k.scratch_bytes : scratch;
        if (c->options->micro_batches > 1 && k.kept_bytes &&
            keeps_another(c->scratch, copies, n, key))
            kept += aligned(k.kept_bytes);
        calls += key != NULL;
    }
    return (Library){aligned(scratch) + kept, calls};
}

// A process as it starts, and what the library keeps for every call beside what the kernels say of
// themselves: code that it made, descriptions. Both measured in one program of the whole model.
static void count_process(const Placer *p, Library stage, Library whole)
{
    const ProgramCosts *measured = &p->c->program;
    double rest = (double)(measured->library_bytes - whole.bytes);
    p->stage->library_bytes = stage.bytes;
    p->stage->process_bytes = measured->process_bytes;
    if (rest > 0 && measured->process_bytes && whole.calls)
        p->stage->process_bytes += (int64_t)(rest * stage.calls / whole.calls);
}

int64_t memory_library_bytes(Compile *c, PlanStage *s, int64_t parameters)
{
    Placer p = {.c = c, .plan = c->plan, .stage = s};
    return count_library(&p, false).bytes +
           memory_of_device(c, memory_device_of(c, s), parameters, s->id == 0) +
           memory_of_calls(c, c->plan, s);
}

static int64_t bytes_of(const Placer *p, const Region *r, Op op)
{
    int64_t bytes = 0;
    for (int i = 0; i < r->blocks.n; i++) {
        const Node *n = p->c->graph->nodes.items[r->nodes.items[i]];
        bytes += n->op == op ? aligned(n->bytes) : 0;
    }
    return bytes;
}

// In all versions.
static int64_t parameter_bytes(const Placer *p)
{
    return bytes_of(p, &p->persistent, OP_PARAM) + bytes_of(p, &p->weights, OP_PARAM) +
           plan_weight_bytes(p->stage);
}

static void place_stage(Placer *p)
{
    PlanStage *s = p->stage;
    int n = p->plan->n_nodes;
    s->places = arena_array(p->c->perm, Place, n);
    p->block = arena_array(p->c->scratch, int, n);
    p->held = arena_array(p->c->scratch, Region *, n);
    p->given = arena_array(p->c->scratch, bool, n);
    for (int i = 0; i < n; i++) {
        s->places[i].edge = -1;
        place_node(p, p->c->graph->nodes.items[i]);
    }
    int64_t others = line_up(p, &p->persistent, PLACE_PERSISTENT, 0);
    s->persistent_bytes = line_up(p, &p->weights, PLACE_WEIGHT, others);
    s->version_bytes = s->persistent_bytes - others;
    s->state_bytes = s->persistent_bytes - bytes_of(p, &p->persistent, OP_ACCUMULATOR);
    s->slot_bytes = pack_region(p, &p->slot, PLACE_SLOT);
    for (int phase = 0; phase < N_PHASES; phase++) {
        int64_t bytes = pack_region(p, &p->scratch[phase], PLACE_SCRATCH);
        s->scratch_bytes = bytes > s->scratch_bytes ? bytes : s->scratch_bytes;
    }
    plan_count_edges(p->plan, s, memory_device_of(p->c, s) != NULL);
    count_process(p, count_library(p, false), p->whole);
    s->library_bytes +=
        memory_of_device(p->c, memory_device_of(p->c, s), parameter_bytes(p), s->id == 0) +
        memory_of_calls(p->c, p->plan, s);
}

int64_t memory_limit(const Compile *c, const MachineType *type)
{
    int64_t limit = c->memory_limit / c->options->virtual_stages; // equal parts of a machine's
    double own = type ? type->memory_bytes : 0;
    return own > 0 && (!limit || own < (double)limit) ? (int64_t)own : limit;
}

const DeviceMemory *memory_device_of(const Compile *c, const PlanStage *s)
{
    const Machines *m = s->n_devices && s->backend ? c->machines : NULL;
    return memory_device(c, m ? &m->types[m->type[s->devices[0]]] : NULL);
}

const DeviceMemory *memory_device(const Compile *c, const MachineType *type)
{
    return type && type->backend ? type->device : c->device;
}

int64_t memory_limit_of(const Compile *c, const PlanStage *s)
{
    const Machines *m = s->n_devices ? c->machines : NULL;
    return memory_limit(c, m ? &m->types[m->type[s->devices[0]]] : NULL);
}

// Stages on one machine share its memory.
static void check_machine(Compile *c, int machine)
{
    const Plan *p = c->plan;
    int machines = schedule_machines(c->options, p->n_stages);
    char need[32], limit[32];
    int64_t bytes = 0;
    for (int s = machine; s < p->n_stages; s += machines)
        bytes += plan_stage_bytes(&p->stages[s]);
    if (!c->memory_limit || bytes <= c->memory_limit)
        return;
    error_at(
        (Loc){c->graph->file ? c->graph->file : p->source, 0, 0},
        "the %d stages of machine %d need %s, and %s are allowed; try more machines or smaller "
        "micro-batches",
        p->n_stages / machines, machine, human_bytes(need, bytes),
        human_bytes(limit, c->memory_limit));
    memory_note_largest(c, machine);
    c->no_plan = true;
}

static void check_limit(Compile *c, const PlanStage *s)
{
    char need[32], allowed[32];
    int64_t limit = memory_limit_of(c, s);
    if (!limit || plan_stage_bytes(s) <= limit)
        return;
    error_at((Loc){c->graph->file ? c->graph->file : c->plan->source, 0, 0},
             "stage %d needs %s, and %s a stage are allowed; try more stages or smaller "
             "micro-batches",
             s->id, human_bytes(need, plan_stage_bytes(s)), human_bytes(allowed, limit));
    StageMemory parts = stage_memory(s);
    parts.on_device = memory_device_of(c, s) != NULL;
    memory_note_parts(c, s->id, &parts);
    memory_note_largest(c, s->id);
    c->no_plan = true;
}

void memory_place(Compile *c, Plan *plan)
{
    plan->n_nodes = c->graph->nodes.n;
    Placer common = {.c = c, .plan = plan, .values = values_of(c->scratch, c->graph)};
    find_moments(&common);
    common.edge = arena_array(c->scratch, int, plan->n_nodes);
    for (int i = 0; i < plan->n_nodes; i++)
        common.edge[i] = -1;
    for (int e = 0; e < plan->n_edges; e++)
        if (plan->edges[e].node >= 0 && plan->edges[e].first == 0)
            common.edge[plan->edges[e].node] = e;
    common.whole = count_library(&common, true);
    for (int i = 0; i < plan->n_stages; i++) {
        PlanStage apart = plan->stages[i]; // blocks that live longer may pack worse
        Placer p = common, q = common;
        p.in_place = true;
        p.stage = &plan->stages[i];
        q.stage = &apart;
        place_stage(&p);
        place_stage(&q);
        if (apart.scratch_bytes < p.stage->scratch_bytes)
            *p.stage = apart;
    }
}

void pass_memory(Compile *c)
{
    Plan *plan = c->plan;
    if (!c->stages || !plan || !plan->n_stages)
        return;
    memory_place(c, plan);
    bool alone = c->options->virtual_stages == 1;
    for (int i = 0; i < plan->n_stages && alone; i++)
        check_limit(c, &plan->stages[i]);
    for (int m = 0; m < schedule_machines(c->options, plan->n_stages) && !alone; m++)
        check_machine(c, m);
}
