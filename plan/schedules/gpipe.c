// Huang et al., "GPipe", NeurIPS 2019; backward in ascending order, so that gradients add up as in
// every other schedule.
#include "plan/schedule.h"

static int in_flight(const ScheduleAt *at)
{
    return at->micro_batches;
}

static rt_instr *order(const ScheduleAt *at, rt_instr *out)
{
    return schedule_turns((Turns){at->micro_batches, at->micro_batches, false, 0}, out);
}

const ScheduleRules schedule_gpipe = {.in_flight = in_flight,
                                      .order = order,
                                      .bubble_s = schedule_fill_s,
                                      .bubble_share = "(S-1)/(M+S-1)"};
