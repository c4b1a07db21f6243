// What has happened, for people: a line on stderr, and the newest ones for the status page.
#include "control/master/server.h"

#include <stdarg.h>

static double unix_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void story(Server *s, const char *format, ...)
{
    Story *told = &s->stories[s->n_stories++ % MOST_STORIES];
    va_list ap;
    va_start(ap, format);
    vsnprintf(told->text, sizeof told->text, format, ap);
    va_end(ap);
    told->at = unix_seconds();
    told->epoch = 0;
    if (s->options->quiet)
        return;
    progress_end_line(&s->progress);
    fprintf(stderr, "stagecc: %s\n", told->text);
}

static void tell_epoch(Server *s)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = ledger_built(s, e->plan);
    char who[160] = "";
    size_t n = 0;
    for (uint32_t r = 0; r < e->n_ranks && n < sizeof who - 1; r++)
        n += (size_t)snprintf(who + n, sizeof who - n, "%s%s", r ? ", " : "",
                              members_name(s, e->ranks[r].worker));
    story(s, "epoch %llu from step %llu: %d stage%s on %s", (unsigned long long)e->number,
          (unsigned long long)e->step, built ? built->plan->n_stages : 0,
          built && built->plan->n_stages == 1 ? "" : "s", who);
    s->stories[(s->n_stories - 1) % MOST_STORIES].epoch = e->number;
}

void story_look(Server *s)
{
    const Master *m = &s->core;
    if (m->epoch.number != s->seen_epoch) {
        s->seen_epoch = m->epoch.number;
        tell_epoch(s);
    }
    if (m->phase == s->seen_phase)
        return;
    if (m->phase == MASTER_WAITING && s->seen_phase == MASTER_RUNNING) {
        s->changes += m->epoch.number && m->hold == 0;
        story(s, "epoch %llu has ended behind step %llu", (unsigned long long)m->epoch.number,
              (unsigned long long)m->committed);
    }
    s->seen_phase = m->phase;
}
