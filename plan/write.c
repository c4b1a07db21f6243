// plan.json, field by field as docs/formats.md lists them.
#include "plan/json.h"
#include "plan/walk.h"

#include <stdlib.h>
#include <string.h>

static void put_int(json_t *o, const char *key, int64_t v)
{
    json_object_set_new(o, key, json_integer(v));
}

static void put_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_real(v));
}

static void put_text(json_t *o, const char *key, const char *v)
{
    if (v)
        json_object_set_new(o, key, json_string(v));
}

static json_t *options_json(const Options *options)
{
    json_t *o = json_object();
    char value[64];
    for (int i = 0; option_name(i); i++) {
        const char *text = option_value(options, i, value);
        json_t *v =
            option_is_number(i) ? json_loads(text, JSON_DECODE_ANY, NULL) : json_string(text);
        json_object_set_new(o, option_name(i), v);
    }
    return o;
}

// What decides bits and is not in the model (docs/internals.md, Numbers).
static json_t *contract_json(const Plan *p)
{
    const Options *options = &p->options;
    json_t *o = json_object(), *kernels = json_object();
    put_text(o, "bits", options->bits);
    put_text(o, "isa", options->isa);
    put_int(o, "threads", options->threads);
    put_text(o, "dtype", options->dtype);
    for (int i = 0; i < p->n_kernels; i++)
        put_text(kernels, p->kernels[i].key, p->kernels[i].implementation);
    json_object_set_new(o, "kernels", kernels);
    return o;
}

static json_t *stream_json(const Stream *s)
{
    json_t *list = json_array();
    for (int k = 0; k < s->n; k++) {
        const rt_instr *i = &s->instr[k];
        const char *name = opcode_name[i->opcode];
        bool two = i->opcode <= RT_RELEASE || rt_has_version(i);
        json_t *text = two ? json_sprintf("%s %d %u", name, i->edge, i->mb)
                           : json_sprintf("%s %u", name, i->mb);
        json_array_append_new(list, text);
    }
    return list;
}

static void put_predictions(json_t *o, const PlanStage *s)
{
    put_real(o, "forward_s", s->forward_s);
    put_real(o, "backward_s", s->backward_s);
    if (s->weight_s > 0)
        put_real(o, "weight_s", s->weight_s);
    put_real(o, "compute_s", s->compute_s > 0 ? s->compute_s : s->forward_s + s->backward_s);
    put_real(o, "receive_s", s->receive_s);
    put_real(o, "send_s", s->send_s);
    put_real(o, "sync_s", s->sync_s);
    put_real(o, "update_s", s->update_s);
    put_real(o, "load_s", s->load_s);
    put_real(o, "norm_s", s->norm_s);
    put_int(o, "process_bytes", s->process_bytes);
    put_real(o, "time_s", plan_stage_seconds(s));
    put_int(o, "parameter_bytes", s->parameter_bytes);
    put_int(o, "in_bytes", s->in_bytes);
    put_int(o, "out_bytes", s->out_bytes);
}

static json_t *ints_json(const int *items, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(items[i]));
    return list;
}

// Of asynchronous schedules.
static void put_versions(json_t *o, const Plan *p, const PlanStage *s)
{
    if (plan_stream_steps(p, false) == 1)
        return;
    put_int(o, "versions", s->versions);
    put_int(o, "version_bytes", s->version_bytes);
}

static void put_again(json_t *o, const PlanStage *s, bool everything)
{
    json_t *names = json_array();
    for (int i = 0; i < s->n_again; i++)
        json_array_append_new(names, json_string(s->again[i]));
    if (s->recompute)
        json_object_set_new(o, "recompute", json_true());
    if (s->n_again) {
        json_object_set(o, "again", names);
        put_int(o, "again_bytes", s->again_bytes);
    }
    if (s->n_again && everything) {
        put_real(o, "again_s", s->again_s);
        put_real(o, "again_least_s", s->again_least_s);
    }
    json_decref(names);
}

