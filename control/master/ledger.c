// The master's journal: the core's records, and what the shell has to know of the job beside them.
#include "control/master/server.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

typedef enum LedgerKind { // beside RecordKind
    LEDGER_JOB = 16,
    LEDGER_PLAN, // a name, not ended by 0: plans are counted from 0
    LEDGER_LAST, // int64: the last step, once programs have said it
} LedgerKind;

typedef struct LedgerJob {
    uint64_t number, secret; // random; of the secret, epochs' job numbers are made
    int64_t first_step;
    uint32_t n_parts, zero;
    char model[64]; // the beginning of its name, filled up with 0
} LedgerJob;
_Static_assert(sizeof(LedgerJob) == 96, "as it lies on the disk");

// Reading
// -----------------------------------------------------------------------------------------

static LedgerJob job_of(const Server *s)
{
    LedgerJob j = {.number = s->job,
                   .secret = s->secret,
                   .first_step = s->options->first_step,
                   .n_parts = (uint32_t)s->options->n_parts};
    memcpy(j.model, s->options->model, strnlen(s->options->model, sizeof j.model - 1));
    return j;
}

static bool take_job(Server *s, const JournalRecord *r)
{
    LedgerJob j;
    if (r->bytes != sizeof j)
        return false;
    memcpy(&j, r->data, sizeof j);
    s->job = j.number;
    s->secret = j.secret;
    s->has_job = true;
    LedgerJob mine = job_of(s);
    if (!memcmp(&j, &mine, sizeof j))
        return true;
    error_at(
        (Loc){s->journal.path, 0, 0},
        "this is the journal of another job: the model %.63s in %u parts from step %" PRId64
        " on; give another --journal, or the model and options that it was made with",
        j.model, j.n_parts, j.first_step);
    return false;
}

static bool take_plan(Server *s, const JournalRecord *r)
{
    KnownPlan plan = {.built = NULL};
    if (!r->bytes || r->bytes > PLAN_NAME)
        return false;
    memcpy(plan.name, r->data, r->bytes);
    vec_push(&s->arena, &s->plans, plan);
    return true;
}

static bool take_last(Server *s, const JournalRecord *r)
{
    int64_t last;
    if (r->bytes != sizeof last)
        return false;
    memcpy(&last, r->data, sizeof last);
    s->core.config.last_step = (uint64_t)last;
    return true;
}

static bool take_record(Server *s, const JournalRecord *r)
{
    Record record = {.kind = r->kind};
    if (r->bytes > sizeof record - 8)
        return false;
    memcpy(&record.member, r->data, r->bytes);
    return s->has_job && master_replay(&s->core, &record);
}

static bool take(void *user, const JournalRecord *r)
{
    Server *s = user;
    int errors = diag_errors();
    bool good = r->kind == LEDGER_JOB    ? take_job(s, r)
                : r->kind == LEDGER_PLAN ? take_plan(s, r)
                : r->kind == LEDGER_LAST ? take_last(s, r)
                                         : take_record(s, r);
    if (!good && diag_errors() == errors)
        error_at((Loc){s->journal.path, 0, 0},
                 "record %" PRIu64 " at offset %" PRId64
                 " makes no sense behind those before it",
                 r->seq, r->offset);
    return good;
}

// Writing
// -----------------------------------------------------------------------------------------

static int new_job(Server *s)
{
    uint64_t bits[2];
    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        fatal("no random numbers: %s", strerror(errno));
    s->job = bits[0] | 1;
    s->secret = bits[1];
    s->has_job = true;
    LedgerJob j = job_of(s);
    journal_append(&s->journal, LEDGER_JOB, &j, sizeof j);
    return journal_sync(&s->journal);
}

int ledger_open(Server *s)
{
    const char *path = arena_printf(&s->arena, "%s/journal", s->options->journal);
    int status = journal_open(&s->journal, &journal_disk, path, take, s);
    if (!status && !s->has_job)
        status = new_job(s);
    s->core.config.job = s->job;
    return status;
}

// What is in use of a record: the rest of the union is nobody's.
static size_t bytes_of(const Record *r)
{
    return r->kind == RECORD_MEMBER   ? sizeof r->member
           : r->kind == RECORD_COMMIT ? sizeof r->commit
                                      : sizeof r->epoch;
}

static void sync_or_end(Server *s)
{
    if (s->status || !journal_sync(&s->journal))
        return;
    s->status = EXIT_ENVIRONMENT; // what is not on the disk is not so
    s->ended = true;
}

void ledger_append(Server *s, uint64_t record)
{
    const Record *r = &s->core.pending;
    journal_append(&s->journal, (uint16_t)r->kind, &r->member, bytes_of(r));
    sync_or_end(s);
    if (!s->status)
        server_take(s, &(MasterEvent){.kind = MASTER_JOURNALED, .record = record});
}

uint32_t ledger_plan(Server *s, const BuiltPlan *built)
{
    for (int i = 0; i < s->plans.n; i++)
        if (!strcmp(s->plans.items[i].name, built->name)) {
            s->plans.items[i].built = built;
            return (uint32_t)i;
        }
    KnownPlan plan = {.built = built};
    memcpy(plan.name, built->name, strnlen(built->name, PLAN_NAME));
    journal_append(&s->journal, LEDGER_PLAN, plan.name, strlen(plan.name));
    vec_push(&s->arena, &s->plans, plan);
    return (uint32_t)s->plans.n - 1; // on the disk with the epoch that uses it
}

const BuiltPlan *ledger_built(Server *s, uint32_t number)
{
    if (number >= (uint32_t)s->plans.n)
        return NULL;
    KnownPlan *plan = &s->plans.items[number];
    const PlanMaker *maker = &s->options->maker;
    if (!plan->built)
        plan->built = maker->named(maker->user, plan->name);
    return plan->built;
}

int ledger_last_step(Server *s, int64_t last_step)
{
    s->core.config.last_step = (uint64_t)last_step;
    journal_append(&s->journal, LEDGER_LAST, &last_step, sizeof last_step);
    sync_or_end(s);
    return s->status;
}
