#include "runtime/profile.h"

#include "runtime/device.h"
#include "runtime/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Samples of a layer in one kind of instruction; later ones replace the oldest.
enum { SAMPLES = 64 };
// Kinds: with a time for every layer up to UPDATE, as a whole behind it.
enum { FORWARD, BACKWARD, WEIGHT, UPDATE, LOAD, NORM, N_KINDS, N_LAYERED = UPDATE + 1 };
static const int kind_of[RT_N_OPCODES] = {
    [RT_FORWARD] = FORWARD + 1, [RT_BACKWARD] = BACKWARD + 1, [RT_BACKWARD_WEIGHT] = WEIGHT + 1,
    [RT_UPDATE] = UPDATE + 1,   [RT_LOAD] = LOAD + 1,         [RT_NORM_GATHER] = NORM + 1,
};

typedef struct rt__profile {
    int kind;  // of the running instruction; -1: none of these
    int layer; // the clock runs for; -1: none
    int64_t since_ns, began_ns;
    int64_t *spent;  // [n_layers]: in this instruction
    int64_t told_ns; // by a device with a clock of its own, of this instruction
    float *samples;  // [N_LAYERED][n_layers][SAMPLES] seconds
    float whole[N_KINDS][SAMPLES];
    int n_samples[N_KINDS]; // instructions seen
    bool skipped_first;     // what was seen in the first step is forgotten
    int64_t process_bytes;
} rt__profile;

// "VmRSS" or "VmHWM" of this process in bytes; 0 where the system does not tell.
static int64_t resident(const char *key)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long long kib = 0;
    while (f && !kib && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            sscanf(line + strlen(key), ": %lld", &kib);
    if (f)
        fclose(f);
    return kib * 1024;
}

int rt__profile_open(rt_stage *s)
{
    size_t n = (size_t)s->program->n_layers + 1;
    if (!s->options.profile)
        return 0;
    if (rt__n_ranks(s->program) > 1)
        return rt_fail(s, RT_E_INPUT, "--profile is for programs of one stage");
    int64_t before = resident("VmRSS");
    rt__profile *p = s->profile = calloc(1, sizeof *p);
    if (p) {
        p->layer = p->kind = -1;
        p->process_bytes = before;
        p->spent = calloc(n, sizeof *p->spent);
        p->samples = calloc(N_LAYERED * n * SAMPLES, sizeof *p->samples);
    }
    if (!p || !p->spent || !p->samples)
        return rt_fail(s, RT_E_MEMORY, "no memory to profile %zu layers", n - 1);
    return 0;
}

void rt__profile_begin(rt_stage *s)
{
    rt__profile *p = s->profile;
    p->layer = -1;
    p->kind = kind_of[s->opcode] - 1;
    if (p->kind < 0)
        return;
    if (s->run_step && !p->skipped_first) {
        memset(p->n_samples, 0, sizeof p->n_samples);
        p->skipped_first = true;
    }
    memset(p->spent, 0, (size_t)s->program->n_layers * sizeof *p->spent);
    p->told_ns = 0;
    p->began_ns = rt__now_ns();
}

// The clock runs for this layer from now on.
static void turn_to(rt_stage *s, int layer)
{
    rt__profile *p = s->profile;
    int64_t now = rt__now_ns();
    if (p->layer >= 0)
        p->spent[p->layer] += now - p->since_ns;
    p->layer = layer < s->program->n_layers ? layer : -1;
    p->since_ns = now;
}

void rt__profile_mark(rt_stage *s, int layer)
{
    if (s->profile->kind < 0)
        return;
    if (s->device->stamp)
        s->device->stamp(s, layer);
    else
        turn_to(s, layer);
}

void rt__profile_told(rt_stage *s, int layer, int64_t ns)
{
    rt__profile *p = s->profile;
    p->told_ns += ns;
    if (layer >= 0 && layer < s->program->n_layers)
        p->spent[layer] += ns;
}

static float *samples_of(const rt_stage *s, int kind, int layer)
{
    return s->profile->samples +
           ((size_t)kind * (size_t)s->program->n_layers + (size_t)layer) * SAMPLES;
}

