// A perceptron whose three hidden layers have one weight: stages that are cut between them share it.
#include <stagecc/model.h>

TRAIN(.lr = 0.1, .momentum = 0.9);

MODEL(tied)
{
    Tensor weight = parameter("shared", 48, 48, .init = kaiming_normal());
    Tensor x = relu(linear(flatten(input("image", F32, 1, 8, 8)), 48));
    for (int i = 0; i < 3; i++)
        x = relu(linear(x, 48, .weight = weight));
    loss(cross_entropy(linear(x, 10), target("label", I32)));
}
