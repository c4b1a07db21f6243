// DenseNet (Huang, Liu, van der Maaten and Weinberger, 2016) with 121, 161, 169 or 201 layers: in a block
// every layer reads what all layers before it made. As in torchvision, which counts the same parameters:
//
//   DenseNet-121 7,978,856   161 28,681,000   169 14,149,480   201 20,013,928
//
//   stagecc build examples/densenet/densenet.c --stages 3 --batch 32 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
//
// Images below 64 pixels get the small stem of the paper's CIFAR networks. examples/dense is the same idea
// with a few layers.
#include <assert.h>
#include <stagecc/model.h>

#ifndef DEPTH
#define DEPTH 121
#endif
#ifndef IMAGE
#define IMAGE 224
#endif
#ifndef CHANNELS
#define CHANNELS 3
#endif
#ifndef CLASSES
#define CLASSES 1000
#endif
static_assert(DEPTH == 121 || DEPTH == 161 || DEPTH == 169 || DEPTH == 201, "no such DenseNet");

enum { GROWTH = DEPTH == 161 ? 48 : 32 };

TRAIN(.lr = 0.1, .momentum = 0.9, .weight_decay = 0.0001);

static Tensor conv(Tensor x, int width, int kernel, int stride)
{
    return conv2d(x, width, .kernel = kernel, .stride = stride, .padding = kernel / 2,
                  .bias = false, .init = kaiming_normal());
}

static Tensor layer(Tensor x)
{
    Tensor narrow = conv(relu(batch_norm(x)), 4 * GROWTH, 1, 1);
    Tensor made = conv(relu(batch_norm(narrow)), GROWTH, 3, 1);
    return concat(x, made);
}

static Tensor transition(Tensor x)
{
    x = conv(relu(batch_norm(x)), (int)channels(x) / 2, 1, 1);
    return avg_pool2d(x, .kernel = 2);
}

static int layers(int block)
{
    static const int deep[4][4] = {
        {6, 12, 24, 16}, {6, 12, 36, 24}, {6, 12, 32, 32}, {6, 12, 48, 32}};
    int row = DEPTH == 121 ? 0 : DEPTH == 161 ? 1 : DEPTH == 169 ? 2 : 3;
    return deep[row][block];
}

MODEL(densenet)
{
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    Tensor stem = IMAGE < 64 ? conv(x, 2 * GROWTH, 3, 1) : conv(x, 2 * GROWTH, 7, 2);
    x = relu(batch_norm(stem));
    if (IMAGE >= 64)
        x = max_pool2d(x, .kernel = 3, .stride = 2, .padding = 1);
    for (int block = 0; block < 4; block++) {
        if (block > 0)
            x = transition(x);
        for (int i = 0; i < layers(block); i++)
            x = layer(x);
    }
    Tensor logits = linear(flatten(global_avg_pool(relu(batch_norm(x)))), CLASSES);
    loss(cross_entropy(logits, target("label", I32)));
}
