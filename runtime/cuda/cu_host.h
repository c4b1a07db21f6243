// CUDA kernels on the processor, for tests: the text of a kernel compiled as it stands by a C++ compiler.
//
// Blocks run one after the other. The threads of a block are fibers of one thread of the system: at a barrier,
// or where the lanes of a warp exchange values, a fiber gives way to the next. So nothing here is
// a race; but what would be one on a device shows: a test repeats a launch in CU_ORDERS orders of blocks,
// warps and lanes (cu_order), and bits that differ are a race. Shared memory is NaN before every block. A
// barrier that only some threads of a block reach, or an exchange that only some lanes of a warp reach, ends
// the program.
//
// What is here is what kernels use: blocks and grids of one dimension, full masks, no atomics, no dynamic
// shared memory.
#ifndef STAGECC_CU_HOST_H
#define STAGECC_CU_HOST_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <new>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cu_shared")))

typedef void *cudaStream_t;

struct cu_dim3 {
    unsigned x, y, z;
};

struct uint2 {
    unsigned x, y;
};
struct uint4 {
    unsigned x, y, z, w;
};

enum { CU_HOST_WARP = 32, CU_HOST_THREADS = 1024, CU_HOST_STACK = 64 << 10 };
enum { CU_ORDERS = 4 };

enum cu_state { CU_READY, CU_AT_EXCHANGE, CU_AT_BARRIER, CU_DONE };

// ucontext gives a fiber its stack; from then on _setjmp and _longjmp switch, which make no system calls.
struct cu_fiber {
    jmp_buf here;
    cu_state state;
    unsigned exchanges; // so far; their parity tells which row of `lane` is meant
};

struct cu_block {
    cu_fiber fiber[CU_HOST_THREADS];
    jmp_buf scheduler;
    ucontext_t beginning; // of the scheduler, where a fiber is made
    int threads, now;
    int made; // fibers that have a stack, each of which runs one thread after the other
    uint64_t lane[2][CU_HOST_THREADS]; // values on their way between lanes
    void (*body)(void *);
    void *arguments;
};

static cu_block cu_now;
static cu_dim3 threadIdx, blockIdx, blockDim, gridDim;
static int cu_order; // 0 .. CU_ORDERS - 1

// Begin and end of the section, by the linker; NULL where no kernel has shared memory.
extern uint8_t __start_cu_shared[] __attribute__((weak)),
    __stop_cu_shared[] __attribute__((weak));

static inline void cu_die(const char *what)
{
    fprintf(stderr, "block %u, thread %u: %s\n", blockIdx.x, threadIdx.x, what);
    abort();
}

// The i-th of n in this order: ascending, descending, or either but beginning in the middle.
static inline int cu_turned(int i, int n)
{
    int k = (i + cu_order / 2 * (n / 2)) % n;
    return cu_order % 2 ? n - 1 - k : k;
}

// Words of neighbouring elements. A device stops where one lies at no multiple of its size.
template <typename W> static inline W cu_read(const W *at)
{
    W word;
    if ((uintptr_t)at % sizeof(W))
        cu_die("a word read where none may lie");
    memcpy(&word, (const void *)at, sizeof word);
    return word;
}

template <typename W> static inline void cu_write(W *at, W word)
{
    if ((uintptr_t)at % sizeof(W))
        cu_die("a word written where none may lie");
    memcpy((void *)at, &word, sizeof word);
}

// In a fiber
// ----------------------------------------------------------------------------------------------

static inline void cu_give_way(cu_state state)
{
    cu_fiber *self = &cu_now.fiber[cu_now.now];
    self->state = state;
    if (_setjmp(self->here) == 0)
        _longjmp(cu_now.scheduler, 1);
}

static inline void __syncthreads()
{
    cu_give_way(CU_AT_BARRIER);
}

// The values of all lanes of the warp, when all have come here.
template <typename T> static inline const uint64_t *cu_exchange(unsigned mask, T value)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "as wide as an exchange is");
    if (mask != 0xffffffffu)
        cu_die("an exchange between some lanes only");
    int self = cu_now.now, first = self / CU_HOST_WARP * CU_HOST_WARP;
    uint64_t *lane = cu_now.lane[cu_now.fiber[self].exchanges++ % 2];
    memcpy(&lane[self], &value, sizeof value);
    cu_give_way(CU_AT_EXCHANGE);
    return lane + first;
}

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int with)
{
    int from = cu_now.now % CU_HOST_WARP ^ with;
    memcpy(&value, cu_exchange(mask, value) + from, sizeof value);
    return value;
}

