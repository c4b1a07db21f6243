#include "control/shown.h"

#include <stddef.h>
#include <string.h>

enum { IDLE_MS = 200 };

bool shown_is_news(const Shown *before, const SegmentStatus *now, int64_t ns)
{
    const SegmentStatus *old = &before->status;
    if (atomic_load(&now->barrier.value) != atomic_load(&old->barrier.value) ||
        atomic_load(&now->pid) != atomic_load(&old->pid) ||
        atomic_load(&now->suspect_step) != atomic_load(&old->suspect_step))
        return true;
    bool moved = atomic_load(&now->progress) != atomic_load(&old->progress) ||
                 atomic_load(&now->step) != atomic_load(&old->step);
    return moved && ns - before->ns > IDLE_MS * INT64_C(1000000);
}

void shown_status(JobMemory *m, int rank, const void *data)
{
    SegmentStatus copy, *to = &m->statuses[rank];
    memcpy(&copy, data, sizeof copy);
    copy.host = to->host; // the epoch says that
    if (segment_status_write(to, &copy))
        segment_counter_wake(&to->barrier);
}

void shown_address(JobMemory *m, int rank, const void *data)
{
    SegmentAddress *to = &segment_addresses(m->header)[rank];
    uint32_t bytes;
    memcpy(&bytes, data, sizeof bytes);
    memcpy(to->data, (const char *)data + offsetof(SegmentAddress, data), sizeof to->data);
    atomic_store(&to->bytes, bytes <= sizeof to->data ? bytes : 0);
}
