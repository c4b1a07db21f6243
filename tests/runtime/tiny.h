// A model small enough to check by hand, as a hand-written rt_program: x[MB,W] times w0, w1, w2
// (element by element), loss = mean((y - 1)^2) / 2, plain SGD. Its three layers lie in one, two or three
// stages, which run as threads of one process over one job memory.
#ifndef STAGECC_TESTS_TINY_H
#define STAGECC_TESTS_TINY_H

#include "runtime/loop.h"
#include "runtime/segment.h"
#include "runtime/transport.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TINY_LAYERS = 3, TINY_W = 4, TINY_MB = 2, TINY_M = 4, TINY_N = TINY_W * TINY_MB };
enum { TINY_MAX_STEPS = 64, TINY_H = 64, TINY_EDGES = 5 * TINY_LAYERS };

typedef struct Tiny {
    rt_program program; // first: rt_stage.program is this
    int first, last;    // layers, both inclusive
    rt_instr train[128], eval[64];
    rt_replica own;
    rt_edge edges[TINY_EDGES];
    int consumers[TINY_EDGES];
    char names[TINY_EDGES][32];
    rt_tensor tensors[2 * TINY_LAYERS];
    rt_input input;
    // What a run leaves
    rt_stage stage;
    int error;
    char message[1024];
    float w[TINY_LAYERS][TINY_W];
    double losses[TINY_MAX_STEPS]; // sums over micro-batches, in the last stage
    int64_t steps, saved_at;
    // Called before every forward, for tests that break something
    void (*disturb)(rt_stage *s, int mb);
} Tiny;

static inline Tiny *tiny_of(rt_stage *s)
{
    return (Tiny *)(uintptr_t)s->program;
}

// Memory of a micro-batch: the input of each own layer, then the last output, then the loss.
static inline float *tiny_h(rt_stage *s, int mb, int i)
{
    const Tiny *t = tiny_of(s);
    const rt_program *p = s->program;
    int n = t->last - t->first + 1;
    if (i == 0 && p->stage > 0)
        return rt_slot(s, p->stage - 1, mb);
    if (i == n && p->stage < p->n_stages - 1)
        return rt_slot(s, p->stage, mb);
    return rt_act(s, mb, (int64_t)i * TINY_H);
}

static inline float *tiny_w(rt_stage *s, int layer)
{
    return rt_persistent(s, (int64_t)(layer - tiny_of(s)->first) * 2 * TINY_H);
}

static inline float *tiny_dw(rt_stage *s, int layer)
{
    return rt_persistent(s, (int64_t)(layer - tiny_of(s)->first) * 2 * TINY_H + TINY_H);
}

static inline void tiny_forward(rt_stage *s, int mb)
{
    Tiny *t = tiny_of(s);
    if (t->disturb)
        t->disturb(s, mb);
    for (int l = t->first; l <= t->last; l++) {
        rt_at(s, l);
        const float *x = tiny_h(s, mb, l - t->first), *w = tiny_w(s, l);
        float *y = tiny_h(s, mb, l - t->first + 1);
        for (int i = 0; i < TINY_N; i++)
            y[i] = x[i] * w[i % TINY_W];
    }
    if (t->last < TINY_LAYERS - 1)
        return;
    rt_at(s, TINY_LAYERS);
    const float *y = tiny_h(s, mb, t->last - t->first + 1);
    float sum = 0;
    for (int i = 0; i < TINY_N; i++)
        sum += (y[i] - 1) * (y[i] - 1);
    *(float *)rt_act(s, mb, t->program.loss_offset) = sum / (2 * TINY_N);
}

static inline void tiny_backward(rt_stage *s, int mb)
{
    Tiny *t = tiny_of(s);
    const rt_program *p = s->program;
    int n = p->n_stages;
    float d[TINY_N];
    if (t->last == TINY_LAYERS - 1) {
        const float *y = tiny_h(s, mb, t->last - t->first + 1);
        for (int i = 0; i < TINY_N; i++)
            d[i] = (y[i] - 1) / (TINY_N * TINY_M);
    } else {
        memcpy(d, rt_slot(s, n - 1 + p->stage, mb), sizeof d);
    }
    for (int l = t->last; l >= t->first; l--) {
        rt_at(s, l);
        const float *x = tiny_h(s, mb, l - t->first), *w = tiny_w(s, l);
        float *dw = tiny_dw(s, l);
        for (int i = 0; i < TINY_N; i++) {
            dw[i % TINY_W] += d[i] * x[i];
            d[i] *= w[i % TINY_W];
        }
    }
    if (p->stage > 0)
        memcpy(rt_slot(s, n - 1 + p->stage - 1, mb), d, sizeof d);
}

