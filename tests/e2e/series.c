// Batch norm of series, [N,C,L], which are plain with every backend: with what follows it, and around a layer over L.
#include <stagecc/model.h>

MODEL(series)
{
    Tensor x = input("x", F32, 6, 20);
    x = relu(batch_norm(x, .name = "bn1"));
    Tensor y = linear(x, 20, .name = "along");
    x = relu(add(batch_norm(y, .name = "bn2"), x));
    x = linear(flatten(x), 5, .name = "fc");
    loss(cross_entropy(x, target("y", I32)));
}
