// Is the card one of those for which the program's kernels were compiled? A cubin runs on cards of its own major number whose
// minor number is as high, or higher; kernels bring no PTX that could be compiled for others.
#include "runtime/cuda/card/card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stagecc/cu_card.h>

enum { LEAST = 80 }; // what kernels are written for

// "800,900": each in tenths, as nvcc's __CUDA_ARCH_LIST__ has them. The number behind a comma, or 0 at the end.
static int next(const char **list)
{
    char *end;
    long n = strtol(*list, &end, 10);
    *list = *end == ',' ? end + 1 : end;
    return (int)(n / 10);
}

static bool is_among(const char *list, int card)
{
    for (int built; (built = next(&list));)
        if (built / 10 == card / 10 && built % 10 <= card % 10)
            return true;
    return false;
}

// "sm_80, sm_90".
static void write_list(const char *list, char *text, size_t size)
{
    size_t used = 0;
    *text = '\0';
    for (int built; (built = next(&list)) && used < size;)
        used += (size_t)snprintf(text + used, size - used, "%ssm_%d", used ? ", " : "", built);
}

int rt__card_check_architecture(rt_stage *s)
{
    const char *list = rt_card_kernels.architectures;
    struct cudaDeviceProp of;
    char built[128];
    int error = rt__card_check(s, cudaGetDeviceProperties(&of, rt__card_of(s)->number),
                               "ask what its device is");
    int card = of.major * 10 + of.minor;
    if (error || !*list || is_among(list, card)) // none: they run on this processor
        return error;
    write_list(list, built, sizeof built);
    if (card < LEAST)
        return rt_fail(s, RT_E_ENVIRONMENT,
                       "this program was built for %s, and its device, %s, is sm_%d: programs "
                       "want sm_%d or newer",
                       built, of.name, card, LEAST);
    return rt_fail(
        s, RT_E_ENVIRONMENT,
        "this program was built for %s, and its device, %s, is sm_%d: build it again "
        "with --arch sm_%d",
        built, of.name, card, card);
}
