// The options of a stage program, by table: `--name value` or `--name=value`. `stagecc run` passes
// the same ones to every stage.
#include "runtime/rt.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum Kind { FLAG, TEXT, COUNT, REAL };

//    KIND   field             name                argument     lowest  meaning
#define RT_OPTIONS(X)                                                                          \
    X(TEXT, data, "data", "KIND:PATH", 0,                                                      \
      "training data: idx, cifar10, npy, text, tokens, synthetic")                             \
    X(TEXT, test_data, "test-data", "KIND:PATH", 0, "data to evaluate on")                     \
    X(COUNT, steps, "steps", "N", 0, "optimizer steps, from the beginning of training")        \
    X(COUNT, epochs, "epochs", "N", 0, "passes over the data, likewise [1]")                   \
    X(TEXT, init, "init", "FILE", 0, "parameters by name from a safetensors file or index")    \
    X(TEXT, resume, "resume", "DIR", 0, "checkpoint to go on from, or a directory of them")    \
    X(TEXT, checkpoint, "checkpoint", "DIR", 0, "where checkpoints go; one at the end")        \
    X(COUNT, checkpoint_every, "checkpoint-every", "N", 1, "and one every N steps")            \
    X(TEXT, state, "state", "FILE", 0, "memory of the last steps, to go on if it is killed")   \
    X(FLAG, eval_only, "eval-only", NULL, 0, "evaluate and stop")                              \
    X(COUNT, eval_every, "eval-every", "N", 1, "evaluate every N steps [every epoch]")         \
    X(COUNT, seed, "seed", "S", 0, "of parameters, data order and dropout")                    \
    X(COUNT, random_shift, "random-shift", "N", 0,                                             \
      "move training images at random by up to N pixels")                                      \
    X(REAL, lr, "lr", "R", 0, "learning rate")                                                 \
    X(TEXT, trace, "trace", "FILE", 0, "timeline for chrome://tracing")                        \
    X(TEXT, profile, "profile", "FILE", 0, "seconds of every layer (one stage)")               \
    X(TEXT, probe, "probe", "FILE", 0, "measure the library kernels and stop")                 \
    X(TEXT, tensors, "tensors", "FILE", 0, "where all lies in memory of --state, and stop")    \
    X(TEXT, at_least, "at-least", "I=S,...", 0, "seconds that instructions last at least")     \
    X(FLAG, check, "check", NULL, 0, "has this machine what the program needs? Then stop")     \
    X(FLAG, version, "version", NULL, 0, "what this program was made of")                      \
    X(FLAG, help, "help", NULL, 0, "this text")

static const struct Row {
    enum Kind kind;
    size_t offset;
    const char *name, *argument;
    int64_t lowest;
    const char *meaning;
} rows[] = {
#define X(kind, field, name, argument, lowest, meaning)                                        \
    {kind, offsetof(rt__options, field), name, argument, lowest, meaning},
    RT_OPTIONS(X)
#undef X
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void *field(rt__options *o, const struct Row *r)
{
    return (char *)o + r->offset;
}

static void set_defaults(rt__options *o)
{
    *o = (rt__options){0};
    for (int i = 0; i < N_ROWS; i++) {
        if (rows[i].kind == COUNT)
            *(int64_t *)field(o, &rows[i]) = -1;
        if (rows[i].kind == REAL)
            *(double *)field(o, &rows[i]) = -1;
    }
}

static int set_count(rt__options *o, const struct Row *r, const char *text, rt__why *why)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < r->lowest)
        return rt__because(why, RT__INPUT,
                           "--%s takes a whole number from %" PRId64 ", not '%s'", r->name,
                           r->lowest, text);
    *(int64_t *)field(o, r) = n;
    return 0;
}

static int set_real(rt__options *o, const struct Row *r, const char *text, rt__why *why)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !isfinite(x) || x < (double)r->lowest)
        return rt__because(why, RT__INPUT, "--%s takes a number from %" PRId64 ", not '%s'",
                           r->name, r->lowest, text);
    *(double *)field(o, r) = x;
    return 0;
}

static int set(rt__options *o, const struct Row *r, const char *text, rt__why *why)
{
    switch (r->kind) {
    case FLAG: *(bool *)field(o, r) = true; return 0;
    case TEXT: *(const char **)field(o, r) = text; return 0;
    case COUNT: return set_count(o, r, text, why);
    case REAL: return set_real(o, r, text, why);
    }
    return 0;
}

// The row of "--name" or "--name=value"; *value is what stands behind '=' or NULL.
static const struct Row *find(const char *word, const char **value)
{
    if (strncmp(word, "--", 2) != 0)
        return NULL;
    size_t n = strcspn(word + 2, "=");
    *value = word[2 + n] ? word + 2 + n + 1 : NULL;
    for (int i = 0; i < N_ROWS; i++)
        if (strlen(rows[i].name) == n && !memcmp(rows[i].name, word + 2, n))
            return &rows[i];
    return NULL;
}

static int check_together(const rt__options *o, rt__why *why)
{
    if (o->help || o->version || o->probe || o->check || o->tensors)
        return 0;
    if (o->init && o->resume)
        return rt__because(why, RT__INPUT,
                           "give --init for a new run or --resume to go on, not both");
    if (o->checkpoint_every > 0 && !o->checkpoint)
        return rt__because(why, RT__INPUT, "--checkpoint-every needs --checkpoint DIR");
    if (o->eval_only && !o->test_data)
        return rt__because(why, RT__INPUT, "--eval-only needs --test-data KIND:PATH");
    if (o->eval_every > 0 && !o->test_data)
        return rt__because(why, RT__INPUT, "--eval-every needs --test-data KIND:PATH");
    if (!o->data && !o->eval_only)
        return rt__because(why, RT__INPUT,
                           "training data are missing: --data KIND:PATH (--help lists all)");
    return 0;
}

int rt__options_parse(rt__options *o, int argc, char **argv, rt__why *why)
{
    set_defaults(o);
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        const struct Row *r = find(argv[i], &value);
        if (!r)
            return rt__because(why, RT__INPUT, "unknown option '%s'; --help lists all",
                               argv[i]);
        if (r->kind == FLAG && value)
            return rt__because(why, RT__INPUT, "--%s takes no value", r->name);
        if (r->kind != FLAG && !value && i + 1 == argc)
            return rt__because(why, RT__INPUT, "--%s takes a value: %s", r->name, r->argument);
        if (r->kind != FLAG && !value)
            value = argv[++i];
        int status = set(o, r, value, why);
        if (status)
            return status;
    }
    return check_together(o, why);
}

void rt__options_help(const rt_program *program)
{
    printf("Stage %d of %d of the model %s, made by\n  %s\n", program->stage, program->n_stages,
           program->model, program->command);
    if (rt__n_ranks(program) > 1)
        printf("Start all stages together with `stagecc run DIR`; the options are the same.\n");
    printf("\noptions:\n");
    for (int i = 0; i < N_ROWS; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", rows[i].name,
                 rows[i].argument ? rows[i].argument : "");
        printf("  %-24s %s\n", left, rows[i].meaning);
    }
    printf("\nenvironment:\n  %-24s %s\n", "STAGECC_TIMEOUT",
           "seconds without any progress after which a wait gives up [300]");
}
