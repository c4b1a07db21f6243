// Interleaved 1F1B of Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using
// Megatron-LM", SC 2021. Each of S machines runs V stages, stage s on machine s mod S, so that a
// micro-batch comes by V times and filling the pipeline takes 1/V of the time. A machine goes through groups of S
// micro-batches: forward with its first stage, then all of them with its second, and so on; backward likewise from
// its last stage. Its programs take turns: who runs next waits for the one before (plan/schedule.h).
#include "plan/schedule.h"

typedef struct Turn {
    rt_opcode opcode;
    int stage, mb;
} Turn;

static int machines(const ScheduleAt *at)
{
    return at->stages / at->virtual_stages;
}

static int forwards(const ScheduleAt *at) // of all stages of a machine
{
    return at->micro_batches * at->virtual_stages;
}

// Until the first backward: a round of all its stages but the last, and twice the way to the last machine.
static int warm_up(const ScheduleAt *at)
{
    int s = machines(at), own = at->stage % s;
    int n = (at->virtual_stages - 1) * s + 2 * (s - own - 1);
    return n < forwards(at) ? n : forwards(at);
}

// The i-th forward or backward of the machine.
static Turn pass(const ScheduleAt *at, rt_opcode opcode, int i)
{
    int s = machines(at), round = i / at->stages, part = i % at->stages / s;
    if (opcode == RT_BACKWARD)
        part = at->virtual_stages - 1 - part;
    return (Turn){opcode, part * s + at->stage % s, round * s + i % s};
}

// What the machine runs as number i of all: forwards, then one forward and one backward in turn, then backwards.
static Turn turn(const ScheduleAt *at, int i)
{
    int first = warm_up(at), paired = 2 * (forwards(at) - first), k = i - first;
    if (k < 0)
        return pass(at, RT_FORWARD, i);
    if (k >= paired)
        return pass(at, RT_BACKWARD, paired / 2 + k - paired);
    return k % 2 ? pass(at, RT_BACKWARD, k / 2) : pass(at, RT_FORWARD, first + k / 2);
}

static rt_instr *order(const ScheduleAt *at, rt_instr *out)
{
    int all = 2 * forwards(at);
    uint32_t taken[MAX_VIRTUAL_STAGES] = {0},
             passed[MAX_VIRTUAL_STAGES] = {0}; // by the other part
    for (int i = 0; i < all; i++) {
        Turn t = turn(at, i);
        if (t.stage != at->stage)
            continue;
        int before = i ? turn(at, i - 1).stage : t.stage;
        int next = i + 1 < all ? turn(at, i + 1).stage : t.stage;
        if (before != t.stage)
            *out++ = (rt_instr){RT_RECV, (uint16_t)before, taken[before / machines(at)]++};
        *out++ = (rt_instr){(uint8_t)t.opcode, RT_NO_EDGE, (uint32_t)t.mb};
        if (next != t.stage)
            *out++ = (rt_instr){RT_SEND, (uint16_t)next, passed[next / machines(at)]++};
    }
    return out;
}

static int in_flight(const ScheduleAt *at)
{
    int n = 0, most = 0;
    for (int i = 0; i < 2 * forwards(at); i++) {
        Turn t = turn(at, i);
        n += t.stage == at->stage ? t.opcode == RT_FORWARD ? 1 : -1 : 0;
        most = n > most ? n : most;
    }
    return most;
}

const ScheduleRules schedule_interleaved = {.in_flight = in_flight,
                                            .order = order,
                                            .interleaves = true,
                                            .bubble_s = schedule_fill_s,
                                            .bubble_share = "(S-1)/(VM+S-1)"};
