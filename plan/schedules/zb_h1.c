// ZB-H1 of Qi, Wan, Huang and Lin, "Zero Bubble Pipeline Parallelism", ICLR 2024: backward is split, the
// gradients that other stages wait for (B) come as in 1F1B, those of the weights (W) when there is
// nothing better to do. Each stage keeps as many micro-batches between forward and W as stage 0 of 1F1B
// has in flight; what it has fewer of them between forward and B, W stays behind B. So no stage takes
// more memory than the largest of 1F1B, and while the last micro-batches travel back, W fills the
// bubble.
#include "plan/schedule.h"

static int in_flight(const ScheduleAt *at)
{
    int all = (at->ranks + at->replicas - 1) / at->replicas;
    return all < at->micro_batches ? all : at->micro_batches;
}

static rt_instr *order(const ScheduleAt *at, rt_instr *out)
{
    int flight = schedule_depth(at);
    return schedule_turns((Turns){flight, at->micro_batches, true, in_flight(at) - flight},
                          out);
}

// The paper's (S-1)(F + B - W), where its B is that of the inputs alone. It takes all three for equal: where W
// is longer than one of the others, the way to the last stage, or back from it, is what remains.
static double bubble_s(int machines, int virtual_stages, const PassTimes *t)
{
    (void)virtual_stages;
    double inputs_s = t->backward_s - t->weight_s;
    double longer_s = t->forward_s > inputs_s ? t->forward_s : inputs_s;
    double filled_s = t->forward_s + inputs_s - t->weight_s;
    return (machines - 1) * (filled_s > longer_s ? filled_s : longer_s);
}

const ScheduleRules schedule_zb_h1 = {.in_flight = in_flight,
                                      .order = order,
                                      .splits = true,
                                      .bubble_s = bubble_s,
                                      .bubble_share = "(S-1)(F+B-W)/(M(F+B+W)+(S-1)(F+B-W))"};
