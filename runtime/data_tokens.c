// Sequences of tokens. A sample is T+1 consecutive tokens, of which the model sees the first T
// and predicts the last T. Samples begin every T tokens, so every token but the first is
// predicted once (as in llm.c's loader); what does not fill a sample at the end is dropped.
//   text:FILE    a token is a byte
//   tokens:FILE  llm.c's .bin: 256 words (magic 20240520, version 1, number of tokens), then
//                uint16; FILE may be a pattern ("fineweb_train_*.bin"), shards in order of name
#include "runtime/data_kind.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAGIC = 20240520, VERSION = 1, HEADER = 1024 };

static uint32_t word(const rt__file *f, int i)
{
    uint32_t w;
    memcpy(&w, f->bytes + 4 * (size_t)i, 4);
    return w;
}

// T, from the inputs of this stage or, where it has none, of the model; 1: it takes no tokens.
static int find_length(rt__data *d, rt__why *why)
{
    for (int i = 0; i < d->options.n_inputs; i++) {
        const rt_input *in = &d->options.inputs[i];
        char shape[128];
        if (in->rank != 2 || in->dtype != RT_I32)
            return rt__because(
                why, RT__INPUT,
                "%s: a sample is [T] tokens of type I32, input %s takes %s of %s", d->spec,
                in->name, rt__shape_text(in->dim + 1, in->rank - 1, shape),
                rt__dtype_name(in->dtype));
        if (d->length && d->length != in->dim[1])
            return rt__because(why, RT__INPUT,
                               "%s: input %s has %" PRId64
                               " tokens a sample, another has %" PRId64,
                               d->spec, in->name, in->dim[1], d->length);
        d->length = in->dim[1];
    }
    if (!d->length)
        d->length = d->options.tokens > 0 ? d->options.tokens : 1;
    return 0;
}

static int add_part(rt__data *d, const rt__file *f, uint64_t header, rt__why *why)
{
    uint64_t tokens = (f->size - header) / (uint64_t)d->token_bytes;
    uint64_t length = (uint64_t)d->length;
    if (tokens < length + 1)
        return rt__because(why, RT__INPUT,
                           "%s: %" PRIu64 " tokens are too few for one sample of %" PRIu64
                           " + 1",
                           f->path, tokens, length);
    rt__data_part(d, f, (tokens - 1) / length)->tokens = f->bytes + header;
    snprintf(d->summary, sizeof d->summary, "%s: %" PRIu64 " sequences of %" PRIu64 " tokens",
             d->spec, d->samples, length);
    return 0;
}

static int open_text(rt__data *d, const char *path, rt__why *why)
{
    const rt__file *f = NULL;
    d->token_bytes = 1;
    int status = find_length(d, why);
    if (status == 0)
        status = rt__data_map(d, path, &f, why);
    return status ? status : add_part(d, f, 0, why);
}

static int check_header(const rt__file *f, rt__why *why)
{
    if (f->size < HEADER)
        return rt__because(why, RT__INPUT,
                           "%s: truncated: %" PRIu64 " bytes, the header alone has %d", f->path,
                           f->size, HEADER);
    if (word(f, 0) != MAGIC)
        return rt__because(why, RT__INPUT, "%s: offset 0: magic %" PRIu32 ", expected %d",
                           f->path, word(f, 0), MAGIC);
    if (word(f, 1) != VERSION)
        return rt__because(why, RT__INPUT, "%s: offset 4: version %" PRIu32 ", expected %d",
                           f->path, word(f, 1), VERSION);
    uint64_t expected = HEADER + 2 * (uint64_t)word(f, 2);
    if (f->size != expected)
        return rt__because(why, RT__INPUT,
                           "%s: %s: %" PRIu64 " bytes, its header (offset 8) promises %" PRIu64
                           " (%" PRIu32 " tokens)",
                           f->path, f->size < expected ? "truncated" : "too long", f->size,
                           expected, word(f, 2));
    return 0;
}

static int open_shard(rt__data *d, const char *path, rt__why *why)
{
    const rt__file *f = NULL;
    int status = rt__data_map(d, path, &f, why);
    if (status == 0)
        status = check_header(f, why);
    return status ? status : add_part(d, f, HEADER, why);
}

static int open_tokens(rt__data *d, const char *pattern, rt__why *why)
{
    d->token_bytes = 2;
    int status = find_length(d, why);
    if (status)
        return status;
    glob_t found;
    if (glob(pattern, GLOB_NOCHECK, NULL, &found) != 0)
        return rt__because(why, RT__INPUT, "%s: cannot be read", pattern);
    for (size_t i = 0; i < found.gl_pathc && status == 0; i++)
        status = open_shard(d, found.gl_pathv[i], why);
    globfree(&found);
    return status;
}

static int fit_tokens(rt__data *d, int i, rt__why *why)
{
    (void)d, (void)i, (void)why; // find_length looked at all inputs
    return 0;
}

static int read_tokens(rt__data *d, int i, uint64_t sample, void *out, rt__why *why)
{
    const rt__part *part = rt__part_of(d, sample);
    uint64_t first = (sample - part->first) * (uint64_t)d->length;
    const rt_input *in = &d->options.inputs[i];
    if (in->is_target)
        first++;
    const uint8_t *at = part->tokens + first * (uint64_t)d->token_bytes;
    int32_t *to = out;
    int status = 0;
    for (int64_t t = 0; t < d->length && status == 0; t++, at += d->token_bytes) {
        to[t] = d->token_bytes == 1 ? at[0] : at[0] | at[1] << 8;
        status = rt__data_check(d, in, to[t], part->file, at, why);
    }
    return status;
}

const rt__data_kind rt__data_text = {"text", "text:FILE", open_text, fit_tokens, read_tokens,
                                     NULL,   NULL,        false,     false};
const rt__data_kind rt__data_tokens = {
    "tokens", "tokens:FILE", open_tokens, fit_tokens, read_tokens, NULL, NULL, false, false};
