// Kernels that the runtime itself launches, whatever the model is. It needs no nvcc, so every program brings them
// along (cu_card.cuh) in one table. Pointers are the device's unless a comment says the host's; a stream is a
// cudaStream_t. Nothing waits.
#ifndef STAGECC_CU_CARD_H
#define STAGECC_CU_CARD_H

#include <stdint.h>

enum {
    CU_MOST_PARTS = 128,
    CU_MOST_BYTES = 512
}; // of a sum, or looked at in one launch; of what is set

// What predictions come to (runtime/evaluate.h): rows with a label, and how many of them have it first, or among the
// first five.
typedef struct cu_hits {
    uint64_t rows, first, fifth;
} cu_hits;

// Numbers that should be finite, and what to say where one of them is not.
typedef struct cu_watched {
    const float *at;
    int64_t n;
    int32_t what; // more than 0
} cu_watched;

// A product c[batch 0, batch 1, m, n], its distances as rt_product has them, that still lacks its bias and what is done
// with it. All are float, or all bf16.
typedef struct cu_product {
    void *c, *aux;    // aux: c before relu or gelu, which lies alike; NULL: nobody wants it
    const void *bias; // [n]; NULL: none
    int is_bf16, relu, gelu;
    int64_t batch[2], m, n, apart[3];
} cu_product;

typedef struct cu_card {
    const char
        *architectures; // that kernels were compiled for: "800,900"; "": for this processor
    // n bytes of the host's, a multiple of 4 and at most CU_MOST_BYTES, as they are now.
    void (*set)(void *stream, void *to, const void *from, int n);
    // to[n] in bf16 = from[n].
    void (*narrow)(void *stream, void *to, const float *from, int64_t n);
    void (*widen)(void *stream, float *to, const void *from, int64_t n); // the other way
    // to[n] = parts[0][n] + parts[1][n] + …, in this order, by `divide`. `parts` is the host's, at most CU_MOST_PARTS.
    void (*add)(void *stream, float *to, const float *const *parts, int n_parts, int64_t n,
                int divide);
    // The sum of squares of such a sum, in double. room: cu_squares_bytes(n) for the time being.
    void (*squares)(void *stream, double *sum, void *room, const float *const *parts,
                    int n_parts, int64_t n);
    int64_t (*squares_bytes)(int64_t n);
    // *bad = the largest of *bad and `what` of those items, the host's and at most CU_MOST_PARTS, that have an element
    // which is not finite.
    void (*watch)(void *stream, int32_t *bad, const cu_watched *items, int n);
    // Of logits[rows, classes], float or bf16, whose rows begin `row` elements apart. room: 4 bytes a row for the time
    // being.
    void (*score)(void *stream, cu_hits *hits, int32_t *room, const void *logits, int is_bf16,
                  const int32_t *labels, int64_t rows, int64_t classes, int64_t row);
    void (*finish)(void *stream, const cu_product *p);
    // *differ = 1 where a[words] and b[words] are not the same, else what it was.
    void (*compare)(void *stream, int32_t *differ, const uint32_t *a, const uint32_t *b,
                    int64_t words);
} cu_card;

#ifdef __cplusplus
extern "C"
#else
extern
#endif
    const cu_card rt_card_kernels; // of the program

#endif
