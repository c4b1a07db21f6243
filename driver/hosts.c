// Hosts of a run, and the commands that start stagecc-host there. On this machine it reads the programs
// where they were built; elsewhere from ~/.cache/stagecc/HASH, where `stagecc deploy` has put them. HASH
// is that of a manifest with the SHA-256 of every file, and all are compared before anything is started.
#include "driver/driver.h"

#include "base/sha256.h"
#include "base/text.h"
#include "control/hub.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_DIGITS = 16 };

const char *hosts_manifest(Arena *a, const char *dir)
{
    return arena_printf(a, "%s/deploy.sha256", dir);
}

const char *hosts_sha256(Arena *a, const char *file)
{
    uint8_t digest[SHA256_BYTES];
    char text[SHA256_HEX + 1];
    if (!sha256_file(file, digest))
        return NULL;
    sha256_text(digest, text);
    return arena_strdup(a, text);
}

// The programs here are those of the manifest, or somebody has built again.
static int check_own(Arena *a, const Plan *plan, const char *dir, const char *hostfile,
                     const char *manifest)
{
    for (int i = -1; i < plan->n_stages; i++) {
        const char *name = i < 0 ? "plan.json" : arena_printf(a, "stage%d", i);
        const char *path = arena_printf(a, "%s/%s", dir, name);
        const char *digits = hosts_sha256(a, path);
        if (digits && strstr(manifest, arena_printf(a, "%s  %s\n", digits, name)))
            continue;
        error_at((Loc){path, 0, 0},
                 "it is not what was deployed: `stagecc deploy %s --hostfile %s` again", dir,
                 hostfile);
        return EXIT_INPUT;
    }
    return EXIT_DONE;
}

// NULL: reported.
static const char *remote_script(Arena *a, const Plan *plan, const char *dir,
                                 const char *hostfile)
{
    const char *path = hosts_manifest(a, dir);
    char *text = file_read(path, NULL);
    if (!text) {
        error_at((Loc){dir, 0, 0},
                 "its programs are on this machine only: `stagecc deploy %s --hostfile %s` "
                 "copies them",
                 dir, hostfile);
        return NULL;
    }
    int status = check_own(a, plan, dir, hostfile, text);
    free(text);
    const char *digits = status ? NULL : hosts_sha256(a, path);
    if (!digits)
        return NULL;
    return arena_printf(
        a,
        "cd \"${XDG_CACHE_HOME:-$HOME/.cache}/stagecc/%.*s\" 2> /dev/null || "
        "{ echo \"the programs are not there: stagecc deploy copies them\" >&2; exit 2; }; "
        "e=$(echo \"%s  MANIFEST\" | sha256sum -c --quiet 2>&1 && sha256sum -c --quiet MANIFEST 2>&1) "
        "|| { echo \"${e%%%%:*} differs from what was deployed: stagecc deploy copies it "
        "again\" >&2; exit 2; }; "
        "LD_LIBRARY_PATH=\"$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\" "
        "exec ./stagecc-host .",
        NAME_DIGITS, digits, digits);
}

// Paths may hold anything, a script may not: it finds them in the environment.
static const char *local_script(const char *dir)
{
    Arena a = {0};
    setenv("STAGECC_HOST_PROGRAM", toolchain_find(&a).host, 1);
    setenv("STAGECC_HOST_DIR", dir, 1);
    arena_release(&a);
    return "exec \"$STAGECC_HOST_PROGRAM\" \"$STAGECC_HOST_DIR\"";
}

int hosts_choose(Arena *a, const Plan *plan, const char *hostfile, const Hosts **out,
                 int **host_of, int **cards)
{
    const Hosts *hosts = *out = hostfile_read(a, hostfile);
    *host_of = arena_array(a, int, plan->n_ranks);
    *cards = arena_array(a, int, plan->n_ranks);
    if (!hosts)
        return EXIT_INPUT;
    return hub_place(hosts, plan, *host_of, *cards) ? EXIT_DONE : EXIT_NO_PLAN;
}

int hosts_place(Arena *a, const Plan *plan, const char *dir, const char *hostfile,
                Placement *out)
{
    const Hosts *hosts;
    int *host_of, *cards, status = hosts_choose(a, plan, hostfile, &hosts, &host_of, &cards);
    if (status)
        return status;
    HubPlace *places = arena_array(a, HubPlace, hosts->n);
    const char *remote = NULL;
    *out = (Placement){.places = places, .place_of = host_of, .cards = cards};
    for (int i = 0; i < hosts->n; i++) {
        const char *name = hosts->items[i].name;
        bool local = host_is_local(name), used = false;
        for (int k = 0; k < plan->n_ranks; k++)
            used |= host_of[k] == i && k >= 0;
        if (!used)
            continue;
        if (!local && !remote && !(remote = remote_script(a, plan, dir, hostfile)))
            return EXIT_INPUT;
        places[out->n] = (HubPlace){.host = name, .script = local ? local_script(dir) : remote};
        for (int k = 0; k < plan->n_ranks; k++)
            if (host_of[k] == i)
                host_of[k] = -1 - out->n; // settled
        out->n++;
    }
    for (int k = 0; k < plan->n_ranks; k++)
        host_of[k] = -1 - host_of[k];
    return EXIT_DONE;
}
