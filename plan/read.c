// plan.json read back. A plan may come from anywhere, so every field is checked, and at the end the
// streams are verified as the compiler verifies its own: what passes here can be executed.
#include "base/text.h"
#include "plan/reader.h"
#include "plan/schedule.h"
#include "plan/walk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STAGES = 1 << 16, MAX_UNITS = 1 << 20, MAX_EDGES = RT_NO_EDGE, MAX_RANKS = 1 << 16 };

static void read_options(Reader *r, const json_t *root, Options *options)
{
    json_t *o = json_object_get(root, "options"), *v;
    const char *key;
    Loc loc = {r->file, 0, 0};
    *options = options_default();
    if (!json_is_object(o))
        reader_bad(r, "options", "is not an object");
    json_object_foreach(o, key, v)
    {
        char number[64];
        const char *text = json_is_string(v) ? json_string_value(v) : number;
        snprintf(number, sizeof number, "?");
        if (json_is_integer(v))
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        else if (json_is_real(v))
            snprintf(number, sizeof number, "%.17g", json_real_value(v));
        r->good &= options_set(options, key, text, FROM_PLAN, loc);
    }
    if (r->good && schedule_open(options))
        reader_bad(r, "schedule",
                   "is chosen when a plan is made, and in a plan no longer auto");
    if (r->good && !options_check(options))
        reader_bad(r, "options", "contradict each other");
}

// The part of backward that is a pass of its own.
static double read_weight(Reader *r, const json_t *o, double backward_s)
{
    double weight_s = reader_get_seconds_or_0(r, o, "weight_s");
    if (weight_s > backward_s)
        reader_bad(r, "weight_s", "is more than backward_s, of which it is a part");
    return weight_s;
}

static void read_unit(Reader *r, const json_t *o, PlanUnit *u, int n_nodes)
{
    u->name = reader_get_text(r, o, "name");
    u->node = reader_get_small(r, o, "node", -1, n_nodes - 1);
    u->forward_s = reader_get_seconds(r, o, "forward_s");
    u->backward_s = reader_get_seconds(r, o, "backward_s");
    u->weight_s = read_weight(r, o, u->backward_s);
    u->update_s = reader_get_seconds(r, o, "update_s");
    u->parameter_bytes = reader_get_bytes(r, o, "parameter_bytes");
    u->activation_bytes = reader_get_bytes(r, o, "activation_bytes");
    u->cut_bytes = reader_get_bytes(r, o, "cut_bytes");
    if (json_object_get(o, "part"))
        u->part = reader_get_small(r, o, "part", 0, 1 << 20);
}

static rt_opcode opcode_of(const char *name)
{
    int i = 0;
    while (i < RT_N_OPCODES && strcmp(opcode_name[i], name) != 0)
        i++;
    return (rt_opcode)i;
}

static bool parse_instr(const char *text, rt_instr *i)
{
    char name[16];
    unsigned a, b;
    char more;
    int n = sscanf(text, "%15s %9u %9u%c", name, &a, &b, &more);
    rt_opcode op = n >= 2 ? opcode_of(name) : RT_N_OPCODES;
    bool two = n == 3; // edge or version, and micro-batch
    if (op == RT_N_OPCODES || n > 3 || (two && a >= RT_NO_EDGE))
        return false;
    *i = (rt_instr){(uint8_t)op, two ? (uint16_t)a : (uint16_t)RT_NO_EDGE, two ? b : a};
    return two == (op <= RT_RELEASE || rt_has_version(i));
}

// Its number is the verifier's business, as that of a message is.
static bool names_bucket(const rt_instr *i)
{
    return i->opcode <= RT_RELEASE || rt_is_reduce(i->opcode);
}

