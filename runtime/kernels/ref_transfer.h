// Part of <stagecc/ref.h>: tensors as they travel between stages (<stagecc/transfer.h>), which is in float.
#ifndef STAGECC_REF_TRANSFER_H
#define STAGECC_REF_TRANSFER_H

static inline int64_t ref_block_end(int64_t begin, int64_t n)
{
    return n - begin < RT_BLOCK ? n : begin + RT_BLOCK;
}

#define REF_CODEC(name)                                                                        \
    REF void ref_encode_##name(uint8_t *message, const real *x, int64_t n)                     \
    {                                                                                          \
        float block[RT_BLOCK];                                                                 \
        for (int64_t at = 0; at < n; at += RT_BLOCK) {                                         \
            for (int64_t i = at; i < ref_block_end(at, n); i++)                                \
                block[i - at] = (float)x[i];                                                   \
            rt_encode_##name(message, block, n, at / RT_BLOCK);                                \
        }                                                                                      \
    }                                                                                          \
    REF void ref_decode_##name(real *x, const uint8_t *message, int64_t n)                     \
    {                                                                                          \
        float block[RT_BLOCK];                                                                 \
        for (int64_t at = 0; at < n; at += RT_BLOCK) {                                         \
            rt_decode_##name(block, message, n, at / RT_BLOCK);                                \
            for (int64_t i = at; i < ref_block_end(at, n); i++)                                \
                x[i] = (real)block[i - at];                                                    \
        }                                                                                      \
    }
REF_CODEC(bf16)
REF_CODEC(f16)
REF_CODEC(int8)
#undef REF_CODEC

#endif
