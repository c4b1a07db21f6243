// Part of <stagecc/c.h>: tensors as they travel between stages (<stagecc/transfer.h>).
#ifndef STAGECC_C_TRANSFER_H
#define STAGECC_C_TRANSFER_H

#define C_CODEC(name)                                                                          \
    C_KERNEL void c_encode_##name(uint8_t *message, const float *x, int64_t n)                 \
    {                                                                                          \
        C_PARALLEL                                                                             \
        for (int64_t b = 0; b < rt_blocks(n); b++)                                             \
            rt_encode_##name(message, x + b * RT_BLOCK, n, b);                                 \
    }                                                                                          \
    C_KERNEL void c_decode_##name(float *x, const uint8_t *message, int64_t n)                 \
    {                                                                                          \
        C_PARALLEL                                                                             \
        for (int64_t b = 0; b < rt_blocks(n); b++)                                             \
            rt_decode_##name(x + b * RT_BLOCK, message, n, b);                                 \
    }
C_CODEC(bf16)
C_CODEC(f16)
C_CODEC(int8)
#undef C_CODEC

// Elements of bf16 go through floats, a block at a time; the other codecs would not make them smaller.
C_INLINE int64_t c_block_of(int64_t n, int64_t b)
{
    return n - b * RT_BLOCK < RT_BLOCK ? n - b * RT_BLOCK : RT_BLOCK;
}

C_KERNEL void c_encode_int8_bf16(uint8_t *message, const rt_bf16 *x, int64_t n)
{
    C_PARALLEL
    for (int64_t b = 0; b < rt_blocks(n); b++) {
        float block[RT_BLOCK];
        for (int64_t i = 0; i < c_block_of(n, b); i++)
            block[i] = rt_to_float(x[b * RT_BLOCK + i]);
        rt_encode_int8(message, block, n, b);
    }
}

C_KERNEL void c_decode_int8_bf16(rt_bf16 *x, const uint8_t *message, int64_t n)
{
    C_PARALLEL
    for (int64_t b = 0; b < rt_blocks(n); b++) {
        float block[RT_BLOCK];
        rt_decode_int8(block, message, n, b);
        for (int64_t i = 0; i < c_block_of(n, b); i++)
            x[b * RT_BLOCK + i] = rt_to_bf16(block[i]);
    }
}

#endif
