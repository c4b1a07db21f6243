// The options of a call, and the dimensions among its arguments.
#include "frontend/layers/layers.h"

#include <stdio.h>
#include <string.h>

static const Arg *find(const Build *b, const char *name)
{
    for (int i = 0; i < b->call->n_options; i++)
        if (!strcmp(b->call->options[i].name, name))
            return &b->call->options[i];
    return NULL;
}

bool option_given(const Build *b, const char *name)
{
    return find(b, name) != NULL;
}

int64_t option_int(const Build *b, const char *name, int64_t fallback)
{
    const Arg *a = find(b, name);
    return a ? a->i : fallback;
}

double option_real(const Build *b, const char *name, double fallback)
{
    const Arg *a = find(b, name);
    return a ? a->real : fallback;
}

bool option_tensor(const Build *b, const char *name, Tensor *t)
{
    const Arg *a = find(b, name);
    if (a)
        *t = a->tensor;
    return a != NULL;
}

Init option_init(const Build *b, const char *name, Init fallback)
{
    const Arg *a = find(b, name);
    return a ? a->init : fallback;
}

int argument_dims(const Build *b, int first, int64_t out[MAX_RANK])
{
    int n = b->call->n - first;
    if (n > MAX_RANK) {
        build_wrong(b, NULL, "a tensor has at most %d dimensions, the batch included",
                    MAX_RANK);
        return -1;
    }
    for (int i = 0; i < n; i++)
        out[i] = b->call->args[first + i].i;
    return n;
}

bool option_pair(const Build *b, const char *name, const int64_t *fallback, int64_t lowest,
                 int64_t out[2])
{
    static const char *const ends[] = {"_h", "_w"};
    for (int i = 0; i < 2; i++) {
        char single[32];
        snprintf(single, sizeof single, "%s%s", name, ends[i]);
        const char *from = option_given(b, single) ? single : name;
        if (!fallback && !option_given(b, from)) {
            build_wrong(b, NULL, ".%s is missing", name);
            return false;
        }
        out[i] = option_int(b, from, fallback ? fallback[i] : 0);
        if (out[i] < lowest) {
            build_wrong(b, NULL, ".%s = %lld is less than %lld", from, (long long)out[i],
                        (long long)lowest);
            return false;
        }
    }
    return true;
}
