// Vision transformer (Dosovitskiy et al., "An image is worth 16x16 words", 2020): the image's patches are the
// tokens, one more is read by the classifier. As in torchvision, which counts the same parameters:
//
//   ViT-B/16 86,567,656   ViT-B/32 88,224,232          -D PATCH=32
//   ViT-L/16 304,326,632                               -D LAYERS=24 -D DIM=1024 -D HEADS=16
//   ViT-S/16 22,050,664 (timm)                         -D DIM=384 -D HEADS=6
//
//   stagecc build examples/vit/vit.c --stages 3 --batch 16 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
#include <assert.h>
#include <stagecc/model.h>

#ifndef LAYERS
#define LAYERS 12
#endif
#ifndef DIM
#define DIM 768
#endif
#ifndef HEADS
#define HEADS 12
#endif
#ifndef PATCH
#define PATCH 16
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
#define DROPOUT 0
#endif
static_assert(DIM % HEADS == 0, "every head gets as many features");
static_assert(IMAGE % PATCH == 0, "patches cover the image");

enum { PATCHES = (IMAGE / PATCH) * (IMAGE / PATCH), T = PATCHES + 1 };

TRAIN(.optimizer = "adamw", .lr = 0.001, .weight_decay = 0.1, .clip_norm = 1, .warmup = 20);

static Tensor norm(Tensor x)
{
    return layer_norm(x, .eps = 1e-6);
}

static Tensor dense(Tensor x, int features)
{
    return linear(x, features, .init = xavier_uniform(), .bias_init = constant(0));
}

static Tensor heads(Tensor x)
{
    return transpose(reshape(x, T, HEADS, DIM / HEADS), 0, 2, 1, 3);
}

static Tensor attention(Tensor x)
{
    Tensor q = heads(dense(x, DIM));
    Tensor k = heads(dense(x, DIM));
    Tensor v = heads(dense(x, DIM));
    Tensor scores = scale(matmul(q, k, .transpose_b = true), 1 / sqrt((double)DIM / HEADS));
    Tensor mixed = matmul(softmax(scores), v);
    return dense(reshape(transpose(mixed, 0, 2, 1, 3), T, DIM), DIM);
}

static Tensor block(Tensor x)
{
    x = add(x, dropout(attention(norm(x)), DROPOUT));
    Tensor hidden = dropout(gelu(dense(norm(x), 4 * DIM)), DROPOUT);
    return add(x, dropout(dense(hidden, DIM), DROPOUT));
}

// [DIM,H,W] to [T,DIM]: in front stands the token that the classifier reads. It is the same for every
// image, so it comes with the positions.
static Tensor embed(Tensor image)
{
    Tensor patches = conv2d(image, DIM, .kernel = PATCH, .stride = PATCH,
                            .init = kaiming_normal(1), .bias_init = constant(0));
    Tensor tokens = pad(transpose(reshape(patches, DIM, PATCHES), 0, 2, 1), 1, 0);
    Tensor first =
        pad(parameter("class_token", 1, DIM, .init = constant(0)), 0, PATCHES, .axis = 0);
    Tensor positions = parameter("positions", T, DIM, .init = normal(0.02));
    return dropout(add(tokens, add(positions, first)), DROPOUT);
}

MODEL(vit)
{
    Tensor x = embed(input("image", F32, CHANNELS, IMAGE, IMAGE));
    for (int i = 0; i < LAYERS; i++)
        x = block(x);
    Tensor first = flatten(slice(norm(x), 0, 1));
    Tensor logits = linear(first, CLASSES, .init = constant(0), .bias_init = constant(0));
    loss(cross_entropy(logits, target("label", I32)));
}
