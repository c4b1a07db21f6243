// The constant tables by which a stage program describes itself to the runtime (runtime/stage.h).
#include "codegen/program.h"
#include "plan/schedule.h"

#include <string.h>

// How the graph's nodes go into the tables of this stage.
typedef struct Roles {
    const Node **param; // by id of accumulators and state: the parameter they belong to
    int *norm_index;    // by id of accumulators; -1: none, or it counts in another stage
} Roles;

// The first of the stages that use a parameter stands for all: in the norm and in checkpoints.
static bool of_others(const Emit *e, const Node *param)
{
    return param->op == OP_PARAM && !emit_here(e, param);
}

static void mark_gradient(const Emit *e, Roles *r, const Node *n, const Node *param, int index)
{
    n = emit_root(n);
    if (n->op == OP_ACCUMULATOR) {
        r->param[n->id] = param;
        bool counts = e->plan->norm_parts && !of_others(e, param);
        r->norm_index[n->id] = counts ? index : -1;
        return;
    }
    for (int i = 0; n->phase == PHASE_UPDATE && i < n->n_inputs; i++)
        mark_gradient(e, r, n->inputs[i], param, index);
}

// The optimizer's nodes tell what belongs together; parts of the norm count in their order.
static Roles find_roles(Emit *e)
{
    int n_nodes = e->graph->nodes.n, index = 0;
    Roles r = {arena_array(e->scratch, const Node *, n_nodes),
               arena_array(e->scratch, int, n_nodes)};
    for (int i = 0; i < n_nodes; i++)
        r.norm_index[i] = -1;
    for (int i = 0; i < n_nodes; i++) {
        const Node *n = e->graph->nodes.items[i];
        if (n->op != OP_SGD && n->op != OP_ADAM)
            continue;
        const Node *param = emit_root(n->inputs[0]);
        mark_gradient(e, &r, n->inputs[1], param, index++);
        for (int k = 2; k < n->n_inputs; k++)
            r.param[n->inputs[k]->id] = param;
    }
    return r;
}

static const char *dtype_constant(DType t)
{
    static const char *const name[N_DTYPES] = {NULL,      "RT_F32", "RT_F64",
                                               "RT_BF16", "RT_I32", "RT_U8"};
    CHECK(name[t], "codegen", "a tensor of dtype %d", (int)t);
    return name[t];
}

static const char *dims(Emit *e, Shape s)
{
    const char *text = "{";
    for (int i = 0; i < s.rank; i++)
        text = arena_printf(e->scratch, "%s%s%lld", text, i ? ", " : "", (long long)s.dim[i]);
    return arena_printf(e->scratch, "%s%s}", text, s.rank ? "" : "0");
}

// Tensors
// ----------------------------------------------------------------------------------------------

static const char *role_constant(const Node *n)
{
    switch ((int)n->op) {
    case OP_PARAM: return "RT_PARAM";
    case OP_ACCUMULATOR: return "RT_ACCUMULATOR";
    case OP_STATE: return "RT_STATE";
    }
    return "RT_BUFFER"; // and tables of constants
}

static const char *init_constant(const Node *n)
{
    static const struct {
        const char *word, *constant;
    } rows[] = {
        {"constant", "RT_INIT_CONSTANT"},
        {"normal", "RT_INIT_NORMAL"},
        {"uniform", "RT_INIT_UNIFORM"},
        {"kaiming_normal", "RT_INIT_KAIMING_NORMAL"},
        {"kaiming_uniform", "RT_INIT_KAIMING_UNIFORM"},
        {"xavier_normal", "RT_INIT_XAVIER_NORMAL"},
        {"xavier_uniform", "RT_INIT_XAVIER_UNIFORM"},
    };
    const char *word = node_string(n, A_INIT);
    for (size_t i = 0; word && i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(word, rows[i].word))
            return rows[i].constant;
    return rows[0].constant;
}

static double gain_of(const Node *n)
{
    switch ((int)n->op) {
    case OP_ACCUMULATOR:
    case OP_STATE: return 0;
    case OP_CONSTANT: return node_real(n, A_VALUE);
    }
    return node_real(n, A_GAIN);
}

static int kernel_of(Emit *e, const Roles *r, const Node *n)
{
    const Node *param = r->param[n->id] ? r->param[n->id] : n;
    bool packed = n->layout == LAYOUT_KERNEL && e->backend->weight_kernel;
    return packed ? e->backend->weight_kernel(e, param) : -1;
}

