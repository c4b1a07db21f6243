// Layers with 6 MiB of gradients: a bucket each, so backward runs in parts (tests/e2e/overlap.py).
#include <stagecc/model.h>

MODEL(wide)
{
    Tensor x = flatten(input("image", F32, 1, 8, 8));
    for (int i = 0; i < 4; i++)
        x = relu(linear(x, 1200));
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
