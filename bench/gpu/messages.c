// Messages by NCCL of a rank that sends to itself, as far as one device lets runtime/cuda/card do what it does on an edge: its
// stage on the device, its communicators, which do not block, its order of streams, its sums of replicas (tools/gpu-check).
//
//   messages BYTES      a line of JSON each: what was right, and how fast; exit status 2: there is no device, or no NCCL
//
// What receives is poisoned before, and bytes are compared on the host.
#include "runtime/cuda/card/card.h"
#include "runtime/cuda/card/comm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, PARTS = 3, SEED = 7, TRIES = 8 };
// Of the device's memory: a part of each replica, and where those of others and the sum come.
enum { PART, CAME = PART + PARTS, SUM = CAME + PARTS, BACK, BUFFERS };

typedef struct Self {
    rt_stage stage;
    rt__comm comm;
    cudaEvent_t used, copied;
    size_t most;         // bytes of a buffer
    uint8_t *want, *got; // [most]
} Self;

static _Noreturn void fail(int status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static _Noreturn void fail(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(status);
}

static void check(const Self *t)
{
    if (t->stage.error)
        fail(rt_error_status(t->stage.error), "%s", t->stage.message);
}

static void settle(Self *t)
{
    rt__device_wait(&t->stage);
    check(t);
}

static uint8_t *buffer(Self *t, int i)
{
    return rt_scratch(&t->stage, (int64_t)((size_t)i * t->most));
}

// Messages
// -----------------------------------------------------------------------------------------

// As rt__ways_send and rt__ways_receive order it; who sends to itself needs a group.
static void exchange(Self *t, const void *from, void *to, size_t bytes)
{
    rt_stage *s = &t->stage;
    cudaStream_t work = rt__card_of(s)->work;
    rt__card_record(s, t->used, work);
    rt__card_follow(s, t->comm.stream, t->used);
    rt__comm_begin_group();
    rt__comm_send(s, &t->comm, from, bytes, 0);
    rt__comm_receive(s, &t->comm, to, bytes, 0);
    rt__comm_finish(s, &t->comm, rt__comm_end_group(), "send a message of");
    rt__card_record(s, t->copied, t->comm.stream);
    rt__card_follow(s, work, t->copied);
    rt__comm_look(s, &t->comm);
    check(t);
}

static void draw(Self *t, uint32_t seed)
{
    for (size_t i = 0; i < t->most; i++) {
        seed = seed * 1664525u + 1013904223u;
        t->want[i] = (uint8_t)(seed >> 24);
    }
}

static void put(Self *t, int to, const void *from, size_t bytes)
{
    t->stage.device->put(&t->stage, buffer(t, to), from, bytes);
    settle(t); // the host's memory is used again
}

static void poison(Self *t, int i)
{
    memset(t->got, 0xff, t->most);
    put(t, i, t->got, t->most);
}

// What lies there are the bytes that are wanted; those behind them were not touched.
static void compare(Self *t, const char *what, int at, size_t bytes)
{
    t->stage.device->get(&t->stage, t->got, buffer(t, at), t->most);
    settle(t);
    for (size_t i = 0; i < t->most; i++)
        if (t->got[i] != (i < bytes ? t->want[i] : 0xff))
            fail(1, "%s: byte %zu of %zu is %02x, not %02x", what, i, bytes, t->got[i],
                 i < bytes ? t->want[i] : 0xff);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Seconds of what `call` asks for.
static double time_of(Self *t, void call(Self *t))
{
    double s[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        int64_t begin = rt__now_ns();
        call(t);
        settle(t);
        s[r] = 1e-9 * (double)(rt__now_ns() - begin);
    }
    qsort(s, ROUNDS, sizeof *s, by_size);
    return s[ROUNDS / 2];
}

static void tell(Self *t, const char *what, void call(Self *t))
{
    double seconds = time_of(t, call);
    printf("{\"name\": \"%s\", \"bytes\": %zu, \"us\": %.1f, \"gb_per_s\": %.2f}\n", what,
           t->most, 1e6 * seconds, 1e-9 * (double)t->most / seconds);
}

static void send_whole(Self *t)
{
    exchange(t, buffer(t, PART), buffer(t, CAME), t->most);
}

static void try_messages(Self *t)
{
    const size_t sizes[] = {1, 4099, t->most};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        draw(t, SEED + (uint32_t)i);
        put(t, PART, t->want, t->most);
        poison(t, CAME);
        exchange(t, buffer(t, PART), buffer(t, CAME), sizes[i]);
        compare(t, "a message", CAME, sizes[i]);
    }
}

// Sums of replicas
// ------------------------------------------------------------------------------------------

// Numbers whose sums are rounded, so that their order can be seen.
static void draw_part(Self *t, int part)
{
    float *to = (float *)(void *)t->want;
    uint32_t seed = (uint32_t)part + SEED;
    for (size_t i = 0; i < t->most / sizeof *to; i++) {
        seed = seed * 1664525u + 1013904223u;
        to[i] = ((float)(seed >> 8) * 0x1p-23f - 1) * (part == 1 ? 1e4f : 1);
    }
}

static void sum_on_host(Self *t, float *sum)
{
    size_t n = t->most / sizeof *sum;
    float *part = (float *)(void *)t->want;
    for (int p = 0; p < PARTS; p++) {
        draw_part(t, p);
        for (size_t i = 0; i < n; i++)
            sum[i] = p ? sum[i] + part[i] : part[i];
    }
    for (size_t i = 0; i < n; i++)
        part[i] = sum[i] / PARTS;
}

// Parts of others come as messages, their owner adds them to its own in ascending order, and the sum is a message
// (runtime/reduce.c).
static void reduce(Self *t)
{
    const void *parts[PARTS] = {buffer(t, PART)};
    for (int p = 1; p < PARTS; p++) {
        exchange(t, buffer(t, PART + p), buffer(t, CAME + p), t->most);
        parts[p] = buffer(t, CAME + p);
    }
    t->stage.device->add(&t->stage, buffer(t, SUM), parts, PARTS,
                         (int64_t)(t->most / sizeof(float)), RT_F32, PARTS);
    exchange(t, buffer(t, SUM), buffer(t, BACK), t->most);
}

static void try_sum(Self *t)
{
    float *sum = malloc(t->most);
    if (!sum)
        fail(1, "no memory");
    for (int p = 0; p < PARTS; p++) {
        draw_part(t, p);
        put(t, PART + p, t->want, t->most);
        poison(t, CAME + p);
    }
    poison(t, SUM);
    poison(t, BACK);
    reduce(t);
    sum_on_host(t, sum);
    compare(t, "a sum of replicas", BACK, t->most);
    free(sum);
}

// The stage
// ---------------------------------------------------------------------------------------

static void load(Self *t)
{
    if (!rt__comm_is_there())
        fail(2, "NCCL (libnccl.so.2) is not on this machine");
    rt__comm_load(&t->stage);
    check(t);
}

static void connect(Self *t)
{
    rt_stage *s = &t->stage;
    uint8_t id[RT__COMM_ID];
    t->comm.name = "to itself";
    rt__card_check(s, cudaEventCreateWithFlags(&t->used, cudaEventDisableTiming),
                   "make an event");
    rt__card_check(s, cudaEventCreateWithFlags(&t->copied, cudaEventDisableTiming),
                   "make an event");
    if (!rt__comm_make_id(s, &t->comm, id))
        rt__comm_open(s, &t->comm, id, 1, 0);
    check(t);
}

int main(int argc, char **argv)
{
    static Self t;
    static const int64_t no_room = 0;
    static const rt_cuda_kernels kernels = {.room = &no_room};
    static const rt_replica replica;
    static rt_program program = {.abi = RT_ABI,
                                 .model = "messages",
                                 .plan_hash = "",
                                 .isa = "",
                                 .n_stages = 1,
                                 .micro_batch = 1,
                                 .micro_batches = 1,
                                 .in_flight = 1,
                                 .replicas = &replica,
                                 .real = RT_F32,
                                 .loss_offset = -1,
                                 .eval_loss_offset = -1,
                                 .eval_logits_offset = -1,
                                 .backend = &rt_cuda,
                                 .kernels = &kernels};
    t.most = argc > 1 ? (size_t)atol(argv[1]) / RT_ALIGN * RT_ALIGN : 0;
    if (t.most < 8192)
        fail(1, "usage: messages BYTES, at least 8192");
    program.scratch_bytes = (int64_t)(BUFFERS * t.most);
    t.want = malloc(t.most);
    t.got = malloc(t.most);
    if (!t.want || !t.got)
        fail(1, "no memory");
    setenv("STAGECC_NCCL", "1", 0); // the device's settings are those of messages
    rt__stage_init(&t.stage, &program, 0);
    t.stage.quiet = true;
    load(&t);
    rt__stage_open(&t.stage, -1);
    check(&t);
    connect(&t);
    try_messages(&t);
    tell(&t, "send and receive", send_whole);
    for (int i = 0; i < TRIES; i++) // what goes on first is chance
        try_sum(&t);
    tell(&t, "sum of 3 replicas", reduce);
    rt__comm_abort(&t.comm);
    rt__comm_close(&t.comm);
    rt__stage_close(&t.stage);
    return 0;
}
