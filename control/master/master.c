#include "control/master/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REFUSED_S = 10,
    BEAT_MS = 250,
    SILENCE_MS = 2500,
    GRACE_MS = 50,
    START_S = 120,
    STOP_S = 60,
    PIECE_BYTES = 1 << 19
};
#define MS_NS INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)

static volatile sig_atomic_t signals; // that have come

static void on_signal(int number)
{
    (void)number;
    signals = signals + 1;
}

// What the core wants said
// ------------------------------------------------------------------------------------------------

void server_send(Server *s, const CurveKey key, const Message *m)
{
    static uint8_t frame[MESSAGE_MOST]; // one thread
    size_t bytes = message_put(frame, sizeof frame, m);
    CHECK(bytes, "control", "a %s that the table does not allow", message_name(m->id));
    net_send(s->door, key, frame, bytes); // what is lost is said again
}

static const char *refusal(const Server *s, RefusedKind why)
{
    switch (why) {
    case REFUSED_FULL: return "there are 64 workers already";
    case REFUSED_DEVICE:
        return s->options->device == DEVICE_CUDA
                   ? "my programs are for CUDA devices, and you offer processors: start the "
                     "worker with --device cuda (one job has programs of one kind)"
                   : "my programs are for processors, and you offer CUDA devices: start the "
                     "master with --backend cuda, or the worker without --device cuda (one job "
                     "has programs of one kind)";
    case REFUSED_NEWER:
    case N_REFUSED: break;
    }
    return "you know more than my journal does: I am not the master that you have worked for";
}

static void tell_refused(Server *s, const CurveKey key, RefusedKind why)
{
    const AllowedKey *listed = s->allowed ? allow_key(s->allowed, key) : NULL;
    if (why == REFUSED_DEVICE)
        story(s, "%s was refused: it offers %s, and the programs are for %s",
              listed ? listed->name : "a worker",
              s->options->device == DEVICE_CUDA ? "processors" : "CUDA devices",
              s->options->device == DEVICE_CUDA ? "CUDA devices" : "processors");
}

static void send_action(Server *s, const MasterAction *a)
{
    CurveKey key;
    Message m = {.id = a->id};
    char *text = NULL;
    curve_text(key, a->key.bytes);
    if (a->id == MESSAGE_WELCOME)
        m.welcome = a->welcome;
    if (a->id == MESSAGE_ORDER)
        m.order = a->order;
    if (a->id == MESSAGE_LEAVE)
        m.leave = a->leave;
    if (a->id == MESSAGE_REFUSED) {
        m.refused = a->refused;
        m.rest = refusal(s, a->refused.why);
        m.rest_bytes = strlen(m.rest);
        tell_refused(s, key, a->refused.why);
    }
    if (a->id == MESSAGE_START) {
        m.start = s->core.epoch;
        m.rest = text = start_text(s, &s->core.epoch);
        m.rest_bytes = strlen(text);
    }
    server_send(s, key, &m);
    free(text);
}

// Was it chosen for what it promised?
static void begin_worth(Server *s)
{
    const Epoch *e = &s->core.epoch;
    bool chosen = e->number == s->next.number && e->plan == s->next.plan &&
                  epoch_workers(e) == epoch_workers(&s->next);
    worth_epoch(&s->worth, e->step, chosen ? s->next_promised : 0);
}

void server_take(Server *s, const MasterEvent *event)
{
    MasterActions actions;
    const MasterAction *append = NULL;
    uint64_t saved = s->core.saved;
    Epoch before = s->core.epoch;
    master_take(&s->core, event, progress_now_ns(), &actions);
    for (int i = 0; i < actions.n; i++) {
        switch (actions.list[i].kind) {
        case MASTER_SEND: send_action(s, &actions.list[i]); break;
        case MASTER_APPEND: append = &actions.list[i]; break;
        case MASTER_END: s->ended = true; break;
        }
    }
    if (s->core.epoch.number != before.number) {
        s->before = before;
        speeds_begin(s);
        begin_worth(s);
        s->told_ends = 0;
    }
    if (s->core.saved != saved) {
        reports_tell(s);
        worth_step(&s->worth, s->core.saved, progress_now_ns());
    }
    story_look(s);
    if (append)
        ledger_append(s, append->record);
}

// What comes
// ------------------------------------------------------------------------------------------------