static void read_stream(Reader *r, const json_t *o, const char *key, Stream *s,
                        int64_t micro_batches)
{
    json_t *list;
    s->n = reader_get_list(r, o, key, 0, 1 << 28, &list);
    s->instr = arena_array(r->arena, rt_instr, s->n);
    for (int i = 0; i < s->n && r->good; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        if (!text || !parse_instr(text, &s->instr[i]))
            reader_bad(r, key,
                       "has in place %d no instruction like \"recv 3 0\" or \"forward 0\"", i);
        else if (!names_bucket(&s->instr[i]) && s->instr[i].mb >= micro_batches)
            reader_bad(r, key, "names in place %d micro-batch %u of %lld", i, s->instr[i].mb,
                       (long long)micro_batches);
    }
}

// The names of the units stand there for people; they must say what the numbers say.
static void check_unit_names(Reader *r, const json_t *o, const Plan *p, const PlanStage *s)
{
    json_t *names;
    int n = reader_get_list(r, o, "nodes", 1, MAX_UNITS, &names);
    if (r->good && n != s->last_unit - s->first_unit + 1)
        reader_bad(r, "nodes", "has %d names for the units %d to %d", n, s->first_unit,
                   s->last_unit);
    for (int i = 0; i < n && r->good; i++) {
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        if (!name || strcmp(name, p->units[s->first_unit + i].name) != 0)
            reader_bad(r, "nodes", "differs from units in place %d", i);
    }
}

static void read_predictions(Reader *r, const json_t *o, PlanStage *s)
{
    s->forward_s = reader_get_seconds(r, o, "forward_s");
    s->backward_s = reader_get_seconds(r, o, "backward_s");
    s->weight_s = read_weight(r, o, s->backward_s);
    s->compute_s = reader_get_seconds_or_0(r, o, "compute_s");
    s->receive_s = reader_get_seconds_or_0(r, o, "receive_s");
    s->send_s = reader_get_seconds(r, o, "send_s");
    s->sync_s = reader_get_seconds(r, o, "sync_s");
    s->update_s = reader_get_seconds(r, o, "update_s");
    s->load_s = reader_get_seconds_or_0(r, o, "load_s");
    s->norm_s = reader_get_seconds_or_0(r, o, "norm_s");
    s->process_bytes = reader_get_bytes_or_0(r, o, "process_bytes");
    s->time_s = reader_get_seconds_or_0(r, o, "time_s");
    s->parameter_bytes = reader_get_bytes_or_0(r, o, "parameter_bytes");
    s->in_bytes = reader_get_bytes_or_0(r, o, "in_bytes");
    s->out_bytes = reader_get_bytes_or_0(r, o, "out_bytes");
}

// What the stage computes again.
static void read_again(Reader *r, const json_t *o, PlanStage *s)
{
    json_t *names;
    s->recompute = json_object_get(o, "recompute") && reader_get_bool(r, o, "recompute");
    if (!json_object_get(o, "again"))
        return;
    s->n_again = reader_get_list(r, o, "again", 1, MAX_UNITS, &names);
    s->again = arena_array(r->arena, const char *, s->n_again);
    for (int i = 0; i < s->n_again && r->good; i++) {
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        if (!name)
            reader_bad(r, "again", "has in place %d no string", i);
        s->again[i] = arena_strdup(r->arena, name ? name : "");
    }
    s->again_bytes = reader_get_int(r, o, "again_bytes", INT64_MIN, INT64_MAX);
    s->again_s = reader_get_seconds_or_0(r, o, "again_s");
    s->again_least_s = reader_get_seconds_or_0(r, o, "again_least_s");
}

static void read_versions(Reader *r, const json_t *o, const Plan *p, PlanStage *s)
{
    s->versions = 1;
    if (plan_stream_steps(p, false) == 1)
        return;
    s->versions = reader_get_small(r, o, "versions", 1, MAX_STAGES);
    s->version_bytes = reader_get_bytes(r, o, "version_bytes");
}

