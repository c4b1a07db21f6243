// Images of one byte a channel, planar, with a label byte each, as MNIST and CIFAR-10 have
// them. A pixel b becomes (b/255 - 0.5) / 0.5; sizes that differ from the model's are
// interpolated bilinearly with half-pixel centres and no anti-aliasing, as PyTorch's
// interpolate(mode="bilinear", align_corners=False); one channel is repeated for as many as the
// model takes.
#include "runtime/data_kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Fitting
// ----------------------------------------------------------------------------------------

static rt__tap *taps(int in, int out)
{
    rt__tap *tap = calloc((size_t)out, sizeof *tap);
    float scale = (float)in / (float)out;
    for (int i = 0; tap && i < out; i++) {
        float at = ((float)i + 0.5f) * scale - 0.5f;
        if (at < 0)
            at = 0;
        int low = (int)at < in - 1 ? (int)at : in - 1;
        tap[i] = (rt__tap){low, low + (low < in - 1), at - (float)low};
    }
    return tap;
}

// Channels, height and width that the model takes; flat inputs take the image as it is.
static bool image_shape(rt__images *im, const rt_input *in)
{
    bool flat = in->rank == 2;
    int64_t c = in->rank == 4 ? in->dim[1] : flat ? im->channels : 1;
    int64_t h = flat ? im->height : in->dim[in->rank - 2];
    int64_t w = flat ? im->width : in->dim[in->rank - 1];
    if (in->rank < 2 || in->rank > 4 || c * h * w != rt__sample_elements(in))
        return false;
    im->out_channels = (int)c;
    im->out_height = (int)h;
    im->out_width = (int)w;
    return im->channels == c || im->channels == 1;
}

static int fit_samples(rt__data *d, const rt_input *in, rt__why *why)
{
    rt__images *im = &d->images;
    char shape[128];
    if (in->dtype != RT_F32 && in->dtype != RT_F64 && in->dtype != RT_BF16)
        return rt__because(why, RT__INPUT, "%s: images do not fit input %s of type %s", d->spec,
                           in->name, rt__dtype_name(in->dtype));
    if (!image_shape(im, in))
        return rt__because(why, RT__INPUT, "%s: images of %dx%dx%d do not fit input %s of %s",
                           d->spec, im->channels, im->height, im->width, in->name,
                           rt__shape_text(in->dim + 1, in->rank - 1, shape));
    im->rows = taps(im->height, im->out_height);
    im->columns = taps(im->width, im->out_width);
    im->row = calloc((size_t)rt__sample_elements(in), sizeof *im->row);
    if (!im->rows || !im->columns || !im->row)
        return rt__because(why, RT__ENVIRONMENT, "%s: out of memory", d->spec);
    for (int b = 0; b < 256; b++)
        im->level[b] = ((float)b / 255.0f - 0.5f) / 0.5f;
    bool resized = im->height != im->out_height || im->width != im->out_width;
    char moved[64] = "";
    if (d->options.shift > 0)
        snprintf(moved, sizeof moved, ", moved by up to %" PRId64, d->options.shift);
    snprintf(d->summary, sizeof d->summary,
             "%s: %" PRIu64 " images of %dx%dx%d%s %dx%dx%d, (pixel/255 - 0.5)/0.5%s", d->spec,
             d->samples, im->channels, im->height, im->width, resized ? ", bilinear to" : " as",
             im->out_channels, im->out_height, im->out_width, moved);
    return 0;
}

static int fit_labels(const rt__data *d, const rt_input *in, rt__why *why)
{
    if (in->dtype == RT_I32 && rt__sample_elements(in) == 1)
        return 0;
    char shape[128];
    return rt__because(why, RT__INPUT,
                       "%s: labels are one I32 a sample, target %s takes %s of shape %s",
                       d->spec, in->name, rt__dtype_name(in->dtype),
                       rt__shape_text(in->dim + 1, in->rank - 1, shape));
}

int rt__fit_image(rt__data *d, int i, rt__why *why)
{
    const rt_input *in = &d->options.inputs[i];
    return in->is_target ? fit_labels(d, in, why) : fit_samples(d, in, why);
}

