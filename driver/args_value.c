// Values on the command line: numbers with units, lists of them, names of choices, and which options
// agree with each other.
#include "driver/driver.h"

#include "ir/codec.h"
#include "passes/planner/planner.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_MACHINES = 1 << 20 };

// Where the machines have one level and the user names no bandwidth, as in the planner that stagecc
// replaces.
static const double default_bytes_per_s = 1e9;
// Likewise --use_memory_constraint without --memory.
static const int64_t default_memory_bytes = 16000000000;

// A decimal number and perhaps a unit, a power of base (0: no units): "16G", "1e9". NULL: not one; else
// what stands behind it.
static const char *quantity(const char *text, double base, double *value)
{
    static const char units[] = "KMGT";
    char *end;
    const char *p = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*p) && *p != '.')
        return NULL; // strtod also takes names and white space
    *value = strtod(text, &end);
    if (end == text || end - p > (ptrdiff_t)strspn(p, "0123456789.eE+-"))
        return NULL;
    const char *unit = *end && base > 0 ? strchr(units, *end) : NULL;
    for (int i = 0; unit && i <= unit - units; i++)
        *value *= base;
    return unit ? end + 1 : end;
}

bool looks_like_number(const char *text)
{
    double value;
    const char *p = text;
    static const char *const names[] = {"nan", "inf", "-inf", "infinity"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(text, names[i]))
            return true;
    while ((p = quantity(p, 1000, &value)) && *p == ',')
        p++;
    return p && !*p;
}

bool counts_add(Arena *a, const char *option, const char *text, Counts *out)
{
    for (const char *p = text;; p++) {
        char *end = NULL;
        long long n = isdigit((unsigned char)*p) ? strtoll(p, &end, 10) : 0;
        if (!end || (*end && *end != ',') || n < 1 || n > MAX_MACHINES) {
            error_at(NO_LOC, "--%s takes a whole number from 1, not `%s`", option, text);
            return false;
        }
        vec_push(a, out, n);
        p = end;
        if (!*p)
            return true;
    }
}

bool whole_number(const char *option, const char *text, int most, int *out)
{
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;
    if (!text)
        return true;
    if (*end || end == text || n < 1 || n > most) {
        error_at(NO_LOC, "--%s takes a whole number from 1 to %d, not `%s`", option, most,
                 text);
        return false;
    }
    *out = (int)n;
    return true;
}

bool rates_add(Arena *a, const char *option, const char *text, Rates *out)
{
    for (const char *p = text;; p++) {
        double n = 0;
        p = quantity(p, 1000, &n);
        if (!p || (*p && *p != ',') || !(n > 0) || !isfinite(n)) {
            error_at(NO_LOC, "--%s takes bytes per second, above 0, like 1e9 or 10G, not `%s`",
                     option, text);
            return false;
        }
        vec_push(a, out, n);
        if (!*p)
            return true;
    }
}

bool bytes_value(const char *option, const char *text, int64_t *out)
{
    double n = 0;
    const char *end = quantity(text, 1024, &n);
    if (!end || *end || !(n >= 1) || !(n < 0x1p62)) {
        error_at(NO_LOC, "--%s takes bytes like 24G, 512M or 1000000, not `%s`", option, text);
        return false;
    }
    *out = (int64_t)n;
    return true;
}

bool ratio_value(const char *option, const char *text, double *out)
{
    const char *end = quantity(text, 0, out);
    bool good = end && !*end && *out > 0 && isfinite(*out);
    if (!good)
        error_at(NO_LOC, "--%s takes a number above 0, not `%s`", option, text);
    return good;
}

bool dims_value(const char *option, const char *text, Shape *out)
{
    *out = (Shape){0};
    for (const char *p = text;; p++) {
        char *end = NULL;
        long long n = isdigit((unsigned char)*p) ? strtoll(p, &end, 10) : 0;
        // one dimension more is the batch
        if (!end || (*end && *end != 'x') || n < 1 || n > 1 << 30 ||
            out->rank == MAX_RANK - 1) {
            error_at(NO_LOC, "--%s takes the dimensions of a sample, like 3x224x224, not `%s`",
                     option, text);
            return false;
        }
        out->dim[out->rank++] = n;
        p = end;
        if (!*p)
            return true;
    }
}

// Options that take one of a few names; the first is the default.
static const struct Choice {
    size_t offset;
    const char *option, *names[4];
} choices[] = {
    {offsetof(Args, cost_model), "cost-model", {"stagecc", "pipedream"}},
    {offsetof(Args, overlap), "overlap", {"transfers", "none", "all"}},
    {offsetof(Args, device), "device", {"cpu", "cuda"}},
};