static void write_tensor(Emit *e, const Roles *r, const Node *n)
{
    const Place *p = &e->stage->places[n->id];
    bool param = n->op == OP_PARAM;
    text_printf(e->out, "    {%s, %s, %s, %d, %s, %lld, %lld, %d,\n     ",
                emit_string(e, n->name), role_constant(n), dtype_constant(n->dtype),
                n->shape.rank, dims(e, n->shape), (long long)p->offset, (long long)p->bytes,
                kernel_of(e, r, n));
    text_printf(e->out, "%s, %s, %lld, %lld, %d, %d},\n", init_constant(n),
                emit_double(e, gain_of(n)), param ? (long long)node_int(n, A_FAN_IN) : 0,
                param ? (long long)node_int(n, A_FAN_OUT) : 0, r->norm_index[n->id],
                of_others(e, r->param[n->id] ? r->param[n->id] : n));
}

static int write_tensors(Emit *e)
{
    Roles roles = find_roles(e);
    int n = 0;
    for (int i = 0; i < e->graph->nodes.n; i++) {
        PlaceKind kind = e->stage->places[i].kind;
        if (kind != PLACE_PERSISTENT && kind != PLACE_WEIGHT)
            continue;
        if (!n++)
            text_puts(
                e->out,
                "// name, role, type, rank, shape, offset, bytes, kernel, "
                "initial values (rule, gain, fan-in, fan-out), part of the norm, another stage's copy\n"
                "static const rt_tensor tensors[] = {\n");
        write_tensor(e, &roles, e->graph->nodes.items[i]);
    }
    text_puts(e->out, n ? "};\n\n" : "");
    return n;
}

// Inputs
// ----------------------------------------------------------------------------------------------

static const Node *twin_of(const Graph *g, const Node *n)
{
    const Node *twin = NULL;
    for (int i = 0; n && i < g->nodes.n; i++)
        if (g->nodes.items[i]->phase == PHASE_EVAL && g->nodes.items[i]->forward == n)
            twin = g->nodes.items[i];
    return twin;
}

// Where a value lies, as the tables say it: an edge, or none and an offset.
static int edge_of(const Emit *e, const Node *n)
{
    const Place *p = n ? &e->stage->places[n->id] : NULL;
    return p && p->kind == PLACE_EDGE ? p->edge : RT_NO_EDGE;
}

static long long offset_of(const Emit *e, const Node *n)
{
    const Place *p = n ? &e->stage->places[n->id] : NULL;
    return p && (p->kind == PLACE_SLOT || p->kind == PLACE_SCRATCH) ? p->offset : -1;
}

static const char *edge_text(Emit *e, int edge)
{
    return edge == RT_NO_EDGE ? "RT_NO_EDGE" : arena_printf(e->scratch, "%d", edge);
}

static bool reads(const Node *n, int i, const Node *in)
{
    return i < n->n_inputs && emit_root(n->inputs[i]) == in;
}

// What a node makes of the integers of an input must be below this. 0: it reads none of them.
static int64_t limit_at(const Node *n, const Node *in)
{
    Shape first = n->n_inputs ? n->inputs[0]->shape : (Shape){0};
    switch ((int)n->op) {
    case OP_EMBEDDING: return reads(n, 0, in) ? n->inputs[1]->shape.dim[0] : 0;
    case OP_CROSS_ENTROPY: return reads(n, 1, in) ? first.dim[first.rank - 1] : 0;
    case OP_SOFTMAX: return reads(n, 1, in) ? first.dim[first.rank - 1] + 1 : 0;
    case OP_LSTM: return reads(n, 3, in) ? first.dim[1] + 1 : 0;
    case OP_MASK: return reads(n, 1, in) ? first.dim[node_int(n, A_AXIS)] + 1 : 0;
    }
    return 0;
}

// Integers must be below this: rows of a table, classes, lengths. 0: none of these.
static int64_t limit_of(const Graph *g, const Node *in)
{
    int64_t limit = 0;
    for (int i = 0; i < g->nodes.n; i++) {
        int64_t own = limit_at(g->nodes.items[i], in);
        limit = own && (!limit || own < limit) ? own : limit;
    }
    return limit;
}

