#include "runtime/image.h"

#include "plan/image.h"
#include "runtime/device.h"
#include "runtime/report.h"
#include "runtime/segment.h"
#include "runtime/settle.h"
#include "runtime/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct rt__image {
    int fd;
    ImageHeader *header;
    size_t bytes;   // mapped
    bool is_coming; // copies of a state are on their way,
    int to;         //   to this generation,
    int64_t step;   //   behind this step
} rt__image;

// Places
// -----------------------------------------------------------------------------------------

// Does the program work in its generations?
static bool in_place(const rt_stage *s)
{
    return s->image && !s->program->train_steps && !s->device->apart;
}

static uint8_t *generation_at(const rt_stage *s, int g)
{
    return image_generation(s->image->header, g);
}

static void load(rt_stage *s, void *host, const void *tensor, size_t n)
{
    s->device->put(s, (void *)(uintptr_t)tensor, host, n);
}

static int64_t step_at(const rt_stage *s, int g)
{
    return image_step(s->image->header, g);
}

// Other ranks see it, too.
static void set_step(const rt_stage *s, int g, int64_t step)
{
    image_set_step(s->image->header, g, step);
    atomic_store(&s->status->image_step[g], step);
}

// Where the program works in its generations: it is in this one now.
static void work_in(rt_stage *s, int g)
{
    int64_t apart = (int64_t)s->image->header->bytes;
    s->base = g ? apart : 0;
    s->next = g ? -apart : apart;
}

static int working_in(const rt_stage *s)
{
    return s->base != 0;
}

// Opening
// ---------------------------------------------------------------------------------------

static int cannot(rt_stage *s, const char *what)
{
    return rt_fail(s, RT_E_ENVIRONMENT, "%s: cannot %s: %s", s->options.state, what,
                   strerror(errno));
}

// One program at a time: the one before may stand still, but is not dead.
static int lock(rt_stage *s, rt__image *m)
{
    m->fd = open(s->options.state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (m->fd < 0)
        return cannot(s, "open");
    if (!flock(m->fd, LOCK_EX | LOCK_NB))
        return 0;
    return rt_fail(s, RT_E_ENVIRONMENT,
                   "%s: another program works with it: is the job still running?",
                   s->options.state);
}

static void begin(const rt_stage *s, ImageHeader *h, uint64_t bytes)
{
    *h = (ImageHeader){.plan = rt__plan_number(s->program),
                       .rank = (uint32_t)s->rank,
                       .bytes = bytes,
                       .generation = {{.step = -1}, {.step = -1}}};
    atomic_store(&h->magic, IMAGE_MAGIC);
}

static int map(rt_stage *s, rt__image *m)
{
    uint64_t bytes = rt__image_generation_bytes(s->program);
    struct stat st;
    m->bytes = image_bytes(bytes);
    if (fstat(m->fd, &st))
        return cannot(s, "look at it");
    bool foreign = st.st_size && (uint64_t)st.st_size != m->bytes;
    if (!foreign && (errno = posix_fallocate(m->fd, 0, (off_t)m->bytes)))
        return cannot(s, "make it large enough");
    void *at =
        foreign ? NULL : mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (at == MAP_FAILED)
        return cannot(s, "map");
    m->header = at;
    if (!foreign)
        madvise(at, m->bytes, MADV_POPULATE_WRITE); // else the first steps do it
    if (!foreign && !atomic_load(&m->header->magic))
        begin(s, m->header, bytes);
    const ImageHeader *h = m->header;
    if (foreign || atomic_load(&h->magic) != IMAGE_MAGIC ||
        h->plan != rt__plan_number(s->program) || h->rank != (uint32_t)s->rank ||
        h->bytes != bytes)
        return rt_fail(s, RT_E_INPUT,
                       "%s: holds the state of other programs: remove it, and go on from a "
                       "checkpoint with --resume",
                       s->options.state);
    return 0;
}

// The newest step that all have. -1: somebody has none.
static int64_t common_step(const rt_stage *s)
{
    int64_t common = INT64_MAX;
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        int64_t a = atomic_load(&s->statuses[i].image_step[0]);
        int64_t b = atomic_load(&s->statuses[i].image_step[1]);
        int64_t last = b > a ? b : a;
        common = last < common ? last : common;
    }
    return common;
}

