// The files of the image kinds: the MNIST container (IDX: big-endian header, then bytes; as
// http://yann.lecun.com/exdb/mnist describes it) and CIFAR-10's binary version (records of a
// label byte and 3 x 32 x 32 bytes). All that a header promises is checked against the file's
// size.
#include "runtime/data_kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CIFAR_RECORD = 1 + 3 * 32 * 32, CIFAR_RECORDS = 10000 };

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

// Check an IDX header of `rank` dimensions, unsigned bytes, against the size of the file.
static int check_idx(const rt__file *f, int rank, uint32_t *dim, rt__why *why)
{
    uint64_t header = 4 + 4 * (uint64_t)rank, expected = 1;
    if (f->size < header)
        return rt__because(why, RT__INPUT,
                           "%s: truncated: %" PRIu64
                           " bytes, the IDX header alone has %" PRIu64,
                           f->path, f->size, header);
    uint32_t magic = big_endian(f->bytes), wanted = 0x800u + (uint32_t)rank;
    if (magic != wanted)
        return rt__because(why, RT__INPUT,
                           "%s: offset 0: not IDX with %d dimensions of bytes: magic 0x%08x, "
                           "expected 0x%08x",
                           f->path, rank, magic, wanted);
    for (int i = 0; i < rank; i++) {
        dim[i] = big_endian(f->bytes + 4 + 4 * (size_t)i);
        if (dim[i] == 0 || dim[i] > (i ? 1u << 15 : UINT32_MAX))
            return rt__because(why, RT__INPUT, "%s: offset %d: dimension %d is %" PRIu32,
                               f->path, 4 + 4 * i, i, dim[i]);
        expected *= dim[i];
    }
    if (f->size - header != expected)
        return rt__because(why, RT__INPUT,
                           "%s: %s: %" PRIu64 " bytes, its header (offset 4) promises %" PRIu64,
                           f->path, f->size - header < expected ? "truncated" : "too long",
                           f->size, header + expected);
    return 0;
}

// PREFIX-images.idx3-ubyte, or as MNIST is published: PREFIX-images-idx3-ubyte.
static int map_idx(rt__data *d, const char *prefix, const char *what, const rt__file **file,
                   rt__why *why)
{
    char dotted[4096], dashed[4096];
    if (strlen(prefix) + 32 > sizeof dotted)
        return rt__because(why, RT__INPUT, "%.100s…: the path is too long", prefix);
    snprintf(dotted, sizeof dotted, "%s-%s-ubyte", prefix, what);
    snprintf(dashed, sizeof dashed, "%s", dotted);
    dotted[strlen(prefix) + sizeof "-images" - 1] = '.';
    rt__why second; // the complaint names the documented spelling
    int status = rt__data_map(d, dotted, file, why);
    if (status && rt__data_map(d, dashed, file, &second) == 0)
        status = 0;
    return status;
}

static int open_idx(rt__data *d, const char *prefix, rt__why *why)
{
    const rt__file *images = NULL, *labels = NULL;
    uint32_t dim[3], count = 0;
    int status = map_idx(d, prefix, "images-idx3", &images, why);
    if (status == 0)
        status = map_idx(d, prefix, "labels-idx1", &labels, why);
    if (status == 0)
        status = check_idx(images, 3, dim, why);
    if (status == 0)
        status = check_idx(labels, 1, &count, why);
    if (status)
        return status;
    if (count != dim[0])
        return rt__because(why, RT__INPUT,
                           "%s: offset 4: %" PRIu32 " labels for %" PRIu32 " images in %s",
                           labels->path, count, dim[0], images->path);
    d->images.channels = 1;
    d->images.height = (int)dim[1];
    d->images.width = (int)dim[2];
    rt__part *part = rt__data_part(d, images, count);
    part->pixels = images->bytes + 16;
    part->pixel_stride = (uint64_t)dim[1] * dim[2];
    part->label_file = labels;
    part->labels = labels->bytes + 8;
    part->label_stride = 1;
    return 0;
}

static int open_cifar_batch(rt__data *d, const char *path, rt__why *why)
{
    const rt__file *f;
    int status = rt__data_map(d, path, &f, why);
    if (status)
        return status;
    uint64_t expected = (uint64_t)CIFAR_RECORD * CIFAR_RECORDS;
    if (f->size != expected)
        return rt__because(why, RT__INPUT,
                           "%s: %s: %" PRIu64 " bytes, a CIFAR-10 batch has %" PRIu64
                           " (%d records of %d)",
                           path, f->size < expected ? "truncated" : "too long", f->size,
                           expected, CIFAR_RECORDS, CIFAR_RECORD);
    rt__part *part = rt__data_part(d, f, CIFAR_RECORDS);
    part->label_file = f;
    part->labels = f->bytes;
    part->pixels = f->bytes + 1;
    part->label_stride = part->pixel_stride = CIFAR_RECORD;
    return 0;
}

static int open_cifar(rt__data *d, const char *dir, rt__why *why)
{
    int batches = d->options.test ? 1 : 5, status = 0;
    for (int b = 1; b <= batches && status == 0; b++) {
        char path[4096];
        if (d->options.test)
            snprintf(path, sizeof path, "%s/test_batch.bin", dir);
        else
            snprintf(path, sizeof path, "%s/data_batch_%d.bin", dir, b);
        status = open_cifar_batch(d, path, why);
    }
    d->images.channels = 3;
    d->images.height = d->images.width = 32;
    return status;
}

const rt__data_kind rt__data_idx = {"idx",           "idx:PREFIX",   open_idx,
                                    rt__fit_image,   rt__read_image, rt__close_image,
                                    rt__shift_image, false,          false};
const rt__data_kind rt__data_cifar10 = {"cifar10",       "cifar10:DIR",  open_cifar,
                                        rt__fit_image,   rt__read_image, rt__close_image,
                                        rt__shift_image, false,          false};