static inline void tiny_update(rt_stage *s)
{
    Tiny *t = tiny_of(s);
    float rate = (float)rt_lr(s) * (float)rt_clip(s);
    for (int l = t->first; l <= t->last; l++)
        for (int i = 0; i < TINY_W; i++) {
            tiny_w(s, l)[i] -= rate * tiny_dw(s, l)[i];
            tiny_dw(s, l)[i] = 0;
        }
    for (int mb = 0; mb < TINY_M && s->step < TINY_MAX_STEPS; mb++)
        t->losses[s->step] += s->losses[mb];
}

static inline void tiny_eval(rt_stage *s, int mb)
{
    Tiny *t = tiny_of(s);
    const rt_program *p = s->program;
    int edge = 2 * (p->n_stages - 1);
    float y[TINY_N];
    memcpy(y, p->stage ? rt_slot(s, edge + p->stage - 1, mb) : rt_scratch(s, 0), sizeof y);
    for (int l = t->first; l <= t->last; l++)
        for (int i = 0; i < TINY_N; i++)
            y[i] *= tiny_w(s, l)[i % TINY_W];
    if (p->stage < p->n_stages - 1) {
        memcpy(rt_slot(s, edge + p->stage, mb), y, sizeof y);
        return;
    }
    float sum = 0;
    for (int i = 0; i < TINY_N; i++)
        sum += (y[i] - 1) * (y[i] - 1);
    *(float *)rt_scratch(s, p->eval_loss_offset) = sum / (2 * TINY_N);
}

// Streams
// ----------------------------------------------------------------------------------------

typedef struct TinyWriter {
    rt_instr *at;
    int n;
} TinyWriter;

static inline void tiny_put(TinyWriter *w, int opcode, int edge, int mb)
{
    w->at[w->n++] = (rt_instr){(uint8_t)opcode, (uint16_t)edge, (uint32_t)mb};
}

// An instruction with what stands around it; -1: no such edge. `held` is released after it.
static inline void tiny_run(TinyWriter *w, int opcode, int mb, const int edges[3])
{
    int in = edges[0], out = edges[1], held = edges[2];
    if (in >= 0)
        tiny_put(w, RT_RECV, in, mb);
    if (out >= 0)
        tiny_put(w, RT_ACQUIRE, out, mb);
    tiny_put(w, opcode, RT_NO_EDGE, mb);
    if (held >= 0)
        tiny_put(w, RT_RELEASE, held, mb);
    if (opcode != RT_FORWARD && in >= 0)
        tiny_put(w, RT_RELEASE, in, mb);
    if (out >= 0)
        tiny_put(w, RT_SEND, out, mb);
}

static inline void tiny_streams(Tiny *t, bool gpipe)
{
    rt_program *p = &t->program;
    int s = p->stage, k = p->n_stages - 1;
    int in = s > 0 ? s - 1 : -1, out = s < k ? s : -1;
    const int forward[] = {in, out, -1};
    const int backward[] = {s < k ? k + s : -1, s > 0 ? k + s - 1 : -1, in};
    const int eval[] = {s > 0 ? 2 * k + s - 1 : -1, s < k ? 2 * k + s : -1, -1};
    const int up[] = {s > 0 ? 3 * k + s - 1 : -1, s < k ? 3 * k + s : -1, -1};
    const int down[] = {s < k ? 4 * k + s : -1, s > 0 ? 4 * k + s - 1 : -1, -1};
    int flight = gpipe || p->n_stages - s > TINY_M ? TINY_M : p->n_stages - s;
    TinyWriter w = {t->train, 0};
    for (int i = 0; i < TINY_M + flight - 1; i++) {
        if (i < TINY_M && s == 0)
            tiny_put(&w, RT_LOAD, RT_NO_EDGE, i);
        if (i < TINY_M)
            tiny_run(&w, RT_FORWARD, i, forward);
        if (i - flight + 1 >= 0)
            tiny_run(&w, RT_BACKWARD, i - flight + 1, backward);
    }
    if (p->norm_parts) {
        tiny_run(&w, RT_NORM_GATHER, 0, up);
        tiny_run(&w, RT_NORM_APPLY, 0, down);
    }
    tiny_put(&w, RT_UPDATE, RT_NO_EDGE, 0);
    t->own = (rt_replica){.train = t->train, .eval = t->eval, .n_train = w.n};
    p->replicas = &t->own;
    w = (TinyWriter){t->eval, 0};
    for (int i = 0; i < TINY_M; i++) {
        if (s == 0)
            tiny_put(&w, RT_LOAD, RT_NO_EDGE, i);
        tiny_run(&w, RT_EVAL, i, eval);
    }
    t->own.n_eval = w.n;
    p->in_flight = flight;
    t->own.norm_up_in = up[0] >= 0 ? up[0] : RT_NO_EDGE;
    t->own.norm_up_out = up[1] >= 0 ? up[1] : RT_NO_EDGE;
    t->own.norm_down_in = down[0] >= 0 ? down[0] : RT_NO_EDGE;
    t->own.norm_down_out = down[1] >= 0 ? down[1] : RT_NO_EDGE;
}