// Bit i: what lane i says.
static inline unsigned __ballot_sync(unsigned mask, bool vote)
{
    const uint64_t *lane = cu_exchange(mask, (uint64_t)vote);
    unsigned votes = 0;
    for (int i = 0; i < CU_HOST_WARP; i++)
        votes |= (unsigned)lane[i] << i;
    return votes;
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static void cu_live()
{
    if (_setjmp(cu_now.fiber[cu_now.now].here) == 0)
        setcontext(&cu_now.beginning);
    for (;;) {
        cu_now.body(cu_now.arguments);
        cu_give_way(CU_DONE);
    }
}

// The scheduler
// ----------------------------------------------------------------------------------------------

static inline void cu_make_fiber()
{
    ucontext_t context;
    void *stack =
        mmap(NULL, CU_HOST_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || getcontext(&context))
        cu_die("no memory for stacks");
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = CU_HOST_STACK;
    makecontext(&context, cu_live, 0);
    cu_now.now = cu_now.made++;
    swapcontext(&cu_now.beginning, &context);
}

static inline void cu_resume(int thread)
{
    cu_now.now = thread;
    threadIdx.x = (unsigned)thread;
    if (_setjmp(cu_now.scheduler) == 0)
        _longjmp(cu_now.fiber[thread].here, 1);
}

// Until every lane is at a barrier of the block, or done.
static inline void cu_run_warp(int first)
{
    for (;;) {
        int waiting = 0;
        for (int i = 0; i < CU_HOST_WARP; i++) {
            int thread = first + cu_turned(i, CU_HOST_WARP);
            if (cu_now.fiber[thread].state == CU_READY)
                cu_resume(thread);
            waiting += cu_now.fiber[thread].state == CU_AT_EXCHANGE;
        }
        if (waiting == 0)
            return;
        if (waiting < CU_HOST_WARP)
            cu_die("an exchange that some lanes of the warp do not reach");
        for (int i = 0; i < CU_HOST_WARP; i++)
            cu_now.fiber[first + i].state = CU_READY;
    }
}

// Byte by byte and unseen by AddressSanitizer, which keeps memory around every variable that nobody may touch.
__attribute__((no_sanitize("address"), noinline)) static void cu_poison_shared()
{
    if (__start_cu_shared)
        for (volatile uint8_t *at = __start_cu_shared; at < __stop_cu_shared; at++)
            *at = 0xff;
}

static inline void cu_begin_block()
{
    cu_poison_shared();
    for (int i = 0; i < cu_now.threads; i++)
        cu_now.fiber[i].state = CU_READY;
}

static inline void cu_run_block()
{
    cu_begin_block();
    for (int done = 0; done < cu_now.threads;) {
        int warps = cu_now.threads / CU_HOST_WARP;
        for (int w = 0; w < warps; w++)
            cu_run_warp(cu_turned(w, warps) * CU_HOST_WARP);
        done = 0;
        for (int i = 0; i < cu_now.threads; i++) {
            done += cu_now.fiber[i].state == CU_DONE;
            if (cu_now.fiber[i].state == CU_AT_BARRIER)
                cu_now.fiber[i].state = CU_READY;
        }
        if (done && done < cu_now.threads)
            cu_die("a barrier that some threads of the block do not reach");
    }
}

template <typename F> static void cu_launch(int64_t grid, int64_t block, F call)
{
    if (grid < 1 || grid > INT32_MAX || block < 1 || block > CU_HOST_THREADS ||
        block % CU_HOST_WARP)
        cu_die("a launch of no blocks, or of blocks that are not whole warps");
    while (cu_now.made < (int)block)
        cu_make_fiber();
    cu_now.threads = (int)block;
    cu_now.body = [](void *arguments) { (*(F *)arguments)(); };
    cu_now.arguments = &call;
    blockDim = {(unsigned)block, 1, 1};
    gridDim = {(unsigned)grid, 1, 1};
    for (int b = 0; b < (int)grid; b++) {
        blockIdx.x = (unsigned)cu_turned(b, (int)grid);
        cu_run_block();
    }
}

// A launch, with its arguments as they were then.
template <typename K, typename... A> struct cu_launched {
    int64_t grid, block;
    K kernel;
    std::tuple<A...> arguments;

    void run() const
    {
        cu_launch(grid, block, [this] { std::apply(kernel, arguments); });
    }
};

// Takes a launch, to run it in its turn in the stream, and maybe several times: of a program that has streams
// (tests/cuda/cudart.cpp). Without it a launch runs at once.
extern "C" __attribute__((weak)) void cu_host_later(cudaStream_t stream, void (*run)(void *),
                                                    void (*drop)(void *), void *launched);

template <typename K, typename... A>
static void cu_launch_in(cudaStream_t stream, int64_t grid, int64_t block, K kernel,
                         A... arguments)
{
    typedef cu_launched<K, A...> launched;
    const launched now = {grid, block, kernel, std::tuple<A...>(arguments...)};
    if (!cu_host_later) {
        now.run();
        return;
    }
    void *kept = malloc(sizeof now); // not by `new`, which wants a library
    if (!kept)
        cu_die("no memory for a launch");
    cu_host_later(
        stream, [](void *at) { ((launched *)at)->run(); }, free, new (kept) launched(now));
}

#define CU_LAUNCH(kernel, grid, block, stream, ...)                                            \
    cu_launch_in(                                                                              \
        stream, grid, block, [](auto... arguments) { kernel(arguments...); }, __VA_ARGS__)

#endif
