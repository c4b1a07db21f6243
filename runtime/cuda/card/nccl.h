// Messages from device to device by NCCL: of edges whose ranks all have devices of their own that it is there for, on any hosts.
// What pulls and pushes (edges.h) are on such an edge. Without NCCL's header, without the library, and without STAGECC_NCCL=1,
// there are none, and messages go by way of the job's memory.
#ifndef STAGECC_CUDA_NCCL_H
#define STAGECC_CUDA_NCCL_H

#include "runtime/device.h"

#include <cuda_runtime_api.h>

typedef struct rt__ways rt__ways;

#ifdef STAGECC_NCCL
// Before the first call of CUDA: a message that waits for another rank must not hold what that one waits for, so each stream gets a
// queue of the device's, and nothing is loaded while it waits. What the environment says already stands.
void rt__ways_prepare(void);
// Tells the other ranks which device this one has. 0 or an rt_error.
int rt__ways_open(rt_stage *s);
// No more messages. Of a run that has failed, what waits for a rank that is gone ends, so that the stage's work does.
void rt__ways_end(rt_stage *s);
void rt__ways_close(const rt_stage *s, rt__ways *made); // behind all work; NULL is fine
int rt__ways_connect(rt_stage *s);                      // 0 or an rt_error
// A send follows `used`, to all consumers; a receive follows it if there is one, and `copied` and the stage's work follow the receive.
void rt__ways_send(rt_stage *s, const rt__twin *t, cudaEvent_t used);
void rt__ways_receive(rt_stage *s, const rt__twin *t, cudaEvent_t used, cudaEvent_t copied);
void rt__ways_reuse(rt_stage *s, const rt__twin *t); // rt_device.reuse
bool rt__ways_progress(
    rt_stage *s); // rt_device.progress: RT_E_PEER is noted where one has failed
#else
static inline void rt__ways_prepare(void)
{
}
static inline int rt__ways_open(rt_stage *s)
{
    (void)s;
    return 0;
}
static inline int rt__ways_connect(rt_stage *s)
{
    (void)s;
    return 0;
}
static inline void rt__ways_end(rt_stage *s)
{
    (void)s;
}
static inline void rt__ways_close(const rt_stage *s, rt__ways *made)
{
    (void)s, (void)made;
}
static inline void rt__ways_send(rt_stage *s, const rt__twin *t, cudaEvent_t used)
{
    (void)s, (void)t, (void)used;
}
static inline void rt__ways_receive(rt_stage *s, const rt__twin *t, cudaEvent_t used,
                                    cudaEvent_t copied)
{
    (void)s, (void)t, (void)used, (void)copied;
}
#define rt__ways_reuse NULL
#define rt__ways_progress NULL
#endif

#endif
