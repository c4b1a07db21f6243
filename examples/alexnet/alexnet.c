// AlexNet in one tower (Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
// 2014), with dropout in the classifier: 61,100,840 parameters.
//
//   stagecc build examples/alexnet/alexnet.c --stages 2 --batch 64 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
#include <assert.h>
#include <stagecc/model.h>

#ifndef IMAGE
#define IMAGE 224
#endif
#ifndef CHANNELS
#define CHANNELS 3
#endif
#ifndef CLASSES
#define CLASSES 1000
#endif
#ifndef DROPOUT
#define DROPOUT 0.5
#endif
static_assert(IMAGE >= 63, "five convolutions and three poolings need 63 pixels");

TRAIN(.lr = 0.01, .momentum = 0.9, .weight_decay = 0.0005);

MODEL(alexnet)
{
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    x = relu(conv2d(x, 64, .kernel = 11, .stride = 4, .padding = 2));
    x = max_pool2d(x, .kernel = 3, .stride = 2);
    x = relu(conv2d(x, 192, .kernel = 5, .padding = 2));
    x = max_pool2d(x, .kernel = 3, .stride = 2);
    x = relu(conv2d(x, 384, .kernel = 3, .padding = 1));
    x = relu(conv2d(x, 256, .kernel = 3, .padding = 1));
    x = relu(conv2d(x, 256, .kernel = 3, .padding = 1));
    x = flatten(max_pool2d(x, .kernel = 3, .stride = 2));
    x = relu(linear(dropout(x, DROPOUT), 4096));
    x = relu(linear(dropout(x, DROPOUT), 4096));
    Tensor logits = linear(x, CLASSES);
    loss(cross_entropy(logits, target("label", I32)));
}
