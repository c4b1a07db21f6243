// Narayanan et al., "PipeDream", SOSP 2019, with the flush of "Memory-Efficient Pipeline-Parallel DNN
// Training", ICML 2021.
#include "plan/schedule.h"

static rt_instr *order(const ScheduleAt *at, rt_instr *out)
{
    return schedule_turns((Turns){schedule_depth(at), at->micro_batches, false, 0}, out);
}

const ScheduleRules schedule_1f1b = {.in_flight = schedule_depth,
                                     .order = order,
                                     .bubble_s = schedule_fill_s,
                                     .bubble_share = "(S-1)/(M+S-1)"};
