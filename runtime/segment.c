#include "runtime/segment.h"

#include "runtime/report.h"
#include "runtime/timeline.h"
#include "runtime/transport.h"
#include "runtime/twins.h"
#include "runtime/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOLD_US = 500 };

// Layout
// -----------------------------------------------------------------------------------------

uint64_t rt__segment_bytes(const rt_program *program)
{
    uint64_t bytes = segment_edges_begin(rt__n_ranks(program));
    for (int i = 0; i < program->n_edges; i++) {
        const rt_edge *e = &program->edges[i];
        bytes += segment_edge_bytes(e->n_consumers, e->slots, e->bytes);
    }
    return bytes;
}

int rt__segment_new(const rt_program *program)
{
    uint64_t bytes = rt__segment_bytes(program);
    SegmentHeader header = {.magic = SEGMENT_MAGIC,
                            .abi = SEGMENT_ABI,
                            .n_ranks = (uint32_t)rt__n_ranks(program),
                            .n_edges = (uint32_t)program->n_edges,
                            .bytes = bytes,
                            .last = UINT64_MAX,
                            .may_begin = {.value = UINT64_MAX},
                            .may_update = {.value = UINT64_MAX}};
    int fd = memfd_create("stagecc-job", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)bytes) ||
        write(fd, &header, sizeof header) != (ssize_t)sizeof header) {
        close(fd);
        return -1;
    }
    return fd;
}

// The header is the launcher's word for word, or the programs were not made for this job.
static int check_header(rt_stage *s, uint64_t bytes)
{
    const SegmentHeader *h = s->segment;
    const rt_program *p = s->program;
    if (h->magic != SEGMENT_MAGIC || h->abi != SEGMENT_ABI)
        return rt_fail(s, RT_E_INPUT,
                       "the launcher's job memory is of another version of stagecc: build the "
                       "programs again");
    if (h->n_ranks != (uint32_t)rt__n_ranks(p) || h->n_edges != (uint32_t)p->n_edges ||
        h->bytes != bytes)
        return rt_fail(s, RT_E_INPUT,
                       "this program and plan.json disagree about the job's memory: build the "
                       "programs again");
    return 0;
}

uint64_t rt__plan_number(const rt_program *program)
{
    return segment_plan_number(program->plan_hash);
}

// All compare their plan's hash with that of plan.json, which the launcher wrote.
static int check_plan(rt_stage *s)
{
    uint64_t mine = rt__plan_number(s->program), first = 0;
    if (atomic_compare_exchange_strong(&s->segment->plan_hash, &first, mine) || first == mine)
        return 0;
    return rt_fail(
        s, RT_E_INPUT,
        "stage %d was built from another plan than plan.json: build all programs again",
        s->program->stage);
}

static int map(rt_stage *s, int fd)
{
    uint64_t bytes = rt__segment_bytes(s->program);
    struct stat st;
    if (fstat(fd, &st))
        return rt_fail(s, RT_E_ENVIRONMENT, "the job's memory (descriptor %d): %s", fd,
                       strerror(errno));
    if ((uint64_t)st.st_size != bytes)
        return rt_fail(s, RT_E_INPUT,
                       "the job's memory has %" PRId64 " bytes, this program expects %" PRIu64
                       ": build the programs again",
                       (int64_t)st.st_size, bytes);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return rt_fail(s, RT_E_MEMORY, "cannot map the job's memory of %" PRIu64 " bytes: %s",
                       bytes, strerror(errno));
    s->segment = memory;
    s->segment_bytes = bytes;
    int error = check_header(s, bytes);
    s->statuses = segment_statuses(s->segment);
    s->status = &s->statuses[s->rank];
    return error;
}

int rt__segment_open(rt_stage *s, int fd)
{
    int error = map(s, fd);
    if (!error)
        error = check_plan(s);
    if (error)
        return error;
    atomic_store(&s->status->opcode, -1);
    atomic_store(&s->status->layer, -1);
    atomic_store(&s->status->pid, (int32_t)getpid());
    return 0;
}