static bool choose(Args *args, const struct Choice *c)
{
    const char **value = (const char **)((char *)args + c->offset);
    if (!*value)
        *value = c->names[0];
    for (int i = 0; c->names[i]; i++)
        if (!strcmp(c->names[i], *value))
            return true;
    error_at(NO_LOC, "--%s takes %s%s%s%s%s, not `%s`", c->option, c->names[0],
             c->names[2] ? ", " : " or ", c->names[1], c->names[2] ? " or " : "",
             c->names[2] ? c->names[2] : "", *value);
    return false;
}

// "sm_80", "sm_90a": as nvcc calls them. 0: it is none.
static int architecture_of(const char *text, size_t n)
{
    char *end = NULL;
    if (n < strlen("sm_00") || strncmp(text, "sm_", 3) != 0 || !isdigit((unsigned char)text[3]))
        return 0;
    long number = strtol(text + 3, &end, 10);
    end += *end == 'a' || *end == 'f'; // for such cards alone
    return end == text + n && number < 1000 ? (int)number : 0;
}

static bool check_architectures(const Args *args)
{
    enum { LEAST = 80 }; // that kernels are written for: bf16 on tensor cores
    const char *text = args->architectures;
    if (text && (!args->backend || strcmp(args->backend, "cuda") != 0)) {
        error_at(NO_LOC, "--arch is of --backend cuda");
        return false;
    }
    for (const char *at = text; at;) {
        size_t n = strcspn(at, ",");
        int number = architecture_of(at, n);
        if (!number)
            error_at(NO_LOC,
                     "--arch takes devices as nvcc calls them, like sm_80,sm_90, not `%s`",
                     text);
        else if (number < LEAST)
            error_at(NO_LOC, "--arch sm_%d: programs want devices of sm_%d or newer", number,
                     LEAST);
        if (number < LEAST)
            return false;
        at = at[n] ? at + n + 1 : NULL;
    }
    return true;
}

static bool multiply_machines(Args *args)
{
    args->stages = args->machines.n > 0;
    for (int i = 0; i < args->machines.n; i++) {
        args->stages *= args->machines.items[i];
        if (args->stages > MAX_MACHINES || i == MAX_LEVELS) {
            error_at(NO_LOC, "-n names too many machines: at most %d, on at most %d levels",
                     MAX_MACHINES, MAX_LEVELS);
            return false;
        }
    }
    return true;
}

static bool match_bandwidths(Arena *a, Args *args)
{
    int n = args->machines.n, b = args->bandwidths.n;
    args->has_bandwidth = b > 0;
    if (args->devices && (b || n > 1)) {
        error_at(NO_LOC, "--devices says what the machines and links are: leave out %s",
                 b ? "-b" : "all numbers of -n but one");
        return false;
    }
    if (b && !n) {
        error_at(NO_LOC, "-b is of the machines of -n N");
        return false;
    }
    for (int i = 0; !b && i < n; i++)
        vec_push(a, &args->bandwidths, default_bytes_per_s);
    if (!b || b == n)
        return true;
    error_at(NO_LOC,
             "-n has %d level%s, -b %d: give each level of machines its bandwidth, like "
             "-n 4 4 -b 1e10 1e9",
             n, n == 1 ? "" : "s", b);
    return false;
}

// A ratio that a codec has chooses it, unless --transfer does. Others are the planner's supposition.
static bool match_transfer(Args *args)
{
    const Codec *codec = codec_of_ratio(args->compression);
    if (!codec || options_given(&args->options, "transfer"))
        return true;
    return options_set(&args->options, "transfer", codec->name, FROM_COMMAND_LINE, NO_LOC);
}

bool args_agree(Arena *a, const CommandInfo *command, Args *args)
{
    bool good = true;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        good &= choose(args, &choices[i]);
    good &= check_architectures(args);
    good &= multiply_machines(args);
    good &= match_transfer(args);
    if (command->groups & PLANNER)
        good = match_bandwidths(a, args) && good;
    else if (args->machines.n > 1) {
        error_at(NO_LOC,
                 "stagecc %s takes one number of stages; plan machines on levels with "
                 "`stagecc plan`",
                 command->name);
        good = false;
    }
    args->choose_replicas = command->groups & MACHINES && !args->straight;
    if (args->memory_constraint && !args->memory_bytes)
        args->memory_bytes = default_memory_bytes;
    return good;
}
