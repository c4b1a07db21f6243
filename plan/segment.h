// The memory file of a job, as the launcher makes it and every stage program maps it. Both compute
// the same layout from the table of edges, so this header includes nothing of either side.
//
//   header | status of rank 0 | … | address of rank 0 | … | steps of rank 0 | … |
//   edge 0: published, released[consumers], ids[consumers], slots | edge 1 | …
//
// A job of several hosts has such a file on each, with the statuses of all ranks: those of other hosts
// are brought up to date by control/hub.c. Its edges serve the ranks of that host among themselves.
//
// Where a worker's agent has made it (docs/control.md), programs work under its eyes and within its limits: a step is
// begun, and its update done, once the limit has come to the step. Limits only grow. There alone programs also write what
// they did in their last steps (plan/steps.h); else those pages are never touched, and take no memory.
//
// Counters stand on cache lines of their own. A counter counts messages, never slots, so it never
// wraps; its low 32 bits are the futex word on which the other side sleeps.
#ifndef STAGECC_PLAN_SEGMENT_H
#define STAGECC_PLAN_SEGMENT_H

#include "plan/steps.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SEGMENT_ABI = 8, SEGMENT_LINE = 64, SEGMENT_PAGE = 4096, SEGMENT_NAME = 64 };
#define SEGMENT_MAGIC UINT64_C(0x31626f6a67617473) // "stagjob1", little-endian

// Of a plan's hash as programs bear it, never 0: FNV-1a.
static inline uint64_t segment_plan_number(const char *hash)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *hash; hash++)
        h = (h ^ (uint8_t)*hash) * 0x100000001b3u;
    return h | 1;
}

// Set in SegmentHeader.rounds once the job shall stop: see runtime/signals.h.
#define SEGMENT_STOP (UINT64_C(1) << 63)
#define SEGMENT_HOLD (UINT64_C(1) << 62)   // the hosts are being asked how far they are
#define SEGMENT_WANTED (UINT64_C(1) << 61) // a rank of one of several hosts has had a signal
#define SEGMENT_ROUND (SEGMENT_WANTED - 1)

typedef struct SegmentCounter {
    _Atomic uint64_t value;
    _Atomic uint32_t sleepers; // processes that sleep on value's low half
    uint8_t pad[SEGMENT_LINE - 12];
} SegmentCounter;

typedef struct SegmentHeader {
    uint64_t magic;
    uint32_t abi, n_ranks, n_edges;
    uint32_t
        supervised; // 1: by an agent, which ends programs that stand still and is told of every step
    uint64_t bytes; // of the whole file
    _Atomic uint64_t
        plan_hash; // segment_plan_number; 0 until the first program has come; all must agree
    _Atomic uint32_t abort;      // 0, or the exit status of whoever failed first
    _Atomic uint32_t abort_rank; // who, plus one; n_ranks + 1: the launcher; 0: nobody
    uint64_t job;                // a random number: messages of another job are dropped
    uint32_t n_hosts;            // 0 or 1: this one alone
    _Atomic uint32_t gate;   // not 0: programs wait, all made, before they look at their states
    _Atomic uint64_t rounds; // highest round that any rank has begun, and what stands above
    // Training ends behind this step, if not before: written before the limit lets anybody begin it. UINT64_MAX: none.
    _Atomic uint64_t last;
    uint8_t pad1[SEGMENT_LINE - 16];
    // Steps, counted over all runs; UINT64_MAX: no limit.
    SegmentCounter may_begin, may_update;
} SegmentHeader;

// SegmentStatus.waiting
enum { SEGMENT_WAITS_FOR_RANK = 1, SEGMENT_WAITS_FOR_MASTER };

// What a rank is doing, written by itself alone, read by whoever wonders.
typedef struct SegmentStatus {
    _Atomic int32_t pid;
    _Atomic int32_t opcode; // rt_opcode of the running instruction; -1 between steps
    _Atomic int32_t edge, mb, layer;
    _Atomic int32_t waiting;   // 0: it does not
    _Atomic int64_t step;      // optimizer steps done
    _Atomic int64_t since_ns;  // CLOCK_MONOTONIC when the wait began
    _Atomic uint64_t progress; // grows with every instruction and layer: it is alive
    _Atomic int32_t cpu;       // where it last sent or released something, plus one; 0: unknown
    int32_t host;              // where it runs, from 0; written by the launcher
    uint64_t shard_bytes[2];   // of its two checkpoint files; read after a barrier
    uint32_t shard_crc[2];
    // The first floating-point exception of the current step (runtime/guard.c).
    _Atomic int64_t suspect_step;  // 0: none yet
    _Atomic int64_t image_step[2]; // of its state's generations (runtime/image.h)
    _Atomic int64_t
        busy_ns; // spent at instructions that are no messages, less what it waited within them
    int32_t suspect_mb;
    uint8_t pad1[4];
    // Which device messages can come to without the host; 0: none. Read after a barrier.
    _Atomic uint64_t card;
    char suspect[2 * SEGMENT_NAME]; // layer and place
    SegmentCounter barrier;         // barriers it has reached
} SegmentStatus;

// Where ranks of other hosts reach it: UCX's address, written once.
typedef struct SegmentAddress {
    _Atomic uint32_t bytes; // 0: not there yet
    uint8_t data[1020];
} SegmentAddress;

