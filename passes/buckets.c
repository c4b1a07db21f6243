// What the replicas of a stage add up at the end of a step (docs/schedules.md): the losses of their
// micro-batches; in evaluation, the scores; running statistics; gradients in buckets of some MiB, in the
// order in which backward makes them, so that one can be given away while backward goes on. The
// buckets belong to the replicas in turn, so that the work is shared.
#include "passes/schedule.h"
#include "passes/values.h"

// Smaller ones wait for each other more often, larger ones are finished later. No more than some of them: each
// is a function of the program.
enum { BUCKET_BYTES = 4 << 20, MOST_BUCKETS = 16 };

typedef VEC(PlanBucket) BucketList;

typedef struct Collector {
    Compile *c;
    PlanStage *stage;
    BucketList buckets; // of the stage
    VEC(int) nodes;     // of the bucket that is being filled
    int64_t bytes;
} Collector;

static bool is_mine(const Collector *c, const Node *n)
{
    return plan_stage_of_unit(c->c->plan, value_unit(n)) == c->stage->id;
}

static void close_bucket(Collector *c, BucketKind kind)
{
    if (!c->bytes)
        return;
    PlanBucket b = {.kind = kind,
                    .stage = c->stage->id,
                    .owner = c->buckets.n % c->stage->replicas,
                    .nodes = c->nodes.items,
                    .n_nodes = c->nodes.n,
                    .bytes = c->bytes};
    vec_push(c->c->perm, &c->buckets, b);
    c->nodes.items = NULL;
    c->nodes.n = c->nodes.cap = 0;
    c->bytes = 0;
}

static void add_bytes(Collector *c, int64_t bytes)
{
    c->bytes = (c->bytes + 63) / 64 * 64 + bytes;
}

static void add_tensor(Collector *c, const Node *n)
{
    if (n->op == OP_INPUT || !is_mine(c, n))
        return;
    vec_push(c->c->perm, &c->nodes, n->id);
    add_bytes(c, n->bytes);
}

// A unit is never divided: it may be one loop. What accumulators are of is the unit that writes them.
static void collect_gradients(Collector *c)
{
    const NodeList *nodes = &c->c->graph->nodes;
    int64_t all = 0;
    int before = c->stage->last_unit;
    VEC(int) units = {0};
    for (int i = 0; i < nodes->n; i++)
        if (nodes->items[i]->op == OP_ACCUMULATOR && is_mine(c, nodes->items[i]))
            all += nodes->items[i]->bytes;
    int64_t enough = c->c->bucket_bytes ? c->c->bucket_bytes : BUCKET_BYTES;
    enough = all / MOST_BUCKETS > enough ? all / MOST_BUCKETS : enough;
    for (int i = 0; i < nodes->n; i++) {
        const Node *n = nodes->items[i];
        if (n->op != OP_ACCUMULATOR || !is_mine(c, n))
            continue;
        CHECK(value_unit(n) <= before, "schedule", "%s comes before its turn", n->name);
        if (c->bytes >= enough && value_unit(n) < before) {
            close_bucket(c, BUCKET_GRADIENTS);
            vec_push(c->c->perm, &units, before);
        }
        before = value_unit(n);
        add_tensor(c, n);
    }
    close_bucket(c, BUCKET_GRADIENTS);
    vec_push(c->c->perm, &units, c->stage->first_unit);
    c->stage->part_units =
        units.items; // gradients of a pass of their own are there when it is through
    c->stage->n_parts = units.n;
}

static void collect_tensors(Collector *c)
{
    const NodeList *nodes = &c->c->graph->nodes;
    for (int i = 0; i < nodes->n; i++)
        for (int k = 0; k < 2 && nodes->items[i]->op == OP_RUNNING_UPDATE; k++)
            add_tensor(c, value_root(nodes->items[i]->inputs[k]));
    close_bucket(c, BUCKET_STATISTICS);
    collect_gradients(c);
}

// A number for every micro-batch, or the few of a score (runtime/evaluate.h).
static void collect_results(Collector *c)
{
    const Graph *g = c->c->graph;
    int64_t micro_batches = c->c->options->micro_batches;
    if (!g->loss || plan_stage_of_unit(c->c->plan, value_unit(g->loss)) != c->stage->id)
        return;
    add_bytes(c, micro_batches * (int64_t)sizeof(double));
    close_bucket(c, BUCKET_LOSSES);
    add_bytes(c, micro_batches * (int64_t)(RT_SCORE_FIELDS * sizeof(double)));
    close_bucket(c, BUCKET_SCORES);
}

// Edges
// ---------------------------------------------------------------------------------------------

typedef struct BucketEdge {
    int number, of; // among the stage's buckets
    int from;       // rank
    int64_t bytes;
    bool eval;
} BucketEdge;

static const char *const kind_name[] = {
    [BUCKET_GRADIENTS] = "gradients",
    [BUCKET_STATISTICS] = "running statistics",
    [BUCKET_LOSSES] = "losses",
    [BUCKET_SCORES] = "scores",
};

static PlanEdge make_edge(Compile *c, const PlanBucket *b, int number, int of, int producer)
{
    return (PlanEdge){.name = arena_printf(c->perm, "%s %d of stage %d", kind_name[b->kind],
                                           number, b->stage),
                      .node = -1,
                      .producer = producer,
                      .consumers = arena_array(c->perm, int, c->plan->n_ranks),
                      .bytes = b->bytes,
                      .slots = 1,
                      .first = number,
                      .stride = of,
                      .per_step = 1,
                      .eval = b->kind == BUCKET_SCORES,
                      .touch = arena_array(c->perm, uint32_t, c->plan->n_ranks)};
}

static void add_end(PlanEdge *e, int rank, rt_opcode opcode)
{
    e->touch[rank] = UINT32_C(1) << opcode;
    if (rank != e->producer)
        e->consumers[e->n_consumers++] = rank;
}

static void add_edges(Compile *c, PlanBucket *b, int number, int of, EdgeList *out)
{
    const PlanStage *s = &c->plan->stages[b->stage];
    int owner = s->first_rank + b->owner;
    PlanEdge sum = make_edge(c, b, number, of, owner);
    add_end(&sum, owner, RT_REDUCE_SUM);
    b->first_edge = out->n;
    for (int rank = s->first_rank; rank < s->first_rank + s->replicas; rank++) {
        if (rank == owner)
            continue;
        PlanEdge part = make_edge(c, b, number, of, rank);
        add_end(&part, rank, RT_REDUCE_PUT);
        add_end(&part, owner, RT_REDUCE_SUM);
        add_end(&sum, rank, RT_REDUCE_GET);
        vec_push(c->perm, out, part);
    }
    vec_push(c->perm, out, sum);
}

void buckets_find(Compile *c, Plan *p, EdgeList *edges)
{
    BucketList all = {0};
    for (int s = 0; s < p->n_stages; s++) {
        Collector collector = {.c = c, .stage = &p->stages[s]};
        if (p->stages[s].replicas == 1)
            continue;
        collect_results(&collector);
        collect_tensors(&collector);
        for (int i = 0; i < collector.buckets.n; i++) {
            PlanBucket b = collector.buckets.items[i];
            add_edges(c, &b, i, collector.buckets.n, edges);
            vec_push(c->perm, &all, b);
        }
    }
    p->buckets = all.items;
    p->n_buckets = all.n;
}
