// FUZZ: base/*.c control/message.c control/epoch.c control/interface.c control/progress.c control/allow.c control/keys.c control/curve.c control/master_core.c control/master_epoch.c control/master_waits.c control/master/belief.c control/master/members.c control/master/reports.c control/master/speeds.c control/master/status.c control/master/story.c control/master/timeline.c control/master/worth.c control/timeline.c control/worker/start.c control/worker/tensors.c control/worker/parcel.c control/worker/states.c control/worker/blocks.c
// What admitted workers, clients and a master say, behind message_check: fields and texts of JSON, some messages in a row.
// A kind's letter, a byte for the sender, the bytes of the struct, the text; 0xff ends a message. Whatever was said, the
// master's status is JSON without characters that would command a terminal.
#include "control/master/server.h"
#include "control/worker/parcel.h"
#include "control/worker/start.h"
#include "plan/walk.h"
#include "tests/fuzz/silent.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORKERS = 2, COMMITTED = 7 };

// The world around
// ------------------------------------------------------------------------------------------------

void server_send(Server *s, const CurveKey key, const Message *m)
{
    static uint8_t frame[MESSAGE_MOST];
    (void)s, (void)key;
    if (!message_put(frame, sizeof frame, m))
        abort(); // the master would end there
}

void server_take(Server *s, const MasterEvent *event)
{
    (void)s, (void)event;
}

bool server_stop(Server *s, const char *why)
{
    (void)s, (void)why;
    return true;
}

bool given_take(Server *s, const char *dir, char text[PLAN_WHY])
{
    (void)s, (void)dir, (void)text;
    return false;
}

void given_end(Server *s)
{
    (void)s;
}

bool given_lacks(const Server *s, char why[PLAN_WHY])
{
    (void)s, (void)why;
    return false;
}

const BuiltPlan *ledger_built(Server *s, uint32_t plan)
{
    (void)s;
    static PlanUnit unit = {.name = "only"};
    static PlanStage stage = {.replicas = 1};
    static PlanRank ranks[WORKERS];
    static Plan p = {.n_units = 1,
                     .units = &unit,
                     .n_stages = 1,
                     .stages = &stage,
                     .n_ranks = WORKERS,
                     .ranks = ranks};
    static const BuiltPlan built = {.name = "p", .plan = &p};
    p.options.schedule = "1f1b";
    return plan ? NULL : &built;
}

int ledger_last_step(Server *s, int64_t last_step)
{
    if (last_step < COMMITTED)
        abort();
    s->core.config.last_step = (uint64_t)last_step;
    return 0;
}

double plan_rank_seconds(const Plan *p, int rank)
{
    (void)p;
    return rank + 1;
}

int plan_device(const Plan *p, int rank)
{
    (void)p;
    return rank;
}

int64_t plan_stage_bytes(const PlanStage *stage)
{
    return stage->first_unit;
}

const char *const opcode_name[RT_N_OPCODES] = {
#define X(KIND, name, meaning, operands) name,
    STREAM_INSTRUCTIONS(X)
#undef X
};

static CurveKey keys[WORKERS + 1]; // the last one is the master's

static void begin(Server *s, MasterOptions *o)
{
    *o = (MasterOptions){.model = "mlp",
                         .allow = "/nowhere",
                         .quiet = true,
                         .last_step = -1,
                         .min_workers = 1,
                         .max_workers = 3};
    *s = (Server){.options = o, .history = json_array(), .thinning = 1};
    progress_init(&s->progress, true);
    memset(keys, 'a', sizeof keys);
    for (int i = 0; i <= WORKERS; i++) {
        snprintf(keys[i], sizeof keys[i], "%040d", i);
        PublicKey *key = &s->core.members[i].key;
        if (i < WORKERS)
            curve_bytes(key->bytes, keys[i]);
    }
    memcpy(o->key.public_key, keys[WORKERS], sizeof o->key.public_key);
    Master *m = &s->core;
    m->n_members = WORKERS;
    m->config.last_step = INT64_MAX;
    m->committed = m->saved = COMMITTED;
    s->logged = COMMITTED;
    m->epoch = (Epoch){.number = 2, .step = COMMITTED - 2, .n_ranks = WORKERS, .copy_every = 1};
    for (int i = 0; i < WORKERS; i++)
        m->epoch.ranks[i].worker = (uint16_t)i;
    s->before = m->epoch;
    s->before.number--;
}

// What each kind is for
// ------------------------------------------------------------------------------------------------

static void take_start(const Message *m)
{
    Arena a = {0};
    Start start;
    char why[START_WHY] = "";
    if (start_parse(&a, &start, m->rest, m->rest_bytes, why)) {
        for (int i = 0; i < start.n_files; i++)
            if (strchr(start.files[i].name, '/') || *start.files[i].name == '.')
                abort();
    } else if (!*why) {
        abort();
    }
    arena_release(&a);
}