// By which a library brings an edge's producer and one of its consumers together: NCCL's id, written once by the producer.
typedef struct SegmentId {
    _Atomic uint32_t there; // 0: not yet
    uint8_t pad[SEGMENT_LINE - 4];
    uint8_t data[2 * SEGMENT_LINE];
} SegmentId;

_Static_assert(sizeof(SegmentId) == 3 * SEGMENT_LINE, "agreed by launcher and programs");
_Static_assert(sizeof(SegmentCounter) == SEGMENT_LINE, "one cache line");
_Static_assert(sizeof(SegmentHeader) == 4 * SEGMENT_LINE, "agreed by launcher and programs");
_Static_assert(offsetof(SegmentHeader, rounds) == SEGMENT_LINE, "a line of its own");
_Static_assert(sizeof(SegmentStatus) == 5 * SEGMENT_LINE, "agreed by launcher and programs");
_Static_assert(offsetof(SegmentStatus, barrier) == 4 * SEGMENT_LINE, "a line of its own");

static inline uint64_t segment_round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static inline uint64_t segment_slot_bytes(int64_t message_bytes)
{
    return segment_round_up((uint64_t)message_bytes, SEGMENT_LINE);
}

static inline SegmentStatus *segment_statuses(SegmentHeader *h)
{
    return (SegmentStatus *)(h + 1);
}

static inline SegmentAddress *segment_addresses(SegmentHeader *h)
{
    return (SegmentAddress *)(void *)(segment_statuses(h) + h->n_ranks);
}

// Where the steps of rank 0 begin.
static inline uint64_t segment_steps_begin(int n_ranks)
{
    return segment_round_up(sizeof(SegmentHeader) +
                                (uint64_t)n_ranks *
                                    (sizeof(SegmentStatus) + sizeof(SegmentAddress)),
                            SEGMENT_PAGE);
}

// [STEPS_KEPT] of a rank.
static inline StepKept *segment_steps(SegmentHeader *h, int rank)
{
    uint64_t begin = segment_steps_begin((int)h->n_ranks);
    return (StepKept *)(void *)((char *)h + begin) + (ptrdiff_t)rank * STEPS_KEPT;
}

// Where the first edge begins.
static inline uint64_t segment_edges_begin(int n_ranks)
{
    uint64_t steps = (uint64_t)n_ranks * STEPS_KEPT * sizeof(StepKept);
    return segment_round_up(segment_steps_begin(n_ranks) + steps, SEGMENT_PAGE);
}

// A rank's status, copied while it writes; what it had written before a barrier it has reached is there.
static inline void segment_status_read(SegmentStatus *copy, const SegmentStatus *from)
{
    uint64_t barrier = atomic_load(&from->barrier.value);
    const _Atomic uint64_t *words = (const _Atomic uint64_t *)(const void *)from;
    for (size_t i = 0; i < offsetof(SegmentStatus, barrier) / 8; i++) {
        uint64_t word = atomic_load_explicit(&words[i], memory_order_relaxed);
        memcpy((char *)copy + 8 * i, &word, 8);
    }
    memset(&copy->barrier, 0, sizeof copy->barrier);
    atomic_store(&copy->barrier.value, barrier);
}

// The other way, for who reads it on another host; true: the barrier has moved, wake who sleeps there.
static inline bool segment_status_write(SegmentStatus *to, const SegmentStatus *copy)
{
    uint64_t barrier = atomic_load(&copy->barrier.value);
    _Atomic uint64_t *words = (_Atomic uint64_t *)(void *)to;
    for (size_t i = 0; i < offsetof(SegmentStatus, barrier) / 8; i++) {
        uint64_t word;
        memcpy(&word, (const char *)copy + 8 * i, 8);
        atomic_store_explicit(&words[i], word, memory_order_relaxed);
    }
    return atomic_exchange(&to->barrier.value, barrier) != barrier;
}

static inline uint32_t *segment_futex(SegmentCounter *c)
{
    return (uint32_t *)(void *)&c->value; // the low half: little-endian
}

static inline void segment_counter_wake(SegmentCounter *c)
{
    if (atomic_load(&c->sleepers))
        syscall(SYS_futex, segment_futex(c), FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

// Of a limit: what is not more than it says is late, and changes nothing.
static inline void segment_counter_raise(SegmentCounter *c, uint64_t value)
{
    uint64_t seen = atomic_load(&c->value);
    while (seen < value && !atomic_compare_exchange_weak(&c->value, &seen, value))
        continue;
    segment_counter_wake(c);
}

// From the beginning of an edge to its slots, and to the next edge.
static inline uint64_t segment_edge_slots(int n_consumers)
{
    uint64_t n = (uint64_t)n_consumers;
    return segment_round_up((1 + n) * sizeof(SegmentCounter) + n * sizeof(SegmentId),
                            SEGMENT_PAGE);
}

// [n_consumers] of the edge that begins there.
static inline SegmentId *segment_edge_ids(SegmentCounter *edge, int n_consumers)
{
    return (SegmentId *)(void *)(edge + 1 + n_consumers);
}

static inline uint64_t segment_edge_bytes(int n_consumers, int slots, int64_t message_bytes)
{
    return segment_edge_slots(n_consumers) +
           segment_round_up((uint64_t)slots * segment_slot_bytes(message_bytes), SEGMENT_PAGE);
}

#endif
