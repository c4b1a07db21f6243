// What a generated stage program and the runtime know of each other. The program describes itself in
// one constant rt_program and calls rt_main; the runtime does the rest: memory, transport, schedule
// loop, data, checkpoints, metrics. No name here comes from a model unescaped.
//
//   int main(int argc, char **argv) { return rt_main(argc, argv, &program); }
#ifndef STAGECC_RUNTIME_STAGE_H
#define STAGECC_RUNTIME_STAGE_H

#include <stddef.h>
#include <stdint.h>

#include <stagecc/stream.h> // plan/stream.h; the build copies public headers to include/stagecc

enum { RT_ABI = 7, RT_MAX_RANK = 6, RT_ALIGN = 64 };

typedef enum rt_dtype {
    RT_F32 = 1,
    RT_F64,
    RT_BF16,
    RT_I32,
    RT_U8
} rt_dtype; // as the IR's DType

typedef struct rt_stage rt_stage; // the runtime's state of this process

// A tensor that outlives a step. `role` decides what happens to it: parameters and buffers are
// initialised, saved and loaded by name; accumulators give the gradient norm; state goes to optim-K.
typedef enum rt_role { RT_PARAM, RT_BUFFER, RT_ACCUMULATOR, RT_STATE } rt_role;

// kaiming_*: gain and fan_in as PyTorch's kaiming (bound = gain sqrt(3/fan_in), std = gain/sqrt(fan_in));
// xavier_*: fan_in + fan_out; normal: std = gain; uniform: bound = gain; constant: the value gain.
typedef enum rt_init {
    RT_INIT_CONSTANT,
    RT_INIT_NORMAL,
    RT_INIT_UNIFORM,
    RT_INIT_KAIMING_NORMAL,
    RT_INIT_KAIMING_UNIFORM,
    RT_INIT_XAVIER_NORMAL,
    RT_INIT_XAVIER_UNIFORM,
} rt_init;

typedef struct rt_tensor {
    const char *name; // "conv1.weight"; state: "conv1.weight.momentum"
    rt_role role;
    rt_dtype dtype;
    int rank;
    int64_t dim[RT_MAX_RANK]; // logical shape
    int64_t offset,
        bytes;  // in the persistent memory, in its own layout (version 0 of a weight)
    int kernel; // index of the library kernel whose weight layout it has; -1: plain
    rt_init init;
    double gain;
    int64_t fan_in, fan_out;
    int norm_index; // accumulators: place in the model-wide vector of norm parts; else -1
    int copy;       // of tied weights: another stage saves it
} rt_tensor;

// One input of the model, read from the data set by the stage that owns it.
typedef struct rt_input {
    const char *name;
    int is_target; // 0: samples, 1: targets
    rt_dtype dtype;
    int rank;
    int64_t dim[RT_MAX_RANK]; // dim[0] is the micro-batch
    int edge; // slot of this edge, or RT_NO_EDGE: at `offset` in the micro-batch's memory
    int64_t offset;
    int eval_edge;       // the same for evaluation
    int64_t eval_offset; // in scratch
    int64_t limit;       // integers are in [0, limit); targets may be negative; 0: not known
} rt_input;

// Producer and consumers are ranks. A tensor that crosses replicated stages has `stride` edges, which
// follow each other and carry its micro-batches in turn; tables name the first of them.
typedef struct rt_edge {
    const char *name;
    int producer;
    const int *consumers;
    int n_consumers;
    int64_t bytes;
    int slots, stride, per_step; // per_step 0: messages have no numbers but the next
    int eval;                    // counts evaluation batches instead of steps
    int first; // of the micro-batches that it carries; -1: none, its message is of a step
} rt_edge;

// What one replica of the stage does. It runs the micro-batches whose number is its own modulo the
// replicas.
typedef struct rt_replica {
    const rt_instr *train, *eval;
    int n_train, n_eval;
    int norm_up_in, norm_up_out, norm_down_in, norm_down_out; // edges or RT_NO_EDGE
} rt_replica;

// What the replicas of the stage add up together (runtime/reduce.h). The edges of the other replicas' parts
// come first, in ascending order, then that of the sum.
typedef enum rt_bucket_kind {
    RT_GRADIENTS,
    RT_STATISTICS,
    RT_LOSSES,
    RT_SCORES
} rt_bucket_kind;

