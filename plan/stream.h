// A schedule is data: one stream of instructions per stage for one training step (and one for one
// evaluation batch). The compiler writes and verifies the streams, the simulator times them, the
// runtime executes them. This header is all that the runtime shares with the compiler; it includes
// nothing of either.
#ifndef STAGECC_PLAN_STREAM_H
#define STAGECC_PLAN_STREAM_H

#include <stdint.h>

// An edge is one tensor that crosses stages: one producer, one or more consumers, a ring of slots.
// Message number seq = step * per_step + micro-batch lies in slot seq % slots. The producer writes
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
    X(FORWARD, "forward", "run the forward nodes of this stage", "mb")                         \
    X(BACKWARD, "backward", "run the backward nodes; gradients accumulate in ascending mb",    \
      "mb")                                                                                    \
    X(NORM_GATHER, "norm_gather",                                                              \
      "add this stage's squared gradient norms to the vector that travels up", "")             \
    X(NORM_APPLY, "norm_apply", "take the clip factor that travels down", "")                  \
    X(UPDATE, "update", "run the optimizer", "")                                               \
    X(EVAL, "eval", "run the eval nodes of this stage", "mb")

typedef enum rt_opcode {
#define X(KIND, name, meaning, operands) RT_##KIND,
    STREAM_INSTRUCTIONS(X)
#undef X
        RT_N_OPCODES
} rt_opcode;

typedef struct rt_instr {
    uint8_t opcode; // rt_opcode
    uint16_t edge;  // index in the program's table of edges
    uint32_t mb;    // micro-batch within the step, from 0
} rt_instr;

enum { RT_NO_EDGE = 0xffff };

#endif
