// Spans are pieces of instructions, cut where they wait. A step that has more of them than there is room for is seen through
// coarser glasses: spans that begin too soon after another one become part of it, under the name of the longer of the two.
#include "runtime/timeline.h"

#include "runtime/loop.h"

#include <stdlib.h>

// Shorter ones are left out: waits that were none, messages that only counted on.
enum { WAIT_NS = 1000, MESSAGE_NS = 10 * 1000, FIRST_APART_NS = 1000 };

typedef struct rt__timeline {
    StepKept *kept;   // [STEPS_KEPT], of this rank
    bool inside;      // of an instruction,
    int64_t noted_ns; //   of which is noted what was until then
    int64_t apart_ns; // at least so far apart spans begin
    StepPicture step;
} rt__timeline;

int rt__timeline_open(rt_stage *s)
{
    if (!s->segment->supervised)
        return 0;
    s->timeline = calloc(1, sizeof *s->timeline);
    if (!s->timeline)
        return rt_fail(s, RT_E_MEMORY, "no memory for what a step's timeline is made of");
    s->timeline->kept = segment_steps(s->segment, s->rank);
    return 0;
}

void rt__timeline_close(rt_stage *s)
{
    free(s->timeline);
    s->timeline = NULL;
}

static int64_t length(const StepSpan *span)
{
    return span->end_ns - span->begin_ns;
}

// The later one becomes part of the earlier one.
static void merge(StepSpan *span, const StepSpan *later)
{
    StepSpan both = length(later) > length(span) ? *later : *span;
    both.begin_ns = span->begin_ns;
    both.end_ns = later->end_ns;
    *span = both;
}

static bool too_near(const rt__timeline *t, const StepSpan *span, const StepSpan *later)
{
    return later->begin_ns - span->begin_ns < t->apart_ns;
}

// Leaves room for more.
static void thin(rt__timeline *t)
{
    StepPicture *p = &t->step;
    while (p->n > STEP_SPANS / 4 * 3) {
        uint32_t n = 1;
        t->apart_ns = t->apart_ns ? 2 * t->apart_ns : FIRST_APART_NS;
        for (uint32_t i = 1; i < p->n; i++)
            if (too_near(t, &p->spans[n - 1], &p->spans[i]))
                merge(&p->spans[n - 1], &p->spans[i]);
            else
                p->spans[n++] = p->spans[i];
        p->n = n;
    }
}

static void add(rt__timeline *t, const StepSpan *span)
{
    StepPicture *p = &t->step;
    if (span->end_ns <= span->begin_ns)
        return;
    if (p->n == STEP_SPANS)
        thin(t);
    if (p->n && too_near(t, &p->spans[p->n - 1], span))
        merge(&p->spans[p->n - 1], span);
    else
        p->spans[p->n++] = *span;
}

// What the instruction did since it was last noted.
static void note(rt_stage *s, int64_t until_ns)
{
    rt__timeline *t = s->timeline;
    bool trifle = s->opcode <= RT_RELEASE && until_ns - t->noted_ns < MESSAGE_NS;
    if (t->inside && !trifle)
        add(t, &(StepSpan){.begin_ns = t->noted_ns,
                           .end_ns = until_ns,
                           .mb = (uint32_t)rt__mb_of_step(s),
                           .opcode = (uint8_t)s->opcode});
    t->noted_ns = until_ns;
}

void rt__timeline_begin(rt_stage *s, int64_t now_ns)
{
    rt__timeline *t = s->timeline;
    t->inside = false;
    t->apart_ns = 0;
    t->step.n = 0;
    t->step.begin_ns = now_ns;
}

void rt__timeline_enter(rt_stage *s, int64_t now_ns)
{
    s->timeline->inside = true;
    s->timeline->noted_ns = now_ns;
}

void rt__timeline_wait(rt_stage *s, int waiting, int64_t begin_ns, int64_t end_ns)
{
    rt__timeline *t = s->timeline;
    if (end_ns - begin_ns < WAIT_NS)
        return;
    note(s, begin_ns);
    add(t, &(StepSpan){.begin_ns = begin_ns,
                       .end_ns = end_ns,
                       .mb = t->inside ? (uint32_t)rt__mb_of_step(s) : 0,
                       .opcode = t->inside ? (uint8_t)s->opcode : RT_N_OPCODES,
                       .waiting = (uint8_t)waiting});
    t->noted_ns = end_ns;
}

void rt__timeline_leave(rt_stage *s, int64_t now_ns)
{
    note(s, now_ns);
    s->timeline->inside = false;
}

void rt__timeline_end(rt_stage *s, int64_t now_ns)
{
    rt__timeline *t = s->timeline;
    t->step.step = s->step;
    t->step.end_ns = now_ns;
    step_write(&t->kept[step_roundness(s->step)], &t->step);
    rt__timeline_begin(s, now_ns);
}
