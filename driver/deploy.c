// stagecc deploy: the programs of a directory, stagecc-host and every library they load beyond libc, as
// one archive to each host. It is unpacked beside its place, compared with its manifest, tried (does
// everything load, has the processor the instructions?) and then renamed.
#include "driver/driver.h"

#include "base/text.h"
#include "control/hostfile.h"
#include "control/remote.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_LIMIT_S = 600, NAME_DIGITS = 16 };

typedef VEC(const char *) Words;

typedef struct Bundle {
    Arena *arena;
    json_t *report;        // of --json; NULL: text
    const char *dir, *tmp; // of the programs; what is packed, as links
    Words files;           // names in the bundle
    const char *name;      // on the hosts
} Bundle;

// What goes along
// -------------------------------------------------------------------------------

static bool add_file(Bundle *b, const char *name, const char *path)
{
    char *whole = realpath(path, NULL);
    const char *link = arena_printf(b->arena, "%s/%s", b->tmp, name);
    for (int i = 0; i < b->files.n; i++)
        if (!strcmp(b->files.items[i], name)) {
            free(whole);
            return true;
        }
    bool good = whole && !symlink(whole, link);
    if (good)
        vec_push(b->arena, &b->files, arena_strdup(b->arena, name));
    else
        error_at((Loc){path, 0, 0}, "cannot be deployed: %s", strerror(errno));
    free(whole);
    return good;
}

// libc and what is of one piece with it is every machine's own.
static bool of_libc(const char *library)
{
    static const char *const names[] = {"linux-vdso.so", "ld-linux", "libc.so.",  "libm.so.",
                                        "libpthread.so", "libdl.so", "librt.so.", "libutil.so"};
    bool found = strchr(library, '/');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        found |= str_starts(library, names[i]);
    return found;
}

// The libraries that a program or library loads, as the loader itself tells:
// "	libdnnl.so.2 => /lib/x86_64-linux-gnu/libdnnl.so.2 (0x00007f...)".
static bool add_libraries(Bundle *b, const char *path)
{
    const char *out = arena_printf(b->arena, "%s.ldd", b->tmp);
    bool good = !process_run((const char *const[]){"ldd", path, NULL}, out);
    char *text = file_read(out, NULL), *rest = text;
    unlink(out);
    for (char *line; good && (line = strsep(&rest, "\n"));) {
        char name[256], where[4096];
        if (sscanf(line, " %255s => %4095s", name, where) != 2 || of_libc(name))
            continue;
        if (*where == '/') {
            good = add_file(b, arena_printf(b->arena, "lib/%s", name), where);
            continue;
        }
        error_at((Loc){path, 0, 0}, "it needs %s, which is not there", name);
        good = false;
    }
    free(text);
    return good;
}

// UCX is loaded when it is needed, so that the loader does not list it. Without it the programs of a
// host run among themselves all the same.
static bool add_ucx(Bundle *b)
{
    setenv("UCX_WARN_UNUSED_ENV_VARS", "n", 0);
    void *library = dlopen("libucp.so.0", RTLD_LAZY | RTLD_LOCAL);
    struct link_map *map;
    if (!library || dlinfo(library, RTLD_DI_LINKMAP, &map)) {
        warning_at(NO_LOC, "UCX is not here, so hosts need their own: apt-get install libucx0");
        return true;
    }
    return add_file(b, "lib/libucp.so.0", map->l_name) && add_libraries(b, map->l_name);
}

static bool collect(Bundle *b, const Plan *plan)
{
    const char *host = toolchain_find(b->arena).host;
    bool good = !dir_make(arena_printf(b->arena, "%s/lib", b->tmp)) &&
                add_file(b, "stagecc-host", host) && add_libraries(b, host) &&
                add_file(b, "plan.json", arena_printf(b->arena, "%s/plan.json", b->dir));
    for (int i = 0; i < plan->n_stages && good; i++) {
        const char *name = arena_printf(b->arena, "stage%d", i);
        const char *path = arena_printf(b->arena, "%s/%s", b->dir, name);
        good = add_file(b, name, path) && add_libraries(b, path);
    }
    return good && (plan->n_ranks == 1 || add_ucx(b));
}

// The manifest, in the bundle and in dir, where `stagecc run` looks for it.
static bool write_manifest(Bundle *b)
{
    Text t = {0};
    const char *path = hosts_manifest(b->arena, b->dir);
    for (int i = 0; i < b->files.n; i++) {
        const char *name = b->files.items[i];
        const char *digits =
            hosts_sha256(b->arena, arena_printf(b->arena, "%s/%s", b->tmp, name));
        text_printf(&t, "%s  %s\n", digits ? digits : "", name);
    }
    bool good = !file_write(path, t.data, t.length);
    if (!good)
        error_at((Loc){path, 0, 0}, "cannot write: %s", strerror(errno));
    text_release(&t);
    const char *digits = good ? hosts_sha256(b->arena, path) : NULL;
    b->name = digits ? arena_strndup(b->arena, digits, NAME_DIGITS) : NULL;
    return digits && add_file(b, "MANIFEST", path);
}

