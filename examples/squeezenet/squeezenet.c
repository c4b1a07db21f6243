// SqueezeNet 1.0 and 1.1 (Iandola et al., "AlexNet-level accuracy with 50x fewer parameters", 2016):
// -D MINOR=0 and -D MINOR=1. As in torchvision, which counts the same parameters:
//
//   SqueezeNet 1.0 1,248,424   1.1 1,235,496
//
//   stagecc build examples/squeezenet/squeezenet.c --stages 2 --batch 64 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
#include <assert.h>
#include <stagecc/model.h>

#ifndef MINOR
#define MINOR 1
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
static_assert(MINOR == 0 || MINOR == 1, "no such SqueezeNet");
static_assert(IMAGE >= 21, "a convolution and three poolings need 21 pixels");

TRAIN(.lr = 0.01, .momentum = 0.9, .weight_decay = 0.0002);

static Tensor conv(Tensor x, int width, int kernel)
{
    return relu(conv2d(x, width, .kernel = kernel, .padding = kernel / 2,
                       .init = kaiming_uniform(), .bias_init = constant(0)));
}

static Tensor fire(Tensor x, int width)
{
    Tensor squeezed = conv(x, width / 8, 1);
    Tensor narrow = conv(squeezed, width / 2, 1);
    Tensor wide = conv(squeezed, width / 2, 3);
    return concat(narrow, wide);
}

static bool pooled_before(int i)
{
    return MINOR == 0 ? i == 3 || i == 7 : i == 2 || i == 4;
}

MODEL(squeezenet)
{
    static const int width[8] = {128, 128, 256, 256, 384, 384, 512, 512};
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    x = relu(conv2d(x, MINOR == 0 ? 96 : 64, .kernel = MINOR == 0 ? 7 : 3, .stride = 2,
                    .init = kaiming_uniform(), .bias_init = constant(0)));
    x = max_pool2d(x, .kernel = 3, .stride = 2, .ceil_mode = true);
    for (int i = 0; i < 8; i++) {
        if (pooled_before(i))
            x = max_pool2d(x, .kernel = 3, .stride = 2, .ceil_mode = true);
        x = fire(x, width[i]);
    }
    x = conv2d(dropout(x, DROPOUT), CLASSES, .kernel = 1, .init = normal(0.01),
               .bias_init = constant(0));
    Tensor logits = flatten(global_avg_pool(relu(x)));
    loss(cross_entropy(logits, target("label", I32)));
}
