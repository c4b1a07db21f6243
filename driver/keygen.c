// stagecc keygen: key files of a master and its workers, and its allow list (docs/keys.md). All that is there
// is read and checked before the first file is written; a key is on the disk before it is listed.
#include "driver/driver.h"

#include "base/text.h"
#include "control/allow.h"
#include "control/keys.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WORKERS = 4096 };

typedef enum State { KEPT, MADE, REPLACED } State;
static const char *const state_names[] = {"kept", "made", "replaced"};

typedef struct Member {
    const char *name, *file;
    const char *public_key; // NULL: not known, of a worker that is not listed
    State state;
} Member;

typedef struct Keygen {
    Arena *arena;
    const Args *args;
    bool keep; // who is named and has a key keeps it
    Member master;
    VEC(Member) workers; // those of the command line
    const char *list_file;
    Text list; // its text, as it is and as it will be
    const AllowList *allowed;
    int n_listed;
} Keygen;

static const char *key_file(const Keygen *g, const char *name)
{
    return arena_printf(g->arena, "%s/%s.key", g->args->out, name);
}

static Loc of_file(const char *file)
{
    return (Loc){file, 0, 0};
}

// What is asked for
// ------------------------------------------------------------------------------------------------

static bool add_worker(Keygen *g, const char *name)
{
    bool reserved = !strcmp(name, g->master.name), twice = false;
    for (int i = 0; i < g->workers.n; i++)
        twice |= !strcmp(g->workers.items[i].name, name);
    if (!key_name_good(name))
        error_at(NO_LOC,
                 "`%s` is no name of a worker: up to %d letters, digits and ._- (none of the "
                 "last three in front)",
                 name, KEY_NAME);
    else if (reserved || twice)
        error_at(NO_LOC,
                 reserved ? "the master itself is called `%s`: give the worker another name"
                          : "%s is named twice: each worker has a name of its own",
                 name);
    else {
        vec_push(g->arena, &g->workers, ((Member){.name = name, .file = key_file(g, name)}));
        return true;
    }
    return false;
}

static int read_arguments(Keygen *g)
{
    const Args *args = g->args;
    int n = 0;
    if (!args->out)
        error_at(NO_LOC, "stagecc keygen needs -o DIR, where the keys go");
    else if (args->workers && args->names.n)
        error_at(NO_LOC, "name the workers or give their number, not both");
    else if (args->replace && !args->names.n)
        error_at(NO_LOC,
                 "--replace is of workers that are named: stagecc keygen -o %s --replace NAME",
                 args->out);
    if (diag_errors() || !whole_number("workers", args->workers, MAX_WORKERS, &n))
        return EXIT_INPUT;
    g->master.name = "master";
    g->master.file = key_file(g, g->master.name);
    g->list_file = arena_printf(g->arena, "%s/workers.allow", args->out);
    bool good = true;
    for (int i = 0; i < n; i++)
        good &= add_worker(g, arena_printf(g->arena, "worker%d", i + 1));
    for (int i = 0; i < args->names.n; i++)
        good &= add_worker(g, args->names.items[i]);
    return good ? EXIT_DONE : EXIT_INPUT;
}

// What is there
// ------------------------------------------------------------------------------------------------

static int read_list(Keygen *g)
{
    size_t n;
    char *text = file_read(g->list_file, &n);
    if (text)
        text_append(&g->list, text, n);
    else if (errno == ENOENT)
        text_puts(&g->list, "# the workers that the master lets in: public key, name\n");
    else
        error_at(of_file(g->list_file), "cannot read the allow list: %s", strerror(errno));
    free(text);
    g->allowed = g->list.data ? allow_parse(g->arena, g->list_file, g->list.data) : NULL;
    g->n_listed = g->allowed ? g->allowed->n : 0;
    return g->allowed ? EXIT_DONE : EXIT_INPUT;
}

static int read_master(Keygen *g)
{
    Key k;
    if (access(g->master.file, F_OK)) {
        g->master.state = MADE;
        if (!g->allowed->n)
            return EXIT_DONE;
        error_at(
            of_file(g->master.file),
            "is missing, and the workers of %s know this master by it: restore it, or make "
            "all keys anew in another folder",
            g->list_file);
        return EXIT_INPUT;
    }
    int status = key_read(&k, g->master.file);
    if (status)
        return status;
    bool own = !*k.master;
    g->master.public_key = arena_strdup(g->arena, k.public_key);
    key_wipe(&k);
    if (!own)
        error_at(of_file(g->master.file), "is the key of a worker, not of a master");
    return own ? EXIT_DONE : EXIT_INPUT;
}

// A worker whose key was taken to its machine is known by its line in the list.
static bool settle_worker(const Keygen *g, Member *w)
{
    const AllowedKey *listed = allow_name(g->allowed, w->name);
    bool here = !access(w->file, F_OK), known = here || listed, named = g->args->names.n > 0;
    w->public_key = listed ? listed->public_key : NULL;
    w->state = !known ? MADE : named && !g->keep ? REPLACED : KEPT;
    if (w->state == REPLACED && !g->args->replace)
        error_at(
            here ? of_file(w->file) : listed->loc,
            "%s has a key already; --replace makes a new one, and the old one counts no longer",
            w->name);
    else if (named && !known && g->args->replace)
        error_at(of_file(g->list_file), "%s has no key that could be replaced", w->name);
    else
        return true;
    return false;
}

