#include "runtime/pace.h"

#include "runtime/segment.h"
#include "runtime/transport.h"
#include "runtime/wait.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_NS = 20 * 1000 * 1000,
    MIXED_NS = 500 * 1000
}; // at the job; at a network's messages

static int opcode_of(const char *name, size_t n)
{
    for (int i = 0; i < RT_N_OPCODES; i++)
        if (strlen(rt__opcode_name[i]) == n && !memcmp(rt__opcode_name[i], name, n))
            return i;
    return -1;
}

int rt__pace_open(rt_stage *s)
{
    const char *at = s->options.at_least;
    while (at && *at) {
        size_t n = strcspn(at, "=,");
        int opcode = at[n] == '=' ? opcode_of(at, n) : -1;
        char *end = NULL;
        double seconds = opcode < 0 ? -1 : strtod(at + n + 1, &end);
        if (opcode < 0 || end == at + n + 1 || (*end && *end != ',') ||
            !(seconds >= 0 && seconds < 1e6))
            return rt_fail(s, RT_E_INPUT,
                           "--at-least takes INSTRUCTION=SECONDS,... (forward=0.01), not '%s'",
                           at);
        s->at_least_ns[opcode] = llround(seconds * 1e9);
        s->paced = true;
        at = end + (*end == ',');
    }
    return 0;
}

static int sleep_until(rt_stage *s, int64_t end_ns)
{
    int64_t left;
    int error = 0;
    while (!error && (left = end_ns - rt__now_ns()) > 0) {
        int64_t most = rt__progress(s) ? MIXED_NS : LOOK_NS;
        int64_t ns = left < most ? left : most;
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        error = rt__check_abort(s);
    }
    return error;
}

int rt__pace(rt_stage *s, rt_opcode opcode, int64_t begin_ns)
{
    if (opcode == RT_BACKWARD_PART) {
        s->parts_ns += rt__now_ns() - begin_ns;
        return 0;
    }
    int64_t least = s->at_least_ns[opcode];
    if (opcode == RT_BACKWARD || opcode == RT_BACKWARD_WEIGHT) {
        least -= s->parts_ns;
        s->parts_ns = 0;
    }
    return least > 0 ? sleep_until(s, begin_ns + least) : 0;
}