static int write_inputs(Emit *e)
{
    int n = 0;
    for (int i = 0; i < e->graph->nodes.n && e->stage->id == 0; i++) {
        const Node *in = e->graph->nodes.items[i];
        if (in->op != OP_INPUT || in->phase != PHASE_FORWARD)
            continue;
        const Node *twin = twin_of(e->graph, in);
        if (!n++)
            text_puts(e->out,
                      "// name, is a target, type, rank, shape, edge, offset, where it lies "
                      "in evaluation, limit of integers\nstatic const rt_input inputs[] = {\n");
        text_printf(e->out, "    {%s, %d, %s, %d, %s, %s, %lld, %s, %lld, %lld},\n",
                    emit_string(e, in->name), node_string(in, A_ROLE)[0] == 't',
                    dtype_constant(in->dtype), in->shape.rank, dims(e, in->shape),
                    edge_text(e, edge_of(e, in)), offset_of(e, in),
                    edge_text(e, edge_of(e, twin)), offset_of(e, twin),
                    (long long)limit_of(e->graph, in));
    }
    text_puts(e->out, n ? "};\n\n" : "");
    return n;
}

// Edges, layers, streams
// ----------------------------------------------------------------------------------------------

static void write_edges(Emit *e)
{
    if (!e->plan->n_edges)
        return;
    text_puts(e->out,
              "// name, producer, consumers, bytes, slots, one edge of how many, messages a "
              "step, of evaluation,\n// its first micro-batch (-1: a message is of a step)\n"
              "static const rt_edge edges[] = {\n");
    for (int i = 0; i < e->plan->n_edges; i++) {
        const PlanEdge *p = &e->plan->edges[i];
        text_printf(e->out, "    {%s, %d, (const int[]){", emit_string(e, p->name),
                    p->producer);
        for (int k = 0; k < p->n_consumers; k++)
            text_printf(e->out, "%s%d", k ? ", " : "", p->consumers[k]);
        text_printf(e->out, "}, %d, %lld, %d, %d, %d, %d, %d},\n", p->n_consumers,
                    (long long)p->bytes, p->slots, p->stride, p->per_step, p->eval,
                    p->node < 0 ? -1 : p->first);
    }
    text_puts(e->out, "};\n\n");
}

static int write_layers(Emit *e)
{
    int n = 0;
    for (int i = 0; i < e->graph->layers.n; i++) {
        const Layer *l = e->graph->layers.items[i];
        if (e->layer_index[l->id] < 0)
            continue;
        if (!n++)
            text_puts(e->out, "static const rt_layer layers[] = {\n");
        const char *place =
            l->loc.file ? arena_printf(e->scratch, "%s:%d", l->loc.file, l->loc.line) : "";
        text_printf(e->out, "    {%s, %s},\n", emit_string(e, l->name), emit_string(e, place));
    }
    text_puts(e->out, n ? "};\n\n" : "");
    return n;
}

static const char *instr_text(Emit *e, const rt_instr *i)
{
    static const char *const name[RT_N_OPCODES] = {
#define X(KIND, text, meaning, operands) "RT_" #KIND,
        STREAM_INSTRUCTIONS(X)
#undef X
    };
    return arena_printf(e->scratch, "{%s, %s, %u}", name[i->opcode], edge_text(e, i->edge),
                        i->mb);
}

static void write_stream(Emit *e, const char *name, int replica, const Stream *s)
{
    text_printf(e->out,
                "// instruction, edge%s, micro-batch\nstatic const rt_instr %s_%d[] = {",
                s->body_end ? " or version of the weights" : "", name, replica);
    for (int i = 0, column = COLUMNS; i < s->n; i++) {
        const char *text = instr_text(e, &s->instr[i]);
        int n = (int)strlen(text) + 2;
        column = column + n > COLUMNS ? 3 : column;
        text_printf(e->out, column == 3 ? "\n    %s," : " %s,", text);
        column += n;
    }
    text_puts(e->out, "\n};\n\n");
}

// The edges of a rank's norm messages: up in, up out, down in, down out.
static void write_norm_edges(Emit *e, int rank)
{
    int edge[4] = {RT_NO_EDGE, RT_NO_EDGE, RT_NO_EDGE, RT_NO_EDGE};
    for (int i = 0; i < e->plan->n_edges; i++) {
        const PlanEdge *p = &e->plan->edges[i];
        bool out = p->producer == rank;
        if (p->touch[rank] & UINT32_C(1) << RT_NORM_GATHER)
            edge[out] = i;
        if (p->touch[rank] & UINT32_C(1) << RT_NORM_APPLY)
            edge[2 + out] = i;
    }
    for (int i = 0; i < 4; i++)
        text_printf(e->out, ", %s", edge_text(e, edge[i]));
}