static void read_body(Reader *r, const json_t *o, Stream *s)
{
    json_t *body;
    if (!reader_get_list(r, o, "body", 2, 2, &body))
        return;
    json_int_t begin = json_integer_value(json_array_get(body, 0)),
               end = json_integer_value(json_array_get(body, 1));
    if (begin < 0 || end <= begin || end > s->n)
        reader_bad(r, "body", "is no part of the %d instructions", s->n);
    s->body = r->good ? (int)begin : 0;
    s->body_end = r->good ? (int)end : 0;
}

// Parts of backward, from the stage's last unit to its first. Where nothing is said it is one.
static void read_parts(Reader *r, const json_t *o, PlanStage *s)
{
    json_t *list;
    if (!json_object_get(o, "part_units")) {
        s->n_parts = 1;
        s->part_units = arena_copy(r->arena, &s->first_unit, sizeof(int));
        return;
    }
    int last = s->last_unit + 1;
    s->n_parts =
        reader_get_list(r, o, "part_units", 2, s->last_unit - s->first_unit + 1, &list);
    s->part_units = arena_array(r->arena, int, s->n_parts + 1);
    for (int i = 0; i < s->n_parts && r->good; i++) {
        const json_t *unit = json_array_get(list, (size_t)i);
        json_int_t u = json_is_integer(unit) ? json_integer_value(unit) : -1;
        bool ends = i == s->n_parts - 1;
        if (u < s->first_unit || u >= last || (ends && u != s->first_unit))
            reader_bad(r, "part_units", "are units of the stage, falling to its first");
        else
            s->part_units[i] = last = (int)u;
    }
}

static void read_stage(Reader *r, const json_t *o, Plan *p, int i)
{
    PlanStage *s = &p->stages[i];
    int first = i ? s[-1].last_unit + 1 : 0;
    s->id = reader_get_small(r, o, "id", i, i);
    s->replicas = reader_get_small(r, o, "replicas", 1, 1 << 20);
    s->first_unit = reader_get_small(r, o, "first_unit", first, first);
    int high = i == p->n_stages - 1 ? p->n_units - 1 : p->n_units - 2;
    s->last_unit =
        reader_get_small(r, o, "last_unit", i == p->n_stages - 1 ? high : first, high);
    read_parts(r, o, s);
    s->in_flight = reader_get_small(r, o, "in_flight", 0, MAX_PLAN_MACHINES);
    read_devices(r, o, s);
    read_again(r, o, s);
    read_predictions(r, o, s);
    s->persistent_bytes = reader_get_bytes(r, o, "persistent_bytes");
    s->state_bytes = reader_get_bytes_or_0(r, o, "state_bytes");
    s->slot_bytes = reader_get_bytes(r, o, "slot_bytes");
    s->scratch_bytes = reader_get_bytes(r, o, "scratch_bytes");
    s->edge_bytes = reader_get_bytes(r, o, "edge_bytes");
    s->twin_bytes = reader_get_bytes_or_0(r, o, "twin_bytes");
    s->library_bytes = reader_get_bytes(r, o, "library_bytes");
    if (r->good)
        check_unit_names(r, o, p, s);
    read_versions(r, o, p, s);
}

// There are none without streams, else as many as the stages have replicas.
static void read_ranks(Reader *r, const json_t *root, Plan *p)
{
    json_t *ranks = json_object_get(root, "ranks");
    int n = ranks ? reader_get_list(r, root, "ranks", 0, MAX_RANKS, &ranks) : 0;
    int64_t replicas = 0;
    for (int s = 0; s < p->n_stages && r->good; s++)
        replicas += p->stages[s].replicas;
    if (!n || !r->good)
        return;
    if (n != replicas) {
        reader_bad(r, "ranks", "has %d entries, and the stages have %lld replicas", n,
                   (long long)replicas);
        return;
    }
    plan_number_ranks(r->arena, p);
    for (int i = 0; i < n && r->good; i++) {
        const json_t *o = json_array_get(ranks, (size_t)i);
        PlanRank *rank = &p->ranks[i];
        reader_at(r, "ranks", i);
        reader_get_small(r, o, "stage", rank->stage, rank->stage);
        reader_get_small(r, o, "replica", rank->replica, rank->replica);
        read_stream(r, o, "train", &rank->train, plan_micro_batches(p, false));
        read_stream(r, o, "eval", &rank->eval, plan_micro_batches(p, true));
        if (plan_stream_steps(p, false) > 1)
            read_body(r, o, &rank->train);
    }
    *r->where = 0;
}

