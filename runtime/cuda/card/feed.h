// Data on their way to the device, beside the stage's work: the host fills a room of pinned memory, a stream of their own
// copies it to the device's memory, where the stage's work takes it when it comes to that. Rows of rt_device.
#ifndef STAGECC_CUDA_FEED_H
#define STAGECC_CUDA_FEED_H

#include "runtime/device.h"

typedef struct rt__feed rt__feed;

int64_t rt__feed_bytes(const rt_stage *s); // of the device's memory; 0: the stage loads nothing
int rt__feed_open(rt_stage *s, rt__feed **made, uint8_t *memory); // 0 or an rt_error
void rt__feed_close(rt__feed *made); // what is under way comes to its end; NULL is fine

void *rt__card_room(rt_stage *s, void *tensor, size_t n);
// Copies n bytes of a room that the host has filled; false: that is none.
bool rt__feed_put(rt_stage *s, void *tensor, const void *host, size_t n);

#endif
