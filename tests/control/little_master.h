// A master without a mind, for tests of workers: it says what the test wants said, keeps what workers say, and commits
// what they hold.
#ifndef STAGECC_TESTS_CONTROL_LITTLE_MASTER_H
#define STAGECC_TESTS_CONTROL_LITTLE_MASTER_H

#include "base/sha256.h"
#include "base/text.h"
#include "control/message.h"
#include "control/progress.h"
#include "control/zmq/net.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LITTLE_WORKERS = 3, LITTLE_STEPS = 64 };

typedef struct LittleWorker {
    Key key;
    bool here, left;
    Hello has;
    char peer[NET_ENDPOINT];
    Beat beat;
    uint32_t ended, cannot; // how often
    int32_t ended_status;
    char why[256]; // of the last CANNOT or ENDED
} LittleWorker;

enum { LITTLE_FILES = 4 };
static const char *const little_names[LITTLE_FILES] = {"plan.json", "parts.json", "stage0",
                                                       "stage1"};

typedef struct LittleFile {
    uint8_t hash[SHA256_BYTES];
    char *data;
    size_t bytes;
} LittleFile;

typedef struct LittleMaster {
    Key key;
    Net *net;
    NetSocket *listen;
    const char *dir; // of the programs
    char read[512];  // of which these are
    LittleFile files[LITTLE_FILES];
    LittleWorker workers[LITTLE_WORKERS];
    int n_workers;
    Epoch epoch;
    Order order;
    bool commits;                    // what all hold
    uint64_t most;                   // and no step beyond
    char bits[LITTLE_STEPS + 1][16]; // of the losses
    int doubles, times, timelines;
    uint8_t frame[NET_MOST];
    double rehearse; // of programs
} LittleMaster;

static inline int little_number(const LittleMaster *m, const CurveKey key)
{
    for (int w = 0; w < m->n_workers; w++)
        if (!strcmp(m->workers[w].key.public_key, key))
            return w;
    return -1;
}

static inline bool little_admits(void *user, const CurveKey key)
{
    return little_number(user, key) >= 0;
}

static inline void little_open(LittleMaster *m, const char *dir, int n_workers)
{
    *m =
        (LittleMaster){.dir = dir, .n_workers = n_workers, .commits = true, .most = UINT64_MAX};
    key_make(&m->key, "master", NULL);
    for (int w = 0; w < n_workers; w++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", w);
        key_make(&m->workers[w].key, name, m->key.public_key);
    }
    m->net = net_open(&m->key);
    m->listen = net_listen(m->net, "tcp://127.0.0.1:*", little_admits, m);
}

static inline void little_send(LittleMaster *m, int worker, const Message *message)
{
    size_t bytes = message_put(m->frame, sizeof m->frame, message);
    net_send(m->listen, m->workers[worker].key.public_key, m->frame, bytes);
}

// Orders and epochs
// ------------------------------------------------------------------------------------------------

static inline void little_order(LittleMaster *m, OrderKind what)
{
    m->order.epoch = m->epoch.number;
    m->order.what = what;
    for (int w = 0; w < m->n_workers; w++)
        if (m->workers[w].here)
            little_send(m, w, &(Message){.id = MESSAGE_ORDER, .order = m->order});
}

static inline void little_forget(LittleMaster *m)
{
    for (int i = 0; i < LITTLE_FILES; i++)
        free(m->files[i].data);
    memset(m->files, 0, sizeof m->files);
    *m->read = 0;
}

// Once: workers ask for them a piece at a time.
static inline void little_read(LittleMaster *m)
{
    if (!strcmp(m->read, m->dir))
        return;
    little_forget(m);
    snprintf(m->read, sizeof m->read, "%s", m->dir);
    for (int i = 0; i < LITTLE_FILES; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", m->dir, little_names[i]);
        m->files[i].data = file_read(path, &m->files[i].bytes);
        sha256_file(path, m->files[i].hash);
    }
}

static inline json_t *little_file(LittleMaster *m, int i)
{
    char hex[SHA256_HEX + 1];
    little_read(m);
    sha256_text(m->files[i].hash, hex);
    return json_pack("[s, s, I]", little_names[i], hex, (json_int_t)m->files[i].bytes);
}

// Tells all of m->epoch. options: of the programs, ended by NULL.
static inline void little_start(LittleMaster *m, const char *const *options)
{
    char job[24];
    json_t *files = json_array(), *words = json_array(), *peers = json_array();
    snprintf(job, sizeof job, "%016" PRIx64, UINT64_C(0x1234500000000000) + m->epoch.number);
    for (int i = 0; i < LITTLE_FILES; i++)
        json_array_append_new(files, little_file(m, i));
    for (int i = 0; options[i]; i++)
        json_array_append_new(words, json_string(options[i]));
    for (int w = 0; w < m->n_workers; w++)
        json_array_append_new(
            peers, json_pack("[i, s, s]", w, m->workers[w].peer, m->workers[w].key.public_key));
    json_t *all = json_pack("{s:s, s:s, s:s, s:o, s:o, s:f, s:o}", "job", job, "directory", "/",
                            "model", "mlp", "files", files, "options", words, "rehearse",
                            m->rehearse, "peers", peers);
    char *text = json_dumps(all, 0);
    for (int w = 0; w < m->n_workers; w++)
        little_send(m, w,
                    &(Message){.id = MESSAGE_START,
                               .start = m->epoch,
                               .rest = text,
                               .rest_bytes = strlen(text)});
    free(text);
    json_decref(all);
    little_order(m, ORDER_PREPARE);
}

