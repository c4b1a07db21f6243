// Where a run begins and what it leaves behind: data sets, first values or a checkpoint, and the
// conversation of all stages about a new checkpoint (runtime/checkpoint.h).
#include "runtime/run.h"

#include "runtime/checkpoint.h"
#include "runtime/device.h"
#include "runtime/image.h"
#include "runtime/initial.h"
#include "runtime/loop.h"
#include "runtime/machine.h"
#include "runtime/report.h"
#include "runtime/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Saving
// -----------------------------------------------------------------------------------------

// Rank 0 alone: the barrier before has made everyone's sizes and checksums visible.
static int commit(rt_stage *s)
{
    const rt_program *p = s->program;
    rt__progress progress = {s->step, s->cursor, s->seed};
    rt__shard *shards = calloc((size_t)p->n_stages, sizeof *shards);
    if (!shards)
        return rt_fail(s, RT_E_MEMORY, "no memory for a table of %d stages", p->n_stages);
    for (int i = 0; i < p->n_stages; i++) {
        const SegmentStatus *status = &s->statuses[rt__first_rank(p, i)];
        memcpy(shards[i].bytes, status->shard_bytes, sizeof shards[i].bytes);
        memcpy(shards[i].crc, status->shard_crc, sizeof shards[i].crc);
    }
    rt__why why;
    int status = rt__checkpoint_commit(s->options.checkpoint, p, &progress, shards, &why);
    free(shards);
    return status ? rt__fail_why(s, status, &why) : 0;
}

// All replicas of a stage hold the same; the first writes it.
static int write_own_part(rt_stage *s)
{
    if (s->replica > 0)
        return 0;
    rt__memory m;
    rt__shard shard;
    rt__why why;
    int error = rt__memory_open(s, &m, true);
    if (error)
        return error;
    int status = rt__checkpoint_write(s->options.checkpoint, s->step, s->program->stage, &m,
                                      &shard, &why);
    rt__memory_close(s, &m, false);
    if (status) { // maybe because another stage has failed and deleted the directory
        int aborted = rt__check_abort(s);
        return aborted ? aborted : rt__fail_why(s, status, &why);
    }
    memcpy(s->status->shard_bytes, shard.bytes, sizeof shard.bytes);
    memcpy(s->status->shard_crc, shard.crc, sizeof shard.crc);
    return 0;
}

int rt__save(rt_stage *s)
{
    char path[1024];
    int error = write_own_part(s);
    if (!error)
        error = rt__barrier(s, "its part of the checkpoint");
    if (!error && s->rank == 0)
        error = commit(s);
    if (!error)
        error = rt__barrier(s, "the end of the checkpoint");
    if (error) {
        rt__abort(s);
        rt__checkpoint_discard(s->options.checkpoint, s->step);
        return error;
    }
    s->checkpointed = s->step;
    rt__checkpoint_path(s->options.checkpoint, s->step, path, sizeof path);
    if (s->rank == 0)
        rt__report_checkpoint(s, path);
    return 0;
}

// Beginning
// --------------------------------------------------------------------------------------

// Where a device does the work the processors are free, but for those of other ranks.
static int data_helpers(const rt_stage *s)
{
    enum { MOST = 7 };
    int own = rt__machine_cores() / rt__n_ranks(s->program) - 1;
    return !s->device->apart || own < 0 ? 0 : own < MOST ? own : MOST;
}

static int open_data(rt_stage *s, rt__data **data, const char *spec, bool test)
{
    const rt_program *p = s->program;
    rt__data_options o = {.spec = spec,
                          .inputs = p->inputs,
                          .n_inputs = p->n_inputs,
                          .tokens = p->tokens,
                          .classes = p->classes,
                          .seed = s->seed,
                          .shift = test ? 0 : s->options.random_shift,
                          .test = test,
                          .helpers = data_helpers(s)};
    rt__why why;
    int status = spec ? rt__data_open(data, &o, &why) : 0;
    return status ? rt__fail_why(s, status, &why) : 0;
}

static int check_batch(rt_stage *s)
{
    rt__portion of = rt__portions(s->program);
    if (rt__steps_per_epoch(s->data, of) == 0)
        return rt_fail(s, RT_E_INPUT,
                       "%s: %" PRIu64 " samples do not fill a micro-batch of %" PRId64
                       ", and this model's loss counts every sample: use more samples or "
                       "smaller micro-batches",
                       s->options.data, rt__data_samples(s->data), of.least);
    if (rt__step_samples(s->data, s->cursor, of) == 0)
        return rt_fail(s, RT_E_INPUT,
                       "%s: the checkpoint %s stands at sample %" PRIu64
                       " of an epoch, this data set has %" PRIu64,
                       s->options.data, s->options.resume, s->cursor.index,
                       rt__data_samples(s->data));
    return 0;
}

static int first_values(rt_stage *s)
{
    rt__memory m;
    rt__why why, extra = {""};
    int error = rt__memory_open(s, &m, false);
    if (error)
        return error;
    int status = rt__initialise(&m, s->seed, &why);
    if (!status && s->options.init)
        status = rt__init_load(s->options.init, &m, s->program->n_stages == 1, &extra, &why);
    error = rt__memory_close(s, &m, !status);
    if (status)
        return rt__fail_why(s, status, &why);
    if (error)
        return error;
    if (*extra.text)
        rt__report_warning(s, extra.text);
    return 0;
}

static void take_progress(rt_stage *s, const rt__checkpoint *c)
{
    rt__progress at = rt__checkpoint_progress(c);
    char text[256];
    if (s->options.seed >= 0 && s->options.seed != at.seed && s->rank == 0) {
        snprintf(text, sizeof text,
                 "--seed %" PRId64 ": the checkpoint's own seed %" PRId64 " stays",
                 s->options.seed, at.seed);
        rt__report_warning(s, text);
    }
    s->step = s->checkpointed = at.step;
    s->cursor = at.cursor;
    s->seed = at.seed;
}

static int load(rt_stage *s, const rt__checkpoint *c)
{
    rt__memory m;
    rt__why why;
    int error = rt__memory_open(s, &m, false);
    if (error)
        return error;
    int status = rt__initialise(&m, s->seed, &why); // accumulators begin at zero
    if (!status)
        status = rt__checkpoint_load(c, &m, &why);
    error = rt__memory_close(s, &m, !status);
    return status ? rt__fail_why(s, status, &why) : error;
}

static int resume(rt_stage *s)
{
    rt__checkpoint *c;
    rt__why why;
    int status = rt__checkpoint_open(&c, s->options.resume, &why);
    if (status)
        return rt__fail_why(s, status, &why);
    int error = load(s, c);
    if (!error)
        take_progress(s, c);
    if (!error && s->rank == 0 && !rt__checkpoint_same_contract(c, s->program, &why))
        rt__report_warning(s, why.text);
    rt__checkpoint_close(c);
    return error ? error : (int)s->error;
}

int rt__prepare(rt_stage *s)
{
    if (s->options.seed >= 0)
        s->seed = s->options.seed;
    bool found;
    int error = rt__gate(s);
    if (!error)
        error = rt__image_begin(s, &found);
    if (!error && !found)
        error = s->options.resume ? resume(s) : first_values(s);
    if (!error)
        rt__image_settle(s);
    if (!error)
        error = open_data(s, &s->data, s->options.data, false);
    if (!error)
        error = open_data(s, &s->test, s->options.test_data, true);
    if (!error && s->data && !s->options.eval_only)
        error = check_batch(s);
    atomic_store(&s->status->step, s->step);
    return error;
}
