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

#endif