// The program
// ------------------------------------------------------------------------------------

static inline void tiny_edge(Tiny *t, int id, const char *name, int from, int to)
{
    bool norm = id >= 3 * (t->program.n_stages - 1);
    t->consumers[id] = to;
    snprintf(t->names[id], sizeof t->names[id], "%s %d-%d", name, from, to);
    t->edges[id] = (rt_edge){.name = t->names[id],
                             .producer = from,
                             .consumers = &t->consumers[id],
                             .n_consumers = 1,
                             .bytes = norm ? TINY_LAYERS * 8 : TINY_N * 4,
                             .slots = norm                           ? 1
                                      : id < t->program.n_stages - 1 ? TINY_M
                                                                     : 2,
                             .stride = 1,
                             .per_step = norm ? 1 : TINY_M,
                             .eval = !norm && id >= 2 * (t->program.n_stages - 1)};
}

static inline void tiny_tensors(Tiny *t)
{
    static const char *const names[TINY_LAYERS][2] = {{"l0.weight", "l0.weight.grad"},
                                                      {"l1.weight", "l1.weight.grad"},
                                                      {"l2.weight", "l2.weight.grad"}};
    rt_program *p = &t->program;
    for (int l = t->first; l <= t->last; l++)
        for (int k = 0; k < 2; k++)
            t->tensors[p->n_tensors++] =
                (rt_tensor){.name = names[l][k],
                            .role = k ? RT_ACCUMULATOR : RT_PARAM,
                            .dtype = RT_F32,
                            .rank = 1,
                            .dim = {TINY_W},
                            .offset = (l - t->first) * 2 * TINY_H + k * TINY_H,
                            .bytes = TINY_W * 4,
                            .kernel = -1,
                            .init = RT_INIT_UNIFORM,
                            .gain = 2,
                            .norm_index = k ? l : -1};
}

// Stage `stage` of `n_stages` (1 to 3); clip 0: no clipping.
static inline void tiny_init(Tiny *t, int stage, int n_stages, bool gpipe, double clip)
{
    static const rt_layer layers[] = {
        {"l0", "tiny.c:1"}, {"l1", "tiny.c:2"}, {"l2", "tiny.c:3"}, {"loss", "tiny.c:4"}};
    memset(t, 0, sizeof *t);
    t->first = stage * TINY_LAYERS / n_stages;
    t->last = (stage + 1) * TINY_LAYERS / n_stages - 1;
    bool last = stage == n_stages - 1;
    int k = n_stages - 1;
    t->program = (rt_program){.abi = RT_ABI,
                              .model = "tiny",
                              .command = "none",
                              .plan_hash = "0123456789abcdef",
                              .stage = stage,
                              .n_stages = n_stages,
                              .micro_batch = TINY_MB,
                              .micro_batches = TINY_M,
                              .threads = 1,
                              .isa = "generic",
                              .edges = t->edges,
                              .n_edges = 5 * k,
                              .norm_parts = clip > 0 ? TINY_LAYERS : 0,
                              .persistent_bytes = TINY_LAYERS * 2 * TINY_H,
                              .slot_bytes = (TINY_LAYERS + 2) * TINY_H,
                              .scratch_bytes = 2 * TINY_H,
                              .tensors = t->tensors,
                              .inputs = &t->input,
                              .n_inputs = stage == 0,
                              .layers = layers,
                              .n_layers = 4,
                              .loss_offset = last ? (TINY_LAYERS + 1) * TINY_H : -1,
                              .eval_loss_offset = last ? TINY_H : -1,
                              .eval_logits_offset = -1,
                              .eval_labels_edge = RT_NO_EDGE,
                              .real = RT_F32,
                              .optimizer = "sgd",
                              .lr_schedule = "constant",
                              .lr = 0.1,
                              .clip_norm = clip,
                              .seed = 1,
                              .forward = tiny_forward,
                              .backward = tiny_backward,
                              .update = tiny_update,
                              .eval_forward = tiny_eval};
    t->input = (rt_input){.name = "x",
                          .dtype = RT_F32,
                          .rank = 2,
                          .dim = {TINY_MB, TINY_W},
                          .edge = RT_NO_EDGE,
                          .eval_edge = RT_NO_EDGE};
    for (int i = 0; i < k; i++) {
        tiny_edge(t, i, "act", i, i + 1);
        tiny_edge(t, k + i, "grad", i + 1, i);
        tiny_edge(t, 2 * k + i, "eval", i, i + 1);
        tiny_edge(t, 3 * k + i, "up", i, i + 1);
        tiny_edge(t, 4 * k + i, "down", i + 1, i);
    }
    tiny_tensors(t);
    tiny_streams(t, gpipe);
}

