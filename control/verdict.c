#include "control/verdict.h"

#include "base/diag.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

void verdict_error(Verdict *v, enum Weight weight, int status, int rank, const char *message)
{
    if (status != EXIT_INTERRUPTED) // then all end by themselves
        v->end(v->user, rank, status);
    if (weight <= v->weight)
        return;
    v->weight = weight;
    v->status = status;
    v->rank = rank;
    v->message = message ? arena_strdup(v->arena, message) : NULL;
}

// Reports
// ----------------------------------------------------------------------------------------

static void on_error(Verdict *v, int rank, const json_t *event)
{
    const char *kind = json_string_value(json_object_get(event, "kind"));
    const char *message = json_string_value(json_object_get(event, "message"));
    int status = (int)json_integer_value(json_object_get(event, "status"));
    enum Weight weight = CAUSE;
    if (kind && !strcmp(kind, "peer"))
        weight = ECHO;
    else if (status == EXIT_INTERRUPTED)
        weight = STOPPED;
    verdict_error(v, weight, status, rank, message ? message : "it gave no reason");
}

void verdict_line(void *verdict, int rank, const char *text)
{
    Verdict *v = verdict;
    json_t *event = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (name && !strcmp(name, "error")) {
        on_error(v, rank, event);
    } else if (name) {
        progress_event(&v->progress, event);
        if (v->launch->event)
            v->launch->event(v->launch->user, rank, event);
    }
    json_decref(event);
}

// Ends
// -------------------------------------------------------------------------------------------

static void on_signalled(Verdict *v, const Ended *c)
{
    char doing[256], message[512], name[64];
    int number = WTERMSIG(c->wait_status);
    job_doing(&v->statuses[c->rank], v->launch->plan, doing, sizeof doing);
    snprintf(message, sizeof message, "%s (process %d) was ended by signal %d (%s) %s",
             plan_rank_name(v->launch->plan, c->rank, name, sizeof name), (int)c->pid, number,
             strsignal(number), doing);
    v->killed = true;
    verdict_error(v, CAUSE, EXIT_PEER, c->rank, message);
}

static void on_status(Verdict *v, const Ended *c)
{
    char message[256], name[64];
    plan_rank_name(v->launch->plan, c->rank, name, sizeof name);
    int status = WEXITSTATUS(c->wait_status);
    if (!status || (v->weight != NOTHING && v->rank == c->rank))
        return;
    if (status == 127) { // the shell's word for it, and the dynamic loader's
        snprintf(message, sizeof message,
                 "%s could not start: the loader's own message stands above", name);
        verdict_error(v, CAUSE, EXIT_ENVIRONMENT, c->rank, message);
        return;
    }
    snprintf(message, sizeof message, "%s ended with status %d and gave no reason", name,
             status);
    verdict_error(v, ECHO, status, c->rank, message);
}

void verdict_ended(Verdict *v, const Ended *e)
{
    bool signalled = WIFSIGNALED(e->wait_status);
    if (signalled && v->signals && WTERMSIG(e->wait_status) != SIGKILL) {
        v->end(v->user, e->rank, EXIT_INTERRUPTED); // too early or too late to end in order
        verdict_error(v, STOPPED, EXIT_INTERRUPTED, e->rank, "stopped by a signal");
    } else if (signalled && !e->killed) {
        on_signalled(v, e);
    } else if (WIFEXITED(e->wait_status)) {
        on_status(v, e);
    }
}

// The end
// ------------------------------------------------------------------------------------------

bool verdict_restarts(const Verdict *v)
{
    return v->killed && v->restarts_left && !v->signals;
}

void verdict_show(Verdict *v)
{
    progress_end_line(&v->progress);
    if (v->weight == NOTHING)
        return;
    if (verdict_restarts(v)) {
        warning_at(NO_LOC, "%s; all go on from their last step (%d restart%s left)",
                   v->message ? v->message : "a program was killed", v->restarts_left - 1,
                   v->restarts_left == 2 ? "" : "s");
        return;
    }
    if (v->message && v->status == EXIT_INTERRUPTED)
        fprintf(stderr, "stagecc: %s\n", v->message);
    else if (v->message)
        error_at(NO_LOC, "%s", v->message);
    if (!v->launch->event)
        return;
    const Plan *plan = v->launch->plan;
    bool launcher = v->rank == plan->n_ranks;
    int stage = launcher ? plan->n_stages : plan->ranks[v->rank].stage;
    json_t *event =
        json_pack("{s:s, s:i, s:i}", "event", "error", "status", v->status, "stage", stage);
    if (!launcher && plan->stages[stage].replicas > 1)
        json_object_set_new(event, "replica", json_integer(plan->ranks[v->rank].replica));
    json_object_set_new(event, "message",
                        json_string(v->message ? v->message : "a host has failed"));
    v->launch->event(v->launch->user, v->rank, event);
    json_decref(event);
}
