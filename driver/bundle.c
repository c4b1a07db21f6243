#include "driver/bundle.h"

#include "base/text.h"
#include "control/remote.h"
#include "driver/driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_LIMIT_S = 600, NAME_DIGITS = 16 };

void bundle_begin(Bundle *b, Arena *a, const char *what)
{
    const char *tmp = getenv("TMPDIR");
    char *name = arena_printf(a, "%s/stagecc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    *b = (Bundle){.arena = a, .what = what};
    if (!(b->tmp = mkdtemp(name)) || dir_make(arena_printf(a, "%s/lib", name)))
        fatal("cannot make a directory %s: %s", name, strerror(errno));
    remote_catch_signals();
}

void bundle_end(Bundle *b)
{
    process_run((const char *const[]){"rm", "-rf", "--", b->tmp, NULL}, NULL);
    if (b->archive)
        unlink(b->archive);
}

// What goes along
// -------------------------------------------------------------------------------

bool bundle_file(Bundle *b, const char *name, const char *path)
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
    static const char *const names[] = {"linux-vdso.so", "ld-linux",      "libc.so.",
                                        "libm.so.",      "libpthread.so", "libdl.so",
                                        "librt.so.",     "libutil.so",    "libresolv.so.",
                                        "libanl.so.",    "libmvec.so."};
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
            good = bundle_file(b, arena_printf(b->arena, "lib/%s", name), where);
            continue;
        }
        error_at((Loc){path, 0, 0}, "it needs %s, which is not there", name);
        good = false;
    }
    free(text);
    return good;
}

bool bundle_program(Bundle *b, const char *name, const char *path)
{
    return bundle_file(b, name, path) && add_libraries(b, path);
}

bool bundle_loaded(Bundle *b, const char *soname)
{
    void *library = dlopen(soname, RTLD_LAZY | RTLD_LOCAL);
    struct link_map *map;
    return library && !dlinfo(library, RTLD_DI_LINKMAP, &map) &&
           bundle_program(b, arena_printf(b->arena, "lib/%s", soname), map->l_name);
}

static bool write_manifest(Bundle *b, const char *path)
{
    Text t = {0};
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
    return digits && bundle_file(b, "MANIFEST", path);
}

bool bundle_close(Bundle *b, const char *manifest)
{
    const char *archive = arena_printf(b->arena, "%s.tar", b->tmp);
    const char *const argv[] = {"tar", "-c", "-h", "-f", archive, "-C", b->tmp, ".", NULL};
    if (!write_manifest(b, manifest))
        return false;
    b->archive = archive;
    if (!process_run(argv, NULL))
        return true;
    error_at(NO_LOC, "tar cannot pack %s", b->what);
    return false;
}

// To the hosts
// ------------------------------------------------------------------------------------

const char *bundle_place(const Bundle *b)
{
    return arena_printf(b->arena, "${XDG_CACHE_HOME:-$HOME/.cache}/stagecc/%s", b->name);
}

static const char *copy_script(const Bundle *b, const char *trial)
{
    return arena_printf(
        b->arena,
        "d=\"%s\"; n=\"$d.$$\"; "
        "if cd \"$d\" 2> /dev/null && sha256sum -c --status MANIFEST; then echo same; "
        "else umask 077; mkdir -p \"$n\" && cd \"$n\" && tar -x -f - && "
        "sha256sum -c --quiet MANIFEST >&2 && rm -rf \"$d\" && mv \"$n\" \"$d\" || "
        "{ rm -rf \"$n\"; exit 2; }; echo new; fi; cd \"$d\" && %s",
        bundle_place(b), trial);
}

static void start_copies(const Bundle *b, Remote *r, const Hosts *hosts, const char *script)
{
    for (int i = 0; i < hosts->n; i++)
        if (!host_is_local(hosts->items[i].name) &&
            !remote_start(b->arena, &r[i], hosts->items[i].name, script, b->archive))
            fatal("cannot start a process for %s: %s", hosts->items[i].name, strerror(errno));
}

int bundle_copy(Bundle *b, const Hosts *hosts, const char *trial,
                void (*told)(void *user, const char *host, bool copied), void *user)
{
    Remote *r = arena_array(b->arena, Remote, hosts->n);
    int status = EXIT_DONE;
    start_copies(b, r, hosts, copy_script(b, trial));
    for (int i = 0; i < hosts->n; i++) {
        if (!r[i].host)
            continue;
        RemoteEnd end = remote_wait(&r[i], COPY_LIMIT_S, false);
        int failed = EXIT_DONE;
        if (end == REMOTE_ENDED && !r[i].status)
            told(user, r[i].host, !r[i].out.data || !str_starts(r[i].out.data, "same"));
        else
            failed = remote_failed(b->arena, &r[i], end, "deploying");
        status = status ? status : failed;
        remote_end(&r[i]);
    }
    return status;
}
