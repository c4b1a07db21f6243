// The runtime's own view of a stage program: one rt_stage per program (tests run several in one
// process), the table of errors, the options of a run. Generated code sees runtime/stage.h only.
#ifndef STAGECC_RUNTIME_RT_H
#define STAGECC_RUNTIME_RT_H

#include "plan/segment.h"
#include "runtime/data.h"
#include "runtime/lr.h"
#include "runtime/rank.h"
#include "runtime/stage.h"

#include <stdbool.h>

// Every way to fail: exit status (docs/cli.md) and the word of the JSON report.
//    NAME         status  word           meaning
#define RT_ERRORS(X)                                                                           \
    X(INPUT, 1, "input", "an option, a data set, a file or a checkpoint is wrong")             \
    X(ENVIRONMENT, 2, "environment",                                                           \
      "this machine lacks something: disk, instructions, a library")                           \
    X(KERNEL, 2, "kernel", "a library kernel failed or is not the one of the plan")            \
    X(MEMORY, 3, "memory", "the stage does not fit into this machine's memory")                \
    X(PEER, 4, "peer", "another stage failed or is gone")                                      \
    X(TIMEOUT, 4, "timeout", "no stage has moved for too long")                                \
    X(LOSS, 5, "loss", "loss or gradient are not finite")                                      \
    X(BUG, 70, "bug", "the program contradicts its own plan")                                  \
    X(INTERRUPTED, 130, "interrupted", "a signal asked to stop")

typedef enum rt_error {
    RT_E_NONE,
#define X(name, status, word, meaning) RT_E_##name,
    RT_ERRORS(X)
#undef X
        RT_N_ERRORS
} rt_error;

int rt_error_status(rt_error e);         // exit status
const char *rt_error_word(rt_error e);   // "peer"
rt_error rt_error_of_status(int status); // RT__INPUT, RT__ENVIRONMENT, … of runtime/plain.h

extern const char *const rt__opcode_name[RT_N_OPCODES]; // "forward"

