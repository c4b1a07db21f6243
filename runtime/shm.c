// Ranks of one host: rings and counters lie in the job's memory, so a counter that has moved is seen
// at once by who spins, and who sleeps on its futex is woken.
#include "runtime/transport.h"
#include "runtime/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool reaches(const rt_stage *s, int peer)
{
    return s->statuses[peer].host == s->status->host;
}

static int tell_consumer(rt_stage *s, int edge, int consumer, uint64_t seq)
{
    (void)consumer, (void)seq;
    segment_counter_wake(s->edges[edge].published);
    return 0;
}

static int tell_producer(rt_stage *s, int edge, uint64_t seq)
{
    (void)seq;
    segment_counter_wake(s->edges[edge].mine);
    return 0;
}

static void sleep_on(rt_stage *s, const rt__wait *w, int64_t ns)
{
    (void)s;
    SegmentCounter *c = w->counter;
    struct timespec most = {ns / 1000000000, ns % 1000000000};
    atomic_fetch_add(&c->sleepers, 1);
    uint64_t seen = atomic_load(&c->value);
    if (seen < w->target)
        syscall(SYS_futex, segment_futex(c), FUTEX_WAIT, (uint32_t)seen, &most, NULL, 0);
    atomic_fetch_sub(&c->sleepers, 1);
}

// A process that has ended without leaving the job first is dead, also as a zombie.
static const char *lost(rt_stage *s, int peer, const rt__wait *w)
{
    (void)w;
    int pid = atomic_load(&s->statuses[peer].pid), *fd = &s->peers[peer].pid_fd;
    if (pid <= 0 || pid == getpid())
        return NULL;
    if (*fd < 0)
        *fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = *fd, .events = POLLIN};
    bool gone = *fd < 0 ? errno == ESRCH : poll(&p, 1, 0) == 1;
    return gone && atomic_load(&s->statuses[peer].pid) == pid ? "died" : NULL;
}

const rt_transport rt__shm = {.name = "shm",
                              .reaches = reaches,
                              .send = tell_consumer,
                              .release = tell_producer,
                              .sleep = sleep_on,
                              .lost = lost};