void rt__profile_end(rt_stage *s)
{
    rt__profile *p = s->profile;
    if (p->kind < 0)
        return;
    bool told = s->device->stamp && p->kind < N_LAYERED;
    if (!told)
        turn_to(s, -1);
    int at = p->n_samples[p->kind]++ % SAMPLES;
    int64_t ns = told ? p->told_ns : rt__now_ns() - p->began_ns;
    p->whole[p->kind][at] = (float)((double)ns * 1e-9);
    for (int l = 0; p->kind < N_LAYERED && l < s->program->n_layers; l++)
        samples_of(s, p->kind, l)[at] = (float)((double)p->spent[l] * 1e-9);
    p->kind = -1;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double median(float *samples, int n)
{
    n = n < SAMPLES ? n : SAMPLES;
    qsort(samples, (size_t)n, sizeof *samples, compare);
    return n ? ((double)samples[(n - 1) / 2] + (double)samples[n / 2]) / 2 : 0;
}

static double sum_of_layers(const rt_stage *s, int kind)
{
    double sum = 0;
    for (int l = 0; l < s->program->n_layers; l++)
        sum += median(samples_of(s, kind, l), s->profile->n_samples[kind]);
    return sum;
}

// What the median of a kind's instructions is to the sum of its layers' medians. That sum is smaller: what
// slows an instruction down, at every one, hits another layer every time, and no layer's median sees it.
static double scale_of(const rt_stage *s, int kind)
{
    rt__profile *p = s->profile;
    double sum = sum_of_layers(s, kind);
    return sum > 0 ? median(p->whole[kind], p->n_samples[kind]) / sum : 1;
}

// The layer of a parameter: the one with the longest name that its own begins with; -1: none.
static int layer_of(const rt_program *p, const char *parameter)
{
    size_t longest = 0;
    int found = -1;
    for (int l = 0; l < p->n_layers; l++) {
        size_t n = strlen(p->layers[l].name);
        if (n > longest && !strncmp(parameter, p->layers[l].name, n) && parameter[n] == '.') {
            longest = n;
            found = l;
        }
    }
    return found;
}

// An update that passes no layer, for it does all in one go: each has its part by the bytes of its parameters.
static void spread_update(const rt_stage *s)
{
    const rt_program *p = s->program;
    rt__profile *profile = s->profile;
    double whole = median(profile->whole[UPDATE], profile->n_samples[UPDATE]);
    int64_t all = 0, *bytes = profile->spent;
    memset(bytes, 0, (size_t)p->n_layers * sizeof *bytes);
    for (int i = 0; i < p->n_tensors; i++) {
        int layer = p->tensors[i].role == RT_PARAM ? layer_of(p, p->tensors[i].name) : -1;
        if (layer < 0)
            continue;
        bytes[layer] += p->tensors[i].bytes;
        all += p->tensors[i].bytes;
    }
    for (int l = 0; l < p->n_layers && all; l++)
        for (int k = 0; k < SAMPLES; k++)
            samples_of(s, UPDATE, l)[k] = (float)(whole * (double)bytes[l] / (double)all);
}

static void write_layer(FILE *f, const rt_stage *s, int layer, const double *scale)
{
    char name[512];
    double seconds[N_LAYERED];
    for (int k = 0; k < N_LAYERED; k++)
        seconds[k] = scale[k] * median(samples_of(s, k, layer), s->profile->n_samples[k]);
    fprintf(f, "%s\n{\"name\": %s, \"forward_s\": %.9g, \"backward_s\": %.9g", layer ? "," : "",
            rt__json_text(name, sizeof name, s->program->layers[layer].name), seconds[FORWARD],
            seconds[BACKWARD] + seconds[WEIGHT]);
    if (s->program->backward_weight)
        fprintf(f, ", \"weight_s\": %.9g", seconds[WEIGHT]);
    fprintf(f, ", \"update_s\": %.9g}", seconds[UPDATE]);
}

// Of this process before it had an arena, and what came to it since; of a device with memory of its own, what the program
// holds there.
static void find_bytes(const rt_stage *s, int64_t *process, int64_t *library)
{
    const rt_program *p = s->program;
    int64_t known = s->profile->process_bytes + p->persistent_bytes + rt__older_weights(p) +
                    p->scratch_bytes + p->in_flight * p->slot_bytes;
    int64_t peak = resident("VmHWM");
    *process = s->profile->process_bytes;
    *library = peak > known ? peak - known : 0;
    if (s->device->beside) {
        *process = 0;
        *library = s->device->beside(s);
    }
}

int rt__profile_write(rt_stage *s)
{
    rt__profile *p = s->profile;
    if (!p)
        return 0;
    int64_t process, library;
    double scale[N_LAYERED];
    find_bytes(s, &process, &library);
    if (sum_of_layers(s, UPDATE) <= 0)
        spread_update(s);
    FILE *f = fopen(s->options.profile, "w");
    if (f) {
        fprintf(f,
                "{\"load_s\": %.9g, \"norm_s\": %.9g, \"process_bytes\": %" PRId64
                ", \"library_bytes\": %" PRId64 ", \"layers\": [",
                median(p->whole[LOAD], p->n_samples[LOAD]),
                median(p->whole[NORM], p->n_samples[NORM]), process, library);
        for (int k = 0; k < N_LAYERED; k++)
            scale[k] = scale_of(s, k);
        for (int l = 0; l < s->program->n_layers; l++)
            write_layer(f, s, l, scale);
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