// Remember what went wrong; the first error of a stage stays. Returns `code`, so that callers can
// `return rt_fail(...)`. The schedule loop looks after every instruction: code that returns nothing
// (forward, backward, update) just calls this and returns.
int rt_fail(rt_stage *s, rt_error code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int rt__fail_why(rt_stage *s, int status, const rt__why *why); // from a function of plain.h

// Options of a program; -1 or NULL: not given.
typedef struct rt__options {
    const char *data, *test_data, *init, *resume, *checkpoint, *trace, *profile, *probe;
    const char *at_least, *state, *tensors;
    int64_t steps, epochs, checkpoint_every, eval_every, random_shift, seed;
    double lr;
    bool eval_only, check, help, version;
} rt__options;

// 0, or 1 with the complaint in `why`.
int rt__options_parse(rt__options *o, int argc, char **argv, rt__why *why);
void rt__options_help(const rt_program *program);

struct rt_stage {
    const rt_program *program;
    int replica, replicas, rank; // which of the stage's processes this is
    const rt_replica *own;       // what it does
    rt__options options;

    // Memory of the device: persistent | further versions of the weights | in_flight slots | scratch | twins of messages,
    // one piece; with an image in which the program works persistent lies there, twice.
    uint8_t *arena, *slots, *scratch;
    int64_t base,
        next; // bytes from arena to persistent tensors now, and from there to what updates make
    void *mapping;
    size_t mapping_bytes;
    const struct rt_device *device; // where that is, and who works on it
    void *device_state;             // its own
    void *backend_state;            // the backend's own

    // The job
    SegmentHeader *segment;
    SegmentStatus *statuses; // [rt__n_ranks]; ours is `status`
    SegmentStatus *status;
    struct rt__edge *edges; // [n_edges] (runtime/transport.h)
    struct rt__peer *peers; // [rt__n_ranks]
    bool *touched; // [n_edges], of those that rt_slot is asked for; NULL: nobody wants to know
    struct rt__twins *twins; // runtime/twins.c; NULL: messages have none
    struct rt__ucx *ucx;     // runtime/ucx/ucx.c; NULL: all ranks are on this host
    size_t segment_bytes;
    bool spin;          // a core is free: spin before sleeping
    int64_t timeout_ns; // of every wait
    int64_t waited_ns;  // so far, for others
    uint64_t barriers;  // reached so far

    // Where the run stands
    int64_t step;         // optimizer steps done, over all runs, before the one in work
    int64_t first_step;   // likewise, before the running stream
    int64_t last_step;    // of the run; INT64_MAX where only epochs count
    uint64_t run_step;    // steps of this process before the running stream: counts messages
                          //   of training edges
    uint64_t run_updates; // and with those of the running stream
    uint64_t eval_batch;  // likewise of evaluation edges
    uint64_t rounds;      // steps and evaluation batches begun (runtime/signals.c)
    int64_t checkpointed; // step of the last checkpoint; -1: none
    bool evaluating;
    int eval_micro_batches; // EVALs in the evaluation streams of all replicas
    rt__cursor cursor;      // first sample of the next stream
    rt__cursor loading;     // of the step that LOAD is in,
    int loading_step;       //   counted from the begin of the stream
    int64_t stream_steps;   // of the running stream
    int64_t last_samples;   // of its last step
    uint64_t eval_first;    // first sample of this evaluation batch
    bool alone;             // its micro-batches have one sample each (runtime/evaluate.h)
    int64_t seed;
    rt__data *data, *test;

    // The step
    rt_opcode opcode;
    int mb, layer;   // mb: within the stream
    int64_t version; // of the weights that it works with: updates that made them, over all runs
    int64_t weights_at; // bytes from version 0 of the weights to it
    rt__lr_schedule rate;
    double lr, clip;
    int part;       // of backward: so many have run
    double *losses; // [micro_batches], of the step that was settled last; those of all replicas
    struct rt__unsettled *unsettled;   // steps before that (runtime/settle.c)
    double (*scores)[RT_SCORE_FIELDS]; // likewise, of this evaluation batch
    struct rt__evaluated *evaluated;   // [micro_batches] (runtime/evaluate.c)
    struct rt__bucket *buckets;        // [n_buckets] (runtime/reduce.c)
    double *sums;                      // runtime/round.c; NULL: none
    double *norm;                      // [norm_parts], where this stage sums them up
    int *norm_begin;        // [norm_parts + 1]: where each part's accumulators begin in
    int *norm_uses;         //   this list of tensors (runtime/norm.c)
    const void **norm_from; // [n_tensors]: room for where they lie
    bool suspicious;        // a floating-point exception was seen (runtime/guard.c)
    bool must_check;        // look at every gradient of this step, whatever was seen

    // Metrics (runtime/report.c, runtime/evaluate.c)
    int report_fd;                 // -1: run by hand
    bool quiet;                    // neither reports nor progress (tests)
    double loss;                   // of the last step, rounded to the model's type
    double step_s;                 // seconds of the last step, from the end of the one before
    int64_t updated_ns;            // when that was
    double train_s;                // seconds of all steps of this process
    int64_t run_samples;           // of them
    int64_t started_ns, shown_ns;  // when the run began, when progress was last shown
    struct rt__score *score;       // of the running evaluation
    struct rt__trace *trace;       // NULL: off
    struct rt__timeline *timeline; // likewise
    struct rt__profile *profile;

    struct rt__image *image; // NULL: off (runtime/image.c)

    // --at-least (runtime/pace.c)
    bool paced;
    int64_t at_least_ns[RT_N_OPCODES], parts_ns;

    rt_error error;
    char message[1024];
};

// Zero, but for what means "none". The program must outlive the stage.
void rt__stage_init(rt_stage *s, const rt_program *program, int replica);
// Map the arena, the segment (job_fd -1: a program that is alone) and call bind and the backend's
// init. 0 or an rt_error.
int rt__stage_open(rt_stage *s, int job_fd);
void rt__stage_close(rt_stage *s);
// Everything between open and close: load or initialise, train, evaluate, save. 0 or an rt_error.
int rt__run(rt_stage *s);

int64_t rt__now_ns(void);                       // CLOCK_MONOTONIC
int64_t rt__older_weights(const rt_program *p); // bytes of all versions but one
int rt__mb_of_step(const rt_stage *s);          // the running micro-batch within its step
// Where a persistent tensor lies in this step.
static inline uint8_t *rt__tensor(const rt_stage *s, const rt_tensor *t)
{
    return s->arena + s->base + t->offset;
}

#endif