// NULL: reported.
static const char *pack(Bundle *b)
{
    const char *archive = arena_printf(b->arena, "%s.tar", b->tmp);
    const char *const argv[] = {"tar", "-c", "-h", "-f", archive, "-C", b->tmp, ".", NULL};
    if (!process_run(argv, NULL))
        return archive;
    error_at(NO_LOC, "tar cannot pack the programs of %s", b->dir);
    return NULL;
}

// To the hosts
// ------------------------------------------------------------------------------------

static const char *copy_script(const Bundle *b)
{
    return arena_printf(
        b->arena,
        "d=\"${XDG_CACHE_HOME:-$HOME/.cache}/stagecc\"; n=\"$d/%s.$$\"; "
        "if cd \"$d/%s\" 2> /dev/null && sha256sum -c --status MANIFEST; then echo same; "
        "else umask 077; mkdir -p \"$n\" && cd \"$n\" && tar -x -f - && "
        "sha256sum -c --quiet MANIFEST >&2 && rm -rf \"$d/%s\" && mv \"$n\" \"$d/%s\" || "
        "{ rm -rf \"$n\"; exit 2; }; echo new; fi; cd \"$d/%s\" && for p in stage[0-9]*; do "
        "LD_LIBRARY_PATH=\"$PWD/lib\" ./$p --check || exit $?; done",
        b->name, b->name, b->name, b->name, b->name);
}

static void tell(const Bundle *b, const Remote *r)
{
    bool same = r->out.data && str_starts(r->out.data, "same");
    if (b->report)
        json_array_append_new(json_object_get(b->report, "hosts"),
                              json_pack("{s:s, s:b}", "host", r->host, "copied", !same));
    else
        printf("%s: %s\n", r->host, same ? "has the same programs already" : "copied");
}

static int copy_to_all(const Bundle *b, const Hosts *hosts, const char *archive)
{
    Remote *r = arena_array(b->arena, Remote, hosts->n);
    const char *script = copy_script(b);
    int status = EXIT_DONE;
    for (int i = 0; i < hosts->n; i++)
        if (!host_is_local(hosts->items[i].name) &&
            !remote_start(b->arena, &r[i], hosts->items[i].name, script, archive))
            fatal("cannot start a process for %s: %s", hosts->items[i].name, strerror(errno));
    for (int i = 0; i < hosts->n; i++) {
        if (!r[i].host)
            continue;
        RemoteEnd end = remote_wait(&r[i], COPY_LIMIT_S, false);
        int failed = EXIT_DONE;
        if (end == REMOTE_ENDED && !r[i].status)
            tell(b, &r[i]);
        else
            failed = remote_failed(b->arena, &r[i], end, "deploying");
        status = status ? status : failed;
        remote_end(&r[i]);
    }
    return status;
}

static int deploy(Bundle *b, const Plan *plan, const Hosts *hosts)
{
    if (!collect(b, plan) || !write_manifest(b))
        return EXIT_ENVIRONMENT;
    const char *archive = pack(b);
    int status = archive ? copy_to_all(b, hosts, archive) : EXIT_ENVIRONMENT;
    if (archive)
        unlink(archive);
    if (b->report && !status) {
        json_object_set_new(b->report, "bundle", json_string(b->name));
        json_object_set_new(b->report, "files", json_integer(b->files.n));
        json_dumpf(b->report, stdout, JSON_SORT_KEYS);
        putchar('\n');
    }
    return status;
}

static Plan *read_plan(Arena *a, const char *dir)
{
    const char *path = arena_printf(a, "%s/plan.json", dir);
    char *text = file_read(path, NULL);
    if (!text)
        error_at((Loc){path, 0, 0}, "cannot read the plan: %s; `stagecc build` makes one",
                 strerror(errno));
    Plan *plan = text ? plan_from_json(a, path, text) : NULL;
    free(text);
    return plan;
}

static void print_steps(const Bundle *b, const Hosts *hosts)
{
    for (int i = 0; i < hosts->n; i++)
        if (!host_is_local(hosts->items[i].name))
            printf("%s: the programs of %s and their libraries, by %s %s\n",
                   hosts->items[i].name, b->dir, remote_shell(), hosts->items[i].name);
}

int command_deploy(Arena *a, Args *args)
{
    if (!args->hostfile) {
        error_at(NO_LOC, "deploy needs --hostfile FILE: the hosts to copy to");
        return EXIT_INPUT;
    }
    const Plan *plan = read_plan(a, args->operand);
    const Hosts *hosts = plan ? hostfile_read(a, args->hostfile) : NULL;
    if (!hosts)
        return EXIT_INPUT;
    const char *tmp = getenv("TMPDIR");
    char *name = arena_printf(a, "%s/stagecc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    Bundle b = {.arena = a, .dir = args->operand};
    if (args->dry_run) {
        print_steps(&b, hosts);
        return EXIT_DONE;
    }
    if (args->json)
        b.report = json_pack("{s:[]}", "hosts");
    if (!(b.tmp = mkdtemp(name)))
        fatal("cannot make a directory %s: %s", name, strerror(errno));
    remote_catch_signals();
    int status = deploy(&b, plan, hosts);
    process_run((const char *const[]){"rm", "-rf", "--", b.tmp, NULL}, NULL);
    json_decref(b.report);
    return status;
}
