#include "control/worker/states.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Images
// ---------------------------------------------------------------------------------------

static uint64_t made_of(const Image *image, uint64_t step)
{
    return step > image->step ? image->epoch : image->made;
}

int image_has(const Image *image, uint64_t step, uint64_t made)
{
    return made_of(image, step) == made ? image_find(image->header, (int64_t)step) : -1;
}

static void image_free(Image *image)
{
    munmap(image->header, image->bytes);
    close(image->fd);
    tensors_release(&image->tensors);
    free(image);
}

Image *image_new(States *s, uint64_t plan, uint32_t rank, Tensors *tensors)
{
    size_t bytes = image_bytes(tensors->generation_bytes);
    int fd = memfd_create("stagecc-state", MFD_CLOEXEC);
    Image *image = fd < 0 ? NULL : calloc(1, sizeof *image);
    void *at = image && !ftruncate(fd, (off_t)bytes)
                   ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                   : MAP_FAILED;
    if (at == MAP_FAILED) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        free(image);
        errno = saved;
        return NULL;
    }
    *image = (Image){.older = s->images,
                     .fd = fd,
                     .header = at,
                     .bytes = bytes,
                     .tensors = *tensors,
                     .busy = true};
    *tensors = (Tensors){0};
    ImageHeader *h = image->header;
    h->plan = plan;
    h->rank = rank;
    h->bytes = image->tensors.generation_bytes;
    for (int g = 0; g < GENERATIONS; g++)
        image_set_step(h, g, -1);
    s->images = image;
    return image;
}

void image_touch(const Image *image)
{
    madvise(image->header, image->bytes, MADV_POPULATE_WRITE);
}

static void begin(Image *image, uint64_t step, uint64_t made, uint64_t epoch)
{
    image->step = step;
    image->made = made;
    image->epoch = epoch;
    image->busy = true;
    atomic_fetch_add(&image->lives, 1);
    atomic_store(&image->header->magic, IMAGE_MAGIC);
}

void image_reuse(Image *image, uint64_t step, uint64_t made, uint64_t epoch)
{
    int kept = image_has(image, step, made);
    for (int g = 0; g < GENERATIONS; g++)
        if (g != kept)
            image_set_step(image->header, g, -1);
    begin(image, step, made, epoch);
}

void image_settle(Image *image, uint64_t step, uint64_t made, uint64_t epoch,
                  const Beginning *beginning)
{
    ImageHeader *h = image->header;
    h->seed = beginning->seed;
    h->generation[0].epoch = beginning->epoch;
    h->generation[0].index = beginning->index;
    image_set_step(h, 0, (int64_t)step);
    begin(image, step, made, epoch);
}

// Copies
// ---------------------------------------------------------------------------------------

static bool copy_has(const Copy *c, uint64_t step, uint64_t made)
{
    return c->state.parts && !c->coming && c->state.step == step && c->state.made == made;
}

bool states_snapshot(const States *s, const Held *state)
{
    for (const Copy *c = s->copies; c; c = c->next)
        if (c->snapshot && copy_has(c, state->step, state->made) &&
            !(state->parts & ~c->state.parts))
            return true;
    return false;
}

Held image_rest(const States *s, const Image *image, const Worker *core, uint64_t step)
{
    for (int g = 0; g < GENERATIONS; g++) {
        int64_t at = image_step(image->header, g);
        if (at < 0 || (uint64_t)at == step)
            continue;
        Held h = {(uint64_t)at, made_of(image, (uint64_t)at), 0};
        h.parts = image->parts & held_parts(core->held, core->n_held, h.step, h.made);
        if (h.parts && !states_snapshot(s, &h))
            return h;
    }
    return (Held){0};
}

Image *image_with(const States *s, uint64_t plan, uint32_t rank, uint64_t step, uint64_t made)
{
    for (Image *i = s->images; i; i = i->older)
        if (!i->busy && i->header->plan == plan && i->header->rank == rank &&
            image_has(i, step, made) >= 0)
            return i;
    return NULL;
}

// What is here
// ---------------------------------------------------------------------------------------

static bool find_in_image(Image *image, uint64_t step, uint64_t made, const char *name,
                          Found *found)
{
    int g = image_has(image, step, made);
    const StateTensor *t = g >= 0 ? tensors_find(&image->tensors, name) : NULL;
    if (!t)
        return false;
    const ImageHeader *h = image->header;
    *found = (Found){.tensor = t,
                     .data = image_generation(image->header, g) + t->at,
                     .beginning = {h->seed, h->generation[g].epoch, h->generation[g].index},
                     .image = image,
                     .step = step,
                     .lives = atomic_load(&image->lives)};
    return found_stays(found);
}

bool states_find(const States *s, uint64_t step, uint64_t made, const char *name, Found *found)
{
    // In copies first: nobody writes over them.
    for (Copy *c = s->copies; c; c = c->next) {
        const StateTensor *t = copy_has(c, step, made) ? tensors_find(&c->tensors, name) : NULL;
        if (!t)
            continue;
        *found = (Found){t, c->data + t->at, c->beginning, .copy = c, .step = step};
        return true;
    }
    for (Image *i = s->images; i; i = i->older)
        if (find_in_image(i, step, made, name, found))
            return true;
    return false;
}

