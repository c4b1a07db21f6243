// The MLP of reference.py.
#include <stagecc/model.h>

MODEL(mlp)
{
    Tensor x = input("x", F32, 20);
    x = relu(linear(x, 32, .name = "fc1"));
    x = tanh(linear(x, 24, .name = "fc2"));
    x = linear(x, 7, .name = "fc3");
    loss(cross_entropy(x, target("y", I32)));
}