// Of the programs that workers lack.
static void on_want(Server *s, const CurveKey key, const Want *want)
{
    static char data[PIECE_BYTES];
    const PlanFile *file = NULL;
    char hash[65];
    for (int i = 0; i < 32; i++)
        snprintf(hash + (size_t)2 * (size_t)i, 3, "%02x", want->hash[i]);
    for (int p = 0; p < s->plans.n && !file; p++)
        for (int i = 0; s->plans.items[p].built && i < s->plans.items[p].built->n_files; i++)
            if (!strcmp(s->plans.items[p].built->files[i].sha256, hash))
                file = &s->plans.items[p].built->files[i];
    int fd = file ? open(file->path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : pread(fd, data, sizeof data, (off_t)want->from);
    if (n >= 0 && want->from <= (uint64_t)file->bytes) {
        uint64_t left = (uint64_t)file->bytes - want->from; // it may have grown
        size_t bytes = (uint64_t)n < left ? (size_t)n : (size_t)left;
        Message m = {.id = MESSAGE_PIECE, .rest = data, .rest_bytes = bytes};
        memcpy(m.piece.hash, want->hash, sizeof m.piece.hash);
        m.piece.from = want->from;
        m.piece.whole = (uint64_t)file->bytes;
        server_send(s, key, &m);
    }
    if (fd >= 0)
        close(fd);
}

// Is it news that a program of this rank has ended, or cannot be started?
static bool end_is_news(Server *s, uint32_t worker, uint64_t epoch, uint32_t rank)
{
    const Epoch *e = &s->core.epoch;
    bool news =
        epoch == e->number && epoch_rank_of(e, rank, worker) && !(s->told_ends >> rank & 1);
    s->told_ends |= (uint64_t)news << rank;
    return news;
}

static void on_message(Server *s, const CurveKey key, const Message *m)
{
    MasterEvent event = {.kind = MASTER_HEARD, .message = m};
    curve_bytes(event.key.bytes, key);
    bool hello = m->id == MESSAGE_HELLO;
    uint32_t w = members_find(s, &event.key), before = s->core.n_members;
    if (hello && w < before)
        members_hello(s, key, m); // first: others may be told of it at once
    server_take(s, &event);
    if (w == before)
        w = members_find(s, &event.key);
    if (w == s->core.n_members)
        return;
    switch ((int)m->id) {
    case MESSAGE_HELLO:
        if (w == before)
            members_hello(s, key, m);
        return;
    case MESSAGE_REPORT: reports_heard(s, w, m); return;
    case MESSAGE_TIMES: speeds_heard(s, w, &m->times); return;
    case MESSAGE_TIMELINE: timeline_heard(s, w, m, progress_now_ns()); return;
    case MESSAGE_WARMED: next_heard(s, w, &m->warmed); return;
    case MESSAGE_WANT: on_want(s, key, &m->want); return;
    case MESSAGE_ENDED:
        if (end_is_news(s, w, m->ended.epoch, m->ended.rank))
            story(s, "%s: the program of rank %u has ended, status %d%s%.*s",
                  members_name(s, w), m->ended.rank, m->ended.status, m->rest_bytes ? ": " : "",
                  (int)m->rest_bytes, m->rest);
        return;
    case MESSAGE_CANNOT:
        if (end_is_news(s, w, m->cannot.epoch, m->cannot.rank))
            story(s, "%s cannot make rank %u ready: %.*s", members_name(s, w), m->cannot.rank,
                  (int)m->rest_bytes, m->rest);
        return;
    default: return;
    }
}

// Whoever says one thing that is none may say many.
static void refuse_frame(Server *s, const NetEvent *e, const char *why)
{
    int64_t now_ns = progress_now_ns();
    if (s->refused++ && now_ns - s->refused_ns < REFUSED_S * SECOND_NS)
        return;
    s->refused_ns = now_ns;
    story(s, "a frame of %.8s… was refused: %s (%d so far)", e->key, why, s->refused);
}

static void on_frame(Server *s, const NetEvent *e)
{
    MessageHeader h = {0};
    Message m;
    char why[MESSAGE_WHY];
    memcpy(&h, e->frame, e->bytes < sizeof h ? e->bytes : sizeof h);
    MessageFrom from = h.id == MESSAGE_COMMAND ? FROM_CLIENT : FROM_WORKER;
    if (!message_check(e->frame, e->bytes, from, &m, why)) {
        refuse_frame(s, e, why);
        return;
    }
    if (from == FROM_CLIENT)
        commands_heard(s, e->key, &m);
    else
        on_message(s, e->key, &m);
}

static void on_down(Server *s, const NetEvent *e)
{
    MasterEvent event = {.kind = MASTER_GONE};
    curve_bytes(event.key.bytes, e->key);
    uint32_t w = members_find(s, &event.key);
    if (w < s->core.n_members && s->core.phase != MASTER_DONE)
        story(s, "the connection of %s has ended", members_name(s, w));
    server_take(s, &event);
}

// Soon where somebody is about to be lost.
static int patience_ms(const Server *s)
{
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        const Member *x = &s->core.members[w];
        if (x->ended && progress_now_ns() - x->ended_ns < 2 * (GRACE_MS * MS_NS))
            return GRACE_MS / 10;
    }
    return BEAT_MS / 5;
}

