#include "runtime/reduce.h"

#include "runtime/device.h"
#include "runtime/plain.h"
#include "runtime/transport.h"

#include <stdlib.h>

// A bucket's tensors follow each other in its messages, each at a multiple of RT_ALIGN.
typedef struct Part {
    const rt_tensor *tensor; // NULL: at, in the host's memory
    uint8_t *at;             // in this replica
    int64_t offset, bytes;
    rt_dtype dtype;
} Part;

typedef struct rt__bucket {
    Part *parts;
    int n_parts;
    const void **from; // [replicas]: room for where an addition takes its parts from
} rt__bucket;

// Opening
// ----------------------------------------------------------------------------------------

static void add_part(rt__bucket *b, const rt_tensor *t, void *at, int64_t bytes, rt_dtype dtype)
{
    const Part *last = b->n_parts ? &b->parts[b->n_parts - 1] : NULL;
    int64_t end = last ? last->offset + last->bytes : 0;
    int64_t offset = (end + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
    b->parts[b->n_parts++] = (Part){t, at, offset, bytes, dtype};
}

// Every replica fills in what its micro-batches gave and leaves zeros elsewhere, so these sums are exact.
static void add_results(const rt_stage *s, rt__bucket *b, rt_bucket_kind kind)
{
    int64_t n = s->program->micro_batches;
    if (kind == RT_LOSSES)
        add_part(b, NULL, s->losses, n * (int64_t)sizeof *s->losses, RT_F64);
    if (kind == RT_SCORES)
        add_part(b, NULL, s->scores, n * (int64_t)sizeof *s->scores, RT_F64);
}

int rt__reduce_open(rt_stage *s)
{
    const rt_program *p = s->program;
    s->buckets = calloc((size_t)p->n_buckets + 1, sizeof *s->buckets);
    for (int i = 0; s->buckets && i < p->n_buckets; i++) {
        const rt_bucket *from = &p->buckets[i];
        rt__bucket *b = &s->buckets[i];
        b->parts = calloc((size_t)from->n_tensors + 1, sizeof *b->parts);
        b->from = calloc((size_t)s->replicas, sizeof *b->from);
        if (!b->parts || !b->from)
            return rt_fail(s, RT_E_MEMORY, "no memory for a bucket of %d tensors",
                           from->n_tensors);
        for (int k = 0; k < from->n_tensors; k++) {
            const rt_tensor *t = &p->tensors[from->tensors[k]];
            add_part(b, t, NULL, t->bytes, t->dtype);
        }
        add_results(s, b, from->kind);
    }
    return s->buckets ? 0 : rt_fail(s, RT_E_MEMORY, "no memory for %d buckets", p->n_buckets);
}

void rt__reduce_close(rt_stage *s)
{
    for (int i = 0; s->buckets && i < s->program->n_buckets; i++) {
        free(s->buckets[i].parts);
        free(s->buckets[i].from);
    }
    free(s->buckets);
    s->buckets = NULL;
}

// Messages
// ---------------------------------------------------------------------------------------

// Instructions number the buckets on from step to step.
static int bucket_of(const rt_stage *s, int number)
{
    return number % s->program->n_buckets;
}

// The edges of the parts come in ascending order of replicas, without the owner's; then the sum's.
static uint8_t *part_slot(rt_stage *s, int number, int replica)
{
    const rt_bucket *b = &s->program->buckets[bucket_of(s, number)];
    int edge = b->first_edge + replica - (replica > b->owner);
    return rt__message(s, edge, number);
}

static uint8_t *own(const rt_stage *s, const Part *p)
{
    return p->tensor ? rt__tensor(s, p->tensor) : p->at;
}

static uint8_t *sum_slot(rt_stage *s, int number)
{
    const rt_bucket *b = &s->program->buckets[bucket_of(s, number)];
    return rt__message(s, b->first_edge + s->replicas - 1, number);
}

static const rt_device *device_of(const rt_stage *s, const Part *p)
{
    return p->tensor ? s->device : &rt__host;
}

int rt__reduce_put(rt_stage *s, int number)
{
    const rt__bucket *b = &s->buckets[bucket_of(s, number)];
    uint8_t *to = part_slot(s, number, s->replica);
    for (int i = 0; i < b->n_parts; i++) {
        const Part *p = &b->parts[i];
        device_of(s, p)->move(s, to + p->offset, own(s, p), (size_t)p->bytes);
    }
    return (int)s->error;
}

int rt__reduce_get(rt_stage *s, int number)
{
    const rt__bucket *b = &s->buckets[bucket_of(s, number)];
    const uint8_t *from = sum_slot(s, number);
    for (int i = 0; i < b->n_parts; i++) {
        const Part *p = &b->parts[i];
        device_of(s, p)->move(s, own(s, p), from + p->offset, (size_t)p->bytes);
    }
    return (int)s->error;
}

// Adding
// -----------------------------------------------------------------------------------------

// What is added in one go: bytes of a part, from `at` on.
typedef struct Piece {
    const Part *part;
    int64_t at, bytes;
} Piece;

static const uint8_t *piece_of(rt_stage *s, int number, const Piece *p, int replica)
{
    if (replica == s->replica)
        return own(s, p->part) + p->at;
    return part_slot(s, number, replica) + p->part->offset + p->at;
}

static bool are_statistics(const rt_stage *s, int number)
{
    return s->program->buckets[bucket_of(s, number)].kind == RT_STATISTICS;
}

// Synchronised statistics are those of the first replica, which has a micro-batch of every round.
static int parts_of(const rt_stage *s, int number)
{
    return are_statistics(s, number) && s->program->sums ? 1 : s->replicas;
}

// Statistics are averaged, all else is added up.
static void add_piece(rt_stage *s, int number, const Piece *p, const void **from)
{
    const rt_device *device = device_of(s, p->part);
    uint8_t *to = own(s, p->part) + p->at;
    int parts = parts_of(s, number);
    for (int r = 0; r < parts; r++)
        from[r] = piece_of(s, number, p, r);
    device->add(s, to, from, parts, p->bytes / rt__dtype_bytes(p->part->dtype), p->part->dtype,
                are_statistics(s, number) ? parts : 1);
    device->move(s, sum_slot(s, number) + p->part->offset + p->at, to, (size_t)p->bytes);
}

int rt__reduce_sum(rt_stage *s, int number)
{
    rt__bucket *b = &s->buckets[bucket_of(s, number)];
    for (int i = 0; i < b->n_parts; i++) {
        Piece p = {.part = &b->parts[i]};
        int64_t portion = device_of(s, p.part)->portion;
        for (; p.at < p.part->bytes; p.at += p.bytes) {
            int64_t left = p.part->bytes - p.at;
            p.bytes = left < portion ? left : portion;
            add_piece(s, number, &p, b->from);
        }
    }
    return (int)s->error;
}