static bool all_have(const rt_stage *s, int64_t step)
{
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        int64_t a = atomic_load(&s->statuses[i].image_step[0]);
        int64_t b = atomic_load(&s->statuses[i].image_step[1]);
        if (step >= 0 && a != step && b != step)
            return false;
    }
    return true;
}

// What lies beyond it was not reached by all, and will be again.
static int forget(rt_stage *s, int64_t beyond)
{
    int kept = 0;
    for (int g = 0; g < GENERATIONS; g++)
        if (step_at(s, g) > beyond)
            set_step(s, g, -1);
        else if (step_at(s, g) == beyond)
            kept = g;
    return kept;
}

int rt__image_open(rt_stage *s)
{
    if (!s->options.state)
        return 0;
    s->image = calloc(1, sizeof *s->image);
    if (!s->image)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of its state");
    s->image->fd = -1;
    int error = lock(s, s->image);
    if (!error)
        error = map(s, s->image);
    if (!error && in_place(s)) {
        s->arena = generation_at(s, 0);
        work_in(s, 0);
    }
    return error;
}

int rt__image_share(rt_stage *s)
{
    if (!s->image || !s->device->apart)
        return 0;
    return s->device->share(s, s->image->header, s->image->bytes);
}

void rt__image_close(rt_stage *s)
{
    if (!s->image)
        return;
    if (s->image->header)
        munmap(s->image->header, s->image->bytes);
    if (s->image->fd >= 0)
        close(s->image->fd);
    free(s->image);
    s->image = NULL;
    s->base = s->next = 0;
}

// Beginning
// --------------------------------------------------------------------------------------

static int take(rt_stage *s, int g)
{
    s->step = step_at(s, g);
    const ImageGeneration *from = &s->image->header->generation[g];
    s->cursor = (rt__cursor){.epoch = from->epoch, .index = from->index};
    s->seed = s->image->header->seed;
    if (in_place(s))
        work_in(s, g);
    else
        rt__image_copy(s, generation_at(s, g), load, false);
    rt__image_copy(s, generation_at(s, g), load, true);
    return rt__device_wait(s);
}

int rt__image_begin(rt_stage *s, bool *found)
{
    *found = false;
    if (!s->image)
        return 0;
    for (int g = 0; g < GENERATIONS; g++)
        atomic_store(&s->status->image_step[g], step_at(s, g));
    int error = rt__barrier(s, "the states of all");
    if (error)
        return error;
    int64_t step = common_step(s);
    if (!all_have(s, step))
        return rt_fail(s, RT_E_INPUT,
                       "%s: the states of this job's stages are not of one run: remove them, "
                       "and go on from a checkpoint with --resume",
                       s->options.state);
    int g = forget(s, step);
    *found = step >= 0;
    return *found ? take(s, g) : 0;
}

// Both generations have what no update writes, and no sums of gradients.
void rt__image_settle(rt_stage *s)
{
    if (!in_place(s))
        return;
    int other = !working_in(s);
    set_step(s, other, -1);
    rt__image_copy(s, generation_at(s, other), s->device->get, false);
    for (int i = 0; i < s->program->n_tensors; i++) {
        const rt_tensor *t = &s->program->tensors[i];
        if (t->role != RT_ACCUMULATOR)
            continue;
        memset(rt__tensor(s, t), 0, (size_t)t->bytes);
        memset(generation_at(s, other) + t->offset, 0, (size_t)t->bytes);
    }
}

// Steps
// ----------------------------------------------------------------------------------------

