// Questions about a plan, and its hash.
#include "plan/plan.h"

#include "base/text.h"
#include "plan/json.h"
#include "plan/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool plan_has_streams(const Plan *p)
{
    return p->n_ranks > 0 && p->ranks[0].train.n > 0;
}

void plan_number_ranks(Arena *a, Plan *p)
{
    p->n_ranks = 0;
    for (int s = 0; s < p->n_stages; s++) {
        p->stages[s].first_rank = p->n_ranks;
        p->n_ranks += p->stages[s].replicas;
    }
    p->ranks = arena_array(a, PlanRank, p->n_ranks);
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stages[s].replicas; r++)
            p->ranks[p->stages[s].first_rank + r] = (PlanRank){.stage = s, .replica = r};
}

int plan_machines_used(const Plan *p)
{
    int used = 0;
    for (int s = 0; s < p->n_stages; s++)
        used += p->stages[s].replicas;
    return p->machines_used ? p->machines_used : schedule_machines(&p->options, used);
}

// Vectors of the norm, losses, scores and sums of a round are the host's.
static bool has_twins(const Plan *p, int edge)
{
    uint32_t norm = UINT32_C(1) << RT_NORM_GATHER | UINT32_C(1) << RT_NORM_APPLY;
    for (int r = 0; r < p->n_ranks && p->edges[edge].touch; r++)
        if (p->edges[edge].touch[r] & norm)
            return false;
    for (int i = 0; i < p->n_buckets; i++) {
        const PlanBucket *b = &p->buckets[i];
        bool tensors = b->kind == BUCKET_GRADIENTS || b->kind == BUCKET_STATISTICS;
        int end = b->first_edge + p->stages[b->stage].replicas;
        if (!tensors && edge >= b->first_edge && edge < end)
            return false;
    }
    return !plan_is_round(&p->edges[edge]);
}