// Of another worker, by its data port.
static void take_listing(const char *text, size_t size)
{
    Tensors t = {0};
    Beginning beginning;
    char why[TENSORS_WHY] = "";
    bool good = parcel_read(text, size, &t, &beginning, why);
    if (!good && !*why)
        abort();
    for (int i = 0; i < t.n && good; i++)
        if (t.items[i].at + t.items[i].bytes > t.generation_bytes)
            abort();
    tensors_release(&t);
}

static void check_status(Server *s)
{
    json_t *status = status_json(s);
    char *text = json_dumps(status, JSON_COMPACT);
    if (!text)
        abort();
    for (int i = 0; i < s->n_stories && i < MOST_STORIES; i++)
        for (const char *c = s->stories[i].text; *c; c++)
            if ((unsigned char)*c < ' ')
                abort();
    free(text);
    json_decref(status);
    json_t *timeline = timeline_json(s);
    text = json_dumps(timeline, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        abort();
    free(text);
    json_decref(timeline);
}

static void hear(Server *s, uint32_t worker, const Message *m)
{
    Member *x = &s->core.members[worker];
    switch ((int)m->id) {
    case MESSAGE_HELLO:
        x->has = m->hello;
        x->here = true;
        members_hello(s, keys[worker], m);
        return;
    case MESSAGE_BEAT:
        x->beat = m->beat;
        x->beats = true;
        return;
    case MESSAGE_REPORT: reports_heard(s, worker, m); return;
    case MESSAGE_TIMES:
        if (x->has.speed_milli)
            speeds_heard(s, worker, &m->times);
        return;
    case MESSAGE_TIMELINE: timeline_heard(s, worker, m, s->clock_ns += 1000000000); return;
    case MESSAGE_COMMAND: commands_heard(s, keys[worker ? WORKERS : 0], m); return;
    case MESSAGE_START: take_start(m); return;
    default: return;
    }
}

// One message; its struct is filled with zeros where the bytes end.
static void say(Server *s, const uint8_t *data, size_t size)
{
    static const struct {
        MessageId id;
        MessageFrom from;
        bool fields; // from the input
        char letter;
    } kinds[] = {
        {MESSAGE_HELLO, FROM_WORKER, true, 'h'},    {MESSAGE_BEAT, FROM_WORKER, true, 'b'},
        {MESSAGE_REPORT, FROM_WORKER, true, 'r'},   {MESSAGE_TIMES, FROM_WORKER, true, 't'},
        {MESSAGE_TIMELINE, FROM_WORKER, true, 'p'}, {MESSAGE_COMMAND, FROM_CLIENT, false, 'c'},
        {MESSAGE_START, FROM_MASTER, false, 's'}};
    static uint8_t frame[MESSAGE_MOST];
    static const Epoch epoch = {.number = 1,
                                .parts = 1,
                                .n_ranks = 1,
                                .incarnations = {1},
                                .ranks = {{.runs = 1, .owns = 1, .copier = NOBODY}}};
    if (size >= 2 && *data == 'l')
        take_listing((const char *)data + 2, size - 2);
    for (size_t k = 0; size >= 2 && k < sizeof kinds / sizeof *kinds; k++) {
        if (kinds[k].letter != (char)data[0])
            continue;
        Message m = {.id = kinds[k].id};
        size_t fields = kinds[k].fields ? message_bytes(m.id) - sizeof(MessageHeader) : 0;
        size_t given = size - 2 < fields ? size - 2 : fields;
        memcpy(&m.hello, data + 2, given);
        if (m.id == MESSAGE_START)
            m.start = epoch;
        m.rest = (const char *)data + 2 + given;
        m.rest_bytes = size - 2 - given;
        size_t bytes = message_put(frame, sizeof frame, &m);
        char why[MESSAGE_WHY];
        if (!bytes || !message_check(frame, bytes, kinds[k].from, &m, why))
            return;
        hear(s, data[1] % WORKERS, &m);
        check_status(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Server s;
    MasterOptions o;
    silent();
    begin(&s, &o);
    while (size) {
        const uint8_t *end = memchr(data, 0xff, size);
        size_t n = end ? (size_t)(end - data) : size;
        say(&s, data, n);
        data += n + (end != NULL);
        size -= n + (end != NULL);
        s.core.committed += s.core.committed < COMMITTED + 4;
        s.core.saved = s.core.committed;
        reports_tell(&s);
    }
    reports_end(&s);
    timeline_end(&s);
    arena_release(&s.allow_arena);
    arena_release(&s.arena);
    return 0;
}
