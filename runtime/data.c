// Opening by kind, and batches: which samples, in which order, with what padding.
#include "runtime/data.h"

#include "runtime/data_crew.h"
#include "runtime/data_kind.h"
#include "runtime/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const rt__data_kind *const kinds[] = {&rt__data_idx,    &rt__data_cifar10,
                                             &rt__data_npy,    &rt__data_text,
                                             &rt__data_tokens, &rt__data_synthetic};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static int unknown_kind(const char *spec, rt__why *why)
{
    char known[512] = "";
    size_t used = 0;
    for (int k = 0; k < N_KINDS; k++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", k ? ", " : "",
                                 kinds[k]->usage);
    return rt__because(why, RT__INPUT, "data '%s': no such kind of data; known: %s", spec,
                       known);
}

// The kind of "kind:argument", and where the argument begins; NULL: unknown.
static const rt__data_kind *find_kind(const char *spec, const char **argument)
{
    size_t n = strcspn(spec, ":");
    *argument = spec[n] ? spec + n + 1 : "";
    for (int k = 0; k < N_KINDS; k++)
        if (strlen(kinds[k]->name) == n && memcmp(kinds[k]->name, spec, n) == 0)
            return kinds[k];
    return NULL;
}

static int fit_inputs(rt__data *d, rt__why *why)
{
    const rt_input *seen[2] = {NULL, NULL};
    for (int i = 0; i < d->options.n_inputs; i++) {
        const rt_input *in = &d->options.inputs[i];
        const rt_input **other = &seen[in->is_target ? 1 : 0];
        if (*other && !d->kind->many_inputs && !d->named)
            return rt__because(
                why, RT__INPUT,
                "%s: the data set has one array of %s, the model takes two: %s and %s", d->spec,
                in->is_target ? "targets" : "samples", (*other)->name, in->name);
        *other = in;
        int status = d->kind->fit(d, i, why);
        if (status)
            return status;
    }
    return 0;
}

// Other kinds than images have nothing to move; images have to keep something in sight.
static int check_shift(const rt__data *d, rt__why *why)
{
    const rt__images *im = &d->images;
    int side = im->out_height < im->out_width ? im->out_height : im->out_width;
    if (d->options.shift > 0 && !d->kind->shift)
        return rt__because(why, RT__INPUT, "%s: no images: leave --random-shift out", d->spec);
    if (side > 0 && d->options.shift >= side)
        return rt__because(why, RT__INPUT,
                           "%s: --random-shift %" PRId64
                           " moves images of %dx%d out of sight; at most %d",
                           d->spec, d->options.shift, im->out_height, im->out_width, side - 1);
    return 0;
}

static int open_kind(rt__data *d, const char *argument, rt__why *why)
{
    int status = d->kind->open(d, argument, why);
    if (status == 0)
        status = fit_inputs(d, why);
    if (status == 0)
        status = check_shift(d, why);
    if (status == 0 && d->samples == 0)
        status = rt__because(why, RT__INPUT, "%s: no samples", d->spec);
    return status;
}

int rt__data_open(rt__data **data, const rt__data_options *options, rt__why *why)
{
    *data = NULL;
    const char *argument;
    const rt__data_kind *kind = find_kind(options->spec, &argument);
    if (!kind)
        return unknown_kind(options->spec, why);
    rt__data *d = calloc(1, sizeof *d);
    if (!d)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", options->spec);
    d->kind = kind;
    d->options = *options;
    d->spec = strdup(options->spec);
    d->files = calloc(RT__DATA_FILES, sizeof *d->files);
    d->parts = calloc(RT__DATA_FILES, sizeof *d->parts);
    int status = d->spec && d->files && d->parts
                     ? open_kind(d, argument, why)
                     : rt__because(why, RT__ENVIRONMENT, "%s: out of memory", options->spec);
    if (status) {
        rt__data_close(d);
        return status;
    }
    if (d->kind->pure)
        d->crew = rt__crew_open(options->helpers);
    *data = d;
    return 0;
}

