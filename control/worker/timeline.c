// What programs did when in a step, about once a second and for the master to show: it gets it or it does not.
#include "control/timeline.h"
#include "control/worker/agent.h"

#define LOOK_NS SECOND_NS

static void tell(Agent *g, uint32_t rank, const StepPicture *p)
{
    agent_tell_master(g, &(Message){.id = MESSAGE_TIMELINE,
                                    .timeline = {.epoch = g->run.of.number,
                                                 .step = (uint64_t)p->step,
                                                 .clock = g->clock,
                                                 .begin_ns = p->begin_ns,
                                                 .end_ns = p->end_ns,
                                                 .sent_ns = agent_now(),
                                                 .rank = rank},
                                    .rest = (const char *)p->spans,
                                    .rest_bytes = p->n * sizeof *p->spans});
}

static void look(Agent *g, uint32_t rank)
{
    StepPicture picture;
    int64_t newest, *seen = &g->run.programs[rank].pictured_step;
    const StepKept *kept = segment_steps(g->run.memory.header, (int)rank);
    int chosen = step_choose(kept, *seen, &newest);
    if (chosen < 0 || !step_read(&picture, &kept[chosen]))
        return;
    *seen = newest;
    tell(g, rank, &picture);
}

void timeline_work(Agent *g, int64_t now_ns)
{
    if (!g->run.opened || now_ns - g->pictured_ns < LOOK_NS)
        return;
    g->pictured_ns = now_ns;
    for (int rank = agent_next(g, -1); rank >= 0; rank = agent_next(g, rank))
        look(g, (uint32_t)rank);
}