typedef struct rt_bucket {
    rt_bucket_kind kind;
    int owner; // the replica that adds
    int first_edge;
    const int *tensors; // indices in the program's table
    int n_tensors;
} rt_bucket;

// An accumulator of weights that several stages use: made in one, sent to the others.
typedef struct rt_tied {
    int edge, tensor;
} rt_tied;

// One layer, for messages, profiles and traces.
typedef struct rt_layer {
    const char *name, *place; // "block3.conv2", "resnet.c:12"
} rt_layer;

// What the library kernels of a backend add; NULL for ref. Tensors on disk are plain: pack and
// unpack convert. Functions return 0 or an rt_error and have called rt_fail.
typedef struct rt_backend {
    const char *name;
    int (*init)(rt_stage *s); // make every kernel of the program; check the contract
    void (*release)(rt_stage *s);
    int (*pack)(rt_stage *s, const rt_tensor *t, const void *plain, void *packed);
    int (*unpack)(rt_stage *s, const rt_tensor *t, const void *packed, void *plain);
    int (*probe)(rt_stage *s, const char *path); // measure every kernel, write kernels.json
    // How a tensor with a kernel lies, in words that are equal where bytes may be copied: "ABcd8b8a".
    void (*layout)(const rt_stage *s, const rt_tensor *t, char *text, size_t size);
    const struct rt_device
        *device; // where its tensors lie (runtime/device.h); NULL: in the host's memory
} rt_backend;

typedef struct rt_program {
    uint32_t abi;                // RT_ABI
    const char *model, *command; // the command that reproduces the program
    const char *plan_hash;       // programs of one job agree on it
    int stage, n_stages;
    const int *first_rank; // [n_stages + 1], of every stage; NULL: no stage is replicated
    const char
        *groups; // in which gradients add up: "2 from hidden1, 1 from hidden2"; NULL likewise
    const char *transfer;  // how tensors travel: "int8 before conv2, fc"; NULL: as they are
    const char *staleness; // which weights are older: "pipedream before conv2, fc"; NULL: none
    int64_t micro_batch;
    int micro_batches;
    int threads;
    const char *isa;      // "avx2", "avx512", "avx512_bf16": checked at start
    const char *compiler; // __VERSION__ of the compiler of the program; NULL: not said
    // Schedule
    const rt_replica *replicas; // of this stage
    const rt_edge *edges;       // of the whole job, the same table in every stage
    int n_edges;
    const rt_bucket *buckets; // none: the stage has one replica
    int n_buckets;
    const rt_tied *shares; // none: no weights are tied to those of other stages
    int n_shares;
    int64_t sums;   // that synchronised batch norm adds up in one go, at most; 0: there is none
    int sums_edge;  // from replica 0 to 1; then to 2, …, from 1 to 0, …
    int norm_parts; // length of the vector of norm parts; 0: no clipping
    // Memory: persistent | versions - 1 more of its last version_bytes | in_flight slots | scratch,
    // one arena. Version v of the weights is the (v mod versions)th; the newest is the first when the
    // pipeline has drained.
    int64_t persistent_bytes, slot_bytes, scratch_bytes;
    int in_flight;
    // Of asynchronous schedules, else 0: versions of the weights; steps of `train` and the bodies, which
    // are repeated between drains that lie further apart (plan/stream.h).
    int versions;
    int64_t version_bytes;
    int train_steps;
    const int (*bodies)[2]; // by replica: begin and end in its `train`
    int64_t drain_every;
    const rt_tensor *tensors;
    int n_tensors;
    const rt_input *inputs;
    int n_inputs;
    const rt_layer *layers;
    int n_layers;
    int64_t tokens; // of a sample of the model, where inputs are [N,T] of i32; 0: they are not
    int ignores;    // the loss ignores samples whose labels are negative
    int scores;     // evaluation counts rows by their labels, the loss and predictions
    // Loss and predictions, in the stage that has them (else -1): offset in the micro-batch's memory
    // in training, in scratch in evaluation.
    int64_t loss_offset, eval_loss_offset, eval_logits_offset;
    int64_t classes, rows; // logits are [rows, classes] a micro-batch; rows = micro_batch x T
    int64_t logits_row;   // elements from one row of them to the next in evaluation; 0: classes
    int eval_labels_edge; // where that stage finds the labels: an edge, or RT_NO_EDGE and
    int64_t eval_labels_offset; //   an offset in scratch
    rt_dtype real;        // RT_F32 or RT_F64: type of the loss, of parameters and statistics
    rt_dtype activations; // 0: that too; else RT_BF16, and
    rt_dtype logits;      //   those of predictions
    // Training defaults, all of them options of `run` too
    const char *optimizer, *lr_schedule;
    double lr, lr_gamma, lr_power, lr_final, clip_norm;
    int64_t lr_steps, warmup, seed;
    // Code
    const rt_backend *backend;
    const void *kernels; // the backend's table of library kernels
    int n_kernels;
    void (*bind)(rt_stage *s); // take pointers to the persistent memory, once
    void (*forward)(rt_stage *s, int mb);
    void (*backward)(rt_stage *s, int mb);
    void (*const *parts)(rt_stage *s,
                         int mb); // the same, one after the other; none: as a whole
    int n_parts;
    void (*backward_weight)(rt_stage *s, int mb); // NULL: backward does it all
    void (*update)(rt_stage *s);
    void (*eval_forward)(rt_stage *s, int mb);
} rt_program;