// Does everybody know at once which steps the others have?
static bool sees_all(const rt_stage *s)
{
    return s->segment->n_hosts <= 1;
}

static bool is_spare(rt_stage *s, void *generation)
{
    return step_at(s, *(const int *)generation) < common_step(s);
}

// Until all have a state newer than that of this generation. Who has an agent was allowed to update.
static int wait_for_all(rt_stage *s, int g)
{
    if (step_at(s, g) < 0 || s->segment->supervised || !sees_all(s) || is_spare(s, &g))
        return 0;
    return rt__wait_until(s, "the states of all", is_spare, &g);
}

int rt__image_begin_update(rt_stage *s)
{
    int other = !working_in(s);
    if (rt__image_is_coming(s))
        s->device->spare(s);
    if (!in_place(s))
        return 0;
    int error = wait_for_all(s, other);
    if (!error)
        set_step(s, other, -1);
    return error;
}

void rt__image_turn(rt_stage *s)
{
    if (!in_place(s))
        return;
    int from = working_in(s), to = !from;
    for (int i = 0; i < s->program->n_tensors; i++) {
        const rt_tensor *t = &s->program->tensors[i];
        if (t->role == RT_BUFFER)
            memcpy(generation_at(s, to) + t->offset, rt__tensor(s, t), (size_t)t->bytes);
    }
    work_in(s, to);
}

static void note_data(const rt_stage *s, int g)
{
    ImageHeader *h = s->image->header;
    h->seed = s->seed;
    h->generation[g].epoch = s->cursor.epoch;
    h->generation[g].index = s->cursor.index;
}

static int save_here(rt_stage *s)
{
    int g = in_place(s) ? working_in(s) : !image_newest(s->image->header);
    set_step(s, g, -1);
    if (!in_place(s))
        rt__image_copy(s, generation_at(s, g), s->device->get, false);
    rt__image_copy(s, generation_at(s, g), s->device->get, true);
    note_data(s, g);
    set_step(s, g, s->step);
    rt__report_saved(s, s->step);
    return 0;
}

static void begin_copies(rt_stage *s, int g)
{
    rt__image *m = s->image;
    set_step(s, g, -1);
    note_data(s, g);
    if (rt__image_copy(s, generation_at(s, g), s->device->keep, true))
        s->device->spare(s); // the next forward changes them
    rt__image_copy(s, generation_at(s, g), s->device->keep, false);
    m->to = g;
    m->step = s->step;
    m->is_coming = true;
}

// Steps of an asynchronous schedule have no limits of their own.
static bool goes_on_beside(const rt_stage *s)
{
    return !s->program->train_steps && (s->segment->supervised || sees_all(s));
}

int rt__image_save(rt_stage *s)
{
    if (!s->image)
        return 0;
    if (!s->device->apart)
        return save_here(s);
    int error = rt__image_finish(s);
    int g = !image_newest(s->image->header);
    if (!error)
        error = wait_for_all(s, g);
    if (!error)
        begin_copies(s, g);
    return error || goes_on_beside(s) ? error : rt__image_finish(s);
}

bool rt__image_is_coming(const rt_stage *s)
{
    return s->image && s->image->is_coming;
}

void rt__image_progress(rt_stage *s)
{
    rt__image *m = s->image;
    if (!rt__image_is_coming(s) || s->error || rt__is_settling(s) || !s->device->kept(s))
        return;
    m->is_coming = false;
    if (rt__settle_step(s, m->step)) // a state of numbers that are not finite is none
        return;
    set_step(s, m->to, m->step);
    rt__report_saved(s, m->step);
}

static bool have_come(rt_stage *s, void *unused)
{
    (void)unused;
    rt__image_progress(s);
    return !rt__image_is_coming(s);
}

int rt__image_finish(rt_stage *s)
{
    return rt__image_is_coming(s) ? rt__wait_until(s, "copies of its state", have_come, NULL)
                                  : 0;
}
