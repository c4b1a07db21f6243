// A schedule is data: one stream of instructions per stage, from one drain of the pipeline to the next
// (and one for one evaluation batch). The compiler writes and verifies the streams, the simulator
// times them, the runtime executes them. This header is all that the runtime shares with the compiler;
// it includes nothing of either.
//
// Of a synchronous schedule a stream is one step. Asynchronous ones make several: a step is as many
// micro-batches as everywhere, micro-batch mb of a stream belongs to its step mb / (micro-batches a
// step), and version v of the weights is what v updates of the stream have made of those it began
// with. Their streams have a body, the instructions of one step in the steady state:
//
//   prologue | body | epilogue
//
// A stream of n more steps runs the body n times more, each time one step on (mb and version), and the
// epilogue n steps on. One of fewer steps leaves out the instructions of the micro-batches beyond.
#ifndef STAGECC_PLAN_STREAM_H
#define STAGECC_PLAN_STREAM_H

#include <stdint.h>

// An edge is one tensor that crosses stages: one producer, one or more consumers, a ring of slots.
// Message number seq = step * per_step + mb lies in slot seq % slots, where the step is the first of
// the stream and per_step counts the messages of a step. The producer writes
// the slot in place and may use it until it acquires it again; a consumer may read it from RECV to
// RELEASE. Messages of an edge are released in the order in which they were sent.
//    KIND          name       meaning                                             operands
#define STREAM_INSTRUCTIONS(X)                                                                 \
    X(ACQUIRE, "acquire", "wait until every consumer released the slot's last message",        \
      "edge, mb")                                                                              \
    X(RECV, "recv", "wait until the message was sent", "edge, mb")                             \
    X(SEND, "send", "the message is complete: let the consumers see it", "edge, mb")           \
    X(RELEASE, "release", "this consumer will not read the message again", "edge, mb")         \
    X(LOAD, "load", "read a micro-batch of the data set into the input tensors", "mb")         \
    X(FORWARD, "forward", "run the forward nodes of this stage", "version, mb")                \
    X(BACKWARD, "backward", "run the backward nodes; gradients accumulate in ascending mb",    \
      "version, mb")                                                                           \
    X(BACKWARD_WEIGHT, "backward_weight",                                                      \
      "run the backward nodes that only gradients of weights need, where backward is split",   \
      "mb")                                                                                    \
    X(BACKWARD_PART, "backward_part",                                                          \
      "run the next part of the last of these two, which then runs what is left: behind it a " \
      "bucket of gradients is done",                                                           \
      "version, mb")                                                                           \
    X(REDUCE_PUT, "reduce_put", "give this replica's part of a bucket to its owner", "bucket") \
    X(REDUCE_SUM, "reduce_sum", "add up the parts in ascending order of replicas", "bucket")   \
    X(REDUCE_GET, "reduce_get", "take the bucket's sum", "bucket")                             \
    X(SHARE_PUT, "share_put",                                                                  \
      "give gradients of tied weights to the other stages that use them", "")                  \
    X(SHARE_GET, "share_get", "take theirs", "")                                               \
    X(NORM_GATHER, "norm_gather",                                                              \
      "add this stage's squared gradient norms to the vector that travels up", "")             \
    X(NORM_APPLY, "norm_apply", "take the clip factor that travels down", "")                  \
    X(UPDATE, "update", "run the optimizer on the newest weights: it makes this version",      \
      "version, mb: the step's first")                                                         \
    X(EVAL, "eval", "run the eval nodes of this stage", "mb")

typedef enum rt_opcode {
#define X(KIND, name, meaning, operands) RT_##KIND,
    STREAM_INSTRUCTIONS(X)
#undef X
        RT_N_OPCODES
} rt_opcode;

typedef struct rt_instr {
    uint8_t opcode; // rt_opcode
    uint16_t edge;  // of a message: index in the program's table of edges; else: the version
    uint32_t
        mb; // micro-batch within the stream, from 0; or bucket of the stage, where bucket b
            //   of step t has the number t * buckets + b
} rt_instr;

enum {
    RT_NO_EDGE = 0xffff,
    RT_NO_VERSION = 0xffff
}; // synchronous: the weights have no versions

static inline int rt_version(const rt_instr *i)
{
    return i->edge;
}

// Works with weights: its operand is a version.
static inline int rt_has_version(const rt_instr *i)
{
    int works = i->opcode == RT_FORWARD || i->opcode == RT_BACKWARD_PART ||
                i->opcode == RT_BACKWARD || i->opcode == RT_UPDATE;
    return works && i->edge != RT_NO_VERSION;
}

// Numbers that an evaluation keeps of every micro-batch (runtime/evaluate.c).
enum { RT_SCORE_FIELDS = 5 };

static inline int rt_is_share(int opcode)
{
    return opcode == RT_SHARE_PUT || opcode == RT_SHARE_GET;
}

static inline int rt_is_reduce(int opcode)
{
    return opcode >= RT_REDUCE_PUT && opcode <= RT_REDUCE_GET;
}

#endif
