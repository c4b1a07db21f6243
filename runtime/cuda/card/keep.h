// Images of a stage on a device (runtime/image.h): rows of rt_device.
#ifndef STAGECC_CUDA_KEEP_H
#define STAGECC_CUDA_KEEP_H

#include "runtime/device.h"

typedef struct rt__keeping rt__keeping;

void rt__keeping_close(rt__keeping *made); // what is under way comes to its end; NULL is fine

int rt__card_share(rt_stage *s, void *host, size_t n);
void rt__card_keep(rt_stage *s, void *host, const void *tensor, size_t n);
void rt__card_spare(rt_stage *s);
bool rt__card_kept(rt_stage *s);

#endif
