// Heavy ops: convolution, matrix products, pooling, by the plain kernels of <stagecc/ref.h>.
#include "codegen/c/c.h"
#include "codegen/ref/ref.h"

#define PLAIN(name)                                                                            \
    void c_emit_##name(Emit *e, const Node *n)                                                 \
    {                                                                                          \
        ref_emit_##name(e, n);                                                                 \
    }
PLAIN(conv2d)
PLAIN(conv2d_grad_input)
PLAIN(conv2d_grad_weight)
PLAIN(linear)
PLAIN(linear_grad_input)
PLAIN(linear_grad_weight)
PLAIN(matmul)
PLAIN(max_pool2d)
PLAIN(max_pool2d_grad)
PLAIN(avg_pool2d)
PLAIN(avg_pool2d_grad)
PLAIN(global_avg_pool)
PLAIN(global_avg_pool_grad)

void c_library_prologue(Emit *e)
{
    emit(e, "#define REAL float\n#include <stagecc/ref.h>\n", NULL);
}

void c_library_fields(Emit *e)
{
    (void)e;
}

int c_library_weight(Emit *e, const Node *param)
{
    (void)e;
    (void)param;
    return -1;
}
