// Channels are taken in blocks that lie side by side: a block of a blocked image, some numbers of a
// vector [N,C] (whose samples then count as pixels), or one row of pixels of a plain image. A run of
// blocks is what a loop sums up before it applies the sums, so that it finds the run in the cache.
#include "codegen/c/channels.h"

enum {
    WIDEST = 64,     // channels side by side in [N,C]
    CHANNELS = 512,  // of a run, at most (C_CHANNELS of <stagecc/c_norm.h>)
    NEAR = 48 << 10, // bytes of a run in one sample that are worth the jump to the next
};

int64_t largest_divisor(int64_t n, int64_t limit)
{
    int64_t d = limit < n ? limit : n;
    while (n % d)
        d--;
    return d;
}

static Channels blocks_of(const Emit *e, const Node *norm)
{
    Shape s = norm->shape;
    int64_t n = s.dim[0], c = s.dim[1], pixels = shape_product(s, 2, s.rank);
    int64_t block = e->graph->block;
    if (norm->layout == LAYOUT_BLOCKED)
        return (Channels){c / block, 1, block, n, pixels, c * pixels, pixels * block, block};
    if (pixels > 1)
        return (Channels){c, 1, 1, n, pixels, c * pixels, pixels, 1};
    int64_t width = largest_divisor(c, WIDEST); // a "pixel" is a sample
    return (Channels){c / width, 1, width, 1, n, 0, width, c};
}

// Blocks whose pixels are few share a run, so that it reads more than a few lines at a time.
Channels channels_of(const Emit *e, const Node *norm)
{
    Channels c = blocks_of(e, norm);
    int64_t want = NEAR / (c.block_step * dtype_bytes(norm->dtype)) + 1;
    int64_t most = c.blocks / e->plan->options.threads;
    want = want < CHANNELS / c.width ? want : CHANNELS / c.width;
    if (c.n > 1 && most > 1)
        c.per_run = largest_divisor(c.blocks, want < most ? want : most);
    return c;
}

bool channels_side_by_side(const Channels *c)
{
    return c->width > 1 || c->pixel_step > 1;
}

const char *channels_place(Emit *e, const Channels *c, bool pixel)
{
    const char *text = "";
    if (c->n > 1)
        text = arena_printf(e->scratch, "n * %lld + ", (long long)c->n_step);
    text = arena_printf(e->scratch, "%s%s * %lld", text, c->per_run > 1 ? "(a + b)" : "a",
                        (long long)c->block_step);
    if (pixel && c->pixel_step > 1)
        text = arena_printf(e->scratch, "%s + p * %lld", text, (long long)c->pixel_step);
    else if (pixel)
        text = arena_printf(e->scratch, "%s + p", text);
    return text;
}

const char *channels_index(Emit *e, const Channels *c, const char *lane)
{
    if (c->per_run == 1)
        return *lane ? lane : "0";
    const char *block =
        c->width > 1 ? arena_printf(e->scratch, "b * %lld", (long long)c->width) : "b";
    return *lane ? arena_printf(e->scratch, "%s + %s", block, lane) : block;
}

const char *channels_vector(Emit *e, const Channels *c, const Node *n)
{
    if (!n)
        return "NULL";
    return c->width > 1 ? arena_printf(e->scratch, "%s + a * %lld", emit_value(e, n),
                                       (long long)c->width)
                        : arena_printf(e->scratch, "%s + a", emit_value(e, n));
}

int channels_open(Emit *e, const Channels *c)
{
    int indent = e->indent;
    if (c->n > 1) {
        loop_for(e, "n", c->n, 1, "");
        e->indent += 4;
    }
    if (c->per_run > 1) {
        loop_for(e, "b", c->per_run, 1, "");
        e->indent += 4;
    }
    return e->indent - indent;
}
