// VGG (Simonyan and Zisserman, 2014), configurations with 11, 13, 16 and 19 layers. Their parameters:
//
//   VGG-11 132,863,336   13 133,047,848   16 138,357,544   19 143,667,240
//
//   stagecc build examples/vgg/vgg.c --stages 3 --batch 32 --micro-batches 4 -o out
//   stagecc build examples/vgg/vgg.c -D IMAGE=32 -D CLASSES=10 --stages 2 -o out        for CIFAR-10
#include <assert.h>
#include <stagecc/model.h>

#ifndef DEPTH
#define DEPTH 16
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
#ifndef DROPOUT
#define DROPOUT 0.5
#endif
static_assert(DEPTH == 11 || DEPTH == 13 || DEPTH == 16 || DEPTH == 19, "no such VGG");
static_assert(IMAGE % 32 == 0, "five poolings halve the image");

// Wide where the image is large; a small image has little for 4096 neurons to read.
enum { HIDDEN = IMAGE >= 224 ? 4096 : 512 };

TRAIN(.lr = 0.01, .momentum = 0.9, .weight_decay = 0.0005);

static int convolutions(int group)
{
    switch (DEPTH) {
    case 11: return group < 2 ? 1 : 2;
    case 13: return 2;
    case 16: return group < 2 ? 2 : 3;
    default: return group < 2 ? 2 : 4;
    }
}

MODEL(vgg)
{
    static const int width[5] = {64, 128, 256, 512, 512};
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    for (int group = 0; group < 5; group++) {
        for (int i = 0; i < convolutions(group); i++)
            x = relu(conv2d(x, width[group], .kernel = 3, .padding = 1,
                            .init = kaiming_normal(.fan_out = true), .bias_init = constant(0)));
        x = max_pool2d(x, .kernel = 2);
    }
    x = flatten(x);
    x = dropout(relu(linear(x, HIDDEN)), DROPOUT);
    x = dropout(relu(linear(x, HIDDEN)), DROPOUT);
    Tensor logits = linear(x, CLASSES);
    loss(cross_entropy(logits, target("label", I32)));
}
