#include "runtime/image.h"

#include "plan/image.h"
#include "runtime/device.h"
#include "runtime/segment.h"

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
    size_t bytes; // mapped
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

// Of tensors with such a role, all of them or none, between the program's memory and a generation.
static void copy(rt_stage *s, int g, bool load, bool statistics)
{
    uint8_t *shadow = generation_at(s, g) + rt__image_shadow(s->program);
    for (int i = 0; i < s->program->n_tensors; i++) {
        const rt_tensor *t = &s->program->tensors[i];
        bool is_statistic = t->role == RT_BUFFER;
        uint8_t *here = rt__tensor(s, t);
        uint8_t *there = is_statistic ? shadow : generation_at(s, g) + t->offset;
        if (is_statistic)
            shadow += rt__image_statistic_bytes(t);
        if (is_statistic == statistics && t->role != RT_ACCUMULATOR)
            load ? s->device->put(s, here, there, (size_t)t->bytes)
                 : s->device->get(s, there, here, (size_t)t->bytes);
    }
}

static int64_t step_at(const rt_stage *s, int g)
{
    return image_step(s->image->header, g);
}

static void set_step(const rt_stage *s, int g, int64_t step)
{
    image_set_step(s->image->header, g, step);
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

// The newest step that all have. -1: somebody has none, so all begin anew.
static int64_t common_step(const rt_stage *s)
{
    int64_t common = INT64_MAX;
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        const int64_t *steps = s->statuses[i].image_step;
        int64_t last = steps[steps[1] > steps[0]];
        common = last < common ? last : common;
    }
    return common;
}

static bool all_have(const rt_stage *s, int64_t step)
{
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        const int64_t *steps = s->statuses[i].image_step;
        if (step >= 0 && steps[0] != step && steps[1] != step)
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
        copy(s, g, true, false);
    copy(s, g, true, true);
    return rt__device_wait(s);
}

int rt__image_begin(rt_stage *s, bool *found)
{
    *found = false;
    if (!s->image)
        return 0;
    for (int g = 0; g < GENERATIONS; g++)
        s->status->image_step[g] = step_at(s, g);
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
    copy(s, other, false, false);
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

void rt__image_begin_update(rt_stage *s)
{
    if (in_place(s))
        set_step(s, !working_in(s), -1);
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

int rt__image_save(rt_stage *s)
{
    if (!s->image)
        return 0;
    ImageHeader *h = s->image->header;
    int g = in_place(s) ? working_in(s) : !image_newest(h);
    set_step(s, g, -1);
    if (!in_place(s))
        copy(s, g, false, false);
    copy(s, g, false, true);
    int error = rt__device_wait(s);
    if (error)
        return error;
    h->seed = s->seed;
    h->generation[g].epoch = s->cursor.epoch;
    h->generation[g].index = s->cursor.index;
    set_step(s, g, s->step);
    return 0;
}
