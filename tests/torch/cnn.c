// The small CNN of reference.py: batch norm, a residual block, a strided projection.
#include <stagecc/model.h>

MODEL(cnn)
{
    Tensor x = input("x", F32, 3, 8, 8);
    x = conv2d(x, 16, .kernel = 3, .padding = 1, .bias = false, .name = "conv1");
    x = max_pool2d(relu(batch_norm(x, .name = "bn1")), .kernel = 2);
    Tensor y = conv2d(x, 16, .kernel = 3, .padding = 1, .bias = false, .name = "conv2");
    x = relu(add(batch_norm(y, .name = "bn2"), x));
    y = conv2d(x, 32, .kernel = 3, .stride = 2, .padding = 1, .name = "conv3");
    Tensor skip = conv2d(x, 32, .kernel = 1, .stride = 2, .bias = false, .name = "down");
    x = relu(add(batch_norm(y, .name = "bn3"), skip));
    x = linear(flatten(global_avg_pool(x)), 5, .name = "fc");
    loss(cross_entropy(x, target("y", I32)));
}
