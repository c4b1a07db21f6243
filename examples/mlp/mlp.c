// A multi-layer perceptron that reads handwritten digits.
//
//   stagecc train examples/mlp/mlp.c -n 2 --data idx:examples/digits/train --test-data idx:examples/digits/test --epochs 10 -o out
//
// -D IMAGE=28 for MNIST itself.
#include <stagecc/model.h>

#ifndef IMAGE
#define IMAGE 8
#endif
#ifndef CHANNELS
#define CHANNELS 1
#endif
#ifndef CLASSES
#define CLASSES 10
#endif
#ifndef HIDDEN
#define HIDDEN 64
#endif

TRAIN(.lr = 0.1, .momentum = 0.9);

MODEL(mlp)
{
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    Tensor hidden1 = linear(flatten(x), HIDDEN);
    Tensor hidden2 = linear(relu(hidden1), HIDDEN);
    Tensor logits = linear(relu(hidden2), CLASSES);
    loss(cross_entropy(logits, target("label", I32)));
}
