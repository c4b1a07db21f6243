// One stage program in memory: an arena of persistent tensors, slots of micro-batches in flight and
// scratch, all at the plan's offsets, twins of messages, and the job's segment. Everything is mapped and touched here;
// a training step allocates nothing.
#include "runtime/device.h"
#include "runtime/evaluate.h"
#include "runtime/image.h"
#include "runtime/machine.h"
#include "runtime/norm.h"
#include "runtime/random.h"
#include "runtime/reduce.h"
#include "runtime/round.h"
#include "runtime/segment.h"
#include "runtime/settle.h"
#include "runtime/timeline.h"
#include "runtime/transport.h"
#include "runtime/twins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const rt__opcode_name[RT_N_OPCODES] = {
#define X(KIND, name, meaning, operands) name,
    STREAM_INSTRUCTIONS(X)
#undef X
};

static int64_t timeout_from_environment(void)
{
    const char *text = getenv("STAGECC_TIMEOUT");
    double seconds = text ? strtod(text, NULL) : 0;
    return (int64_t)((seconds > 0 && seconds < 1e9 ? seconds : 300) * 1e9);
}

void rt__stage_init(rt_stage *s, const rt_program *program, int replica)
{
    const char *spin = getenv("STAGECC_SPIN");
    *s = (rt_stage){.program = program,
                    .replica = replica,
                    .replicas = rt__n_replicas(program),
                    .rank = rt__first_rank(program, program->stage) + replica,
                    .device = program->backend && program->backend->device
                                  ? program->backend->device
                                  : &rt__host,
                    .own = program->replicas ? &program->replicas[replica] : NULL,
                    .timeout_ns = timeout_from_environment(),
                    .spin = spin && *spin == '1',
                    .checkpointed = -1,
                    .seed = program->seed,
                    .layer = -1,
                    .clip = 1,
                    .report_fd = -1};
}

int64_t rt__older_weights(const rt_program *p)
{
    return p->versions > 1 ? (p->versions - 1) * p->version_bytes : 0;
}

// With an image whose generations it works in, persistent memory is there.
static int64_t kept_here(const rt_stage *s)
{
    const rt_program *p = s->program;
    return s->arena ? 0 : p->persistent_bytes + rt__older_weights(p);
}

static int open_arena(rt_stage *s)
{
    const rt_program *p = s->program;
    int64_t kept = kept_here(s);
    uint64_t bytes = (uint64_t)kept + (uint64_t)p->scratch_bytes +
                     (uint64_t)p->in_flight * (uint64_t)p->slot_bytes;
    uint64_t twins = segment_round_up(bytes, RT__TWIN_ALIGN);
    uint8_t *own;
    if (rt__twins_bytes(s))
        bytes = twins + rt__twins_bytes(s);
    int error = s->device->open(s, bytes, &own);
    if (error)
        return error;
    s->arena = s->arena ? s->arena : own;
    s->slots = own + kept;
    s->scratch = s->slots + (int64_t)p->in_flight * p->slot_bytes;
    rt__twins_bind(s, own + twins);
    return 0;
}

static int open_job(rt_stage *s, int job_fd)
{
    if (job_fd >= 0)
        return rt__transport_open(s, job_fd);
    char name[RT__RANK_NAME];
    if (rt__n_ranks(s->program) > 1)
        return rt_fail(s, RT_E_INPUT,
                       "this is %s: start all programs of its job with `stagecc run DIR`",
                       rt__rank_name(s->program, s->rank, name));
    int own = rt__segment_new(s->program);
    if (own < 0)
        return rt_fail(s, RT_E_ENVIRONMENT, "cannot make the job's memory: %s",
                       strerror(errno));
    int error = rt__transport_open(s, own);
    close(own);
    return error;
}

static int count_evals(const rt_program *p)
{
    int n = 0;
    for (int r = 0; r < rt__n_replicas(p); r++)
        for (int i = 0; i < p->replicas[r].n_eval; i++)
            n += p->replicas[r].eval[i].opcode == RT_EVAL;
    return n;
}

int rt__stage_open(rt_stage *s, int job_fd)
{
    const rt_program *p = s->program;
    if (p->abi != RT_ABI)
        return rt_fail(s, RT_E_ENVIRONMENT,
                       "the program was made for version %u of the runtime, this library is "
                       "version %d: build it again",
                       p->abi, RT_ABI);
    int error = rt__machine_check(s);
    if (!error)
        error = open_job(s, job_fd);
    if (!error)
        error = rt__timeline_open(s);
    if (!error)
        error = rt__image_open(s);
    if (!error)
        error = rt__twins_open(s);
    if (!error)
        error = open_arena(s);
    if (!error)
        error = rt__image_share(s);
    if (!error)
        error = rt__norm_open(s);
    if (!error)
        error = rt__evaluate_open(s);
    if (!error)
        error = rt__settle_open(s);
    if (!error)
        error = rt__reduce_open(s);
    if (!error)
        error = rt__round_open(s);
    if (error)
        return error;
    s->eval_micro_batches = count_evals(p);
    if (p->bind)
        p->bind(s);
    if (p->backend && p->backend->init && (error = p->backend->init(s)))
        return rt_fail(s, (rt_error)error, "the backend %s could not start", p->backend->name);
    return (int)s->error;
}

void rt__stage_close(rt_stage *s)
{
    if (s->backend_state && s->program->backend->release)
        s->program->backend->release(s);
    s->device->close(s); // before the messages that it may still write
    rt__twins_close(s);
    rt__timeline_close(s);
    rt__transport_close(s);
    rt__image_close(s);
    rt__norm_close(s);
    rt__reduce_close(s);
    rt__round_close(s);
    rt__evaluate_close(s);
    rt__settle_close(s);
    s->arena = s->slots = s->scratch = NULL;
}

// What generated code asks for
// -------------------------------------------------------------------

void *rt_persistent(rt_stage *s, int64_t offset)
{
    return s->arena + s->base + offset;
}

int64_t rt_next(const rt_stage *s)
{
    return s->next;
}

void *rt_weight(rt_stage *s, int64_t offset)
{
    return s->arena + s->weights_at + offset;
}

void *rt_act(rt_stage *s, int mb, int64_t offset)
{
    int own = mb / s->replicas; // its number among this replica's
    return s->slots + (int64_t)(own % s->program->in_flight) * s->program->slot_bytes + offset;
}

void *rt_scratch(rt_stage *s, int64_t offset)
{
    return s->scratch + offset;
}

double rt_lr(const rt_stage *s)
{
    return s->lr;
}

double rt_clip(const rt_stage *s)
{
    return s->clip;
}

int64_t rt_step(const rt_stage *s)
{
    return s->step + 1;
}

uint64_t rt_random_key(const rt_stage *s, int64_t stream, int mb)
{
    return rt_key(s->seed, stream, s->step, mb % s->program->micro_batches);
}
