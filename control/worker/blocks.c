// The memory that copies of states lie in. On a virtual machine whose host lends its memory out, what is touched for the first
// time takes a second for a GB, so blocks are used again, and touched before they are needed.
#include "control/worker/states.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { TOUCH_AT_ONCE = 1 << 24 }; // bytes: meanwhile beats are due

// A large one in large pages, where the machine has them: touching it first costs a tenth then.
static uint8_t *memory_new(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    madvise(at, bytes, MADV_HUGEPAGE);
    return at;
}

static Copy *block_new(States *s, uint64_t bytes)
{
    uint64_t room = bytes ? bytes : 1;
    uint8_t *data = memory_new(room);
    Copy *c = data ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        if (data)
            munmap(data, room);
        return NULL;
    }
    *c = (Copy){.next = s->copies, .data = data, .room = room};
    s->copies = c;
    return c;
}

static bool is_spare(const Copy *c)
{
    return !c->state.parts && !c->coming && !c->pins;
}

Copy *copy_new(States *s, const Held *state, uint64_t bytes)
{
    Copy *c = s->copies;
    while (c && !(is_spare(c) && c->room >= bytes))
        c = c->next;
    if (!c && !(c = block_new(s, bytes)))
        return NULL;
    tensors_release(&c->tensors);
    c->state = *state;
    c->coming = true;
    c->snapshot = false;
    return c;
}

void copy_settle(Copy *c, Tensors *tensors, const Beginning *beginning)
{
    c->tensors = *tensors;
    *tensors = (Tensors){0};
    c->beginning = *beginning;
    c->coming = false;
    c->touched = c->room;
}

void copy_free(Copy *c)
{
    munmap(c->data, c->room);
    tensors_release(&c->tensors);
    free(c);
}

// Before Linux 5.14 nothing happens here, and whoever fills it does that.
static void touch(Copy *c)
{
    uint64_t rest = c->room - c->touched, piece = rest < TOUCH_AT_ONCE ? rest : TOUCH_AT_ONCE;
    madvise(c->data + c->touched, piece, MADV_POPULATE_WRITE);
    c->touched += piece;
}

// One that has room, and that no size before this one has taken.
static Copy *take(States *s, uint64_t bytes)
{
    Copy *c = s->copies;
    while (c && (c->taken || c->room < bytes))
        c = c->next;
    return c ? c : block_new(s, bytes);
}

bool copies_ready(States *s, const uint64_t *bytes, int n)
{
    for (Copy *c = s->copies; c; c = c->next)
        c->taken = false;
    for (int i = 0; i < n; i++) {
        Copy *c = take(s, bytes[i]);
        if (!c)
            return true; // as they come, there may be memory
        c->taken = true;
        if (is_spare(c) && c->touched < c->room) {
            touch(c);
            return false;
        }
    }
    return true;
}
