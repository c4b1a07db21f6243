// What the replicas of a stage add up at the end of a step (docs/schedules.md): gradients in buckets of some
// MiB, in the order in which backward makes them; running statistics; the losses of their micro-batches;
// in evaluation, the scores. The buckets belong to the replicas in turn, so that the work is shared.
#include "passes/schedule.h"
#include "passes/values.h"

// Smaller ones wait for each other more often, larger ones are finished later.
static const int64_t bucket_bytes = 4 << 20;

typedef VEC(PlanBucket) BucketList;

typedef struct Collector {
    Compile *c;
    const PlanStage *stage;
    BucketList buckets; // of the stage
    VEC(int) nodes;     // of the bucket that is being filled
    int64_t bytes;
} Collector;

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

static void add_tensor(Collector *c, BucketKind kind, const Node *n)
{
    if (n->op == OP_INPUT || plan_stage_of_unit(c->c->plan, value_unit(n)) != c->stage->id)
        return;
    vec_push(c->c->perm, &c->nodes, n->id);
    add_bytes(c, n->bytes);
    if (c->bytes >= bucket_bytes)
        close_bucket(c, kind);
}

static void collect_tensors(Collector *c)
{
    const NodeList *nodes = &c->c->graph->nodes;
    for (int i = 0; i < nodes->n; i++)
        for (int k = 0; k < 2 && nodes->items[i]->op == OP_RUNNING_UPDATE; k++)
            add_tensor(c, BUCKET_STATISTICS, value_root(nodes->items[i]->inputs[k]));
    close_bucket(c, BUCKET_STATISTICS);
    for (int i = 0; i < nodes->n; i++)
        if (nodes->items[i]->op == OP_ACCUMULATOR)
            add_tensor(c, BUCKET_GRADIENTS, nodes->items[i]);
    close_bucket(c, BUCKET_GRADIENTS);
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
