// Ways to compute the same, for libraries of tests whose calls should take times that a test chooses.
#ifndef STAGECC_TESTS_FAKE_CHOICE_H
#define STAGECC_TESTS_FAKE_CHOICE_H

#include <cuda_runtime_api.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

// "3,1,2": three, and the milliseconds that each takes; none, where the variable is not set.
static inline std::vector<int> fake_times(const char *variable)
{
    std::vector<int> ms;
    const char *said = getenv(variable);
    for (; said && *said; said += strspn(said, ",")) {
        ms.push_back(atoi(said));
        said += strcspn(said, ",");
    }
    return ms;
}

static inline bool fake_is(const char *variable, int64_t number)
{
    const char *said = getenv(variable);
    return said && atoll(said) == number;
}

typedef void FakeLater(cudaStream_t, void (*)(void *), void (*)(void *), void *);

static inline void fake_nothing(void *)
{
}

// By the clock of cudart.cpp a launch takes a millisecond.
static inline void fake_take(FakeLater *later, cudaStream_t stream, int ms)
{
    for (; ms > 0; ms--)
        later(stream, fake_nothing, fake_nothing, NULL);
}

#endif