void rt__data_close(rt__data *data)
{
    if (!data)
        return;
    if (data->kind->close)
        data->kind->close(data);
    for (int i = 0; i < data->n_files; i++)
        rt__file_unmap(&data->files[i]);
    rt__crew_close(data->crew);
    free(data->files);
    free(data->parts);
    free(data->spec);
    free(data);
}

uint64_t rt__data_samples(const rt__data *data)
{
    return data->samples;
}

const char *rt__data_summary(const rt__data *data)
{
    return data->summary;
}

// What the kinds share
// ---------------------------------------------------------------------------

int rt__data_map(rt__data *d, const char *path, const rt__file **file, rt__why *why)
{
    if (d->n_files == RT__DATA_FILES)
        return rt__because(why, RT__INPUT, "%s: more than %d files", d->spec, RT__DATA_FILES);
    int status = rt__file_map(&d->files[d->n_files], path, why);
    if (status == 0)
        *file = &d->files[d->n_files++];
    return status;
}

rt__part *rt__data_part(rt__data *d, const rt__file *file, uint64_t samples)
{
    rt__part *part = &d->parts[d->n_parts++];
    *part = (rt__part){.file = file, .first = d->samples, .samples = samples};
    d->samples += samples;
    return part;
}

const rt__part *rt__part_of(const rt__data *d, uint64_t sample)
{
    int low = 0, high = d->n_parts - 1; // the last part that begins at or before the sample
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (d->parts[middle].first <= sample)
            low = middle;
        else
            high = middle - 1;
    }
    return &d->parts[low];
}

int64_t rt__sample_elements(const rt_input *in)
{
    int64_t n = 1;
    for (int i = 1; i < in->rank; i++)
        n *= in->dim[i];
    return n;
}

int64_t rt__data_limit(const rt__data *d, const rt_input *in)
{
    return in->limit ? in->limit : in->is_target ? d->options.classes : 0;
}

int rt__data_check(const rt__data *d, const rt_input *in, int64_t value, const rt__file *file,
                   const uint8_t *at, rt__why *why)
{
    int64_t limit = rt__data_limit(d, in);
    if (limit == 0 || (value < limit && (value >= 0 || in->is_target)))
        return 0;
    return rt__because(why, RT__INPUT,
                       "%s: offset %td: class or token %" PRId64 ", the model has %" PRId64
                       " (0 to %" PRId64 ")",
                       file->path, at - file->bytes, value, limit, limit - 1);
}

// Batches
// ----------------------------------------------------------------------------------------

static size_t sample_bytes(const rt_input *in)
{
    return (size_t)(rt__sample_elements(in) * rt__dtype_bytes(in->dtype));
}

// Down and right by -shift to shift pixels, drawn by the counter (seed, epoch, sample).
static void shift_sample(const rt__data *d, int i, uint64_t epoch, uint64_t sample, void *at)
{
    uint64_t key = rt_mix(rt_mix(rt_mix((uint64_t)d->options.seed) + epoch) + sample);
    int shift = (int)d->options.shift;
    uint64_t places = 2 * (uint64_t)shift + 1;
    int down = (int)(rt_mix(key) % places) - shift;
    int right = (int)(rt_mix(key + 1) % places) - shift;
    d->kind->shift(d, i, down, right, at);
}

static void ignore_target(const rt_input *in, void *out)
{
    if (in->is_target && in->dtype == RT_I32)
        memset(out, 0xff, sample_bytes(in));
}

typedef struct Batch {
    rt__data *data;
    int input;
    rt__cursor first;
    int64_t samples;
    uint8_t *out;
    int status; // of kinds that are not pure
    rt__why *why;
} Batch;