static json_t *stage_json(const Plan *p, const PlanStage *s, bool everything)
{
    json_t *o = json_object(), *nodes = json_array();
    put_int(o, "id", s->id);
    put_int(o, "replicas", s->replicas);
    json_object_set_new(o, "devices",
                        s->n_devices ? ints_json(s->devices, s->n_devices)
                                     : ints_json(&s->id, 1));
    put_again(o, s, everything);
    put_text(o, "backend", plan_backend(p, s));
    for (int u = s->first_unit; u <= s->last_unit; u++)
        json_array_append_new(nodes, json_string(p->units[u].name));
    json_object_set_new(o, "nodes", nodes);
    put_int(o, "first_unit", s->first_unit);
    put_int(o, "last_unit", s->last_unit);
    if (s->n_parts > 1)
        json_object_set_new(o, "part_units", ints_json(s->part_units, s->n_parts));
    put_int(o, "in_flight", s->in_flight);
    if (everything)
        put_predictions(o, s);
    put_int(o, "memory_bytes", plan_stage_bytes(s));
    put_int(o, "persistent_bytes", s->persistent_bytes);
    if (everything && s->state_bytes)
        put_int(o, "state_bytes", s->state_bytes);
    put_int(o, "slot_bytes", s->slot_bytes);
    put_int(o, "scratch_bytes", s->scratch_bytes);
    put_int(o, "edge_bytes", s->edge_bytes);
    if (s->twin_bytes)
        put_int(o, "twin_bytes", s->twin_bytes);
    put_int(o, "library_bytes", s->library_bytes);
    put_versions(o, p, s);
    return o;
}

static json_t *rank_json(const PlanRank *r)
{
    json_t *o = json_object();
    put_int(o, "stage", r->stage);
    put_int(o, "replica", r->replica);
    json_object_set_new(o, "train", stream_json(&r->train));
    json_object_set_new(o, "eval", stream_json(&r->eval));
    int body[2] = {r->train.body, r->train.body_end};
    if (r->train.body_end)
        json_object_set_new(o, "body", ints_json(body, 2));
    return o;
}

static json_t *touch_json(const Plan *p, const PlanEdge *e)
{
    json_t *ranks = json_array();
    for (int r = 0; r < p->n_ranks; r++) {
        json_t *names = json_array();
        for (int i = 0; e->touch && i < RT_N_OPCODES; i++)
            if (e->touch[r] & UINT32_C(1) << i)
                json_array_append_new(names, json_string(opcode_name[i]));
        json_array_append_new(ranks, names);
    }
    return ranks;
}

static json_t *edge_json(const Plan *p, const PlanEdge *e)
{
    json_t *o = json_object();
    put_text(o, "name", e->name);
    put_int(o, "node", e->node);
    put_int(o, "producer", e->producer);
    json_object_set_new(o, "consumers", ints_json(e->consumers, e->n_consumers));
    put_int(o, "bytes", e->bytes);
    put_int(o, "slots", e->slots);
    put_int(o, "first", e->first);
    put_int(o, "stride", e->stride);
    put_int(o, "per_step", e->per_step);
    json_object_set_new(o, "eval", json_boolean(e->eval));
    json_object_set_new(o, "touch", touch_json(p, e));
    return o;
}

static json_t *unit_json(const PlanUnit *u, bool everything)
{
    json_t *o = json_object();
    put_text(o, "name", u->name);
    put_int(o, "node", u->node);
    if (everything) {
        put_real(o, "forward_s", u->forward_s);
        put_real(o, "backward_s", u->backward_s);
        if (u->weight_s > 0)
            put_real(o, "weight_s", u->weight_s);
        put_real(o, "update_s", u->update_s);
    }
    put_int(o, "parameter_bytes", u->parameter_bytes);
    put_int(o, "activation_bytes", u->activation_bytes);
    put_int(o, "cut_bytes", u->cut_bytes);
    if (u->part && everything)
        put_int(o, "part", u->part);
    return o;
}

