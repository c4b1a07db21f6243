#include "control/epoch.h"

// Parts that this rank owns beside those of the ranks before it; what is wrong into why.
static uint64_t add_rank(const Epoch *e, uint32_t rank, uint64_t owned, const char **why)
{
    const EpochRank *r = &e->ranks[rank];
    if (r->zero || (r->copier >= MOST_WORKERS && r->copier != NOBODY) || r->copier == r->worker)
        *why = "a rank's copy is with nobody, or with its own worker";
    else if (r->worker >= MOST_WORKERS || !e->incarnations[r->worker])
        *why = "a rank's worker does not take part";
    else if (r->copier != NOBODY && !e->incarnations[r->copier])
        *why = "the worker of a rank's copy does not take part";
    else if (!r->runs || r->owns & ~r->runs || r->owns & owned)
        *why = "a rank runs nothing, or not what it owns, or a part has two owners";
    return owned | r->owns;
}

const char *epoch_wrong(const Epoch *e)
{
    const char *why = NULL;
    uint64_t owned = 0;
    if (!e->number || e->made >= e->number || e->zero)
        return "no such epoch";
    if (!e->n_ranks || e->n_ranks > MOST_RANKS)
        return "no ranks, or too many";
    for (uint32_t r = 0; r < e->n_ranks && !why; r++)
        owned = add_rank(e, r, owned, &why);
    if (!why && owned != e->parts)
        why = "a part has no owner";
    for (int p = 0; p < MOST_PARTS && !why; p++)
        if (e->source[p] >= MOST_WORKERS && e->source[p] != NOBODY)
            why = "a part's source is no worker";
    return why;
}

uint64_t epoch_workers(const Epoch *e)
{
    uint64_t workers = 0;
    for (uint32_t r = 0; r < e->n_ranks; r++)
        workers |= UINT64_C(1) << e->ranks[r].worker;
    return workers;
}

bool epoch_runs(const Epoch *e, uint16_t worker, uint64_t parts)
{
    for (uint32_t r = 0; r < e->n_ranks; r++)
        if (e->ranks[r].worker == worker && !(parts & ~e->ranks[r].runs))
            return true;
    return false;
}

uint16_t epoch_neighbour(const Epoch *e, uint32_t rank)
{
    uint16_t own = e->ranks[rank].worker, next = NOBODY;
    for (uint32_t i = e->n_ranks; i-- > 1 && e->ranks[rank].owns;) {
        uint16_t other = e->ranks[(rank + i) % e->n_ranks].worker;
        if (other != own && epoch_runs(e, other, e->ranks[rank].owns))
            return other;
        next = other != own ? other : next;
    }
    return next;
}

bool epoch_rank_of(const Epoch *e, uint32_t rank, uint32_t worker)
{
    return rank < e->n_ranks && e->ranks[rank].worker == worker;
}

bool epoch_has(const Epoch *e, uint32_t worker, uint64_t incarnation)
{
    return incarnation && e->incarnations[worker] == incarnation;
}

uint64_t epoch_point(const Epoch *e, uint64_t from, uint64_t last)
{
    if (from <= e->step)
        return e->step;
    uint64_t point = (from + e->copy_every - 1) / e->copy_every * e->copy_every;
    return point < last ? point : last;
}

uint64_t epoch_made(const Epoch *e, uint64_t step)
{
    return step > e->step ? e->number : e->made;
}

uint64_t held_parts(const Held *held, uint32_t n, uint64_t step, uint64_t made)
{
    uint64_t parts = 0;
    for (uint32_t i = 0; i < n; i++)
        if (held[i].step == step && held[i].made == made)
            parts |= held[i].parts;
    return parts;
}
