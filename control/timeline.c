#include "control/timeline.h"

#include "plan/segment.h"
#include "plan/stream.h"

#include <fcntl.h>

_Static_assert(sizeof(StepSpan[STEP_SPANS]) == 6144, "as message.def says");

#define MOST_NS (INT64_C(1) << 61) // so that sums of times are no trouble

// It begins when a machine does, and a container may move it.
uint64_t timeline_clock(void)
{
    char text[256] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, 64);
    size_t at = n > 0 ? (size_t)n : 0;
    if (fd >= 0)
        close(fd);
    n = readlink("/proc/self/ns/time", text + at, sizeof text - 1 - at);
    text[at + (n > 0 ? (size_t)n : 0)] = 0;
    return segment_plan_number(text);
}

StepSpan timeline_span(const void *spans, size_t i)
{
    StepSpan span;
    memcpy(&span, (const char *)spans + i * sizeof span, sizeof span);
    return span;
}

static bool is_instruction(const StepSpan *s)
{
    bool between = s->opcode == RT_N_OPCODES && s->waiting;
    return (s->opcode < RT_N_OPCODES || between) && s->waiting <= SEGMENT_WAITS_FOR_MASTER &&
           !s->zero;
}

const char *timeline_wrong(const Timeline *t, const void *spans, size_t bytes)
{
    bool step = t->step && t->step <= INT64_MAX && t->begin_ns >= 0 &&
                t->begin_ns <= t->end_ns && t->end_ns <= t->sent_ns && t->sent_ns < MOST_NS;
    if (!step || !t->clock)
        return "no such step";
    if (bytes % sizeof(StepSpan))
        return "a part of a span";
    int64_t from_ns = t->begin_ns;
    for (size_t i = 0; i < bytes / sizeof(StepSpan); i++) {
        StepSpan s = timeline_span(spans, i);
        if (s.begin_ns < from_ns || s.end_ns <= s.begin_ns || s.end_ns > t->end_ns)
            return "spans out of order";
        if (!is_instruction(&s))
            return "no such instruction";
        from_ns = s.end_ns;
    }
    return NULL;
}