static void serve(Server *s)
{
    NetEvent e;
    int patience = patience_ms(s);
    struct pollfd page = {.fd = show_fd(s), .events = POLLIN};
    net_wait(s->net, &page, 1, patience);
    show_serve(s);
    while (!s->ended && net_take(s->net, &e)) {
        if (e.kind == NET_FRAME)
            on_frame(s, &e);
        if (e.kind == NET_DOWN)
            on_down(s, &e);
    }
    if (s->ended)
        return;
    s->options->maker.tick(s->options->maker.user);
    if (progress_now_ns() - s->clock_ns >= patience * MS_NS) {
        s->clock_ns = progress_now_ns();
        server_take(s, &(MasterEvent){.kind = MASTER_CLOCK});
    }
    plans_tick(s);
}

// ------------------------------------------------------------------------------------------------

bool server_stop(Server *s, const char *why)
{
    uint64_t last = master_first_free(&s->core);
    if (!s->core.epoch.number)
        return false;
    if (s->stopping_ns)
        return true;
    s->stopping_ns = progress_now_ns();
    s->cut = last < s->core.config.last_step;
    if (s->cut)
        ledger_last_step(s, (int64_t)last);
    story(s, "%s: training ends behind step %llu", why,
          (unsigned long long)s->core.config.last_step);
    return true;
}

// The first signal ends training, the second one this process. So does the first where nothing runs, or will soon.
static bool stopped(Server *s)
{
    int64_t now = progress_now_ns();
    if (s->core.phase == MASTER_RUNNING || s->core.phase == MASTER_DONE)
        s->runs_ns = now;
    if (signals && !server_stop(s, "stopped by a signal"))
        return true;
    bool stuck = s->stopping_ns && now - s->stopping_ns > STOP_S * SECOND_NS &&
                 now - s->runs_ns > STOP_S * SECOND_NS;
    return signals > 1 || stuck;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    signals = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void configure(Server *s)
{
    const MasterOptions *o = s->options;
    uint64_t parts = o->n_parts < 64 ? (UINT64_C(1) << o->n_parts) - 1 : UINT64_MAX;
    MasterConfig config = {.parts = parts,
                           .first_step = (uint64_t)o->first_step,
                           .last_step = o->last_step < 0 ? INT64_MAX : (uint64_t)o->last_step,
                           .min_workers = (uint32_t)o->min_workers,
                           .device = o->device,
                           .copy_every = (uint32_t)o->copy_every,
                           .beat_ns = BEAT_MS * MS_NS,
                           .silence_ns = SILENCE_MS * MS_NS,
                           .grace_ns = GRACE_MS * MS_NS,
                           .start_ns = START_S * SECOND_NS,
                           .planner = plans_choose,
                           .name = members_called,
                           .user = s};
    master_init(&s->core, &config);
}

static int open_all(Server *s)
{
    int status = ledger_open(s);
    if (status)
        return status;
    s->net = net_open(&s->options->key);
    s->door = s->net ? net_listen(s->net, s->options->listen, members_admit, s) : NULL;
    return s->door ? show_open(s) : EXIT_ENVIRONMENT;
}

static void tell_endpoint(const Server *s)
{
    const char *endpoint = net_endpoint(s->door);
    int fd = s->options->listening_fd;
    if (fd && dprintf(fd, "%s\n", endpoint) > 0)
        close(fd);
}

// Programs tell how far they go when they start, which may have been long ago.
static void tell_begin(Server *s)
{
    bool goes_on = s->core.epoch.number > 0;
    s->progress.first_step = (int64_t)s->core.committed;
    s->progress.last_step = (int64_t)s->core.config.last_step;
    s->progress.started_ns = progress_now_ns();
    story(s, "listening at %s%s", net_endpoint(s->door),
          goes_on ? ", going on with what the journal says" : "");
    if (goes_on && s->core.committed == s->core.config.last_step)
        story(s, "training ended behind step %llu; another job needs another --journal",
              (unsigned long long)s->core.committed);
}

int master_run(const MasterOptions *o)
{
    Server *s = calloc(1, sizeof *s);
    if (!s)
        fatal("no memory for the master");
    *s =
        (Server){.options = o, .journal = {.file = -1}, .history = json_array(), .thinning = 1};
    progress_init(&s->progress, o->quiet);
    configure(s);
    s->status = open_all(s);
    s->seen_epoch = s->core.epoch.number;
    s->clock = timeline_clock();
    if (!s->status) {
        master_begin(&s->core, progress_now_ns());
        reports_begin(s);
        speeds_recall(s);
        given_begin(s);
        catch_signals();
        tell_begin(s);
        tell_endpoint(s);
        while (!s->ended && !stopped(s))
            serve(s);
        if (!s->ended)
            story(s, "the master is stopped; workers wait for one with this journal");
        if (!s->status && (!s->ended || s->cut))
            s->status = EXIT_INTERRUPTED;
    }
    reports_end(s);
    show_close(s);
    timeline_end(s);
    net_close(s->net, 500);
    journal_close(&s->journal);
    int status = s->status;
    arena_release(&s->allow_arena);
    arena_release(&s->arena);
    free(s);
    return status;
}
