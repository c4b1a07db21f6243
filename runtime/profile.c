#include "runtime/profile.h"

#include "runtime/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Samples of a layer in one direction; later ones replace the oldest.
enum { SAMPLES = 64, FORWARD = 0, BACKWARD = 1 };

typedef struct rt__profile {
    int direction; // of the running instruction; -1: neither
    int layer;     // the clock runs for; -1: none
    int64_t since_ns;
    int64_t *spent;     // [n_layers]: in this instruction
    float *samples;     // [2][n_layers][SAMPLES] seconds
    int n_samples[2];   // instructions seen, per direction
    bool skipped_first; // what was seen in the first step is forgotten
} rt__profile;

int rt__profile_open(rt_stage *s)
{
    size_t n = (size_t)s->program->n_layers + 1;
    if (!s->options.profile)
        return 0;
    if (s->program->n_stages > 1)
        return rt_fail(s, RT_E_INPUT, "--profile is for programs of one stage");
    rt__profile *p = s->profile = calloc(1, sizeof *p);
    if (p) {
        p->layer = p->direction = -1;
        p->spent = calloc(n, sizeof *p->spent);
        p->samples = calloc(2 * n * SAMPLES, sizeof *p->samples);
    }
    if (!p || !p->spent || !p->samples)
        return rt_fail(s, RT_E_MEMORY, "no memory to profile %zu layers", n - 1);
    return 0;
}

void rt__profile_begin(rt_stage *s)
{
    rt__profile *p = s->profile;
    p->layer = p->direction = -1;
    if (s->opcode != RT_FORWARD && s->opcode != RT_BACKWARD)
        return;
    if (s->run_step == 1 && !p->skipped_first) {
        p->n_samples[FORWARD] = p->n_samples[BACKWARD] = 0;
        p->skipped_first = true;
    }
    p->direction = s->opcode == RT_FORWARD ? FORWARD : BACKWARD;
    memset(p->spent, 0, (size_t)s->program->n_layers * sizeof *p->spent);
}

void rt__profile_mark(rt_stage *s, int layer)
{
    rt__profile *p = s->profile;
    if (p->direction < 0)
        return;
    int64_t now = rt__now_ns();
    if (p->layer >= 0)
        p->spent[p->layer] += now - p->since_ns;
    p->layer = layer < s->program->n_layers ? layer : -1;
    p->since_ns = now;
}

static float *samples_of(const rt_stage *s, int direction, int layer)
{
    return s->profile->samples +
           ((size_t)direction * (size_t)s->program->n_layers + (size_t)layer) * SAMPLES;
}

void rt__profile_end(rt_stage *s)
{
    rt__profile *p = s->profile;
    if (p->direction < 0)
        return;
    rt__profile_mark(s, -1);
    int at = p->n_samples[p->direction]++ % SAMPLES;
    for (int l = 0; l < s->program->n_layers; l++)
        samples_of(s, p->direction, l)[at] = (float)((double)p->spent[l] * 1e-9);
    p->direction = -1;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double median(const rt_stage *s, int direction, int layer)
{
    int n = s->profile->n_samples[direction];
    float *samples = samples_of(s, direction, layer);
    n = n < SAMPLES ? n : SAMPLES;
    qsort(samples, (size_t)n, sizeof *samples, compare);
    return n ? ((double)samples[(n - 1) / 2] + (double)samples[n / 2]) / 2 : 0;
}

int rt__profile_write(rt_stage *s)
{
    if (!s->profile)
        return 0;
    FILE *f = fopen(s->options.profile, "w");
    if (f) {
        fputs("{\"layers\": [", f);
        char name[512];
        for (int l = 0; l < s->program->n_layers; l++)
            fprintf(f, "%s\n{\"name\": %s, \"forward_s\": %.9g, \"backward_s\": %.9g}",
                    l ? "," : "", rt__json_text(name, sizeof name, s->program->layers[l].name),
                    median(s, FORWARD, l), median(s, BACKWARD, l));
        fputs("\n]}\n", f);
    }
    if (!f || ferror(f) | fclose(f))
        return rt_fail(s, RT_E_ENVIRONMENT, "cannot write the profile %s: %s",
                       s->options.profile, strerror(errno));
    return 0;
}

void rt__profile_close(rt_stage *s)
{
    if (s->profile) {
        free(s->profile->spent);
        free(s->profile->samples);
    }
    free(s->profile);
    s->profile = NULL;
}
