#include "runtime/cuda/card/plan_folder.h"

#include "runtime/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool rt__plans_beside(char path[RT__PATH])
{
    ssize_t n = readlink("/proc/self/exe", path, RT__PATH - sizeof ".plans");
    if (n < 0)
        return false;
    memcpy(path + n, ".plans", sizeof ".plans");
    return true;
}

bool rt__plan_folder_find(char path[RT__PATH])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool given =
        cache && *cache == '/'; // others do not count (XDG Base Directory Specification)
    if (!given && !(home && *home))
        return false;
    int n = snprintf(path, RT__PATH, "%s%s/stagecc/plans", given ? cache : home,
                     given ? "" : "/.cache");
    return n < RT__PATH;
}

// FNV-1a, of strings with their ends.
static uint64_t hash(uint64_t so_far, const char *text)
{
    do
        so_far = (so_far ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    while (*text++);
    return so_far;
}

static void path_of(const rt__plan_folder *f, const char *key, char path[RT__PATH])
{
    char name[32];
    uint64_t both = hash(hash(UINT64_C(0xcbf29ce484222325), f->whose), key);
    snprintf(name, sizeof name, "%016" PRIx64, both);
    rt__path_join(path, f->path, name);
}

void rt__plan_folder_read(rt_stage *s, const rt__plan_folder *f, const char *key,
                          rt__plans *plans)
{
    char path[RT__PATH];
    rt__plans found;
    rt__why why;
    path_of(f, key, path);
    if (rt__plans_read(&found, path, f->whose, &why))
        rt__report_warning(s, why.text);
    for (int i = 0; i < found.n; i++) {
        rt__kept_plan *k = &found.items[i];
        if (strcmp(k->key, key) != 0)
            continue;
        rt__plans_add(plans, key, k->implementation, k->json, k->json_bytes);
        k->json = NULL; // is theirs now
    }
    rt__plans_release(&found);
}

void rt__plan_folder_write(rt_stage *s, rt__plan_folder *f, const rt__kept_plan *plan)
{
    char path[RT__PATH];
    rt__kept_plan one = *plan;
    const rt__plans only = {.items = &one, .n = 1};
    rt__why why;
    if (f->full)
        return;
    path_of(f, plan->key, path);
    int error = rt__dir_make(f->path, &why);
    if (!error)
        error = rt__plans_write(&only, path, f->whose, &why);
    if (error)
        rt__report_warning(s, why.text);
    f->full = error;
}