static inline bool little_holds(const LittleMaster *m, int worker, uint64_t step, uint64_t made,
                                uint64_t parts)
{
    const Beat *b = &m->workers[worker].beat;
    return !(parts & ~held_parts(b->held, b->n_held, step, made));
}

static inline bool little_all_hold(const LittleMaster *m, uint64_t step, bool copied)
{
    uint64_t made = epoch_made(&m->epoch, step);
    for (uint32_t i = 0; i < m->epoch.n_ranks; i++) {
        const EpochRank *r = &m->epoch.ranks[i];
        bool copy = !copied || r->copier == NOBODY;
        if (!little_holds(m, r->worker, step, made, r->runs) ||
            (!copy && !little_holds(m, r->copier, step, made, r->owns)))
            return false;
    }
    return true;
}

// The next step, when all who run it have it, and their copiers.
static inline void little_commit(LittleMaster *m)
{
    Order before = m->order;
    if (m->order.what != ORDER_GO)
        return;
    uint64_t next = epoch_point(&m->epoch, m->order.committed + 1, m->order.last);
    if (m->commits && next <= m->most && little_all_hold(m, next, true))
        m->order.committed = next;
    for (next = m->order.last; next > m->order.saved && m->epoch.copy_every > 1; next--)
        if (little_all_hold(m, next, false))
            m->order.saved = next;
    if (m->order.saved < m->order.committed)
        m->order.saved = m->order.committed;
    if (memcmp(&before, &m->order, sizeof before) != 0)
        little_order(m, ORDER_GO);
}

// What workers say
// ------------------------------------------------------------------------------------------------

static inline void little_hello(LittleMaster *m, int worker, const Message *h)
{
    LittleWorker *w = &m->workers[worker];
    json_t *json = json_loadb(h->rest, h->rest_bytes, 0, NULL);
    snprintf(w->peer, sizeof w->peer, "%s", json_string_value(json_object_get(json, "peer")));
    json_decref(json);
    w->here = true;
    w->has = h->hello;
    little_send(m, worker,
                &(Message){.id = MESSAGE_WELCOME, .welcome = {77, (uint32_t)worker, 200}});
}

static inline void little_want(LittleMaster *m, int worker, const Want *want)
{
    little_read(m);
    for (int i = 0; i < LITTLE_FILES; i++) {
        const LittleFile *f = &m->files[i];
        if (!f->data || memcmp(f->hash, want->hash, sizeof f->hash) != 0)
            continue;
        size_t left = f->bytes - want->from;
        Message piece = {.id = MESSAGE_PIECE, .piece = {.from = want->from, .whole = f->bytes}};
        memcpy(piece.piece.hash, f->hash, sizeof f->hash);
        piece.rest = f->data + want->from;
        piece.rest_bytes = left < 1 << 19 ? left : 1 << 19;
        little_send(m, worker, &piece);
        return;
    }
}

static inline void little_report(LittleMaster *m, const Message *r)
{
    json_t *json = json_loadb(r->rest, r->rest_bytes, 0, NULL);
    const char *event = json_string_value(json_object_get(json, "event"));
    const char *bits = json_string_value(json_object_get(json, "loss_bits"));
    json_int_t step = json_integer_value(json_object_get(json, "step"));
    if (event && !strcmp(event, "step") && bits && step <= LITTLE_STEPS) {
        m->doubles += *m->bits[step] && strcmp(m->bits[step], bits) != 0;
        snprintf(m->bits[step], sizeof m->bits[step], "%s", bits);
    }
    json_decref(json);
}

static inline void little_take(LittleMaster *m, const NetEvent *e)
{
    Message x;
    char why[MESSAGE_WHY];
    int worker = little_number(m, e->key);
    LittleWorker *w = &m->workers[worker];
    w->left |= e->kind == NET_DOWN;
    if (e->kind != NET_FRAME)
        return;
    if (!message_check(e->frame, e->bytes, FROM_WORKER, &x, why)) {
        fprintf(stderr, "worker %d: %s\n", worker, why);
        abort();
    }
    if (x.id == MESSAGE_HELLO)
        little_hello(m, worker, &x);
    if (x.id == MESSAGE_BEAT)
        w->beat = x.beat;
    if (x.id == MESSAGE_WANT)
        little_want(m, worker, &x.want);
    if (x.id == MESSAGE_REPORT)
        little_report(m, &x);
    if (x.id == MESSAGE_TIMES)
        m->times++;
    if (x.id == MESSAGE_TIMELINE)
        m->timelines += x.timeline.epoch == m->epoch.number && x.rest_bytes &&
                        x.timeline.step <= m->order.committed + 2;
    if (x.id == MESSAGE_ENDED) {
        w->ended++;
        snprintf(w->why, sizeof w->why, "%.*s", (int)x.rest_bytes, x.rest);
        w->ended_status = x.ended.status;
    }
    if (x.id == MESSAGE_CANNOT) {
        w->cannot++;
        snprintf(w->why, sizeof w->why, "%.*s", (int)x.rest_bytes, x.rest);
    }
}

// Hears for so long, or until `done` says so; false: it did not.
static inline bool little_until(LittleMaster *m, bool (*done)(const LittleMaster *m),
                                int seconds)
{
    int64_t end = progress_now_ns() + seconds * INT64_C(1000000000), told = 0;
    while (!done(m) && progress_now_ns() < end) {
        NetEvent e;
        net_wait(m->net, NULL, 0, 50);
        while (net_take(m->net, &e)) {
            little_take(m, &e);
            little_commit(m);
        }
        if (progress_now_ns() - told > INT64_C(200000000)) { // each beat, as masters do
            told = progress_now_ns();
            little_order(m, (OrderKind)m->order.what);
        }
    }
    return done(m);
}

#endif
