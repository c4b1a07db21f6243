// Memory that kernels of tests read and write, on this processor or on a device: nvcc compiles the same tests
// (tools/gpu-check). A device works on the host's memory in place, since tests look at it with ordinary code; a word at
// either end tells of what was written beside it, and whoever looks at results waits for them first (settle).
#ifndef STAGECC_TESTS_CUDA_MEMORY_H
#define STAGECC_TESTS_CUDA_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include <stagecc/cu.h>

static bool failed;

#ifdef __CUDACC__
enum { CU_ORDERS = 2 }; // those that the device chooses
static int cu_order;

enum { GUARD = 256, GUARD_BYTE = 0xa5, NO_DEVICE = 2 };

struct Guarded {
    unsigned char *at; // where the guard in front begins
    size_t bytes;
};
static std::vector<Guarded> &guarded()
{
    static std::vector<Guarded> *all =
        new std::vector<Guarded>; // outlives what is static in tests
    return *all;
}

static void check_cuda(const char *what, cudaError_t status)
{
    if (status == cudaSuccess)
        return;
    const bool none = status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver;
    printf("%s: %s\n", none ? "no device" : what, cudaGetErrorString(status));
    fflush(stdout);
    exit(none ? NO_DEVICE : 1);
}

[[maybe_unused]] static void *seen_allocate(size_t bytes)
{
    void *room = NULL;
    check_cuda("memory", cudaHostAlloc(&room, bytes + 2 * GUARD, cudaHostAllocMapped));
    memset(room, GUARD_BYTE, bytes + 2 * GUARD);
    guarded().push_back({(unsigned char *)room, bytes});
    return (unsigned char *)room + GUARD;
}

static void check_guards(const Guarded &g)
{
    for (int i = 0; i < GUARD; i++)
        if (g.at[i] != GUARD_BYTE || g.at[GUARD + g.bytes + (size_t)i] != GUARD_BYTE) {
            printf("written beside a tensor of %zu bytes\n", g.bytes);
            failed = true;
            return;
        }
}

[[maybe_unused]] static void seen_free(void *at)
{
    std::vector<Guarded> &all = guarded();
    for (size_t i = 0; i < all.size(); i++)
        if (all[i].at + GUARD == at) {
            cudaFreeHost(all[i].at); // an error that is none at the program's end
            all.erase(all.begin() + (long)i);
            return;
        }
}

// Until all that was launched is done; ends the program if it went wrong.
[[maybe_unused]] static void settle()
{
    check_cuda("launch", cudaGetLastError());
    check_cuda("kernel", cudaDeviceSynchronize());
    for (const Guarded &g : guarded())
        check_guards(g);
}
#else
[[maybe_unused]] static void *seen_allocate(size_t bytes)
{
    void *room = NULL;
    if (posix_memalign(&room, 64, bytes))
        abort();
    return room;
}

[[maybe_unused]] static void seen_free(void *at)
{
    free(at);
}

[[maybe_unused]] static void settle()
{
}
#endif

// A vector that kernels see.
template <typename T> struct Seen {
    typedef T value_type;
    Seen() = default;
    template <typename U> Seen(const Seen<U> &)
    {
    }
    T *allocate(size_t n)
    {
        return (T *)seen_allocate(n * sizeof(T));
    }
    void deallocate(T *at, size_t)
    {
        seen_free(at);
    }
    template <typename U> bool operator==(const Seen<U> &) const
    {
        return true;
    }
    template <typename U> bool operator!=(const Seen<U> &) const
    {
        return false;
    }
};
template <typename T> using Numbers = std::vector<T, Seen<T>>;

#endif
