// What has happened, for people: a line on stderr, and the newest ones for the status page.
#include "control/master/server.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "control/master_epoch.h"

#include <stdarg.h>

void story(Server *s, const char *format, ...)
{
    Story *told = &s->stories[s->n_stories++ % MOST_STORIES];
    va_list ap;
    va_start(ap, format);
    vsnprintf(told->text, sizeof told->text, format, ap);
    va_end(ap);
    utf8_printable(told->text); // workers' words are in it
    told->at = clock_unix_seconds();
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

// Workers of the epoch that are not there any more; who went without a word is named.
static int tell_lost(Server *s)
{
    const Master *m = &s->core;
    int lost = 0;
    for (uint32_t w = 0; w < m->n_members; w++) {
        const Member *x = &m->members[w];
        bool other = x->here && x->has.incarnation != m->epoch.incarnations[w];
        bool lives = member_lives(m, x, s->ended_ns);
        if (!m->epoch.incarnations[w] || (lives && !other))
            continue;
        lost++;
        if (!lives && !x->ended)
            story(s, "%s is lost: not a word for %.1f s", members_name(s, w),
                  1e-9 * (double)(s->ended_ns - x->heard_ns));
    }
    return lost;
}

static void tell_end(Server *s)
{
    const Master *m = &s->core;
    s->ended_ns = progress_now_ns();
    if (s->seen_hold && m->committed == s->seen_hold)
        s->changes++;
    else
        s->losses += tell_lost(s);
    story(s, "epoch %llu has ended behind step %llu", (unsigned long long)m->epoch.number,
          (unsigned long long)m->saved);
}

static void tell_running(Server *s)
{
    unsigned long long epoch = s->core.epoch.number;
    if (!s->ended_ns) {
        story(s, "epoch %llu runs", epoch);
        return;
    }
    s->pause_s = 1e-9 * (double)(progress_now_ns() - s->ended_ns);
    story(s, "epoch %llu runs, after a pause of %.2f s", epoch, s->pause_s);
}

void story_look(Server *s)
{
    const Master *m = &s->core;
    if (m->epoch.number != s->seen_epoch) {
        s->seen_epoch = m->epoch.number;
        tell_epoch(s);
    }
    if (m->phase != s->seen_phase && m->phase == MASTER_RUNNING)
        tell_running(s);
    if (m->phase == MASTER_WAITING && s->seen_phase == MASTER_RUNNING)
        tell_end(s);
    s->seen_phase = m->phase;
    s->seen_hold = m->hold;
}
