// What supervised programs leave of their steps: every instruction where it was, waits cut out of them, no more spans than
// there is room for, and nothing where nobody watches.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/timeline.h"
#include "tests/runtime/tiny.h"

#include <sys/mman.h>

enum { STAGES = 3, STEPS = 8, NAP_US = 20 * 1000 };
#define NAP_NS (NAP_US * INT64_C(1000))

static SegmentHeader *memory; // of the job that ran last
static uint64_t bytes;

static void forget(void)
{
    if (memory)
        munmap(memory, bytes);
    memory = NULL;
}

static void nap_in_stage_0(rt_stage *s, int mb)
{
    if (s->program->stage == 0 && mb == 1)
        usleep(NAP_US);
}

static void run(bool supervised)
{
    TinyJob *j = tiny_job(STAGES, false, 0);
    pthread_t id[STAGES];
    TinyThread thread[STAGES];
    forget();
    j->fd = rt__segment_new(&j->stage[0].program);
    bytes = rt__segment_bytes(&j->stage[0].program);
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
    assert_true(memory != MAP_FAILED);
    memory->supervised = supervised;
    for (int i = 0; i < STAGES; i++) {
        j->stage[i].disturb = nap_in_stage_0;
        thread[i] = (TinyThread){j, i};
        pthread_create(&id[i], NULL, tiny_thread, &thread[i]);
    }
    for (int i = 0; i < STAGES; i++) {
        pthread_join(id[i], NULL);
        assert_int_equal(j->stage[i].error, 0);
        assert_int_equal(j->stage[i].steps, STEPS);
    }
    close(j->fd);
    free(j);
}

static StepPicture picture(int rank, int64_t step)
{
    StepPicture p = {0};
    assert_true(step_read(&p, &segment_steps(memory, rank)[step_roundness(step)]));
    assert_int_equal(p.step, step);
    return p;
}

// The only one.
static StepSpan span_of(const StepPicture *p, int opcode, uint32_t mb, int waiting)
{
    StepSpan found = {0};
    for (uint32_t i = 0; i < p->n; i++) {
        const StepSpan *s = &p->spans[i];
        if (s->opcode != opcode || s->mb != mb || s->waiting != waiting)
            continue;
        assert_int_equal(found.end_ns, 0);
        found = *s;
    }
    assert_int_not_equal(found.end_ns, 0);
    return found;
}

// What the rank did before it, other than to see to messages.
static StepSpan before(const StepPicture *p, int opcode, uint32_t mb)
{
    StepSpan it = span_of(p, opcode, mb, 0), last = {0};
    for (uint32_t i = 0; i < p->n && p->spans[i].begin_ns < it.begin_ns; i++)
        if (p->spans[i].opcode > RT_RELEASE || p->spans[i].waiting)
            last = p->spans[i];
    return last;
}

static void in_order(const StepPicture *p)
{
    int64_t at = p->begin_ns;
    for (uint32_t i = 0; i < p->n; i++) {
        assert_true(p->spans[i].begin_ns >= at);
        assert_true(p->spans[i].end_ns > p->spans[i].begin_ns);
        at = p->spans[i].end_ns;
    }
    assert_true(at <= p->end_ns);
}

static void everything_where_it_was(void **state)
{
    (void)state;
    run(true);
    StepPicture p[STAGES];
    for (int i = 0; i < STAGES; i++) {
        p[i] = picture(i, STEPS);
        in_order(&p[i]);
        span_of(&p[i], RT_UPDATE, 0, 0);
        for (uint32_t mb = 0; mb < TINY_M; mb++) {
            StepSpan forward = span_of(&p[i], RT_FORWARD, mb, 0);
            StepSpan backward = span_of(&p[i], RT_BACKWARD, mb, 0);
            assert_true(backward.begin_ns >= forward.end_ns);
            if (i == 0)
                continue;
            assert_true(forward.begin_ns >= span_of(&p[i - 1], RT_FORWARD, mb, 0).end_ns);
            assert_true(backward.end_ns <= span_of(&p[i - 1], RT_BACKWARD, mb, 0).begin_ns);
        }
    }
    // The nap is work where it was, and elsewhere a wait.
    StepSpan nap = span_of(&p[0], RT_FORWARD, 1, 0);
    StepSpan wait = before(&p[1], RT_FORWARD, 1);
    assert_true(nap.end_ns - nap.begin_ns >= NAP_NS);
    assert_true(wait.opcode == RT_RECV && wait.waiting == SEGMENT_WAITS_FOR_RANK &&
                wait.mb == 1);
    assert_true(wait.end_ns >= nap.end_ns);
}