static bool consumes(const PlanEdge *e, int rank)
{
    for (int c = 0; c < e->n_consumers; c++)
        if (e->consumers[c] == rank)
            return true;
    return false;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void plan_count_edges(const Plan *p, PlanStage *s, bool apart)
{
    s->edge_bytes = s->twin_bytes = 0;
    for (int r = s->first_rank; r < s->first_rank + s->replicas; r++) {
        int64_t bytes = 0, twins = 0;
        for (int i = 0; i < p->n_edges; i++) {
            const PlanEdge *e = &p->edges[i];
            int64_t ring = e->slots * ((e->bytes + 63) / 64 * 64);
            bool own = e->producer == r;
            bytes += own ? ring : 0;
            if (apart && (own || consumes(e, r)) && has_twins(p, i))
                twins += (ring + 255) / 256 * 256; // as runtime/twins.c does
        }
        s->edge_bytes = most(bytes, s->edge_bytes);
        s->twin_bytes = most(twins, s->twin_bytes);
    }
}

const char *plan_backend(const Plan *p, const PlanStage *s)
{
    return s->backend ? s->backend : p->backend;
}

bool plan_mixes_backends(const Plan *p)
{
    return p->n_stages && p->stages[0].backend;
}

const char *plan_rank_name(const Plan *p, int rank, char *buffer, int size)
{
    const PlanRank *r = &p->ranks[rank];
    if (p->stages[r->stage].replicas > 1)
        snprintf(buffer, (size_t)size, "stage %d, replica %d", r->stage, r->replica);
    else
        snprintf(buffer, (size_t)size, "stage %d", r->stage);
    return buffer;
}

int plan_device(const Plan *p, int rank)
{
    const PlanRank *r = &p->ranks[rank];
    const PlanStage *s = &p->stages[r->stage];
    return r->replica < s->n_devices ? s->devices[r->replica] : s->id;
}

int64_t plan_device_bytes(const Plan *p, int device)
{
    int64_t bytes = 0;
    for (int r = 0; r < p->n_ranks; r++)
        if (plan_device(p, r) == device)
            bytes += plan_stage_bytes(&p->stages[p->ranks[r].stage]);
    return bytes;
}

double plan_rank_seconds(const Plan *p, int rank)
{
    const PlanRank *r = &p->ranks[rank];
    const PlanStage *s = &p->stages[r->stage];
    int own = plan_own_micro_batches(p, r, false);
    return own * (s->forward_s + s->backward_s) + s->update_s;
}

int plan_stage_of_unit(const Plan *p, int unit)
{
    int low = 0, high = p->n_stages - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (p->stages[middle].last_unit < unit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool plan_reduces(const PlanEdge *e, int rank)
{
    uint32_t opcodes = UINT32_C(1) << RT_REDUCE_PUT | UINT32_C(1) << RT_REDUCE_SUM |
                       UINT32_C(1) << RT_REDUCE_GET;
    return e->touch && e->touch[rank] & opcodes;
}

uint32_t plan_rounds(const Plan *p, int rank)
{
    uint32_t passes = 0, able = UINT32_C(1) << RT_FORWARD | UINT32_C(1) << RT_BACKWARD |
                                UINT32_C(1) << RT_BACKWARD_WEIGHT;
    for (int e = 0; e < p->n_edges; e++)
        if (plan_is_round(&p->edges[e]) && p->edges[e].touch)
            passes |= p->edges[e].touch[rank];
    return passes & able;
}

int plan_step_numbers(const Plan *p, int rank, const rt_instr *i)
{
    int micro_batches = (int)p->options.micro_batches;
    if (i->opcode <= RT_RELEASE) {
        const PlanEdge *e = &p->edges[i->edge];
        return plan_reduces(e, rank) ? e->stride : micro_batches;
    }
    for (int k = 0; k < p->n_edges && rt_is_reduce(i->opcode); k++)
        if (plan_reduces(&p->edges[k], rank))
            return p->edges[k].stride;
    return micro_batches;
}

int plan_part_of_unit(const PlanStage *s, int unit)
{
    int part = 0;
    while (part + 1 < s->n_parts && unit < s->part_units[part])
        part++;
    return part;
}

double plan_parts_seconds(const Plan *p, const PlanStage *s, int part, int end)
{
    double own = 0, all = 0;
    bool split = schedule_splits(&p->options);
    for (int u = s->first_unit; u <= s->last_unit; u++) {
        int at = plan_part_of_unit(s, u);
        double seconds = split ? p->units[u].weight_s : p->units[u].backward_s;
        all += seconds;
        own += at >= part && at < end ? seconds : 0;
    }
    return all > 0 ? (split ? s->weight_s : s->backward_s) * own / all : 0;
}

int plan_stream_steps(const Plan *p, bool eval)
{
    return eval || p->stream_steps < 1 ? 1 : p->stream_steps;
}

int plan_micro_batches(const Plan *p, bool eval)
{
    return (int)p->options.micro_batches * plan_stream_steps(p, eval);
}

int plan_own_micro_batches(const Plan *p, const PlanRank *r, bool eval)
{
    int replicas = p->stages[r->stage].replicas;
    return plan_stream_steps(p, eval) *
           schedule_share((int)p->options.micro_batches, replicas, r->replica);
}

int plan_messages(const Plan *p, const PlanEdge *e)
{
    return e->per_step * plan_stream_steps(p, e->eval);
}

int64_t plan_weight_bytes(const PlanStage *s)
{
    return s->versions > 1 ? (s->versions - 1) * s->version_bytes : 0;
}

int64_t plan_stage_bytes(const PlanStage *s)
{
    return s->persistent_bytes + plan_weight_bytes(s) + s->in_flight * s->slot_bytes +
           s->scratch_bytes + s->edge_bytes + s->twin_bytes + s->library_bytes;
}

double plan_stage_seconds(const PlanStage *s)
{
    double compute = s->compute_s > 0 ? s->compute_s : s->forward_s + s->backward_s;
    return s->time_s > 0 ? s->time_s : compute + s->receive_s + s->send_s + s->sync_s;
}

// Without filling and draining: what partition minimises.
double plan_pipeline_seconds(const Plan *p)
{
    double most = 0;
    for (int i = 0; i < p->n_stages; i++)
        most = fmax(most, plan_stage_seconds(&p->stages[i]));
    return p->pipeline_s > 0 ? p->pipeline_s : most * (double)p->options.micro_batches;
}

int64_t plan_bytes(double bytes)
{
    return bytes < 0x1p50 ? (int64_t)llround(bytes) : INT64_C(1) << 50;
}

// Predictions differ from run to run; the programs do not.
uint64_t plan_hash(const Plan *p)
{
    json_t *root = plan_json(p, false);
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    uint64_t h = str_hash(text, strlen(text));
    free(text);
    json_decref(root);
    return h;
}
