// The status for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4. metrics.def
// says which number has which name. A worker is told by its number, too: two series must not look alike, two names may.
#include "control/page/inside.h"

#include <string.h>

typedef enum Where { W_job, W_plan, W_stages, W_workers } Where;

typedef struct Metric {
    Where where;
    const char *key, *name, *type;
    double scale;
    const char *help;
} Metric;

static const Metric metrics[] = {
#define METRIC(where, key, name, type, scale, help)                                            \
    {W_##where, #key, "stagecc_" #name, #type, scale, help},
#include "control/page/metrics.def"
#undef METRIC
};

static void head(Text *out, const char *name, const char *type, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// `key="value"`. What is no text or whole number is empty.
static void label(Text *out, const char *separator, const char *key, const json_t *value)
{
    text_printf(out, "%s%s=\"", separator, key);
    if (json_is_integer(value))
        text_printf(out, "%lld", (long long)json_integer_value(value));
    for (const char *c = json_string_value(value); c && *c; c++)
        if (*c == '\n')
            text_puts(out, "\\n");
        else
            text_printf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    text_puts(out, "\"");
}

static void labels(Text *out, Where where, const json_t *from)
{
    static const char *const keys[][4] = {
        [W_job] = {NULL},
        [W_plan] = {NULL},
        [W_stages] = {"stage", "replica", "rank", "worker"},
        [W_workers] = {"worker", "name"},
    };
    for (int i = 0; i < 4 && keys[where][i]; i++)
        label(out, i ? "," : "{", keys[where][i], json_object_get(from, keys[where][i]));
    if (keys[where][0])
        text_puts(out, "}");
}

// One line, and the head before the first; false: there is no such number.
static bool sample(Text *out, const Metric *m, const json_t *from, bool first)
{
    const json_t *value = json_object_get(from, m->key);
    if (!json_is_number(value) && !json_is_boolean(value))
        return false;
    if (first)
        head(out, m->name, m->type, m->help);
    text_puts(out, m->name);
    labels(out, m->where, from);
    double number = json_is_number(value) ? json_number_value(value) : json_is_true(value);
    text_printf(out, " %.15g\n", number * m->scale);
    return true;
}

static void family(Text *out, const Metric *m, const json_t *from)
{
    bool first = true;
    if (!json_is_array(from))
        sample(out, m, from, true);
    for (size_t i = 0; i < json_array_size(from); i++)
        if (sample(out, m, json_array_get(from, i), first))
            first = false;
}

static void what_runs(Text *out, const json_t *status, const json_t *plan)
{
    static const char *const phases[] = {"waiting", "starting", "running", "done"};
    const char *now = json_string_value(json_object_get(status, "phase"));
    head(out, "stagecc_info", "gauge", "1; what is trained, and by which plan.");
    text_puts(out, "stagecc_info");
    label(out, "{", "job", json_object_get(status, "job"));
    label(out, ",", "model", json_object_get(status, "model"));
    label(out, ",", "plan", json_object_get(plan, "name"));
    label(out, ",", "schedule", json_object_get(plan, "schedule"));
    text_puts(out, "} 1\n");
    head(out, "stagecc_phase", "gauge", "1: what the master is in.");
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        text_printf(out, "stagecc_phase{phase=\"%s\"} %d\n", phases[i],
                    now && !strcmp(now, phases[i]));
}

void page_metrics(Text *out, const json_t *status)
{
    const json_t *plan = json_object_get(status, "plan");
    const json_t *const parts[] = {
        [W_job] = status,
        [W_plan] = plan,
        [W_stages] = json_object_get(plan, "stages"),
        [W_workers] = json_object_get(status, "workers"),
    };
    what_runs(out, status, plan);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        family(out, &metrics[i], parts[metrics[i].where]);
}
