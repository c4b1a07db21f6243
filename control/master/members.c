// Who may come in, what members are called, and where other workers reach them.
#include "control/master/server.h"

#include "control/interface.h"

#include <string.h>
#include <sys/stat.h>

// The list as it is now: people add lines while a job runs. What is wrong was reported; the one before stays.
static void read_list(Server *s)
{
    struct stat st;
    if (stat(s->options->allow, &st))
        return;
    if (s->allowed && st.st_mtim.tv_sec == s->allow_time.tv_sec &&
        st.st_mtim.tv_nsec == s->allow_time.tv_nsec)
        return;
    Arena a = {0};
    const AllowList *list = allow_read(&a, s->options->allow);
    s->allow_time = st.st_mtim;
    if (list) {
        arena_release(&s->allow_arena);
        s->allow_arena = a;
        s->allowed = list;
    } else {
        arena_release(&a);
    }
}

bool members_admit(void *server, const CurveKey key)
{
    Server *s = server;
    read_list(s);
    return !strcmp(key, s->options->key.public_key) ||
           (s->allowed && allow_key(s->allowed, key));
}

uint32_t members_find(const Server *s, const PublicKey *key)
{
    uint32_t w = 0;
    while (w < s->core.n_members && memcmp(&s->core.members[w].key, key, sizeof *key) != 0)
        w++;
    return w;
}

// {"name": "h1", "peer": "tcp://10.0.0.3:41234"}; of the names, that of the list counts.
void members_hello(Server *s, const CurveKey key, const Message *m)
{
    PublicKey public_key;
    curve_bytes(public_key.bytes, key);
    uint32_t w = members_find(s, &public_key);
    if (w == s->core.n_members)
        return; // there is no place for it
    Face *face = &s->faces[w];
    json_t *said = json_loadb(m->rest, m->rest_bytes, 0, NULL);
    const char *peer = json_string_value(json_object_get(said, "peer"));
    const AllowedKey *listed = s->allowed ? allow_key(s->allowed, key) : NULL;
    if (!*face->name) // who says hello again and again keeps nobody waiting
        s->joined_ns = progress_now_ns();
    snprintf(face->name, sizeof face->name, "%s", listed ? listed->name : "master");
    bool usable = peer && strlen(peer) < sizeof face->peer && interface_endpoint(peer);
    snprintf(face->peer, sizeof face->peer, "%s", usable ? peer : "");
    memcpy(face->key, key, sizeof face->key);
    json_decref(said);
}

const char *members_name(const Server *s, uint32_t worker)
{
    return worker < MOST_WORKERS && *s->faces[worker].name ? s->faces[worker].name : "?";
}

const char *members_called(void *server, uint32_t worker)
{
    return members_name(server, worker);
}