void rt__segment_close(rt_stage *s)
{
    if (s->status)
        atomic_store(&s->status->pid, -1); // its end is no longer news
    if (s->segment)
        munmap(s->segment, s->segment_bytes);
    s->segment = NULL;
    s->status = s->statuses = NULL;
}

// All ranks
// -------------------------------------------------------------------------------------

int rt__barrier(rt_stage *s, const char *what)
{
    uint64_t target = ++s->barriers;
    int error = rt__twins_finish(s);
    if (error)
        return error;
    rt__counter_set(&s->status->barrier, target);
    for (int i = 0; i < rt__n_ranks(s->program) && !error; i++) {
        rt__wait w = {.counter = &s->statuses[i].barrier,
                      .target = target,
                      .by = &rt__shm,
                      .peer = i,
                      .what = what,
                      .name = ""};
        error = rt__wait_for(s, &w);
    }
    return error;
}

static int wait_for_master(rt_stage *s, SegmentCounter *limit, int64_t step)
{
    rt__wait w = {.counter = limit,
                  .target = (uint64_t)step,
                  .by = &rt__shm,
                  .peer = RT__MASTER,
                  .what = "leave",
                  .name = ""};
    return rt__wait_for(s, &w);
}

int rt__gate(rt_stage *s)
{
    int error = 0;
    if (!atomic_load(&s->segment->gate))
        return 0;
    rt__report_warm(s);
    atomic_store(&s->status->waiting, SEGMENT_WAITS_FOR_MASTER);
    while (atomic_load(&s->segment->gate) && !(error = rt__check_abort(s)))
        usleep(HOLD_US);
    atomic_store(&s->status->waiting, 0);
    return error;
}

int rt__may_begin(rt_stage *s, int64_t step)
{
    if (s->timeline)
        rt__timeline_begin(s, rt__now_ns());
    return wait_for_master(s, &s->segment->may_begin, step);
}

int rt__may_update(rt_stage *s, int64_t step)
{
    return wait_for_master(s, &s->segment->may_update, step);
}

uint64_t rt__ends_behind(const rt_stage *s)
{
    return atomic_load(&s->segment->last);
}

void rt__abort(rt_stage *s)
{
    if (!s->segment || !s->error)
        return;
    uint32_t nobody = 0;
    if (atomic_compare_exchange_strong(&s->segment->abort_rank, &nobody, (uint32_t)s->rank + 1))
        atomic_store(&s->segment->abort, (uint32_t)rt_error_status(s->error));
}

int rt__check_abort(rt_stage *s)
{
    if (!atomic_load_explicit(&s->segment->abort, memory_order_acquire))
        return 0;
    char name[RT__RANK_NAME];
    unsigned who = atomic_load(&s->segment->abort_rank);
    if (who == s->segment->n_ranks + 1)
        return rt_fail(s, RT_E_PEER, "the job was stopped by its launcher");
    return rt_fail(s, RT_E_PEER, "%s has failed",
                   rt__rank_name(s->program, (int)who - 1, name));
}

bool rt__begin_round(rt_stage *s, bool stop_wanted)
{
    _Atomic uint64_t *rounds = &s->segment->rounds;
    if (stop_wanted)
        atomic_fetch_or(rounds, s->segment->n_hosts > 1 ? SEGMENT_WANTED : SEGMENT_STOP);
    uint64_t next = s->rounds + 1, seen = atomic_load(rounds);
    while ((seen & SEGMENT_ROUND) < next) {
        if (seen & SEGMENT_STOP)
            return false;
        if (seen & SEGMENT_HOLD && !atomic_load(&s->segment->abort)) {
            rt__progress(s);
            usleep(HOLD_US);
            seen = atomic_load(rounds);
        } else if (atomic_compare_exchange_weak(rounds, &seen, (seen & ~SEGMENT_ROUND) | next))
            break;
    }
    s->rounds = next;
    return true;
}