static void read_one(void *user, int64_t s)
{
    Batch *b = user;
    rt__data *d = b->data;
    const rt_input *in = &d->options.inputs[b->input];
    if (b->status)
        return;
    uint64_t position = (b->first.index + (uint64_t)s) % d->samples;
    uint64_t sample = rt__data_order(d->options.seed, b->first.epoch, d->samples, position);
    void *at = b->out + (size_t)s * sample_bytes(in);
    int status = d->kind->read(d, b->input, sample, at, b->why);
    if (status)
        b->status = status;
    else if (d->options.shift > 0 && !in->is_target)
        shift_sample(d, b->input, b->first.epoch, sample, at);
    if (s >= b->samples)
        ignore_target(in, at);
}

int rt__data_train(rt__data *data, int i, rt__cursor first, int64_t samples, void *out,
                   rt__why *why)
{
    enum { LARGE = 256 << 10 }; // bytes for which it is worth to wake others
    const rt_input *in = &data->options.inputs[i];
    Batch b = {data, i, first, samples, out, 0, why};
    bool large = (size_t)in->dim[0] * sample_bytes(in) >= LARGE;
    rt__crew_run(large ? data->crew : NULL, in->dim[0], read_one, &b);
    return b.status;
}

// Zeros, and integer targets that do not count.
static void pad(const rt_input *in, void *out)
{
    memset(out, 0, sample_bytes(in));
    ignore_target(in, out);
}

int rt__data_eval(rt__data *data, int i, uint64_t first, void *out, rt__why *why)
{
    const rt_input *in = &data->options.inputs[i];
    size_t bytes = sample_bytes(in);
    int status = 0;
    for (int64_t s = 0; s < in->dim[0] && status == 0; s++) {
        uint8_t *to = (uint8_t *)out + (size_t)s * bytes;
        uint64_t sample = first + (uint64_t)s;
        if (sample < data->samples)
            status = data->kind->read(data, i, sample, to, why);
        else
            pad(in, to);
    }
    return status;
}

int rt__data_alone(rt__data *data, int i, uint64_t sample, void *out, rt__why *why)
{
    const rt_input *in = &data->options.inputs[i];
    size_t bytes = sample_bytes(in);
    int status = sample < data->samples ? data->kind->read(data, i, sample, out, why) : 0;
    if (sample >= data->samples)
        pad(in, out);
    for (int64_t s = 1; s < in->dim[0] && status == 0; s++) {
        uint8_t *to = (uint8_t *)out + (size_t)s * bytes;
        memcpy(to, out, bytes);
        ignore_target(in, to);
    }
    return status;
}

int64_t rt__data_valid(const rt__data *data, uint64_t first, int64_t micro_batch)
{
    if (first >= data->samples)
        return 0;
    uint64_t left = data->samples - first;
    return left < (uint64_t)micro_batch ? (int64_t)left : micro_batch;
}

int64_t rt__step_samples(const rt__data *data, rt__cursor at, rt__portion of)
{
    uint64_t left = at.index < data->samples ? data->samples - at.index : 0;
    if (left >= (uint64_t)of.batch)
        return of.batch;
    return (int64_t)left / of.least * of.least;
}

uint64_t rt__steps_per_epoch(const rt__data *data, rt__portion of)
{
    uint64_t whole = data->samples / (uint64_t)of.batch;
    rt__cursor behind = {.index = whole * (uint64_t)of.batch};
    return whole + (rt__step_samples(data, behind, of) > 0);
}

rt__cursor rt__cursor_next(const rt__data *data, rt__cursor at, rt__portion of)
{
    at.index += (uint64_t)rt__step_samples(data, at, of);
    if (rt__step_samples(data, at, of) == 0)
        at = (rt__cursor){.epoch = at.epoch + 1};
    return at;
}

rt__cursor rt__cursor_mb(rt__cursor at, int64_t mb, int64_t micro_batch)
{
    return (rt__cursor){at.epoch, at.index + (uint64_t)(mb * micro_batch)};
}
