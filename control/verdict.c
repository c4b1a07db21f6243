#include "control/verdict.h"

#include "base/diag.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

void verdict_error(Verdict *v, enum Rank rank, int status, int stage, const char *message)
{
    if (status != EXIT_INTERRUPTED) // then all end by themselves
        v->end(v->user, stage, status);
    if (rank <= v->rank)
        return;
    v->rank = rank;
    v->status = status;
    v->stage = stage;
    v->message = message ? arena_strdup(v->arena, message) : NULL;
}

// Reports
// ----------------------------------------------------------------------------------------

static void on_error(Verdict *v, int stage, const json_t *event)
{
    const char *kind = json_string_value(json_object_get(event, "kind"));
    const char *message = json_string_value(json_object_get(event, "message"));
    int status = (int)json_integer_value(json_object_get(event, "status"));
    enum Rank rank = CAUSE;
    if (kind && !strcmp(kind, "peer"))
        rank = ECHO;
    else if (status == EXIT_INTERRUPTED)
        rank = STOPPED;
    verdict_error(v, rank, status, stage, message ? message : "it gave no reason");
}

void verdict_line(void *verdict, int stage, const char *text)
{
    Verdict *v = verdict;
    json_t *event = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (name && !strcmp(name, "error")) {
        on_error(v, stage, event);
    } else if (name) {
        progress_event(&v->progress, event);
        if (v->launch->event)
            v->launch->event(v->launch->user, stage, event);
    }
    json_decref(event);
}

// Ends
// -------------------------------------------------------------------------------------------

static void on_signalled(Verdict *v, const Ended *c)
{
    char doing[256], message[512];
    int number = WTERMSIG(c->wait_status);
    job_doing(&v->statuses[c->stage], v->launch->plan, doing, sizeof doing);
    snprintf(message, sizeof message, "stage %d (process %d) was ended by signal %d (%s) %s",
             c->stage, (int)c->pid, number, strsignal(number), doing);
    verdict_error(v, CAUSE, EXIT_PEER, c->stage, message);
}

static void on_status(Verdict *v, const Ended *c)
{
    char message[256];
    int status = WEXITSTATUS(c->wait_status);
    if (!status || (v->rank != NOTHING && v->stage == c->stage))
        return;
    if (status == 127) { // the shell's word for it, and the dynamic loader's
        snprintf(message, sizeof message,
                 "stage %d could not start: the loader's own message stands above", c->stage);
        verdict_error(v, CAUSE, EXIT_ENVIRONMENT, c->stage, message);
        return;
    }
    snprintf(message, sizeof message, "stage %d ended with status %d and gave no reason",
             c->stage, status);
    verdict_error(v, ECHO, status, c->stage, message);
}

void verdict_ended(Verdict *v, const Ended *e)
{
    bool signalled = WIFSIGNALED(e->wait_status);
    if (signalled && v->signals && WTERMSIG(e->wait_status) != SIGKILL) {
        v->end(v->user, e->stage, EXIT_INTERRUPTED); // too early or too late to end in order
        verdict_error(v, STOPPED, EXIT_INTERRUPTED, e->stage, "stopped by a signal");
    } else if (signalled && !e->killed) {
        on_signalled(v, e);
    } else if (WIFEXITED(e->wait_status)) {
        on_status(v, e);
    }
}

// The end
// ------------------------------------------------------------------------------------------

void verdict_show(Verdict *v)
{
    progress_end_line(&v->progress);
    if (v->rank == NOTHING)
        return;
    if (v->message && v->status == EXIT_INTERRUPTED)
        fprintf(stderr, "stagecc: %s\n", v->message);
    else if (v->message)
        error_at(NO_LOC, "%s", v->message);
    if (!v->launch->event)
        return;
    json_t *event =
        json_pack("{s:s, s:i, s:i, s:s}", "event", "error", "status", v->status, "stage",
                  v->stage, "message", v->message ? v->message : "a host has failed");
    v->launch->event(v->launch->user, v->stage, event);
    json_decref(event);
}