static void write_replicas(Emit *e)
{
    const PlanRank *ranks = &e->plan->ranks[e->stage->first_rank];
    int n = e->stage->replicas;
    for (int r = 0; r < n; r++) {
        write_stream(e, "train", r, &ranks[r].train);
        write_stream(e, "eval", r, &ranks[r].eval);
    }
    text_puts(e->out,
              "// streams and their lengths, edges of the norm: up in, up out, down in, "
              "down out\nstatic const rt_replica replicas[] = {\n");
    for (int r = 0; r < n; r++) {
        text_printf(e->out, "    {train_%d, eval_%d, %d, %d", r, r, ranks[r].train.n,
                    ranks[r].eval.n);
        write_norm_edges(e, e->stage->first_rank + r);
        text_puts(e->out, "},\n");
    }
    text_puts(e->out, "};\n\n");
}

static int tensor_index(const Emit *e, int node)
{
    int index = 0;
    for (int i = 0; i < node; i++)
        index += e->stage->places[i].kind == PLACE_PERSISTENT ||
                 e->stage->places[i].kind == PLACE_WEIGHT;
    return index;
}

static int write_buckets(Emit *e)
{
    static const char *const kind[] = {
        [BUCKET_GRADIENTS] = "RT_GRADIENTS",
        [BUCKET_STATISTICS] = "RT_STATISTICS",
        [BUCKET_LOSSES] = "RT_LOSSES",
        [BUCKET_SCORES] = "RT_SCORES",
    };
    int n = 0;
    for (int i = 0; i < e->plan->n_buckets; i++) {
        const PlanBucket *b = &e->plan->buckets[i];
        if (b->stage != e->stage->id)
            continue;
        if (!n++)
            text_puts(e->out, "// kind, owner, first edge, tensors\n"
                              "static const rt_bucket buckets[] = {\n");
        text_printf(e->out, "    {%s, %d, %d, (const int[]){", kind[b->kind], b->owner,
                    b->first_edge);
        for (int k = 0; k < b->n_nodes; k++)
            text_printf(e->out, "%s%d", k ? ", " : "", tensor_index(e, b->nodes[k]));
        text_printf(e->out, "%s}, %d},\n", b->n_nodes ? "" : "0", b->n_nodes);
    }
    text_puts(e->out, n ? "};\n\n" : "");
    return n;
}

static int write_shares(Emit *e)
{
    int n = 0;
    for (int i = 0; i < e->plan->n_shares; i++) {
        const PlanShare *s = &e->plan->shares[i];
        if (e->stage->places[s->node].kind == PLACE_NONE)
            continue;
        if (!n++)
            text_puts(e->out, "// gradients of tied weights: edge, tensor\n"
                              "static const rt_tied shares[] = {\n");
        text_printf(e->out, "    {%d, %d},\n", s->edge, tensor_index(e, s->node));
    }
    text_puts(e->out, n ? "};\n\n" : "");
    return n;
}

// The program
// ----------------------------------------------------------------------------------------------

static void field(Emit *e, const char *name, const char *value)
{
    text_printf(e->out, "    .%s = %s,\n", name, value);
}

static void field_int(Emit *e, const char *name, int64_t value)
{
    text_printf(e->out, "    .%s = %lld,\n", name, (long long)value);
}

static void field_real(Emit *e, const char *name, double value)
{
    text_printf(e->out, "    .%s = %s,\n", name, emit_double(e, value));
}

static void field_table(Emit *e, const char *name, int n)
{
    if (n)
        text_printf(e->out, "    .%s = %s,\n    .n_%s = %d,\n", name, name, name, n);
}

static const Node *eval_labels(const Graph *g, const Node *loss)
{
    bool labels = loss && loss->op == OP_CROSS_ENTROPY;
    return labels ? emit_root(twin_of(g, loss)->inputs[1]) : NULL;
}

// Labels that nothing but losses read: negative ones then do not count.
static bool only_labels(const Graph *g, const Node *in)
{
    bool target = in->op == OP_INPUT && in->dtype == I32 && node_string(in, A_ROLE)[0] == 't';
    for (int i = 0; i < g->nodes.n && target; i++) {
        const Node *n = g->nodes.items[i];
        for (int k = 0; k < n->n_inputs && n->phase == PHASE_FORWARD && !node_is(n, 'V'); k++)
            target &= emit_root(n->inputs[k]) != in || (n->op == OP_CROSS_ENTROPY && k == 1);
    }
    return target;
}