static void read_touch(Reader *r, const json_t *o, const Plan *p, PlanEdge *e)
{
    json_t *ranks;
    reader_get_list(r, o, "touch", p->n_ranks, p->n_ranks, &ranks);
    e->touch = arena_array(r->arena, uint32_t, p->n_ranks);
    for (int k = 0; k < p->n_ranks && r->good; k++) {
        json_t *names = json_array_get(ranks, (size_t)k);
        for (size_t i = 0; i < json_array_size(names); i++) {
            const char *name = json_string_value(json_array_get(names, i));
            rt_opcode op = name ? opcode_of(name) : RT_N_OPCODES;
            if (op == RT_N_OPCODES)
                reader_bad(r, "touch", "names no instruction in rank %d", k);
            else
                e->touch[k] |= UINT32_C(1) << op;
        }
    }
}

static void read_edge(Reader *r, const json_t *o, const Plan *p, PlanEdge *e)
{
    json_t *consumers;
    e->name = reader_get_text(r, o, "name");
    e->node = reader_get_small(r, o, "node", -1, p->n_nodes - 1);
    e->producer = reader_get_small(r, o, "producer", 0, p->n_ranks - 1);
    e->n_consumers = reader_get_list(r, o, "consumers", 1, p->n_ranks - 1, &consumers);
    e->consumers = arena_array(r->arena, int, e->n_consumers);
    for (int c = 0; c < e->n_consumers && r->good; c++) {
        const json_t *v = json_array_get(consumers, (size_t)c);
        json_int_t rank = json_integer_value(v);
        if (!json_is_integer(v) || rank < 0 || rank >= p->n_ranks || rank == e->producer ||
            (c && rank <= e->consumers[c - 1]))
            reader_bad(r, "consumers", "are not other ranks in ascending order");
        else
            e->consumers[c] = (int)rank;
    }
    e->bytes = reader_get_bytes(r, o, "bytes");
    e->eval = reader_get_bool(r, o, "eval");
    e->slots = reader_get_small(r, o, "slots", 1, plan_micro_batches(p, e->eval));
    int most = (e->node < 0 ? 2 : 1) * (int)p->options.micro_batches; // turns
    e->per_step = reader_get_small(r, o, "per_step", e->node < 0 && !e->eval ? 0 : 1, most);
    e->stride = reader_get_small(r, o, "stride", 1, plan_is_round(e) ? 1 : MAX_EDGES);
    e->first = plan_is_round(e) ? reader_get_small(r, o, "first", -1, -1)
                                : reader_get_small(r, o, "first", 0, e->stride - 1);
    read_touch(r, o, p, e);
}

// Each message needs an instruction at either end. This keeps what the verifier allocates linear in
// the size of the file.
static void check_counts(Reader *r, const Plan *p)
{
    int64_t(*left)[2] = arena_alloc(r->arena, sizeof *left * (size_t)p->n_ranks);
    for (int k = 0; k < p->n_ranks; k++) {
        left[k][false] = p->ranks[k].train.n;
        left[k][true] = p->ranks[k].eval.n;
    }
    for (int i = 0; i < p->n_edges && r->good; i++) {
        const PlanEdge *e = &p->edges[i];
        bool enough = (left[e->producer][e->eval] -= plan_messages(p, e)) >= 0;
        for (int c = 0; c < e->n_consumers; c++)
            enough &= (left[e->consumers[c]][e->eval] -= plan_messages(p, e)) >= 0;
        reader_at(r, "edges", i);
        if (!enough)
            reader_bad(r, NULL, "has more messages than its ranks have instructions");
    }
    *r->where = 0;
}

