// A stage on a CUDA device: one piece of its memory, one stream of work, and what the runtime keeps for it.
#ifndef STAGECC_CUDA_CARD_H
#define STAGECC_CUDA_CARD_H

#include "runtime/cuda/card/convolutions.h"
#include "runtime/cuda/card/edges.h"
#include "runtime/cuda/card/feed.h"
#include "runtime/cuda/card/keep.h"
#include "runtime/cuda/card/narrow.h"
#include "runtime/cuda/card/nccl.h"
#include "runtime/cuda/card/phase.h"
#include "runtime/cuda/card/products.h"
#include "runtime/device.h"

#include <cuda_runtime_api.h>

#include <stagecc/cuda.h>

enum { RT__CARD_EVENTS = 8, RT__CARD_RATES = 8 };

// What launches read of the running step and micro-batch.
typedef struct rt__known {
    rt_now now;
    cu_step steps[RT__CARD_RATES]; // by the rates that they come from
} rt__known;

// Bytes on their way to the host, by way of pinned memory.
typedef struct rt__arrival {
    uint64_t mark;
    void *to;
    const void *from;
    size_t n;
} rt__arrival;

// Bytes that launches read and that never change.
typedef struct rt__constant {
    void *at;
    void *copy; // the same on the host
    size_t n;
} rt__constant;

// When the device came to a layer, in the function that runs now.
typedef struct rt__stamp {
    cudaEvent_t event;
    int layer;
} rt__stamp;

typedef struct rt__card {
    int number; // the device, as CUDA counts
    cudaStream_t work;
    cudaEvent_t events[RT__CARD_EVENTS]; // of the last marks, in turn
    uint64_t marks;
    // One piece of the device's memory: the arena, and behind it
    uint8_t *memory;
    uint8_t *workspace; // of library calls
    uint8_t *room;      // of the program's and the runtime's own kernels
    rt__known *known;
    int32_t *bad;  // not 0: what was not finite first (rt_device.watch)
    rt__known set; // as it was set last
    rt_rates rates[RT__CARD_RATES];
    int n_rates;

    uint8_t *pinned; // a ring of small results; arrivals lie in it in their order
    size_t pinned_at;
    rt__arrival *arrivals;
    int n_arrivals;
    rt__constant *constants;
    int n_constants;

    bool capturing;    // what is launched now is kept in a graph
    rt__stamp *stamps; // their events serve all functions, in turn
    int n_stamps, made_stamps;
    size_t left; // of the device's memory when it was opened

    rt__phases *phases;
    rt__transfers *transfers; // of messages; NULL: there are none
    rt__ways *ways;           // of messages from device to device; NULL: likewise
    rt__keeping *keeping;     // of images; NULL: there are none
    rt__narrow *narrow;       // copies of parameters; NULL: likewise
    rt__feed *feed;           // of data; NULL: likewise
    rt__products *products;
    rt__convolutions *convolutions;
    uint8_t *narrow_grad; // of a weight, as cuDNN writes it beside bf16
    float *sums;          // of a convolution's result and of its squares, for every channel
    uint8_t *convolving;  // cuDNN's workspace, and where these two lie
} rt__card;

static inline rt__card *rt__card_of(const rt_stage *s)
{
    return s->device_state;
}

// Notes what a call of CUDA says: 0, or RT_E_ENVIRONMENT by rt_fail with `what` it was for.
int rt__card_check(rt_stage *s, cudaError_t status, const char *what);
// Launches tell nobody else what has become of them, so it is asked before anything else may say something.
int rt__card_check_launches(rt_stage *s);
// card/memory.c: cleared, with an arena of so many bytes; 0 or an rt_error.
int rt__card_make_memory(rt_stage *s, uint64_t arena);
bool rt__card_reached(rt_stage *s, cudaEvent_t event); // never waits
// Until it is reached; as long as the ranks live that its work may wait for. 0 or an rt_error.
int rt__card_await(rt_stage *s, cudaEvent_t event);
// Beside the host's default stream, and without times. 0 or an rt_error.
int rt__card_make_stream(rt_stage *s, cudaStream_t *stream);
int rt__card_make_event(rt_stage *s, cudaEvent_t *event);
void rt__card_close_stream(cudaStream_t stream); // behind what was asked of it; NULL is fine
// Order on the device: the event behind all that was asked of a stream, and a stream behind an event.
void rt__card_record(rt_stage *s, cudaEvent_t event, cudaStream_t stream);
void rt__card_follow(rt_stage *s, cudaStream_t stream, cudaEvent_t event);
// Where the bf16 copy of a parameter lies, of any version; NULL: the program has none.
void *rt__card_narrow(const rt_stage *s, const void *param);
void rt__card_set_known(rt_stage *s, int mb); // in front of what is launched next

// The device's own times (card/stamps.c): rt_device.stamp and .beside, and what those stamps come to that n layers had.
void rt__card_stamp(rt_stage *s, int layer);
void rt__card_tell_times(rt_stage *s, const int *layers, int n);
int64_t rt__card_beside(const rt_stage *s);
void rt__card_drop_stamps(rt__card *c);

// The device whose launches are not captured (card/by_hand.c), and does the user want it?
const rt_device *rt__card_by_hand(void);
bool rt__card_launches_by_hand(void);

// Do the program's kernels run on the device? 0 or an rt_error.
int rt__card_check_architecture(rt_stage *s);

// rt_backend.probe (card/probe.c).
int rt__card_probe(rt_stage *s, const char *path);

extern const rt_device rt__cuda_device;

#endif
