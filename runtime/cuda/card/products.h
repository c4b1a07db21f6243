// Matrix products of the cuda backend, by cublasLt. Everything about a row of rt_program.kernels is settled when a
// program starts; a call puts the product into the stream and allocates nothing.
#ifndef STAGECC_CUDA_PRODUCTS_H
#define STAGECC_CUDA_PRODUCTS_H

#include "plan/card.h"
#include "runtime/rt.h"

#include <stagecc/cuda.h>

enum { RT__PRODUCT_WORKSPACE = CARD_PRODUCT_WORKSPACE }; // bytes, at most

typedef struct rt__products rt__products;

// Of all RT_MATMUL rows. `device`: there is one, so algorithms are chosen, too; else nothing but descriptions is made.
// 0 or an rt_error (RT_E_KERNEL: the library has no algorithm for a row, not even without its epilogue). An algorithm that a
// row names, but the library does not take, and an epilogue that it has none for, are a warning.
int rt__products_open(rt_stage *s, rt__products **made, bool device);
void rt__products_close(rt__products *made); // NULL is fine

size_t rt__products_version(void); // of the library, where it was loaded; else 0

// Of operand a (0) or b (1): it is a float parameter of which the library reads the bf16 copy.
bool rt__product_wants_copy(const rt_kernel *k, int operand);
typedef struct rt__operands {
    const void *a, *b, *bias; // bias: of the type of c
    void *c, *aux;
} rt__operands;
// c = a b, as the row says, in the stream. workspace: RT__PRODUCT_WORKSPACE bytes of the device. RT_E_KERNEL by rt_fail.
void rt__products_run(rt_stage *s, const rt__products *made, int kernel, const rt__operands *of,
                      void *workspace, void *stream);
// Then that was the plain product, in the type of c, and bias and epilogue are still to come: rt_card_kernels.finish.
bool rt__product_is_bare(const rt__products *made, int kernel);
// For whoever compares algorithms: the names of a row's first ones, at most `most`, of LT_NAME characters each: how many.
// Another one of them multiplies from now on; false: the library does not take it. And the workspace that it needs.
int rt__products_names(const rt__products *made, int kernel, char *const names[], int most);
bool rt__products_take(rt__products *made, int kernel, const char *name);
int64_t rt__products_workspace(const rt__products *made, int kernel);
// rt_cuda_multiply, likewise: the first call of a shape makes what later ones use.
void rt__products_step(rt_stage *s, rt__products *made, const rt_cuda_product *p,
                       void *workspace, void *stream);

#endif