bool found_stays(const Found *found)
{
    const Image *image = found->image;
    return !image || (image_find(image->header, (int64_t)found->step) >= 0 &&
                      atomic_load(&image->lives) == found->lives);
}

bool states_beginning(const States *s, uint64_t step, uint64_t made, Beginning *beginning)
{
    for (const Image *i = s->images; i; i = i->older) {
        int g = image_has(i, step, made);
        if (g < 0)
            continue;
        *beginning = (Beginning){i->header->seed, i->header->generation[g].epoch,
                                 i->header->generation[g].index};
        if (image_find(i->header, (int64_t)step) >= 0)
            return true; // and was all the time
    }
    for (const Copy *c = s->copies; c; c = c->next)
        if (copy_has(c, step, made)) {
            *beginning = c->beginning;
            return true;
        }
    return false;
}

// Those of `parts` that have no tensor, like an activation that is a part by itself.
static uint64_t bare(const Tensors *t, uint64_t parts)
{
    for (int i = 0; i < t->n; i++)
        parts &= ~(UINT64_C(1) << t->items[i].part);
    return parts;
}

typedef struct Gathering {
    const States *states;
    const Held *state;
    Found *found;
    int n;
    uint64_t left; // parts that have tensors, or that no place has yet
} Gathering;

// Those that are found first: of several places that have a tensor, one gives it.
static void gather(Gathering *g, const Tensors *t, uint64_t parts)
{
    g->left &= ~bare(t, parts);
    for (int i = 0; i < t->n; i++) {
        const StateTensor *x = &t->items[i];
        Found *found = &g->found[g->n];
        g->n += (g->state->parts >> x->part & 1) &&
                states_find(g->states, g->state->step, g->state->made, x->name, found) &&
                found->tensor == x;
    }
}

static int most_tensors(const States *s)
{
    int n = 1;
    for (const Image *i = s->images; i; i = i->older)
        n += i->tensors.n;
    for (const Copy *c = s->copies; c; c = c->next)
        n += c->tensors.n;
    return n;
}

bool states_gather(const States *s, const Held *state, Found **found, int *n, Beginning *begins)
{
    Gathering g = {s, state, calloc((size_t)most_tensors(s), sizeof **found), 0, state->parts};
    if (!g.found || !states_beginning(s, state->step, state->made, begins)) {
        free(g.found);
        return false;
    }
    for (const Image *i = s->images; i; i = i->older)
        if (image_has(i, state->step, state->made) >= 0)
            gather(&g, &i->tensors, i->parts);
    for (const Copy *c = s->copies; c; c = c->next)
        if (copy_has(c, state->step, state->made))
            gather(&g, &c->tensors, c->state.parts);
    bool some = g.n || !g.left;
    *found = g.found;
    *n = g.n;
    if (!some)
        free(g.found);
    return some;
}

// What is needed
// ---------------------------------------------------------------------------------------

typedef struct Covered { // parts of held states that some place has
    const Worker *core;
    uint64_t parts[MOST_HELD]; // as core->held
} Covered;

// Does a place that has these parts of a state have something that no place before it does?
static bool cover(Covered *c, uint64_t step, uint64_t made, uint64_t parts)
{
    bool needed = false;
    for (uint32_t i = 0; i < c->core->n_held; i++) {
        const Held *h = &c->core->held[i];
        if (h->step != step || h->made != made)
            continue;
        needed |= (h->parts & parts & ~c->parts[i]) != 0;
        c->parts[i] |= parts;
    }
    return needed;
}

static bool image_needed(Covered *c, const Image *image)
{
    bool needed = false;
    for (int g = 0; g < GENERATIONS; g++) {
        int64_t step = image_step(image->header, g);
        if (step >= 0)
            needed |= cover(c, (uint64_t)step, made_of(image, (uint64_t)step), image->parts);
    }
    return needed || image->busy;
}

void states_sweep(States *s, const Worker *core, bool all)
{
    Covered covered = {.core = core};
    for (Image **at = &s->images; *at;) {
        Image *image = *at;
        if (image_needed(&covered, image) || image->pins) {
            at = &image->older;
            continue;
        }
        *at = image->older;
        image_free(image);
    }
    for (Copy **at = &s->copies; *at;) {
        Copy *c = *at;
        const Held *h = &c->state;
        bool needed = cover(&covered, h->step, h->made, h->parts) ||
                      (c->snapshot && held_parts(core->held, core->n_held, h->step, h->made));
        if (!c->coming && !needed)
            c->state.parts = 0;
        if (c->state.parts || c->coming || c->pins || !all) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        copy_free(c);
    }
}

void states_release(States *s)
{
    while (s->images) {
        Image *image = s->images;
        s->images = image->older;
        image_free(image);
    }
    while (s->copies) {
        Copy *c = s->copies;
        s->copies = c->next;
        copy_free(c);
    }
}
