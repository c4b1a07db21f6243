// Inception v3 (Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for
// computer vision", 2015), with the auxiliary classifier, whose loss counts 0.4 as much, or without it:
// -D AUX=0. As in torchvision, which counts the same parameters:
//
//   Inception v3 27,161,264   without the auxiliary classifier 23,834,568
//
//   stagecc build examples/inception/inception.c --stages 3 --batch 32 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
#include <assert.h>
#include <stagecc/model.h>

#ifndef AUX
#define AUX 1
#endif
#ifndef IMAGE
#define IMAGE 299
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
static_assert(IMAGE >= 75, "the smallest image that leaves a pixel at the end");

TRAIN(.lr = 0.045, .momentum = 0.9, .weight_decay = 0.00004);

typedef enum Rim { LOST, KEPT } Rim; // of the image

static Tensor conv(Tensor x, int width, int h, int w, int stride, Rim rim)
{
    x = conv2d(x, width, .kernel_h = h, .kernel_w = w, .stride = stride,
               .padding_h = rim == KEPT ? h / 2 : 0, .padding_w = rim == KEPT ? w / 2 : 0,
               .bias = false, .init = kaiming_normal());
    return relu(batch_norm(x, .eps = 1e-3));
}

static Tensor window(Tensor x, int width, int h, int w)
{
    return conv(x, width, h, w, 1, KEPT);
}

static Tensor square(Tensor x, int width, int size)
{
    return window(x, width, size, size);
}

static Tensor halve(Tensor x, int width)
{
    return conv(x, width, 3, 3, 2, LOST);
}

static Tensor shrink(Tensor x)
{
    return max_pool2d(x, .kernel = 3, .stride = 2);
}

static Tensor pooled(Tensor x, int width)
{
    return square(avg_pool2d(x, .kernel = 3, .stride = 1, .padding = 1), width, 1);
}

// 35x35 (figure 5 of the paper)
static Tensor module_a(Tensor x, int pool_width)
{
    Tensor one = square(x, 64, 1);
    Tensor five = square(square(x, 48, 1), 64, 5);
    Tensor three = square(square(square(x, 64, 1), 96, 3), 96, 3);
    return concat(one, five, three, pooled(x, pool_width));
}

// 35x35 to 17x17 (figure 10)
static Tensor reduction_a(Tensor x)
{
    Tensor three = halve(x, 384);
    Tensor two = halve(square(square(x, 64, 1), 96, 3), 96);
    return concat(three, two, shrink(x));
}

// 17x17, with 7x7 windows in factors (figure 6)
static Tensor module_b(Tensor x, int c)
{
    Tensor one = square(x, 192, 1);
    Tensor seven = window(window(square(x, c, 1), c, 1, 7), 192, 7, 1);
    Tensor twice = window(window(square(x, c, 1), c, 7, 1), c, 1, 7);
    twice = window(window(twice, c, 7, 1), 192, 1, 7);
    return concat(one, seven, twice, pooled(x, 192));
}

// 17x17 to 8x8
static Tensor reduction_b(Tensor x)
{
    Tensor three = halve(square(x, 192, 1), 320);
    Tensor seven = window(window(square(x, 192, 1), 192, 1, 7), 192, 7, 1);
    return concat(three, halve(seven, 192), shrink(x));
}

static Tensor split(Tensor x)
{
    return concat(window(x, 384, 1, 3), window(x, 384, 3, 1));
}

// 8x8, wide (figure 7)
static Tensor module_c(Tensor x)
{
    Tensor one = square(x, 320, 1);
    Tensor three = split(square(x, 384, 1));
    Tensor twice = split(square(square(x, 448, 1), 384, 3));
    return concat(one, three, twice, pooled(x, 192));
}

// Small images leave the auxiliary classifier fewer than the 17x17 pixels it is made for: it then reads all
// there are.
static Tensor auxiliary(Tensor x)
{
    if (height(x) >= 17)
        x = avg_pool2d(x, .kernel = 5, .stride = 3);
    x = square(x, 128, 1);
    int kernel = height(x) < 5 ? (int)height(x) : 5;
    x = conv2d(x, 768, .kernel = kernel, .bias = false, .init = normal(0.01));
    x = global_avg_pool(relu(batch_norm(x, .eps = 1e-3)));
    return linear(flatten(x), CLASSES, .init = normal(0.001));
}

static Tensor stem(Tensor x)
{
    x = conv(halve(x, 32), 32, 3, 3, 1, LOST);
    x = shrink(square(x, 64, 3));
    x = conv(square(x, 80, 1), 192, 3, 3, 1, LOST);
    return shrink(x);
}

MODEL(inception)
{
    static const int factors[4] = {128, 160, 160, 192};
    Tensor label = target("label", I32);
    Tensor x = stem(input("image", F32, CHANNELS, IMAGE, IMAGE));
    x = module_a(module_a(module_a(x, 32), 64), 64);
    x = reduction_a(x);
    for (int i = 0; i < 4; i++)
        x = module_b(x, factors[i]);
    Tensor aux = AUX ? auxiliary(x) : NULL;
    x = module_c(module_c(reduction_b(x)));
    Tensor logits = linear(flatten(dropout(global_avg_pool(x), DROPOUT)), CLASSES);
    output(logits);
    Tensor error = cross_entropy(logits, label);
    loss(aux ? add(error, scale(cross_entropy(aux, label), 0.4)) : error);
}
