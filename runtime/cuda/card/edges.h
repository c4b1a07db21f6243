// Messages of a stage on a device: twins (runtime/twins.h) are copied from and to the job's memory beside the stage's
// work, each direction in a stream of its own. Rows of rt_device.
#ifndef STAGECC_CUDA_EDGES_H
#define STAGECC_CUDA_EDGES_H

#include "runtime/device.h"

typedef struct rt__transfers rt__transfers;

int rt__transfers_open(rt_stage *s, rt__transfers **made); // 0 or an rt_error
int rt__card_connect(rt_stage *s);                         // rt_device.connect
void rt__transfers_close(
    rt_stage *s, rt__transfers *made); // what is under way comes to its end; NULL is fine

void rt__card_pull(rt_stage *s, const rt__twin *t);
void rt__card_left(rt_stage *s, const rt__twin *t);
void rt__card_push(rt_stage *s, const rt__twin *t);
bool rt__card_moved(rt_stage *s, const rt__twin *t);

#endif
