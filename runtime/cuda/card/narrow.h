// bf16 copies of parameters, which products and convolutions read: 2 bytes for each element, in all versions. Updates write
// them in the same pass; where somebody else writes parameters they are made anew before the next launch.
#ifndef STAGECC_CUDA_NARROW_H
#define STAGECC_CUDA_NARROW_H

#include "runtime/device.h"

typedef struct rt__narrow rt__narrow;

int64_t
rt__narrow_bytes(const rt_stage *s); // of the device's memory; 0: the program reads none
int rt__narrow_open(rt_stage *s, rt__narrow **made, uint8_t *memory); // 0 or an rt_error
void rt__narrow_close(rt__narrow *made);                              // NULL is fine

void rt__narrow_written(rt_stage *s, const void *to); // by a copy from the host
void rt__narrow_moved(rt_stage *s, const void *to,
                      const void *from); // a version was, to another
void rt__narrow_refresh(rt_stage *s);
// What a library reads instead of n floats: a parameter's copy, or of what was computed, one that is made now. Memory
// for that is got when a call comes by for the first time, which is never captured. NULL: an error, by rt_fail.
const void *rt__narrow_of(rt_stage *s, const void *floats, int64_t n);

#endif
