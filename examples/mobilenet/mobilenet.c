// MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov and Chen, 2018): blocks that widen, filter every channel by
// itself, and narrow again. As in torchvision, which counts the same parameters: 3,504,872.
//
//   stagecc build examples/mobilenet/mobilenet.c --stages 2 --batch 64 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
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
#define DROPOUT 0.2
#endif

TRAIN(.lr = 0.045, .momentum = 0.9, .weight_decay = 0.00004);

static Tensor conv_norm(Tensor x, int width, int kernel, int stride, int groups)
{
    x = conv2d(x, width, .kernel = kernel, .stride = stride, .padding = kernel / 2,
               .groups = groups, .bias = false, .init = kaiming_normal(.fan_out = true));
    return batch_norm(x);
}

static Tensor block(Tensor x, int wider, int width, int stride)
{
    int inner = wider * (int)channels(x);
    Tensor wide = wider > 1 ? relu6(conv_norm(x, inner, 1, 1, 1)) : x;
    Tensor filtered = relu6(conv_norm(wide, inner, 3, stride, inner));
    Tensor narrow = conv_norm(filtered, width, 1, 1, 1);
    return stride == 1 && channels(x) == width ? add(narrow, x) : narrow;
}

MODEL(mobilenet)
{
    static const struct {
        int wider, width, blocks, stride;
    } group[7] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                  {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    x = relu6(conv_norm(x, 32, 3, 2, 1));
    for (int g = 0; g < 7; g++)
        for (int i = 0; i < group[g].blocks; i++)
            x = block(x, group[g].wider, group[g].width, i == 0 ? group[g].stride : 1);
    x = relu6(conv_norm(x, 1280, 1, 1, 1));
    x = dropout(flatten(global_avg_pool(x)), DROPOUT);
    Tensor logits = linear(x, CLASSES, .init = normal(0.01), .bias_init = constant(0));
    loss(cross_entropy(logits, target("label", I32)));
}
