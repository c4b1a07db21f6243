// 1F1B without flushes: the schedules differ in the weights that a micro-batch sees.
#include "plan/schedule.h"

static rt_instr *order(const ScheduleAt *at, rt_instr *out)
{
    return schedule_turns((Turns){schedule_depth(at), at->micro_batches, false, 0}, out);
}

// Weight stashing, of Narayanan et al., "PipeDream", SOSP 2019: a forward sees the newest weights of its
// stage. The micro-batches between its forward and its backward are those whose updates it misses. Of replicas,
// each has all of its own between them, and updates when the others have done as many.
static int lag_stashing(const ScheduleAt *at, int per_step)
{
    (void)per_step;
    int depth = (at->behind + at->replicas - 1) / at->replicas;
    return at->replicas * (depth - 1) + at->replica;
}

// Vertical sync, of the same paper: all stages see what stage 0 sees.
static int lag_vertical(const ScheduleAt *at, int per_step)
{
    (void)per_step;
    return at->stages - 1;
}

// PipeDream-2BW, of "Memory-Efficient Pipeline-Parallel DNN Training", ICML 2021: the weights of the step
// before, in every stage.
static int lag_2bw(const ScheduleAt *at, int per_step)
{
    (void)at;
    return per_step;
}

#define WITH_LAG(rule, no_replicas)                                                            \
    {                                                                                          \
        .in_flight = schedule_depth, .order = order, .lag = (rule), .alone = (no_replicas),    \
        .bubble_s = schedule_fill_s, .bubble_share = "(S-1)/(M+S-1)"                           \
    }
const ScheduleRules schedule_pipedream = WITH_LAG(lag_stashing, false);
const ScheduleRules schedule_pipedream_vertical = WITH_LAG(lag_vertical, true);
const ScheduleRules schedule_pipedream_2bw = WITH_LAG(lag_2bw, true);
