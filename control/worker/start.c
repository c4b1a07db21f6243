#include "control/worker/start.h"

#include "control/keys.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_DIGITS = 16 };

static bool read_files(Arena *a, Start *s, const json_t *list)
{
    s->n_files = (int)json_array_size(list);
    s->files = arena_array(a, File, s->n_files + 1);
    for (int i = 0; i < s->n_files; i++) {
        const char *name = NULL, *hash = NULL;
        json_int_t bytes = 0;
        File *f = &s->files[i];
        if (json_unpack(json_array_get(list, (size_t)i), "[s, s, I]", &name, &hash, &bytes) ||
            bytes < 0 || !key_name_good(name) || strlen(name) >= sizeof f->name ||
            !sha256_parse(hash, f->hash))
            return false;
        memcpy(f->name, name, strlen(name));
        f->bytes = (uint64_t)bytes;
    }
    return true;
}

static bool read_options(Arena *a, Start *s, const json_t *list)
{
    s->n_options = (int)json_array_size(list);
    s->options = arena_array(a, const char *, s->n_options + 1);
    for (int i = 0; i < s->n_options; i++) {
        const char *option = json_string_value(json_array_get(list, (size_t)i));
        if (!option)
            return false;
        s->options[i] = arena_strdup(a, option);
    }
    return true;
}

static bool read_peers(Arena *a, Start *s, const json_t *list)
{
    s->n_peers = (int)json_array_size(list);
    s->peers = arena_array(a, StartPeer, s->n_peers + 1);
    for (int i = 0; i < s->n_peers; i++) {
        const char *endpoint = NULL, *key = NULL;
        json_int_t worker = 0;
        StartPeer *p = &s->peers[i];
        if (json_unpack(json_array_get(list, (size_t)i), "[I, s, s]", &worker, &endpoint,
                        &key) ||
            worker < 0 || worker >= MOST_WORKERS || !curve_key_good(key, strlen(key)))
            return false;
        p->worker = (uint16_t)worker;
        p->endpoint = arena_strdup(a, endpoint);
        memcpy(p->key, key, CURVE_CHARS);
    }
    return true;
}

static bool read_job(Start *s, const char *digits)
{
    char *end;
    errno = 0;
    s->job = strtoull(digits, &end, 16);
    return strlen(digits) == JOB_DIGITS && !*end && !errno && s->job;
}

static const char *wrong(Arena *a, Start *s, const json_t *json)
{
    const char *job = NULL, *directory = NULL, *model = "";
    json_t *files = NULL, *options = NULL, *peers = NULL;
    if (json_unpack((json_t *)(uintptr_t)json, "{s:s, s?s, s?s, s:o, s:o, s?F, s:o}", "job",
                    &job, "directory", &directory, "model", &model, "files", &files, "options",
                    &options, "rehearse", &s->rehearse, "peers", &peers))
        return "it lacks something";
    s->directory = directory ? arena_strdup(a, directory) : NULL;
    s->model = arena_strdup(a, model);
    if (!read_job(s, job))
        return "the job's number is none";
    if (!read_files(a, s, files))
        return "of its files";
    if (!read_options(a, s, options))
        return "of its options";
    return read_peers(a, s, peers) ? NULL : "of its workers";
}

bool start_parse(Arena *a, Start *s, const char *text, size_t bytes, char why[START_WHY])
{
    json_t *json = json_loadb(text, bytes, 0, NULL);
    *s = (Start){0};
    const char *what = json ? wrong(a, s, json) : "it is no JSON";
    if (what)
        snprintf(why, START_WHY, "the master's START cannot be read: %s", what);
    json_decref(json);
    return !what;
}
