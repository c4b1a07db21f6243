// stagecc worker: what this machine has, for a master (docs/control.md).
#include "driver/cards.h"
#include "driver/driver.h"

#include "base/text.h"
#include "control/launch.h"
#include "control/worker/worker.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SLOTS = MOST_RANKS, MASTER_PORT = 7070, SPEED = 1000, MOST_PATIENCE_S = 1 << 30 };

// "10.0.0.1", "10.0.0.1:7070", "[::1]:7070", with or without tcp:// before it. NULL: reported.
static const char *endpoint_of(Arena *a, const char *text)
{
    const char *host = str_starts(text, "tcp://") ? text + strlen("tcp://") : text;
    const char *bracket = strrchr(host, ']'), *port = strrchr(bracket ? bracket : host, ':');
    size_t n = port ? (size_t)(port - host) : strlen(host);
    char *end = NULL;
    long number = port ? strtol(port + 1, &end, 10) : MASTER_PORT;
    bool whole = !port || (!*end && end > port + 1 && number > 0 && number < 65536);
    if (n && whole && strcspn(host, "/ ") == strlen(host))
        return arena_printf(a, "tcp://%.*s:%ld", (int)n, host, number);
    error_at(NO_LOC, "--master takes HOST or HOST:PORT, not `%s`", text);
    return NULL;
}

static const char *default_dir(Arena *a, const char *name)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache)
        return arena_printf(a, "%s/stagecc/%s", cache, name);
    return arena_printf(a, "%s/.cache/stagecc/%s", home ? home : "", name);
}

static int read_key(const Args *args, Key *k)
{
    int status = key_read(k, args->key);
    if (status || *k->master)
        return status;
    error_at((Loc){args->key, 0, 0}, "is a master's own key: a worker has another one, which "
                                     "stagecc keygen makes");
    return EXIT_INPUT;
}

static int read_arguments(Arena *a, const Args *args, WorkerOptions *o)
{
    int slots = 1, give_up = 0;
    if (!args->master || !args->key) {
        error_at(NO_LOC, "stagecc worker needs --master HOST and --key FILE");
        return EXIT_INPUT;
    }
    if (!whole_number("slots", args->slots, MAX_SLOTS, &slots) ||
        !whole_number("give-up", args->give_up, MOST_PATIENCE_S, &give_up) ||
        !(o->master = endpoint_of(a, args->master)))
        return EXIT_INPUT;
    o->name = args->name ? args->name : o->key.name;
    if (args->name && !key_name_good(args->name)) {
        error_at(NO_LOC, "--name takes letters, digits and ._-, not `%s`", args->name);
        return EXIT_INPUT;
    }
    int status = read_key(args, &o->key);
    if (status)
        return status;
    o->tied = args->tied;
    o->orphan_s = give_up;
    o->dir = args->dir ? args->dir : default_dir(a, o->name);
    o->has = (Hello){.memory_bytes = launch_free_memory(),
                     .slots = (uint32_t)slots,
                     .speed_milli = SPEED,
                     .device = strcmp(args->device, "cuda") ? DEVICE_CPU : DEVICE_CUDA};
    if (o->has.device == DEVICE_CUDA && (status = cards_here(a, slots, &o->has.memory_bytes)))
        return status;
    if (args->memory_bytes)
        o->has.memory_bytes = (uint64_t)args->memory_bytes;
    const char *isa = native_isa(true);
    memcpy(o->has.isa, isa, strnlen(isa, sizeof o->has.isa));
    return EXIT_DONE;
}

int command_worker(Arena *a, Args *args)
{
    WorkerOptions o = {0};
    int status = read_arguments(a, args, &o);
#ifdef STAGECC_ZMQ // else no key could be read
    if (!status)
        status = worker_run(&o);
#endif
    key_wipe(&o.key);
    return status;
}
