// A plan's numbers in words.
#include "driver/plan_report.h"

#include <math.h>

// Three digits, with the first of `units` in which there are less than 1000.
static char *in_units(char *out, double x, const char *const *units, int n_units, double step)
{
    int u = 0;
    while (u < n_units - 1 && x >= 999.5)
        x /= step, u++;
    int digits = x < 9.995 ? 2 : x < 99.95 ? 1 : 0;
    snprintf(out, 32, "%.*f %s", x < 1e9 ? digits : 0, fmin(x, 1e15), units[u]);
    return out;
}

char *human_seconds(char *out, double seconds)
{
    static const char *const units[] = {"us", "ms", "s"};
    if (seconds == 0)
        snprintf(out, 32, "0");
    return seconds == 0 ? out : in_units(out, seconds * 1e6, units, 3, 1000);
}

char *human_rate(char *out, double bytes_per_s)
{
    static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
    return in_units(out, bytes_per_s, units, 5, 1000);
}

static const char *range_text(Arena *a, const char *before, int first, int last)
{
    const char *comma = *before ? ", " : "";
    return first == last ? arena_printf(a, "%s%s%d", before, comma, first)
                         : arena_printf(a, "%s%s%d-%d", before, comma, first, last);
}

const char *devices_text(Arena *a, const Plan *p, const PlanStage *s)
{
    enum { MOST = 4 }; // names, or ranges
    const char *text = "";
    int shown = 0, i = 0;
    for (; i < s->n_devices && shown < MOST; shown++) {
        int first = i++;
        if (p->n_device_names) {
            text = arena_printf(a, "%s%s%s", text, *text ? ", " : "",
                                p->device_names[s->devices[first]]);
            continue;
        }
        while (i < s->n_devices && s->devices[i] == s->devices[i - 1] + 1)
            i++;
        text = range_text(a, text, s->devices[first], s->devices[i - 1]);
    }
    if (!s->n_devices)
        return range_text(a, text, s->id, s->id);
    return i < s->n_devices ? arena_printf(a, "%s, ...", text) : text;
}

int plan_bottleneck(const Plan *p)
{
    int slowest = 0;
    for (int s = 1; s < p->n_stages; s++)
        if (plan_stage_seconds(&p->stages[s]) > plan_stage_seconds(&p->stages[slowest]))
            slowest = s;
    return slowest;
}

static const char *limit(const PlanStage *s, double *seconds)
{
    const struct {
        const char *name;
        double seconds;
    } parts[] = {
        {"compute", s->compute_s > 0 ? s->compute_s : s->forward_s + s->backward_s},
        {"synchronisation", s->sync_s},
        {"receiving", s->receive_s},
        {"sending", s->send_s},
    };
    int most = 0;
    for (int i = 1; i < 4; i++)
        if (parts[i].seconds > parts[most].seconds)
            most = i;
    *seconds = parts[most].seconds;
    return parts[most].name;
}

const char *stage_limit(const PlanStage *s)
{
    double seconds;
    return limit(s, &seconds);
}

double stage_limit_s(const PlanStage *s)
{
    double seconds;
    limit(s, &seconds);
    return seconds;
}

double plan_gap(const Plan *p)
{
    double time = plan_pipeline_seconds(p);
    return p->lower_bound_s > 0 ? time / p->lower_bound_s - 1 : time > 0 ? INFINITY : 0;
}
