// A stream of their own, so that no message stands behind an image on its way to the host. It follows the stage's work when
// it begins, and work that writes the tensors follows it.
#include "runtime/cuda/card/keep.h"

#include "runtime/cuda/card/card.h"
#include "runtime/report.h"

#include <stdlib.h>

enum { PIECE = 16 << 20 }; // a message waits for no more of an image than one of these

struct rt__keeping {
    cudaStream_t stream;
    cudaEvent_t made; // the tensors are
    cudaEvent_t over; // the copies are
    void *shared;     // NULL: the device does not know that memory
};

static int make(rt_stage *s, rt__keeping *k)
{
    int error = rt__card_make_stream(s, &k->stream);
    if (!error)
        error = rt__card_make_event(s, &k->made);
    if (!error)
        error = rt__card_make_event(s, &k->over);
    return error;
}

// Copies to memory that the device does not know are right, too, but the host waits for them.
int rt__card_share(rt_stage *s, void *host, size_t n)
{
    rt__keeping *k = rt__card_of(s)->keeping = calloc(1, sizeof *k);
    if (!k)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of its image");
    int error = make(s, k);
    if (error)
        return error;
    if (!cudaHostRegister(host, n, cudaHostRegisterDefault)) {
        k->shared = host;
        return 0;
    }
    (void)cudaGetLastError(); // nobody else shall find it
    rt__report_warning(
        s, "the memory of its state cannot be shared with the device: copies of "
           "it hold up the stage (is memory that may be locked limited? ulimit -l)");
    return 0;
}

void rt__keeping_close(rt__keeping *made)
{
    if (!made)
        return;
    rt__card_close_stream(made->stream);
    if (made->made)
        cudaEventDestroy(made->made);
    if (made->over)
        cudaEventDestroy(made->over);
    if (made->shared)
        cudaHostUnregister(made->shared);
    free(made);
}

void rt__card_keep(rt_stage *s, void *host, const void *tensor, size_t n)
{
    const rt__card *c = rt__card_of(s);
    const rt__keeping *k = c->keeping;
    rt__card_record(s, k->made, c->work);
    if (!k->shared && rt__card_await(s, k->made)) // else the host would wait within the copy
        return;
    rt__card_follow(s, k->stream, k->made);
    for (size_t at = 0; at < n; at += PIECE) {
        size_t bytes = n - at < PIECE ? n - at : PIECE;
        rt__card_check(s,
                       cudaMemcpyAsync((uint8_t *)host + at, (const uint8_t *)tensor + at,
                                       bytes, cudaMemcpyDeviceToHost, k->stream),
                       "copy its state");
    }
    rt__card_record(s, k->over, k->stream);
}

void rt__card_spare(rt_stage *s)
{
    const rt__card *c = rt__card_of(s);
    rt__card_follow(s, c->work, c->keeping->over);
}

bool rt__card_kept(rt_stage *s)
{
    return rt__card_reached(s, rt__card_of(s)->keeping->over);
}