// Does the loss, or a sum of losses, ignore samples with negative labels?
static bool ignores(const Graph *g, const Node *n)
{
    n = emit_root(n);
    switch ((int)n->op) {
    case OP_CROSS_ENTROPY: return only_labels(g, emit_root(n->inputs[1]));
    case OP_SCALE: return ignores(g, n->inputs[0]);
    case OP_ADD: return ignores(g, n->inputs[0]) && ignores(g, n->inputs[1]);
    }
    return false;
}

// T of samples that are sequences of tokens. A stage that reads none of them counts them, too.
static int64_t sample_tokens(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (n->op == OP_INPUT && n->dtype == I32 && n->shape.rank == 2)
            return n->shape.dim[1];
    }
    return 0;
}

static void write_results(Emit *e)
{
    const Graph *g = e->graph;
    field_int(e, "tokens", sample_tokens(g));
    field_int(e, "ignores", g->loss && ignores(g, g->loss));
    field_int(e, "scores", g->loss && g->loss->op == OP_CROSS_ENTROPY && g->output);
    bool mine = g->loss && emit_here(e, g->loss);
    const Node *twin = mine ? twin_of(g, g->loss) : NULL;
    const Node *logits = mine && g->output ? twin_of(g, g->output) : NULL;
    const Node *labels = twin && logits ? eval_labels(g, g->loss) : NULL;
    int64_t classes = labels ? g->output->shape.dim[g->output->shape.rank - 1] : 0;
    field_int(e, "loss_offset", mine ? offset_of(e, emit_root(g->loss)) : -1);
    field_int(e, "eval_loss_offset", twin ? offset_of(e, emit_root(twin)) : -1);
    field_int(e, "eval_logits_offset", labels ? offset_of(e, emit_root(logits)) : -1);
    field_int(e, "classes", classes);
    field_int(e, "rows", classes ? shape_count(g->output->shape) / classes : 0);
    if (labels && logits->layout == LAYOUT_PITCHED)
        field_int(e, "logits_row", node_row(logits));
    field(e, "eval_labels_edge", edge_text(e, edge_of(e, labels)));
    field_int(e, "eval_labels_offset", offset_of(e, labels));
    field(e, "real", dtype_constant(emit_real_dtype(g)));
    if (strcmp(e->plan->options.dtype, "bf16") != 0)
        return;
    field(e, "activations", "RT_BF16");
    field(e, "logits", dtype_constant(logits ? logits->dtype : BF16));
}

static void write_memory(Emit *e)
{
    field_int(e, "persistent_bytes", e->stage->persistent_bytes);
    field_int(e, "slot_bytes", e->stage->slot_bytes);
    field_int(e, "scratch_bytes", e->stage->scratch_bytes);
    field_int(e, "in_flight", e->stage->in_flight);
}

// Of synchronised batch norm, if the stage has any.
static void write_round(Emit *e)
{
    for (int i = 0; i < e->plan->n_edges; i++) {
        const PlanEdge *p = &e->plan->edges[i];
        if (!plan_is_round(p) || p->producer != e->stage->first_rank)
            continue;
        field_int(e, "sums", p->bytes / (int64_t)sizeof(double));
        field_int(e, "sums_edge", i);
        return;
    }
}

static void write_versions(Emit *e)
{
    const PlanRank *ranks = &e->plan->ranks[e->stage->first_rank];
    if (plan_stream_steps(e->plan, false) == 1)
        return;
    field_int(e, "train_steps", e->plan->stream_steps);
    text_puts(e->out, "    .bodies = (const int[][2]){");
    for (int r = 0; r < e->stage->replicas; r++)
        text_printf(e->out, "%s{%d, %d}", r ? ", " : "", ranks[r].train.body,
                    ranks[r].train.body_end);
    text_puts(e->out, "},\n");
    field_int(e, "drain_every", e->plan->options.drain_every);
    field_int(e, "versions", e->stage->versions);
    field_int(e, "version_bytes", e->stage->version_bytes);
}