// Steps of a training stream: each is many micro-batches, whose number a stream can count.
static void read_steps(Reader *r, const json_t *root, Plan *p)
{
    int most = (int)((1 << 28) / p->options.micro_batches);
    p->stream_steps = 1;
    if (!json_object_get(root, "stream_steps"))
        return;
    p->stream_steps = reader_get_small(r, root, "stream_steps", 2, most);
    if (!schedule_asynchronous(&p->options))
        reader_bad(r, "stream_steps", "is for asynchronous schedules, not %s",
                   p->options.schedule);
}

static void read_lists(Reader *r, const json_t *root, Plan *p)
{
    json_t *units, *stages, *edges;
    p->n_units = reader_get_list(r, root, "units", 1, MAX_UNITS, &units);
    p->n_stages = reader_get_list(r, root, "stages", 1, MAX_STAGES, &stages);
    p->n_edges = reader_get_list(r, root, "edges", 0, MAX_EDGES, &edges);
    p->units = arena_array(r->arena, PlanUnit, p->n_units);
    p->stages = arena_array(r->arena, PlanStage, p->n_stages);
    p->edges = arena_array(r->arena, PlanEdge, p->n_edges);
    read_steps(r, root, p);
    for (int i = 0; i < p->n_units && r->good; i++) {
        reader_at(r, "units", i);
        read_unit(r, json_array_get(units, (size_t)i), &p->units[i], p->n_nodes);
    }
    for (int i = 0; i < p->n_stages && r->good; i++) {
        reader_at(r, "stages", i);
        read_stage(r, json_array_get(stages, (size_t)i), p, i);
    }
    *r->where = 0;
    read_ranks(r, root, p);
    for (int i = 0; i < p->n_edges && r->good; i++) {
        reader_at(r, "edges", i);
        read_edge(r, json_array_get(edges, (size_t)i), p, &p->edges[i]);
    }
    if (r->good)
        check_counts(r, p);
}

static void read_explanation(Reader *r, const json_t *root, Plan *p)
{
    json_t *o = json_object_get(root, "explain");
    if (!o)
        return;
    if (!json_is_object(o)) {
        reader_bad(r, "explain", "is not an object");
        return;
    }
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
    p->explain = arena_strdup(r->arena, text);
    free(text);
}

static void verify_streams(Reader *r, const Plan *p)
{
    char why[256];
    int all = plan_micro_batches(p, false);
    for (int s = 0; s < p->n_stages && r->good; s++)
        if (p->stages[s].in_flight > all)
            reader_bad(r, "in_flight", "of stage %d is more than there are micro-batches", s);
    for (int i = 0; i < p->n_ranks && r->good; i++) {
        int own = plan_own_micro_batches(p, &p->ranks[i], false);
        if (p->stream_steps > 1 && p->ranks[i].train.n < 2 * own)
            reader_bad(r, "train", "of rank %d is too short for %d micro-batches", i, own);
    }
    const char *misfit = r->good && p->n_ranks ? plan_misfit(r->arena, p, &p->options) : NULL;
    if (misfit)
        reader_bad(r, "options", "do not go with its stages: %s", misfit);
    if (r->good && (!plan_verify_streams(p, false, why, sizeof why) ||
                    !plan_verify_streams(p, true, why, sizeof why)))
        reader_bad(r, NULL, "the streams are wrong: %s", why);
}

// Their names alone: what they cost is in the stages.
static void read_kernels(Reader *r, const json_t *root, Plan *p)
{
    json_t *kernels = json_object_get(json_object_get(root, "contract"), "kernels"), *value;
    const char *key;
    p->kernels = arena_array(r->arena, PlanKernel, json_object_size(kernels) + 1);
    json_object_foreach(kernels, key, value)
    {
        const char *implementation = reader_get_text(r, kernels, key);
        if (!r->good)
            return;
        p->kernels[p->n_kernels++] =
            (PlanKernel){.key = arena_strdup(r->arena, key),
                         .implementation = arena_strdup(r->arena, implementation)};
    }
}