static void put_machines(json_t *o, const Plan *p)
{
    json_t *rates = json_array(), *names = json_array();
    for (int i = 0; p->bandwidths && i < p->n_levels; i++)
        json_array_append_new(rates, json_real(p->bandwidths[i]));
    json_object_set_new(o, "bandwidths", rates);
    for (int i = 0; i < p->n_device_names; i++)
        json_array_append_new(names, json_string(p->device_names[i]));
    if (p->n_device_names)
        json_object_set(o, "device_names", names);
    json_decref(names);
}

static void put_summary(json_t *o, const Plan *p)
{
    put_text(o, "source", p->source);
    put_text(o, "cost_source", p->cost_source);
    put_machines(o, p);
    put_real(o, "pipeline_time_s", plan_pipeline_seconds(p));
    put_real(o, "lower_bound_s", p->lower_bound_s);
    put_real(o, "step_s", p->step_s);
    if (p->data_parallel_s > 0)
        put_real(o, "data_parallel_time_s", p->data_parallel_s);
    put_real(o, "single_machine_time_s", p->single_s);
    put_real(o, "planning_s", p->planning_s);
    if (p->beside_programs) {
        put_int(o, "beside_programs", p->beside_programs);
        put_real(o, "beside_slowdown", p->beside_slowdown);
    }
    if (p->asynchronous)
        json_object_set_new(o, "asynchronous", json_true());
    put_text(o, "overlap", p->overlap);
    if (p->compression > 0)
        put_real(o, "activation_compression_ratio", p->compression);
    put_text(o, "method", p->method);
    put_text(o, "why", p->why);
    if (p->explain)
        json_object_set_new(o, "explain", json_loads(p->explain, 0, NULL));
}

json_t *plan_json(const Plan *p, bool everything)
{
    json_t *o = json_object(), *stages = json_array(), *ranks = json_array(),
           *edges = json_array(), *units = json_array();
    int used = plan_machines_used(p);
    put_text(o, "model", p->model);
    put_text(o, "cost_model", p->cost_model ? p->cost_model : "stagecc");
    json_object_set_new(
        o, "machines", p->n_levels ? ints_json(p->machines, p->n_levels) : ints_json(&used, 1));
    put_int(o, "batch", p->options.batch);
    put_int(o, "micro_batches", p->options.micro_batches);
    put_text(o, "schedule", p->options.schedule);
    json_object_set_new(o, "options", options_json(&p->options));
    json_object_set_new(o, "contract", contract_json(p));
    if (everything)
        put_summary(o, p);
    put_int(o, "machines_used", used);
    json_object_set_new(o, "feasible", json_boolean(!p->why));
    put_int(o, "graph_nodes", p->n_nodes);
    put_int(o, "norm_parts", p->norm_parts);
    if (plan_stream_steps(p, false) > 1)
        put_int(o, "stream_steps", p->stream_steps);
    for (int s = 0; s < p->n_stages; s++)
        json_array_append_new(stages, stage_json(p, &p->stages[s], everything));
    json_object_set_new(o, "stages", stages);
    for (int r = 0; r < p->n_ranks; r++)
        json_array_append_new(ranks, rank_json(&p->ranks[r]));
    json_object_set_new(o, "ranks", ranks);
    for (int e = 0; e < p->n_edges; e++)
        json_array_append_new(edges, edge_json(p, &p->edges[e]));
    json_object_set_new(o, "edges", edges);
    for (int u = 0; u < p->n_units; u++)
        json_array_append_new(units, unit_json(&p->units[u], everything));
    json_object_set_new(o, "units", units);
    return o;
}

char *plan_to_json(const Plan *p)
{
    json_t *o = plan_json(p, true);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(o);
    size_t n = strlen(text);
    char *line = realloc(text, n + 2); // files end with a newline
    if (!line)
        fatal("out of memory (%zu bytes)", n);
    line[n] = '\n';
    line[n + 1] = 0;
    return line;
}
