// Part of the c backend's kernels: pooling over images of C_BLOCK channels a block, and plain ones.
// An image is `planes` times h x w vectors: all channels of a block at once, or a single channel.
#ifndef STAGECC_C_POOL_H
#define STAGECC_C_POOL_H

#include <stagecc/c.h>

// A window of r x s, and what it makes of h x w: p x q.
typedef struct c_window {
    int64_t planes, h, w, p, q, r, s;
    int64_t stride[2], dilation[2];
    int64_t top, left, bottom, right; // padding
    int count_include_pad;            // averages
} c_window;

// The window's taps begin .. end-1 that lie in an image of `size`, for a window at `from`.
typedef struct c_taps {
    int64_t from, begin, end;
} c_taps;

C_INLINE c_taps c_taps_of(int64_t from, int64_t kernel, int64_t dilation, int64_t size)
{
    int64_t begin = from < 0 ? (-from + dilation - 1) / dilation : 0;
    int64_t end = size <= from ? 0 : (size - from + dilation - 1) / dilation;
    return (c_taps){from, begin, end < kernel ? end : kernel};
}

C_INLINE c_taps c_rows_of(const c_window *z, int64_t p)
{
    return c_taps_of(p * z->stride[0] - z->top, z->r, z->dilation[0], z->h);
}

C_INLINE c_taps c_columns_of(const c_window *z, int64_t q)
{
    return c_taps_of(q * z->stride[1] - z->left, z->s, z->dilation[1], z->w);
}

// What an average divides by: the taps in the image, or in the padded image.
C_INLINE float c_area_of(const c_window *z, const c_taps *rows, const c_taps *columns)
{
    int64_t high = rows->end - rows->begin, wide = columns->end - columns->begin;
    if (z->count_include_pad) {
        int64_t below = z->h + z->bottom - rows->from, right = z->w + z->right - columns->from;
        high = below < z->r ? below : z->r;
        wide = right < z->s ? right : z->s;
    }
    return (float)(high * wide);
}

#define C_REAL float
#define C_GET(x) (x)
#define C_PUT(x) (x)
#define C_LANES C_BLOCK
#define C_POOL(name) name##_blocked
#include <stagecc/c_pool_body.h>
#undef C_LANES
#undef C_POOL
#define C_LANES 1
#define C_POOL(name) name##_plain
#include <stagecc/c_pool_body.h>
#undef C_LANES
#undef C_POOL
#undef C_REAL
#undef C_GET
#undef C_PUT

#define C_REAL rt_bf16
#define C_GET(x) rt_to_float(x)
#define C_PUT(x) rt_to_bf16(x)
#define C_LANES C_BLOCK
#define C_POOL(name) name##_blocked_bf16
#include <stagecc/c_pool_body.h>
#undef C_LANES
#undef C_POOL
#define C_LANES 1
#define C_POOL(name) name##_plain_bf16
#include <stagecc/c_pool_body.h>
#undef C_LANES
#undef C_POOL
#undef C_REAL
#undef C_GET
#undef C_PUT

#endif
