// Where a stage's tensors lie, and who works on them there. Loop, schedule, transport, sums of replicas, norm, images,
// checkpoints and evaluation are one copy for all devices and ask through this table; generated code forms addresses
// only, which are as right for another device's memory.
//
// Work is done in the order in which it was asked for, but maybe later than the call returns. What `get`, `squares` and
// `score` have been asked for is there once `wait` has returned for a mark behind them; so long host memory that they
// write, or that `put` reads, must stay. The host's own row has done everything when a call returns.
#ifndef STAGECC_RUNTIME_DEVICE_H
#define STAGECC_RUNTIME_DEVICE_H

#include "runtime/evaluate.h"
#include "runtime/rt.h"

enum { RT_MAX_LAG = 1, RT_MOST_WATCHED = 128 };

typedef void rt__code(rt_stage *s, int mb); // a function of the program

// A slot of a message, and its twin in the memory of a device that is apart (runtime/twins.h).
typedef struct rt__twin {
    int edge;
    int number; // among those of the stage, from 0
    void *at, *slot;
    size_t bytes;
} rt__twin;

// Numbers that should be finite, and how to call them where they are not: 1 and on.
typedef struct rt__watched {
    const void *tensor;
    int64_t n;
    rt_dtype dtype;
    int32_t what;
} rt__watched;

typedef struct rt_device {
    const char *name;
    // The host cannot touch its memory: persistent tensors are mirrored for checkpoints (rt__memory_open), an image
    // is copied behind a step instead of worked in, and messages have twins.
    bool apart;
    // Steps whose losses may still be on their way while the next one is asked for, so that it never runs dry.
    int lag;         // 0 .. RT_MAX_LAG
    int64_t portion; // bytes of a tensor that `add` takes in one go; a multiple of 8

    // Memory for the arena, zero, of so many bytes; 0 or an rt_error. Closing one that was not opened does nothing.
    int (*open)(rt_stage *s, uint64_t bytes, uint8_t **arena);
    void (*close)(rt_stage *s);

    void (*run)(rt_stage *s, rt__code *code, int mb);

    // Bytes from host memory to a tensor, the other way, and between tensors.
    void (*put)(rt_stage *s, void *tensor, const void *host, size_t n);
    void (*get)(rt_stage *s, void *host, const void *tensor, size_t n);
    void (*move)(rt_stage *s, void *to, const void *from, size_t n);
    void (*zero)(rt_stage *s, void *tensor, size_t n);
    // Where the host may write what it then puts into this tensor: the tensor itself, or a place of n bytes that is
    // free; NULL: there is none left (rt_fail was called).
    void *(*room)(rt_stage *s, void *tensor, size_t n);

    // to = the sum of parts[0], parts[1], …, in this order, by `divide` where that is not 1; n elements of F32 or F64,
    // at most `portion` bytes. `to` may be one of the parts.
    void (*add)(rt_stage *s, void *to, const void *const *parts, int n_parts, int64_t n,
                rt_dtype dtype, int divide);
    // The sum of squares of parts[0] + parts[1] + …, each rounded to dtype, in double. In this order on every device: element i
    // of a part of 4096 belongs to lane i mod 256, and the sum of part k to lane k mod 256 of the same; lanes are summed up by 32
    // neighbours pairwise, 16 apart, 8 apart, …, then these eight in ascending order.
    void (*squares)(rt_stage *s, double *sum, const void *const *parts, int n_parts, int64_t n,
                    rt_dtype dtype);
    // Are all n elements finite? Waits. NULL: it watches.
    bool (*finite)(rt_stage *s, const void *tensor, int64_t n, rt_dtype dtype);
    // Its work raises no flags of the processor (runtime/guard.h): looks at n items, at most RT_MOST_WATCHED, and notes what
    // is not finite, the largest `what` of all. From then on updates write nothing: whoever asks for what was noted may do
    // so after he has asked for the next step. NULL: it does not.
    void (*watch)(rt_stage *s, const rt__watched *items, int n);
    void (*noted)(rt_stage *s, int32_t *what); // as `get`; 0: nothing
    // Is there any number in its memory that is not finite? Waits. For where it stands in for the processor's flags between
    // layers, without a lag; NULL: nowhere, and `finder` says what to run with so that it does.
    bool (*trouble)(rt_stage *s);
    const char *finder;
    void (*score)(rt_stage *s, rt__hits *hits, const rt__predictions *p);

    // For profiles, where it works while the host is elsewhere: what is asked for from now on is of this layer (-1: of none).
    // It tells rt__profile_told how long that took, before `run` returns. NULL: the host's clock says it.
    void (*stamp)(rt_stage *s, int layer);
    // Bytes of its memory that the program holds beside the arena. NULL: its memory is the host's.
    int64_t (*beside)(const rt_stage *s);

    // Messages, of a device that is apart; NULL: it is not. Copies go on beside other work, those of a direction in the
    // order in which they were asked for; a slot stays as it is, or is nobody else's, until its copy is over.
    // From slot to twin, for all that is asked for from now on; what is asked for from now on reads the twin no more, so it
    // may be pulled again; from twin to slot, as all that was asked for so far makes it; is its last copy over? That never
    // waits. Trouble goes to rt_fail.
    void (*pull)(rt_stage *s, const rt__twin *t);
    void (*left)(rt_stage *s, const rt__twin *t);
    void (*push)(rt_stage *s, const rt__twin *t);
    bool (*moved)(rt_stage *s, const rt__twin *t);
    // Once all ranks have opened theirs: marks the edges whose messages go from device to device (rt__edge.direct), and
    // returns when all edges' ways are there; 0 or an rt_error. There `pull` and `push` are a receive and a send, and what is asked
    // for behind `reuse` may write the twin, as its last message was sent. NULL: there are none.
    int (*connect)(rt_stage *s);
    void (*reuse)(rt_stage *s, const rt__twin *t);
    // Is there such an edge? Then whoever waits asks again and again, and what is wrong with its way goes to rt_fail.
    bool (*progress)(rt_stage *s);

    // Images (runtime/image.h), of a device that is apart; NULL: it is not. Host memory that `keep` writes, until it is closed.
    int (*share)(rt_stage *s, void *host, size_t n); // 0 or an rt_error
    // From a tensor to there, as all that was asked for so far leaves it, beside what is asked for from now on; none of that
    // may write the tensor but behind `spare`, which comes after all these copies. Are they over? That never waits.
    void (*keep)(rt_stage *s, void *host, const void *tensor, size_t n);
    void (*spare)(rt_stage *s);
    bool (*kept)(rt_stage *s);

    uint64_t (*mark)(
        rt_stage *s); // behind all that was asked for but copies of messages and images
    int (*wait)(rt_stage *s, uint64_t mark); // 0 or an rt_error
} rt_device;

extern const rt_device rt__host; // runtime/host.c

int rt__device_wait(
    rt_stage *s); // for everything; messages on their way are published and given back

// Persistent tensors in memory that the host can read and write, to save or to fill them. `read`: as they are now; else
// what is there is not said. Closing with `write` makes them those of the device. 0 or an rt_error.
int rt__memory_open(rt_stage *s, rt__memory *m, bool read);
int rt__memory_close(rt_stage *s, rt__memory *m, bool write);

#endif
