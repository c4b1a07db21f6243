// Convolutions, some in groups, pools and a mean of images, which every backend can do with plain images.
#include <stagecc/model.h>

MODEL(pictures)
{
    Tensor x = input("x", F32, 3, 8, 8);
    x = relu(conv2d(x, 16, .kernel = 3, .padding = 1, .name = "conv1"));
    x = max_pool2d(x, .kernel = 2);
    x = relu(conv2d(x, 24, .kernel = 3, .padding = 1, .groups = 2, .name = "conv2"));
    x = avg_pool2d(x, .kernel = 2);
    x = relu(conv2d(x, 16, .kernel = 1, .name = "conv3"));
    x = linear(flatten(global_avg_pool(x)), 5, .name = "fc");
    loss(cross_entropy(x, target("y", I32)));
}
