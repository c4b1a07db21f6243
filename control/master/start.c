// What START and WARM say beside the epoch (control/worker/start.h).
#include "control/master/server.h"

#include <unistd.h>

// Programs of two epochs never take each other's messages for their own.
static uint64_t job_number(const Server *s, const Epoch *e)
{
    uint64_t x = s->secret ^ e->number * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) | 1;
}

static json_t *files_json(const BuiltPlan *built)
{
    json_t *files = json_array();
    for (int i = 0; built && i < built->n_files; i++)
        json_array_append_new(files, json_pack("[s, s, I]", built->files[i].name,
                                               built->files[i].sha256,
                                               (json_int_t)built->files[i].bytes));
    return files;
}

// Those who have states for it, too, and whoever else is there.
static json_t *peers_json(const Server *s)
{
    json_t *peers = json_array();
    for (uint32_t w = 0; w < s->core.n_members; w++)
        if (*s->faces[w].peer)
            json_array_append_new(
                peers, json_pack("[i, s, s]", (int)w, s->faces[w].peer, s->faces[w].key));
    return peers;
}

char *start_text(Server *s, const Epoch *e)
{
    char directory[4096] = "/", job[17];
    json_t *options = json_array();
    for (int i = 0; i < s->options->n_options; i++)
        json_array_append_new(options, json_string(s->options->options[i]));
    if (!getcwd(directory, sizeof directory))
        *directory = 0;
    snprintf(job, sizeof job, "%016llx", (unsigned long long)job_number(s, e));
    json_t *start =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:f, s:o}", "job", job, "directory", directory,
                  "model", s->options->model, "files", files_json(ledger_built(s, e->plan)),
                  "options", options, "rehearse", s->options->rehearse, "peers", peers_json(s));
    char *text = json_dumps(start, JSON_COMPACT);
    json_decref(start);
    return text;
}