int rt_main(int argc, char **argv, const rt_program *program);

// A place as one number, for tables of generated code: the region in the top byte, the offset (or
// the edge) below. rt_pointer is what the five functions below give.
#define RT_IN_PERSISTENT(offset) INT64_C(offset)
#define RT_IN_ACT(offset) (INT64_C(1) << 56 | INT64_C(offset))
#define RT_IN_SCRATCH(offset) (INT64_C(2) << 56 | INT64_C(offset))
#define RT_IN_EDGE(edge) (INT64_C(3) << 56 | INT64_C(edge))
#define RT_IN_WEIGHT(offset) (INT64_C(4) << 56 | INT64_C(offset))
static inline void *rt_pointer(rt_stage *s, int mb, int64_t place);

// For generated code. mb is the micro-batch within the stream.
void *rt_persistent(rt_stage *s, int64_t offset);
// Bytes from a parameter, or its optimizer's state, to where an update leaves its new value: 0, in place, or where
// the last step is kept (runtime/image.h).
int64_t rt_next(const rt_stage *s);
void *rt_weight(rt_stage *s, int64_t offset); // in the version that this instruction works with
void *rt_act(rt_stage *s, int mb, int64_t offset); // memory of that micro-batch in flight
void *rt_scratch(rt_stage *s, int64_t offset);
void *rt_slot(rt_stage *s, int edge, int mb); // this step's message mb of a tensor's edges
void rt_at(rt_stage *s, int layer);           // "now running": messages, profile, trace
double rt_lr(const rt_stage *s);              // of this step
double rt_share(const rt_stage *s, int mb);   // samples of the micro-batch by those of its step
double rt_clip(const rt_stage *s);            // factor on all gradients, 1 without clipping
int64_t rt_step(const rt_stage *s);           // optimizer steps done so far, plus one
// Synchronised batch norm (runtime/round.c). A round is one micro-batch of each replica of the stage, of
// fewer at the end of a step: how many are there in that of mb?
int64_t rt_round(const rt_stage *s, int mb);
double *rt_sums(rt_stage *s); // a place for `sums` of them
// Makes n of them, which this replica has taken over its micro-batch mb, those of the whole round.
void rt_add_round(rt_stage *s, int mb, double *sums, int64_t n);
// Counter of dropout's random numbers for sample 0 of this micro-batch (see runtime/random.h).
uint64_t rt_random_key(const rt_stage *s, int64_t stream, int mb);

static inline void *rt_pointer(rt_stage *s, int mb, int64_t place)
{
    int64_t at = place & ((INT64_C(1) << 56) - 1);
    switch (place >> 56) {
    case 1: return rt_act(s, mb, at);
    case 2: return rt_scratch(s, at);
    case 3: return rt_slot(s, (int)at, mb);
    case 4: return rt_weight(s, at);
    }
    return rt_persistent(s, at);
}

#endif
