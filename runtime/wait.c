// Spin, then sleep. A spinning receiver sees a message in well under a microsecond, a sleeping one
// needs some tens; so a stage spins for SPIN_NS, about one wake-up, where a core is free for it
// (rt_stage.spin) and sleeps in slices of SLICE_NS afterwards. Between slices it looks whether the
// job was aborted, whether a stage died, and whether any stage still moves: a wait has no fixed end
// while somebody works, and one of timeout_ns when nobody does.
#include "runtime/wait.h"

#include "runtime/transport.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 50 * 1000, SLICE_NS = 100 * 1000 * 1000, SPINS_A_LOOK = 64 };

int64_t rt__now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t *futex_word(SegmentCounter *c)
{
    return (uint32_t *)(void *)&c->value; // the low half: little-endian
}

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static bool arrived(const rt__wait *w)
{
    return atomic_load_explicit(&w->counter->value, memory_order_acquire) >= w->target;
}

void rt__counter_set(SegmentCounter *c, uint64_t value)
{
    atomic_store(&c->value, value);
    if (atomic_load(&c->sleepers))
        syscall(SYS_futex, futex_word(c), FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

// A stage that spins on the core of the one it waits for keeps it from working. The scheduler puts
// them there when the other cores are busy with something else.
static bool shares_core(const rt_stage *s, int peer)
{
    int cpu = atomic_load_explicit(&s->statuses[peer].cpu, memory_order_relaxed);
    return peer != s->program->stage && cpu == sched_getcpu() + 1;
}

static bool spin(const rt__wait *w)
{
    int64_t end = rt__now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < SPINS_A_LOOK; i++) {
            if (arrived(w))
                return true;
            relax();
        }
    } while (rt__now_ns() < end);
    return false;
}

static void sleep_slice(const rt__wait *w)
{
    SegmentCounter *c = w->counter;
    struct timespec slice = {0, SLICE_NS};
    atomic_fetch_add(&c->sleepers, 1);
    uint64_t seen = atomic_load(&c->value);
    if (seen < w->target)
        syscall(SYS_futex, futex_word(c), FUTEX_WAIT, (uint32_t)seen, &slice, NULL, 0);
    atomic_fetch_sub(&c->sleepers, 1);
}

// Whoever waits longer than a slice
// ------------------------------------------------------------------

// What another stage is doing, for messages: "backward of micro-batch 2, layer conv1".
static void describe(const rt_stage *s, int stage, char *text, size_t size)
{
    static const char *const names[RT_N_OPCODES] = {
#define X(KIND, name, meaning, operands) name,
        STREAM_INSTRUCTIONS(X)
#undef X
    };
    const SegmentStatus *st = &s->statuses[stage];
    int opcode = atomic_load(&st->opcode), pid = atomic_load(&st->pid);
    int edge = atomic_load(&st->edge);
    if (pid == 0)
        snprintf(text, size, "has not started yet");
    else if (pid < 0)
        snprintf(text, size, "has ended");
    else if (opcode < 0 || opcode >= RT_N_OPCODES)
        snprintf(text, size, "is between steps, %" PRId64 " done", atomic_load(&st->step));
    else
        snprintf(text, size, "is in %s%s%s of micro-batch %d, step %" PRId64, names[opcode],
                 opcode <= RT_RELEASE && edge >= 0 ? " " : "",
                 opcode <= RT_RELEASE && edge >= 0 && edge < s->program->n_edges
                     ? s->program->edges[edge].name
                     : "",
                 atomic_load(&st->mb), atomic_load(&st->step) + 1);
}

// A process that has ended without leaving the job first is dead, also as a zombie.
static bool dead(rt_stage *s, int stage)
{
    int pid = atomic_load(&s->statuses[stage].pid);
    if (pid <= 0 || pid == getpid())
        return false;
    int *fd = &s->peer_fds[stage];
    if (*fd < 0)
        *fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (*fd < 0)
        return errno == ESRCH && atomic_load(&s->statuses[stage].pid) == pid;
    struct pollfd p = {.fd = *fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && atomic_load(&s->statuses[stage].pid) == pid;
}

static int look_for_dead(rt_stage *s, const rt__wait *w)
{
    for (int i = 0; i < s->program->n_stages; i++)
        if (dead(s, i) && !arrived(w)) {
            char text[256];
            describe(s, i, text, sizeof text);
            return rt_fail(s, RT_E_PEER, "stage %d (process %d) died: it %s", i,
                           atomic_load(&s->statuses[i].pid), text);
        }
    return 0;
}

static uint64_t progress_of_all(const rt_stage *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < s->program->n_stages; i++)
        sum += atomic_load_explicit(&s->statuses[i].progress, memory_order_relaxed);
    return sum;
}

static int timed_out(rt_stage *s, const rt__wait *w, int64_t since)
{
    char other[256];
    describe(s, w->peer, other, sizeof other);
    return rt_fail(s, RT_E_TIMEOUT,
                   "stage %d has waited %.1f s for %s%s%s from stage %d (step %" PRId64
                   "), and no stage has moved for %.1f s; stage %d %s",
                   s->program->stage, (double)(rt__now_ns() - since) * 1e-9, w->what,
                   *w->name ? " " : "", w->name, w->peer, s->step + 1,
                   (double)s->timeout_ns * 1e-9, w->peer, other);
}

static int wait_long(rt_stage *s, const rt__wait *w)
{
    int64_t since = rt__now_ns(), moved = since;
    uint64_t progress = progress_of_all(s);
    atomic_store(&s->status->since_ns, since);
    atomic_store(&s->status->waiting, 1);
    int error = 0;
    while (!error && !arrived(w)) {
        sleep_slice(w);
        if (arrived(w))
            break;
        uint64_t now = progress_of_all(s);
        if (now != progress) {
            progress = now;
            moved = rt__now_ns();
        }
        error = rt__check_abort(s);
        if (!error)
            error = look_for_dead(s, w);
        if (!error && rt__now_ns() - moved > s->timeout_ns)
            error = timed_out(s, w, since);
    }
    atomic_store(&s->status->waiting, 0);
    return error;
}

int rt__wait_for(rt_stage *s, const rt__wait *w)
{
    if (arrived(w) || (s->spin && !shares_core(s, w->peer) && spin(w)))
        return 0;
    return wait_long(s, w);
}