// Running
// -----------------------------------------------------------------------------------------

typedef struct TinyJob {
    Tiny stage[TINY_LAYERS];
    int n_stages, fd;
    rt__options options;
    int64_t timeout_ns; // 0: the default
    int alone;          // run this stage only; -1: all
} TinyJob;

static inline TinyJob *tiny_job(int n_stages, bool gpipe, double clip)
{
    TinyJob *j = calloc(1, sizeof *j);
    j->n_stages = n_stages;
    j->alone = -1;
    j->options = (rt__options){.data = "synthetic:64",
                               .steps = 8,
                               .epochs = -1,
                               .checkpoint_every = -1,
                               .eval_every = -1,
                               .seed = -1,
                               .lr = -1};
    for (int i = 0; i < n_stages; i++)
        tiny_init(&j->stage[i], i, n_stages, gpipe, clip);
    return j;
}

typedef struct TinyThread {
    TinyJob *job;
    int stage;
} TinyThread;

static inline void *tiny_thread(void *user)
{
    const TinyThread *thread = user;
    TinyJob *j = thread->job;
    Tiny *t = &j->stage[thread->stage];
    rt_stage *s = &t->stage;
    rt__stage_init(s, &t->program, 0);
    s->options = j->options;
    s->quiet = true;
    if (j->timeout_ns)
        s->timeout_ns = j->timeout_ns;
    if (!rt__stage_open(s, j->fd))
        rt__run(s);
    if (s->error && s->error != RT_E_INTERRUPTED)
        rt__abort(s);
    for (int l = t->first; l <= t->last && s->arena; l++)
        memcpy(t->w[l], tiny_w(s, l), sizeof t->w[l]);
    t->error = (int)s->error;
    t->steps = s->step;
    t->saved_at = s->checkpointed;
    memcpy(t->message, s->message, sizeof t->message);
    rt__stage_close(s);
    return NULL;
}

static inline void tiny_run_job(TinyJob *j)
{
    pthread_t id[TINY_LAYERS];
    TinyThread threads[TINY_LAYERS];
    j->fd = rt__segment_new(&j->stage[0].program);
    for (int i = 0; i < j->n_stages; i++) {
        threads[i] = (TinyThread){j, i};
        if (j->alone < 0 || j->alone == i)
            pthread_create(&id[i], NULL, tiny_thread, &threads[i]);
    }
    for (int i = 0; i < j->n_stages; i++)
        if (j->alone < 0 || j->alone == i)
            pthread_join(id[i], NULL);
    close(j->fd);
}

// The weights of all stages, and the losses of the last one.
static inline void tiny_result(const TinyJob *j, float w[TINY_LAYERS][TINY_W],
                               double losses[TINY_MAX_STEPS])
{
    for (int i = 0; i < j->n_stages; i++)
        for (int l = j->stage[i].first; l <= j->stage[i].last; l++)
            memcpy(w[l], j->stage[i].w[l], sizeof w[l]);
    memcpy(losses, j->stage[j->n_stages - 1].losses, TINY_MAX_STEPS * sizeof *losses);
}

#endif
