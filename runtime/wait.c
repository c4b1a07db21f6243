// Spin, then sleep. A spinning receiver sees a message in well under a microsecond, a sleeping one
// needs some tens; so a stage spins for SPIN_NS, about one wake-up, where a core is free for it
// (rt_stage.spin) and sleeps in slices of SLICE_NS afterwards. Between slices it looks whether the
// job was aborted, whether a stage died, and whether any stage still moves: a wait has no fixed end
// while somebody works, and one of timeout_ns when nobody does; none where an agent watches over the job.
//
// A stage that also talks over a network goes on with that while it waits for a neighbour: a futex does
// not wake for a descriptor, so it sleeps in slices of MIXED_NS there. Nor does it wake for a device: with messages
// (runtime/twins.h), or a state (runtime/image.h), that others may wait for on their way it sleeps for COPY_NS at a time.
#include "runtime/wait.h"

#include "runtime/image.h"
#include "runtime/segment.h"
#include "runtime/timeline.h"
#include "runtime/transport.h"
#include "runtime/twins.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

enum { SPIN_NS = 50 * 1000, SLICE_NS = 100 * 1000 * 1000, MIXED_NS = 500 * 1000 };
enum { COPY_NS = 20 * 1000 };
enum { SPINS_A_LOOK = 64 };

int64_t rt__now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static int waits_for(const rt__wait *w)
{
    return w->peer == RT__MASTER ? SEGMENT_WAITS_FOR_MASTER : SEGMENT_WAITS_FOR_RANK;
}

static bool arrived(const rt__wait *w)
{
    return atomic_load_explicit(&w->counter->value, memory_order_acquire) >= w->target;
}

void rt__counter_set(SegmentCounter *c, uint64_t value)
{
    atomic_store(&c->value, value);
    segment_counter_wake(c);
}

// A stage that spins on the core of the one it waits for keeps it from working. The scheduler puts
// them there when the other cores are busy with something else.
static bool shares_core(const rt_stage *s, int peer)
{
    if (peer == RT__MASTER)
        return false;
    const SegmentStatus *other = &s->statuses[peer];
    int cpu = atomic_load_explicit(&other->cpu, memory_order_relaxed);
    return other != s->status && other->host == s->status->host && cpu == sched_getcpu() + 1;
}

static bool spin(rt_stage *s, const rt__wait *w)
{
    int64_t end = rt__now_ns() + SPIN_NS;
    do {
        bool moves = rt__progress(s);
        for (int i = 0; i < (moves ? 1 : SPINS_A_LOOK); i++) {
            if (arrived(w))
                return true;
            relax();
        }
    } while (rt__now_ns() < end);
    return false;
}

// Whoever waits longer than a slice
// ------------------------------------------------------------------

// What another rank is doing, for messages: "backward of micro-batch 2, layer conv1".
static void describe(const rt_stage *s, int rank, char *text, size_t size)
{
    const SegmentStatus *st = &s->statuses[rank];
    int opcode = atomic_load(&st->opcode), pid = atomic_load(&st->pid);
    int edge = atomic_load(&st->edge);
    bool held = atomic_load(&st->waiting) == SEGMENT_WAITS_FOR_MASTER;
    if (pid == 0)
        snprintf(text, size, "has not started yet");
    else if (pid < 0)
        snprintf(text, size, "has ended");
    else if (held)
        snprintf(text, size, "waits for the master, %" PRId64 " steps done",
                 atomic_load(&st->step));
    else if (opcode < 0 || opcode >= RT_N_OPCODES)
        snprintf(text, size, "is between steps, %" PRId64 " done", atomic_load(&st->step));
    else
        snprintf(text, size, "is in %s%s%s of micro-batch %d, step %" PRId64,
                 rt__opcode_name[opcode], opcode <= RT_RELEASE && edge >= 0 ? " " : "",
                 opcode <= RT_RELEASE && edge >= 0 && edge < s->program->n_edges
                     ? s->program->edges[edge].name
                     : "",
                 atomic_load(&st->mb), atomic_load(&st->step) + 1);
}

static int look_for_dead(rt_stage *s, const rt__wait *w)
{
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        const char *what = s->peers[i].by->lost(s, i, w);
        if (what && !arrived(w)) {
            char text[256], name[RT__RANK_NAME];
            describe(s, i, text, sizeof text);
            return rt_fail(s, RT_E_PEER, "%s (process %d) %s: it %s",
                           rt__rank_name(s->program, i, name), atomic_load(&s->statuses[i].pid),
                           what, text);
        }
    }
    return 0;
}

