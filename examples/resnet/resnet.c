// ResNet (He, Zhang, Ren and Sun, 2015) with 18, 34, 50, 101 or 152 layers. The inner convolutions of a
// bottleneck may be wider (Zagoruyko and Komodakis, "Wide residual networks", 2016) and grouped (Xie et
// al., "Aggregated residual transformations", 2016: ResNeXt). As in torchvision, whose parameters these
// are, the stride is in the 3x3 convolution:
//
//   ResNet-18 11,689,512   34 21,797,672   50 25,557,032   101 44,549,160   152 60,192,808
//   ResNeXt-50 32x4d 25,028,904                -D DEPTH=50 -D GROUPS=32 -D GROUP_WIDTH=4
//   ResNeXt-101 32x8d 88,791,336               -D DEPTH=101 -D GROUPS=32 -D GROUP_WIDTH=8
//   Wide ResNet-50-2 68,883,240                -D DEPTH=50 -D GROUP_WIDTH=128
//   Wide ResNet-101-2 126,886,696              -D DEPTH=101 -D GROUP_WIDTH=128
//
//   stagecc train examples/resnet/resnet.c -D DEPTH=152 -D IMAGE=8 -D CHANNELS=1 -D CLASSES=10 -n 3 --straight_pipeline --data idx:examples/digits/train --test-data idx:examples/digits/test --random-shift 1 --optimizer adamw --lr 0.001 --weight-decay 0.05 --lr-schedule cosine --batch 64 --micro-batches 2 --epochs 20 -o out
//   stagecc build examples/resnet/resnet.c -D DEPTH=50 --stages 2 --batch 64 --micro-batches 4 -o out
//
// Images below 64 pixels get the small stem of the paper's CIFAR networks: a 3x3 convolution, no
// pooling. The last batch norm of every block begins at zero, so that a block begins as the identity and
// 152 layers train from the first step (Goyal et al., 2017).
#include <assert.h>
#include <stagecc/model.h>

#ifndef DEPTH
#define DEPTH 50
#endif
#ifndef GROUPS
#define GROUPS 1
#endif
#ifndef GROUP_WIDTH // channels of a group where blocks have 64 channels
#define GROUP_WIDTH 64
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
static_assert(DEPTH == 18 || DEPTH == 34 || DEPTH == 50 || DEPTH == 101 || DEPTH == 152,
              "no such ResNet");
static_assert(DEPTH >= 50 || (GROUPS == 1 && GROUP_WIDTH == 64),
              "only bottlenecks, from 50 layers on, have groups and a width of their own");

TRAIN(.lr = 0.1, .momentum = 0.9, .weight_decay = 0.0001);

// gamma: where the normalisation's scale begins.
static Tensor conv_norm(Tensor x, int width, int kernel, int stride, int groups, double gamma)
{
    x = conv2d(x, width, .kernel = kernel, .stride = stride, .padding = kernel / 2,
               .groups = groups, .bias = false, .init = kaiming_normal(.fan_out = true));
    return batch_norm(x, .init = constant(gamma));
}

static Tensor join(Tensor branch, Tensor x, int stride)
{
    if (stride == 1 && channels(x) == channels(branch))
        return relu(add(branch, x));
    Tensor projection = conv_norm(x, channels(branch), 1, stride, 1, 1);
    return relu(add(branch, projection));
}

static Tensor basic(Tensor x, int width, int stride)
{
    Tensor first = conv_norm(x, width, 3, stride, 1, 1);
    Tensor second = conv_norm(relu(first), width, 3, 1, 1, 0);
    return join(second, x, stride);
}

static Tensor bottleneck(Tensor x, int width, int stride)
{
    int inner = width * GROUP_WIDTH / 64 * GROUPS;
    Tensor narrow = conv_norm(x, inner, 1, 1, 1, 1);
    Tensor spatial = conv_norm(relu(narrow), inner, 3, stride, GROUPS, 1);
    Tensor wide = conv_norm(relu(spatial), 4 * width, 1, 1, 1, 0);
    return join(wide, x, stride);
}

static int blocks(int stage)
{
    static const int deep[4][4] = {{2, 2, 2, 2}, {3, 4, 6, 3}, {3, 4, 23, 3}, {3, 8, 36, 3}};
    int row = DEPTH == 18 ? 0 : DEPTH <= 50 ? 1 : DEPTH == 101 ? 2 : 3;
    return deep[row][stage];
}

MODEL(resnet)
{
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    Tensor stem = IMAGE < 64 ? conv_norm(x, 64, 3, 1, 1, 1) : conv_norm(x, 64, 7, 2, 1, 1);
    x = relu(stem);
    if (IMAGE >= 64)
        x = max_pool2d(x, .kernel = 3, .stride = 2, .padding = 1);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < blocks(stage); i++) {
            int width = 64 << stage, stride = stage > 0 && i == 0 ? 2 : 1;
            x = DEPTH >= 50 ? bottleneck(x, width, stride) : basic(x, width, stride);
        }
    Tensor logits = linear(flatten(global_avg_pool(x)), CLASSES);
    loss(cross_entropy(logits, target("label", I32)));
}
