// stagecc devices: nobody has to guess a speed or a bandwidth.
#include "driver/devices.h"

#include "control/launch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Without a hostfile: this machine, as many slots as its cores give, or its first CUDA device.
static Hosts this_machine(Arena *a, int threads, bool cuda)
{
    Host *h = arena_new(a, Host);
    int slots = launch_cores() / threads;
    *h = (Host){.name = "localhost", .slots = slots > 1 && !cuda ? slots : 1, .cuda = cuda};
    return (Hosts){h, 1};
}

static int check_hosts(const Hosts *hosts, bool cuda)
{
    const Host *local = NULL;
    for (int i = 0; i < hosts->n; i++) {
        const Host *h = &hosts->items[i];
        if (cuda && !h->cuda) {
            error_at(h->loc,
                     "%s has device=cpu, and --backend cuda is for device=cuda: what a "
                     "host computes on stands in the hostfile alone",
                     h->name);
            return EXIT_INPUT;
        }
        if (host_is_local(h->name) && local) {
            error_at(h->loc, "%s and %s are both this machine", local->name, h->name);
            return EXIT_INPUT;
        }
        local = host_is_local(h->name) ? h : local;
    }
    return EXIT_DONE;
}

static int find_programs(Session *s)
{
    Toolchain t = toolchain_find(s->arena);
    bool cuda = false;
    s->links = t.links;
    s->card = t.card;
    for (int i = 0; i < s->hosts.n; i++)
        cuda |= s->hosts.items[i].cuda;
    if (cuda && access(s->card, R_OK)) {
        error_at((Loc){s->card, 0, 0},
                 "is not there, and it measures CUDA devices: build stagecc "
                 "where CUDA's headers and cudart_static are (docs/cuda.md)");
        return EXIT_ENVIRONMENT;
    }
    if (!access(s->links, R_OK))
        return EXIT_DONE;
    error_at((Loc){s->links, 0, 0}, "cannot read: %s; is stagecc installed as a whole?",
             strerror(errno));
    return EXIT_ENVIRONMENT;
}

static const char *output_file(const Session *s)
{
    return s->args->out ? s->args->out : "devices.json";
}

// Before minutes of measuring, not behind them.
static int check_output(const Session *s)
{
    const char *path = output_file(s), *slash = strrchr(path, '/');
    const char *dir = slash ? arena_strndup(s->arena, path, (size_t)(slash - path) + 1) : ".";
    if (!access(dir, W_OK))
        return EXIT_DONE;
    error_at((Loc){path, 0, 0}, "cannot write into %s: %s", dir, strerror(errno));
    return EXIT_ENVIRONMENT;
}

static int prepare(Session *s, Arena *a, const Args *args)
{
    *s = (Session){.arena = a, .args = args, .threads = (int)args->options.threads};
    bool cuda = args->backend && !strcmp(args->backend, "cuda");
    s->hosts = this_machine(a, s->threads, cuda);
    if (args->hostfile) {
        const Hosts *given = hostfile_read(a, args->hostfile);
        if (!given)
            return EXIT_INPUT;
        s->hosts = *given;
    }
    s->figures = arena_array(a, HostFigures, s->hosts.n);
    int status = check_hosts(&s->hosts, cuda);
    if (!status)
        status = check_output(s);
    return status ? status : find_programs(s);
}

static void print_steps(const Session *s)
{
    const Args *args = s->args;
    const char *command = "timeout 70 \"$d/p\" ARGUMENTS & p=$!";
    printf("programs: %s host, memory, listen, connect; %s, compiled here\n", s->links,
           args->model ? args->model : "a model of stagecc's own");
    for (int i = 0; i < s->hosts.n; i++) {
        const Host *h = &s->hosts.items[i];
        printf("%s: %d slot%s of %d thread%s, by %s%s%s\n", h->name, h->slots,
               h->slots > 1 ? "s" : "", s->threads, s->threads > 1 ? "s" : "",
               host_is_local(h->name) ? "sh" : remote_shell(),
               host_is_local(h->name) ? "" : " ", host_is_local(h->name) ? "" : h->name);
        if (h->cuda)
            printf("%s: a CUDA device a slot, by %s measure %d\n", h->name, s->card, h->slots);
    }
    printf("each program by: sh -c '%s' < PROGRAM\n", devices_script(s->arena, command, ""));
}

static int measure_all(Session *s)
{
    static int (*const steps[])(Session *) = {devices_hosts, devices_cards, devices_speeds,
                                              devices_links_inside, devices_links_between};
    int status = EXIT_DONE;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !status; i++)
        status = steps[i](s);
    return status;
}

static void remove_dir(const char *dir)
{
    process_run((const char *const[]){"rm", "-rf", "--", dir, NULL}, NULL);
}

static int write_file(const Session *s, const Devices *d, const char *path)
{
    char *json = devices_to_json(d);
    int failed = file_write(path, json, strlen(json));
    if (failed)
        error_at((Loc){path, 0, 0}, "cannot write: %s", strerror(errno));
    else if (s->args->json)
        fputs(json, stdout);
    free(json);
    return failed ? EXIT_ENVIRONMENT : EXIT_DONE;
}

static int finish(Session *s)
{
    const char *path = output_file(s);
    const Devices *d = devices_of(s);
    devices_warn(s);
    int status = write_file(s, d, path);
    if (!status && !s->args->json) {
        devices_print(s, d);
        printf("%s: %d device%s, for `stagecc plan --devices %s`\n", path, d->n,
               d->n > 1 ? "s" : "", path);
    }
    return status;
}

int command_devices(Arena *a, Args *args)
{
    Session s;
    int status = prepare(&s, a, args);
    if (status)
        return status;
    if (args->dry_run) {
        print_steps(&s);
        return EXIT_DONE;
    }
    const char *tmp = getenv("TMPDIR");
    char *dir = arena_printf(a, "%s/stagecc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!(s.dir = mkdtemp(dir)))
        fatal("cannot make a directory %s: %s", dir, strerror(errno));
    remote_catch_signals();
    status = measure_all(&s);
    remove_dir(s.dir);
    return status ? status : finish(&s);
}