static uint64_t progress_of_all(const rt_stage *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < rt__n_ranks(s->program); i++)
        sum += atomic_load_explicit(&s->statuses[i].progress, memory_order_relaxed);
    return sum;
}

static int timed_out(rt_stage *s, const rt__wait *w, int64_t since)
{
    char other[256], name[RT__RANK_NAME], peer[RT__RANK_NAME];
    describe(s, w->peer, other, sizeof other);
    rt__rank_name(s->program, w->peer, peer);
    return rt_fail(s, RT_E_TIMEOUT,
                   "%s has waited %.1f s for %s%s%s from %s (step %" PRId64
                   "), and no stage has moved for %.1f s; %s %s",
                   rt__rank_name(s->program, s->rank, name),
                   (double)(rt__now_ns() - since) * 1e-9, w->what, *w->name ? " " : "", w->name,
                   peer, s->step + 1, (double)s->timeout_ns * 1e-9, peer, other);
}

// Sleeps for a slice, however often messages of others end it early.
static int sleep_slice(rt_stage *s, const rt__wait *w)
{
    int64_t end = rt__now_ns() + SLICE_NS, left = SLICE_NS;
    while (!arrived(w) && left > 0 && !s->error) {
        bool mixed = rt__progress(s) && !w->by->progress;
        bool copies = rt__twins_are_on_their_way(s) || rt__image_is_coming(s);
        int64_t most = copies ? COPY_NS : mixed ? MIXED_NS : left;
        if (!arrived(w))
            w->by->sleep(s, w, most < left ? most : left);
        left = end - rt__now_ns();
    }
    return (int)s->error;
}

// When the wait began, and when a rank was last seen to move.
typedef struct Patience {
    int64_t since, moved;
    uint64_t progress;
} Patience;

static Patience begin_to_wait(const rt_stage *s)
{
    int64_t now = rt__now_ns();
    return (Patience){.since = now, .moved = now, .progress = progress_of_all(s)};
}

// After a slice: is there anything to wait for?
static int look_around(rt_stage *s, const rt__wait *w, Patience *p)
{
    bool endless = w->peer == RT__MASTER || s->segment->supervised;
    uint64_t now = progress_of_all(s);
    if (now != p->progress) {
        p->progress = now;
        p->moved = rt__now_ns();
    }
    int error = rt__check_abort(s);
    if (!error)
        error = look_for_dead(s, w);
    if (!error && !endless && rt__now_ns() - p->moved > s->timeout_ns)
        error = timed_out(s, w, p->since);
    return error;
}

static int wait_long(rt_stage *s, const rt__wait *w)
{
    Patience p = begin_to_wait(s);
    atomic_store(&s->status->since_ns, p.since);
    atomic_store(&s->status->waiting, waits_for(w));
    int error = 0;
    while (!error && !arrived(w)) {
        error = sleep_slice(s, w);
        if (!error && !arrived(w))
            error = look_around(s, w, &p);
    }
    atomic_store(&s->status->waiting, 0);
    return error;
}

int rt__wait_until(rt_stage *s, const char *what, bool done(rt_stage *s, void *user),
                   void *user)
{
    static const struct timespec nap = {0, COPY_NS};
    static SegmentCounter never;
    const rt__wait w = {.counter = &never,
                        .target = 1,
                        .by = &rt__shm,
                        .peer = s->rank,
                        .what = what,
                        .name = ""};
    Patience p = begin_to_wait(s);
    int64_t next_look = p.since + SLICE_NS;
    int error = (int)s->error;
    while (!error && !done(s, user)) {
        int64_t now = rt__now_ns();
        if (now - p.since > SPIN_NS)
            nanosleep(&nap, NULL);
        rt__progress(s);
        error = (int)s->error;
        if (error || now < next_look)
            continue;
        error = look_around(s, &w, &p);
        next_look = now + SLICE_NS;
    }
    return error ? error : (int)s->error;
}

int rt__wait_for(rt_stage *s, const rt__wait *w)
{
    if (arrived(w))
        return 0;
    int64_t begin = rt__now_ns();
    bool spun = s->spin && !shares_core(s, w->peer) && spin(s, w);
    int error = spun ? 0 : wait_long(s, w);
    int64_t end = rt__now_ns();
    s->waited_ns += end - begin;
    if (s->timeline)
        rt__timeline_wait(s, waits_for(w), begin, end);
    return error;
}
