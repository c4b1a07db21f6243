#include "runtime/share.h"

#include "runtime/device.h"
#include "runtime/transport.h"

static bool takes(const rt_stage *s, const rt_edge *e)
{
    for (int i = 0; i < e->n_consumers; i++)
        if (e->consumers[i] == s->rank)
            return true;
    return false;
}

static int move_all(rt_stage *s, bool put)
{
    const rt_program *p = s->program;
    for (int i = 0; i < p->n_shares; i++) {
        const rt_edge *e = &p->edges[p->shares[i].edge];
        const rt_tensor *t = &p->tensors[p->shares[i].tensor];
        uint8_t *own = rt__tensor(s, t);
        if (put && e->producer == s->rank)
            s->device->move(s, rt__message(s, p->shares[i].edge, 0), own, (size_t)t->bytes);
        if (!put && takes(s, e))
            s->device->move(s, own, rt__message(s, p->shares[i].edge, 0), (size_t)t->bytes);
    }
    return (int)s->error;
}

int rt__share_put(rt_stage *s)
{
    return move_all(s, true);
}

int rt__share_get(rt_stage *s)
{
    return move_all(s, false);
}
