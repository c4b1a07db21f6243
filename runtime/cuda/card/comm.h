// A communicator of NCCL: ranks that send to each other's devices, and the stream in which a rank's messages go. Which edges
// have one says nccl.h; tools/gpu-check has one of a single rank.
//
// A call does not block, and has come to its end when its function here returns, so that an event may be recorded behind it. What
// waits for other ranks goes on in rt__progress meanwhile. The first message ends when both sides have asked for it; later ones
// wait for nobody.
#ifndef STAGECC_CUDA_COMM_H
#define STAGECC_CUDA_COMM_H

#include "runtime/rt.h"

#include <cuda_runtime_api.h>

enum { RT__COMM_ID = 128 }; // bytes by which its ranks find each other

typedef struct rt__comm {
    const char *name;      // of its edge, and
    int peer;              // who is at the other end, for messages
    struct ncclComm *made; // NCCL writes here as long as it connects; NULL: there is none
    cudaStream_t stream;
    int status; // as NCCL was asked last
} rt__comm;

bool rt__comm_is_there(void);   // the library
int rt__comm_load(rt_stage *s); // each is 0 or an rt_error
int rt__comm_make_id(rt_stage *s, rt__comm *c,
                     uint8_t id[RT__COMM_ID]); // one of its ranks does
// Returns once all have.
int rt__comm_open(rt_stage *s, rt__comm *c, const uint8_t id[RT__COMM_ID], int ranks, int rank);
int rt__comm_send(rt_stage *s, rt__comm *c, const void *from, size_t bytes, int to);
int rt__comm_receive(rt_stage *s, rt__comm *c, void *to, size_t bytes, int from);
// What a call of NCCL's own on it has said (an ncclResult_t); `what` it was for.
int rt__comm_finish(rt_stage *s, rt__comm *c, int said, const char *what);
void rt__comm_look(rt_stage *s, rt__comm *c); // has it failed? rt_fail says so
// A group of calls; its end says what all of them did (an ncclResult_t).
void rt__comm_begin_group(void);
int rt__comm_end_group(void);
// What waits in its stream ends. Several are aborted in one group: NCCL waits for the device, where one's messages wait for another's.
void rt__comm_abort(rt__comm *c);
void rt__comm_close(rt__comm *c); // behind all work

#endif
