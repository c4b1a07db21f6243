#include "runtime/cuda/card/feed.h"

#include "plan/card.h"
#include "runtime/cuda/card/card.h"
#include "runtime/plain.h"

#include <stdlib.h>

// Rooms of a size are used in turn, so the host may be so many loads ahead.
enum { MOST_ROOMS = 64 };

// Pinned memory that the host fills and a copy then reads.
typedef struct Room {
    void *at;
    size_t bytes;
    cudaEvent_t copied;
    bool asked; // recorded since it was made
} Room;

// Where inputs of a size wait on the device until the work before them is through with those that came before.
typedef struct Place {
    uint8_t *at;
    size_t bytes;
    cudaEvent_t taken;
} Place;

struct rt__feed {
    cudaStream_t stream;
    Place *places; // [n_inputs] at most
    int n_places;
    Room rooms[MOST_ROOMS];
    int n_rooms, last_room;
};

static size_t input_bytes(const rt_input *in)
{
    size_t bytes = (size_t)rt__dtype_bytes(in->dtype);
    for (int i = 0; i < in->rank; i++)
        bytes *= (size_t)in->dim[i];
    return bytes;
}

int64_t rt__feed_bytes(const rt_stage *s)
{
    uint64_t bytes = 0;
    for (int i = 0; i < s->program->n_inputs; i++)
        bytes += segment_round_up(input_bytes(&s->program->inputs[i]), RT_ALIGN);
    return card_aligned((int64_t)bytes);
}

static Place *place_of(const rt__feed *f, size_t bytes)
{
    for (int i = 0; i < f->n_places; i++)
        if (f->places[i].bytes == bytes)
            return &f->places[i];
    return NULL;
}

// An event that was never recorded holds nobody up.
static int make_places(rt_stage *s, rt__feed *f, uint8_t *memory)
{
    int error = 0;
    for (int i = 0; i < s->program->n_inputs && !error; i++) {
        size_t bytes = input_bytes(&s->program->inputs[i]);
        if (place_of(f, bytes))
            continue;
        Place *p = &f->places[f->n_places++];
        *p = (Place){.at = memory, .bytes = bytes};
        memory += segment_round_up(bytes, RT_ALIGN);
        error = rt__card_make_event(s, &p->taken);
    }
    return error;
}

int rt__feed_open(rt_stage *s, rt__feed **made, uint8_t *memory)
{
    if (!s->program->n_inputs)
        return 0;
    rt__feed *f = *made = calloc(1, sizeof *f);
    if (f)
        f->places = calloc((size_t)s->program->n_inputs, sizeof *f->places);
    if (!f || !f->places)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of its data");
    int error = rt__card_make_stream(s, &f->stream);
    return error ? error : make_places(s, f, memory);
}

void rt__feed_close(rt__feed *made)
{
    if (!made)
        return;
    rt__card_close_stream(made->stream);
    for (int i = 0; i < made->n_rooms; i++) {
        cudaFreeHost(made->rooms[i].at);
        cudaEventDestroy(made->rooms[i].copied);
    }
    for (int i = 0; i < made->n_places; i++)
        if (made->places[i].taken)
            cudaEventDestroy(made->places[i].taken);
    free(made->places);
    free(made);
}

// Rooms
// ------------------------------------------------------------------------------------------

static bool is_free(rt_stage *s, const Room *r)
{
    return !r->asked || rt__card_reached(s, r->copied);
}

static void *make_room(rt_stage *s, rt__feed *f, size_t n)
{
    Room *r = &f->rooms[f->n_rooms];
    if (rt__card_check(s, cudaMallocHost(&r->at, n), "pin memory for data") ||
        rt__card_make_event(s, &r->copied))
        return NULL;
    r->bytes = n;
    f->n_rooms++;
    return r->at;
}

void *rt__card_room(rt_stage *s, void *tensor, size_t n)
{
    rt__feed *f = rt__card_of(s)->feed;
    Room *oldest = NULL;
    (void)tensor;
    for (int i = 1; i <= f->n_rooms; i++) {
        Room *r = &f->rooms[(f->last_room + i) % f->n_rooms];
        if (r->bytes != n)
            continue;
        oldest = oldest ? oldest : r;
        if (is_free(s, r)) {
            f->last_room = (int)(r - f->rooms);
            return r->at;
        }
    }
    if (f->n_rooms < MOST_ROOMS)
        return make_room(s, f, n);
    if (!oldest) {
        rt_fail(s, RT_E_BUG, "%d inputs of different sizes", MOST_ROOMS);
        return NULL;
    }
    f->last_room = (int)(oldest - f->rooms);
    return rt__card_await(s, oldest->copied) ? NULL : oldest->at;
}

// Copies
// -----------------------------------------------------------------------------------------

static Room *room_at(rt__feed *f, const void *host)
{
    for (int i = 0; f && i < f->n_rooms; i++)
        if (f->rooms[i].at == host)
            return &f->rooms[i];
    return NULL;
}

bool rt__feed_put(rt_stage *s, void *tensor, const void *host, size_t n)
{
    const rt__card *c = rt__card_of(s);
    rt__feed *f = c->feed;
    Room *r = room_at(f, host);
    const Place *p = r ? place_of(f, n) : NULL;
    if (!p)
        return false;
    rt__card_follow(s, f->stream, p->taken);
    rt__card_check(s, cudaMemcpyAsync(p->at, host, n, cudaMemcpyHostToDevice, f->stream),
                   "copy data");
    rt__card_record(s, r->copied, f->stream);
    r->asked = true;
    rt__card_follow(s, c->work, r->copied);
    rt__card_check(s, cudaMemcpyAsync(tensor, p->at, n, cudaMemcpyDeviceToDevice, c->work),
                   "take data");
    rt__card_record(s, p->taken, c->work);
    return true;
}