static void write_training(Emit *e)
{
    const Options *o = &e->plan->options;
    field(e, "optimizer", emit_string(e, o->optimizer));
    field(e, "lr_schedule", emit_string(e, o->lr_schedule));
    field_real(e, "lr", o->lr);
    field_real(e, "lr_gamma", o->lr_gamma);
    field_real(e, "lr_power", o->lr_power);
    field_real(e, "lr_final", o->lr_final);
    field_real(e, "clip_norm", o->clip_norm);
    field_int(e, "lr_steps", o->lr_steps);
    field_int(e, "warmup", o->warmup);
    field_int(e, "seed", o->seed);
}

// Nothing where no stage is replicated.
static void write_first_rank(Emit *e)
{
    const Plan *p = e->plan;
    if (p->n_ranks == p->n_stages)
        return;
    text_puts(e->out, "    .first_rank = (const int[]){");
    for (int s = 0; s < p->n_stages; s++)
        text_printf(e->out, "%d, ", p->stages[s].first_rank);
    text_printf(e->out, "%d},\n", p->n_ranks);
    const char *groups = "";
    for (int s = 0; s < p->n_stages; s++)
        if (!s || p->stages[s].replicas != p->stages[s - 1].replicas)
            groups =
                arena_printf(e->scratch, "%s%s%d from %s", groups, s ? ", " : "",
                             p->stages[s].replicas, p->units[p->stages[s].first_unit].name);
    for (int i = 0; i < p->n_edges; i++)
        if (plan_is_round(&p->edges[i])) {
            groups = arena_printf(e->scratch, "%s (batch norm synchronised)", groups);
            break;
        }
    field(e, "groups", emit_string(e, groups));
}

static const char *with_cuts(Emit *e, const char *text)
{
    const Plan *p = e->plan;
    for (int s = 1; s < p->n_stages; s++)
        text = arena_printf(e->scratch, "%s%s %s", text, s > 1 ? "," : " before",
                            p->units[p->stages[s].first_unit].name);
    return text;
}

// What is sent in fewer bytes, and what is computed with older weights, and where: that decides bits.
static void write_inexact(Emit *e)
{
    const Options *o = &e->plan->options;
    if (e->plan->n_stages == 1)
        return;
    if (strcmp(o->transfer, "exact") != 0)
        field(e, "transfer", emit_string(e, with_cuts(e, o->transfer)));
    if (schedule_asynchronous(o))
        field(e, "staleness", emit_string(e, with_cuts(e, o->schedule)));
}

static void write_identity(Emit *e, const char *command)
{
    const Options *o = &e->plan->options;
    field(e, "abi", "RT_ABI");
    field(e, "model", emit_string(e, e->graph->name));
    field(e, "command", emit_string(e, command));
    field(e, "plan_hash",
          arena_printf(e->scratch, "\"%016llx\"", (unsigned long long)plan_hash(e->plan)));
    field_int(e, "stage", e->stage->id);
    field_int(e, "n_stages", e->plan->n_stages);
    write_first_rank(e);
    write_inexact(e);
    field_int(e, "micro_batch", e->graph->micro_batch);
    field_int(e, "micro_batches", o->micro_batches);
    field_int(e, "threads", o->threads);
    field(e, "isa", emit_string(e, e->backend->isa ? e->backend->isa : o->isa));
    field(e, "compiler", "__VERSION__");
}

void tables_write(Emit *e, const char *command)
{
    int n_tensors = write_tensors(e), n_inputs = write_inputs(e);
    write_edges(e);
    int n_layers = write_layers(e);
    write_replicas(e);
    int n_buckets = write_buckets(e), n_shares = write_shares(e);
    text_puts(e->out, "static const rt_program program = {\n");
    write_identity(e, command);
    field(e, "replicas", "replicas");
    field_table(e, "edges", e->plan->n_edges);
    field_table(e, "buckets", n_buckets);
    field_table(e, "shares", n_shares);
    write_round(e);
    field_int(e, "norm_parts", e->plan->norm_parts);
    write_memory(e);
    write_versions(e);
    field_table(e, "tensors", n_tensors);
    field_table(e, "inputs", n_inputs);
    field_table(e, "layers", n_layers);
    write_results(e);
    write_training(e);
    if (e->backend->program_fields)
        e->backend->program_fields(e);
    for (int phase = 0; phase < N_PHASES; phase++)
        if (phase_runs(e->plan, (Phase)phase))
            field(e, phase_function[phase], phase_function[phase]);
    field_table(e, "parts", e->stage->n_parts > 1 ? e->stage->n_parts : 0);
    text_puts(e->out, "};\n\n");
}