// More than plan_has_streams asks: a plan that lies may have them in one place only.
static bool has_instructions(const Plan *p)
{
    bool found = p->n_edges > 0;
    for (int r = 0; r < p->n_ranks; r++)
        found |= p->ranks[r].train.n || p->ranks[r].eval.n;
    return found;
}

// Stages have none of their own where all have the same.
static void read_backends(Reader *r, const json_t *stages, Plan *p)
{
    bool differ = false;
    for (int s = 0; s < p->n_stages; s++) {
        const char *own =
            reader_get_text_or_null(r, json_array_get(stages, (size_t)s), "backend");
        p->backend = s ? p->backend : own;
        p->stages[s].backend = own;
        differ |= own && p->backend && strcmp(own, p->backend) != 0;
    }
    for (int s = 0; s < p->n_stages && !differ; s++)
        p->stages[s].backend = NULL;
}

static void read_plan(Reader *r, const json_t *root, Plan *p)
{
    const char *why = reader_get_text_or_null(r, root, "why");
    if (why) {
        reader_bad(r, NULL, "there is no plan in it: %s", why);
        return;
    }
    p->model = reader_get_text(r, root, "model");
    p->source = reader_get_text_or_null(r, root, "source");
    p->cost_source = reader_get_text(r, root, "cost_source");
    p->n_nodes = reader_get_small(r, root, "graph_nodes", 0, 1 << 30);
    p->norm_parts = reader_get_small(r, root, "norm_parts", 0, 1 << 30);
    p->step_s = reader_get_seconds(r, root, "step_s");
    p->lower_bound_s = reader_get_seconds(r, root, "lower_bound_s");
    p->single_s = reader_get_seconds(r, root, "single_machine_time_s");
    p->planning_s = reader_get_seconds(r, root, "planning_s");
    if (json_object_get(root, "beside_programs")) {
        p->beside_programs = reader_get_small(r, root, "beside_programs", 2, 1 << 20);
        p->beside_slowdown = reader_get_seconds(r, root, "beside_slowdown");
    }
    p->pipeline_s = reader_get_seconds_or_0(r, root, "pipeline_time_s");
    p->data_parallel_s = reader_get_seconds_or_0(r, root, "data_parallel_time_s");
    p->cost_model = reader_get_text_or_null(r, root, "cost_model");
    p->method = reader_get_text_or_null(r, root, "method");
    p->overlap = reader_get_text_or_null(r, root, "overlap");
    p->compression = reader_get_seconds_or_0(r, root, "activation_compression_ratio");
    p->asynchronous =
        json_object_get(root, "asynchronous") && reader_get_bool(r, root, "asynchronous");
    read_explanation(r, root, p);
    read_options(r, root, &p->options);
    read_machines(r, root, p);
    read_kernels(r, root, p);
    if (r->good)
        read_lists(r, root, p);
    if (!r->good)
        return;
    read_backends(r, json_object_get(root, "stages"), p);
    for (int s = 0; s < p->n_stages; s++)
        p->machines_used += p->stages[s].replicas;
    p->machines_used = schedule_machines(&p->options, p->machines_used);
    if (has_instructions(p))
        verify_streams(r, p);
}

Plan *plan_from_json(Arena *a, const char *file, const char *text)
{
    json_error_t e;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &e);
    if (!root) {
        error_at((Loc){file, e.line, e.column}, "this is not the JSON of a plan: %s", e.text);
        return NULL;
    }
    Reader r = {.arena = a, .file = file, .good = true};
    Plan *p = arena_new(a, Plan);
    if (!json_is_object(root))
        reader_bad(&r, NULL, "the plan is not an object");
    else
        read_plan(&r, root, p);
    json_decref(root);
    return r.good ? p : NULL;
}