// Reading
// ----------------------------------------------------------------------------------------

static void resize_plane(const rt__images *im, const uint8_t *plane, float *out)
{
    for (int y = 0; y < im->out_height; y++) {
        rt__tap row = im->rows[y];
        const uint8_t *upper = plane + (size_t)row.low * (size_t)im->width;
        const uint8_t *lower = plane + (size_t)row.high * (size_t)im->width;
        for (int x = 0; x < im->out_width; x++) {
            rt__tap column = im->columns[x];
            float right = column.weight, left = 1 - right;
            float above =
                left * im->level[upper[column.low]] + right * im->level[upper[column.high]];
            float below =
                left * im->level[lower[column.low]] + right * im->level[lower[column.high]];
            *out++ = (1 - row.weight) * above + row.weight * below;
        }
    }
}

static void read_pixels(const rt__images *im, const uint8_t *pixels, float *out)
{
    size_t plane = (size_t)im->height * (size_t)im->width;
    size_t out_plane = (size_t)im->out_height * (size_t)im->out_width;
    for (int c = 0; c < im->out_channels; c++) {
        if (c > 0 && im->channels == 1)
            memcpy(out + (size_t)c * out_plane, out, out_plane * sizeof *out);
        else
            resize_plane(im, pixels + (size_t)c * plane, out + (size_t)c * out_plane);
    }
}

int rt__read_image(rt__data *d, int i, uint64_t sample, void *out, rt__why *why)
{
    const rt_input *in = &d->options.inputs[i];
    const rt__part *part = rt__part_of(d, sample);
    uint64_t local = sample - part->first;
    if (in->is_target) {
        const uint8_t *label = part->labels + local * part->label_stride;
        *(int32_t *)out = *label;
        return rt__data_check(d, in, *label, part->label_file, label, why);
    }
    const uint8_t *pixels = part->pixels + local * part->pixel_stride;
    if (in->dtype == RT_F32) {
        read_pixels(&d->images, pixels, out);
        return 0;
    }
    read_pixels(&d->images, pixels, d->images.row);
    int64_t n = rt__sample_elements(in);
    for (int64_t e = 0; e < n; e++)
        rt__put(in->dtype, out, e, (double)d->images.row[e]);
    return 0;
}

// Moving
// ----------------------------------------------------------------------------------------

static void fill_black(const rt__images *im, const rt_input *in, uint8_t *at, int n)
{
    for (int i = 0; i < n; i++)
        rt__put(in->dtype, at, i, (double)im->level[0]);
}

// Row by row, beginning where the plane moves to: no row is overwritten before it is read.
static void shift_plane(const rt__images *im, const rt_input *in, int down, int right,
                        uint8_t *plane)
{
    int height = im->out_height, width = im->out_width;
    size_t pixel = (size_t)rt__dtype_bytes(in->dtype), pitch = (size_t)width * pixel;
    int to = right > 0 ? right : 0, from = right > 0 ? 0 : -right, kept = width - to - from;
    for (int i = 0; i < height; i++) {
        int y = down > 0 ? height - 1 - i : i, source = y - down;
        uint8_t *row = plane + (size_t)y * pitch;
        if (source < 0 || source >= height) {
            fill_black(im, in, row, width);
            continue;
        }
        memmove(row + (size_t)to * pixel, plane + (size_t)source * pitch + (size_t)from * pixel,
                (size_t)kept * pixel);
        fill_black(im, in, row, to);
        fill_black(im, in, row + (size_t)(width - from) * pixel, from);
    }
}

void rt__shift_image(const rt__data *d, int i, int down, int right, void *sample)
{
    const rt__images *im = &d->images;
    const rt_input *in = &d->options.inputs[i];
    size_t pixel = (size_t)rt__dtype_bytes(in->dtype);
    size_t plane = (size_t)im->out_height * (size_t)im->out_width * pixel;
    for (int c = 0; c < im->out_channels; c++)
        shift_plane(im, in, down, right, (uint8_t *)sample + (size_t)c * plane);
}

void rt__close_image(rt__data *d)
{
    free(d->images.rows);
    free(d->images.columns);
    free(d->images.row);
}
