// The cost model `stagecc`. A micro-batch on a stage of r replicas with speed s:
//
//   compute   C / (r s)                    forward and backward; with recomputation C + F. The replicas take
//                                          micro-batches in turn.
//   sync      2 (r-1)/r P / B + 2 (r-1) L  ring all-reduce of the gradients on links of B bytes/s and L
//                                          seconds (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms
//                                          for clusters of workstations", JPDC 2009); once an update, so divided
//                                          by its micro-batches, which are r where the pipeline never drains: one
//                                          for each replica
//   receive   2 O k / c + 2 L / r          activations of the cut before it, and as many gradients back, compressed
//   send      likewise of the cut behind   by c, k seconds a byte on the busiest link (links.c); both sides of a
//                                          boundary pay, and the replicas take turns waiting
//
// and the stage's time is, by what overlaps (CostOptions.overlap):
//
//   none        compute + sync + receive + send
//   transfers   max(compute + sync, receive, send)
//   all         max(compute, forward + sync, receive, send)
//
// Memory: (v + 1 + x) P + A f, with v versions of the weights, one of gradients, x of optimizer state and f
// micro-batches in flight (Narayanan et al., "Memory-efficient pipeline-parallel DNN training", ICML 2021).
// With recomputation a micro-batch in flight keeps its input alone: (v + 1 + x) P + A + O(begin) f (Chen et
// al., "Training deep nets with sublinear memory cost", 2016).
#include "passes/planner/moves.h"

int cost_in_flight(const CostOptions *o, int replicas, int behind)
{
    int steady = (behind + replicas + replicas - 1) / replicas;
    if (!o->micro_batches)
        return steady;
    int share = (o->micro_batches + replicas - 1) / replicas;
    bool all = o->schedule && o->schedule[0] == 'g'; // gpipe
    return all || share < steady ? share : steady;
}

static MoveRow compute_row(const Standing *s, Move *m)
{
    double seconds = 1 / (s->replicas * s->speed);
    m->n_rows = 1;
    return (MoveRow){.compute = seconds, .forward = s->recompute ? seconds : 0, .timed = true};
}

static void add_sync(const Standing *s, MoveRow *row)
{
    int r = s->replicas;
    if (r == 1)
        return;
    double updates = 1.0 / (s->options->micro_batches ? s->options->micro_batches : r);
    row->parameters = updates * 2 * (r - 1) / r / s->sync.bytes_per_s;
    row->budget = -updates * 2 * (r - 1) * s->sync.latency_s;
}

static void add_memory(const Standing *s, Move *m)
{
    const CostOptions *o = s->options;
    double limit = s->memory_bytes;
    if (o->memory_bytes > 0 && (limit <= 0 || o->memory_bytes < limit))
        limit = o->memory_bytes;
    if (limit <= 0)
        return;
    double versions = o->micro_batches ? 1 : m->in_flight;
    m->rows[m->n_rows++] = (MoveRow){.parameters = versions + 1 + o->state_factor,
                                     .activations = s->recompute ? 1 : m->in_flight,
                                     .in_bytes = s->recompute ? m->in_flight : 0,
                                     .budget = limit};
}

void cost_stagecc(const Standing *s, Move *m)
{
    double c = s->options->compression > 0 ? s->options->compression : 1;
    m->in_flight = cost_in_flight(s->options, s->replicas, s->behind);
    m->recompute = s->recompute;
    m->in_bytes = 2 / c * s->in.per_byte;
    m->in_fixed = 2 * s->in.fixed;
    m->out_bytes = 2 / c * s->out.per_byte;
    m->out_fixed = 2 * s->out.fixed;
    m->their_bytes = 2 / c * s->their.per_byte;
    m->their_fixed = 2 * s->their.fixed;
    m->rows[0] = compute_row(s, m);
    switch (s->options->overlap) {
    case OVERLAP_NONE:
        add_sync(s, &m->rows[0]);
        m->rows[0].in_bytes = m->in_bytes;
        m->rows[0].in_fixed = m->in_fixed;
        m->rows[0].out_bytes = m->out_bytes;
        m->rows[0].out_fixed = m->out_fixed;
        m->in_bytes = m->in_fixed = m->out_bytes = m->out_fixed = 0;
        break;
    case OVERLAP_TRANSFERS: add_sync(s, &m->rows[0]); break;
    case OVERLAP_ALL:
        if (s->replicas == 1)
            break;
        m->rows[1] = (MoveRow){.forward = m->rows[0].compute, .timed = true};
        add_sync(s, &m->rows[1]);
        m->n_rows = 2;
        break;
    }
    add_memory(s, m);
}