// Only the newest of each roundness: 8, 4, 6 and 7.
static void steps_are_kept(void **state)
{
    (void)state;
    int64_t newest;
    for (int i = 0; i < STAGES; i++) {
        const StepKept *kept = segment_steps(memory, i);
        for (int64_t step = 4; step <= STEPS; step += step == 4 ? 2 : 1)
            in_order((StepPicture[]){picture(i, step)});
        assert_int_equal(step_choose(kept, 0, &newest), 3);
        assert_int_equal(newest, STEPS);
        StepPicture p = {0};
        for (int k = 4; k < STEPS_KEPT; k++)
            assert_false(step_read(&p, &kept[k]));
    }
}

static void nothing_where_nobody_watches(void **state)
{
    (void)state;
    run(false);
    for (int i = 0; i < STAGES; i++)
        for (int k = 0; k < STEPS_KEPT; k++)
            assert_int_equal(atomic_load(&segment_steps(memory, i)[k].version), 0);
    forget();
}

// A stage by hand
// ------------------------------------------------------------------------------------------------

static rt_stage *by_hand(StepKept **kept)
{
    static SegmentHeader *header;
    static rt_program program = {.micro_batches = 4};
    static rt_stage s;
    free(header);
    header = calloc(1, segment_edges_begin(1));
    header->n_ranks = 1;
    header->supervised = 1;
    s = (rt_stage){.program = &program, .segment = header, .stream_steps = 1};
    assert_int_equal(rt__timeline_open(&s), 0);
    *kept = segment_steps(header, 0);
    return &s;
}

static void instruction(rt_stage *s, rt_opcode opcode, int mb, int64_t begin_ns, int64_t end_ns)
{
    s->opcode = opcode;
    s->mb = mb;
    rt__timeline_enter(s, begin_ns);
    rt__timeline_leave(s, end_ns);
}

static void waits_are_cut_out(void **state)
{
    (void)state;
    StepKept *kept;
    StepPicture p = {0};
    rt_stage *s = by_hand(&kept);
    instruction(s, RT_EVAL, 0, 10, 20000); // no step is under way
    rt__timeline_begin(s, 100000);
    rt__timeline_wait(s, SEGMENT_WAITS_FOR_MASTER, 100000, 150000);
    instruction(s, RT_SEND, 0, 150000, 151000); // nothing worth telling
    s->opcode = RT_UPDATE;
    rt__timeline_enter(s, 200000);
    rt__timeline_wait(s, SEGMENT_WAITS_FOR_RANK, 202000, 202500); // nor this
    rt__timeline_wait(s, SEGMENT_WAITS_FOR_MASTER, 210000, 290000);
    rt__timeline_leave(s, 300000);
    s->step = 1;
    rt__timeline_end(s, 310000);
    instruction(s, RT_EVAL, 0, 320000, 400000);
    assert_true(step_read(&p, &kept[0]));
    assert_int_equal(p.n, 4);
    assert_true(p.begin_ns == 100000 && p.end_ns == 310000);
    static const StepSpan want[] = {
        {100000, 150000, 0, RT_N_OPCODES, SEGMENT_WAITS_FOR_MASTER, 0},
        {200000, 210000, 0, RT_UPDATE, 0, 0},
        {210000, 290000, 0, RT_UPDATE, SEGMENT_WAITS_FOR_MASTER, 0},
        {290000, 300000, 0, RT_UPDATE, 0, 0}};
    assert_memory_equal(p.spans, want, sizeof want);
    rt__timeline_close(s);
}

// More than there is room for: long ones stay what they are, short ones become part of their neighbours.
static void many_spans(void **state)
{
    (void)state;
    enum { LONG = 20, SHORT = 100 };
    const int64_t gaps_ns = INT64_C(1000) * SHORT * LONG;
    StepKept *kept;
    StepPicture p = {0};
    rt_stage *s = by_hand(&kept);
    int64_t at = 0;
    rt__timeline_begin(s, at);
    for (int i = 0; i < LONG; i++) {
        instruction(s, RT_BACKWARD, i, at, at + 10000000);
        at += 10000000;
        for (int k = 0; k < SHORT; k++, at += 20000)
            instruction(s, RT_LOAD, i, at, at + 19000);
    }
    s->step = 1;
    rt__timeline_end(s, at);
    assert_true(step_read(&p, &kept[0]));
    in_order(&p);
    assert_in_range(p.n, 2 * LONG, STEP_SPANS);
    int seen = 0;
    int64_t told = 0;
    for (uint32_t i = 0; i < p.n; i++) {
        const StepSpan *span = &p.spans[i];
        told += span->end_ns - span->begin_ns;
        seen += span->opcode == RT_BACKWARD;
        if (span->opcode ==
            RT_BACKWARD) // a LOAD that was begun before may have become part of it
            assert_in_range(span->end_ns - span->begin_ns, 10000000, 11000000);
    }
    assert_int_equal(seen, LONG);
    assert_in_range(told, at - 3 * gaps_ns, at);
    rt__timeline_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_where_it_was), cmocka_unit_test(steps_are_kept),
        cmocka_unit_test(nothing_where_nobody_watches), cmocka_unit_test(waits_are_cut_out),
        cmocka_unit_test(many_spans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
