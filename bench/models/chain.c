// Equal layers that cut into equal stages: what bench/pipeline.py measures the pipeline with.
//   stagecc build bench/models/chain.c -D WIDTH=1024 -D DEPTH=16 --stages 2 -o out
#include <stagecc/model.h>

#ifndef WIDTH
#define WIDTH 1024
#endif
#ifndef DEPTH
#define DEPTH 16
#endif

MODEL(chain)
{
    // With a parameter before it, the first layer computes the gradient of its input as all others do.
    Tensor x = layer_norm(input("x", F32, WIDTH));
    for (int i = 0; i < DEPTH; i++)
        x = relu(linear(x, WIDTH));
    loss(mse(x, target("y", F32, WIDTH)));
}