static int read_folder(Keygen *g)
{
    if (dir_make(g->args->out)) {
        error_at(of_file(g->args->out),
                 "the folder cannot be made: %s; name another one with -o", strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    int status = read_list(g);
    if (!status)
        status = read_master(g);
    for (int i = 0; !status && i < g->workers.n; i++)
        status = settle_worker(g, &g->workers.items[i]) ? EXIT_DONE : EXIT_INPUT;
    return status;
}

// What is made
// ------------------------------------------------------------------------------------------------

static int make_key(Keygen *g, Member *m, const char *master)
{
    Key k;
    int status = key_make(&k, m->name, master);
    if (!status)
        status = key_write(&k, m->file, m->state == REPLACED);
    m->public_key = arena_strdup(g->arena, k.public_key);
    key_wipe(&k);
    return status;
}

static void list_worker(Keygen *g, const Member *w)
{
    const AllowedKey *listed = allow_name(g->allowed, w->name);
    Text *t = &g->list;
    if (listed) {
        memcpy(t->data + listed->offset, w->public_key, CURVE_CHARS);
        return;
    }
    if (t->length && t->data[t->length - 1] != '\n')
        text_puts(t, "\n");
    text_printf(t, "%s %s\n", w->public_key, w->name);
    g->n_listed++;
}

static int make_all(Keygen *g)
{
    int status = g->master.state == KEPT ? EXIT_DONE : make_key(g, &g->master, NULL);
    if (status)
        return status;
    for (int i = 0; !status && i < g->workers.n; i++) {
        Member *w = &g->workers.items[i];
        if (w->state == KEPT)
            continue;
        status = make_key(g, w, g->master.public_key);
        if (!status)
            list_worker(g, w);
    }
    if (file_write(g->list_file, g->list.data,
                   g->list.length)) { // with those before one that failed
        error_at(of_file(g->list_file), "cannot be written: %s", strerror(errno));
        status = EXIT_ENVIRONMENT;
    }
    return status;
}

// What is said
// ------------------------------------------------------------------------------------------------

static json_t *member_json(const Member *m)
{
    return json_pack("{s:s, s:s, s:s?, s:s}", "name", m->name, "file", m->file, "public",
                     m->public_key, "state", state_names[m->state]);
}

static void show_json(const Keygen *g)
{
    json_t *workers = json_array();
    for (int i = 0; i < g->workers.n; i++)
        json_array_append_new(workers, member_json(&g->workers.items[i]));
    json_t *all = json_pack("{s:s, s:o, s:s, s:o}", "directory", g->args->out, "master",
                            member_json(&g->master), "allow", g->list_file, "workers", workers);
    json_dumpf(all, stdout, 0);
    putchar('\n');
    json_decref(all);
}

static void show(const Keygen *g)
{
    int made = 0;
    printf("%s: %s; stays with the master\n", g->master.file, state_names[g->master.state]);
    printf("%s: lists %d worker%s; stays with the master\n", g->list_file, g->n_listed,
           g->n_listed == 1 ? "" : "s");
    for (int i = 0; i < g->workers.n; i++) {
        const Member *w = &g->workers.items[i];
        made += w->state != KEPT;
        if (w->state != KEPT)
            printf("%s: %s; goes to %s\n", w->file, state_names[w->state], w->name);
        else if (w->public_key)
            printf("%s: kept\n", w->name);
        else
            printf("%s: kept, and not let in: %s does not list it\n", w->name, g->list_file);
    }
    if (made)
        puts(
            "Copy each worker's key to its machine alone (scp -p keeps its mode), then delete it "
            "here: whoever has it\nis let in as that worker.");
}

// Keys that were there before have to be there still, and let in.
static bool can_come(const Keygen *g, const Member *w)
{
    if (w->state != KEPT)
        return true;
    if (access(w->file, F_OK))
        error_at(of_file(w->file),
                 "is missing, and %s lists %s: restore it, or `stagecc keygen -o %s --replace "
                 "%s` makes another one",
                 g->list_file, w->name, g->args->out, w->name);
    else if (!w->public_key)
        error_at(of_file(w->file), "is the key of a worker that %s does not list",
                 g->list_file);
    else
        return true;
    return false;
}

int keygen_missing(Arena *a, const char *dir, const char *const *names, int n)
{
    Args args = {.out = dir};
    Keygen g = {.arena = a, .args = &args, .keep = true};
    for (int i = 0; i < n; i++)
        vec_push(a, &args.names, names[i]);
    int status = read_arguments(&g);
    if (!status)
        status = read_folder(&g);
    for (int i = 0; !status && i < n; i++)
        status = can_come(&g, &g.workers.items[i]) ? EXIT_DONE : EXIT_INPUT;
    if (!status)
        status = make_all(&g);
    text_release(&g.list);
    return status;
}

int command_keygen(Arena *a, Args *args)
{
    Keygen g = {.arena = a, .args = args};
    int status = read_arguments(&g);
    if (!status)
        status = read_folder(&g);
    if (!status)
        status = make_all(&g);
    if (!status && args->json)
        show_json(&g);
    else if (!status)
        show(&g);
    text_release(&g.list);
    return status;
}
