// Messages of a stage whose device is apart. The device has a twin of every slot that holds a tensor which this rank
// writes or reads, with the same index, in its own memory: generated code, loads and sums work on twins (rt_slot),
// while other ranks, and all rows of rt_transport, know slots alone. So RECV ends with a copy from slot to twin, and SEND begins
// with one from twin to slot, beside all other work. The message is published, or the slot given back, when its copy is over: until
// then it has a ticket, which whoever waits for anything else looks at. Vectors of the norm, losses and sums of a round are the
// host's and have no twins, nor has anything where the device works in the host's memory: s->twins is NULL there. Where devices
// reach each other (rt__edge.direct) twins are all that there is: the devices wait for each other, and no host does.
#ifndef STAGECC_RUNTIME_TWINS_H
#define STAGECC_RUNTIME_TWINS_H

#include "runtime/rt.h"

enum { RT__TWIN_ALIGN = 256 }; // of an edge's first

// Once the edges are known. 0 or RT_E_MEMORY.
int rt__twins_open(rt_stage *s);
void rt__twins_close(rt_stage *s);
uint64_t rt__twins_bytes(const rt_stage *s); // of the arena
int rt__twins_count(const rt_stage *s);
void rt__twins_bind(rt_stage *s, uint8_t *memory); // they lie there

// Each is 0 or an rt_error. Of message seq, which has come, or is under way to this device.
int rt__twins_pull(rt_stage *s, int edge, uint64_t seq);
// Before this message is made, of an edge from device to device.
int rt__twins_acquire(rt_stage *s, int edge, uint64_t seq);
// When its copy is over; from device to device, in the order of their work.
int rt__twins_send(rt_stage *s, int edge, uint64_t seq);
int rt__twins_release(rt_stage *s, int edge, uint64_t seq);

void rt__twins_progress(
    rt_stage *s); // publish and give back what may be; trouble goes to rt_fail
bool rt__twins_are_on_their_way(const rt_stage *s);
int rt__twins_finish(rt_stage *s); // until none is. 0 or an rt_error

#endif
