// Densely connected convolutions (Huang et al., 2016) in small: in a block every layer reads all layers
// before it, so that the first tensor has four users and a cut anywhere crosses several edges.
//
//   stagecc train examples/dense/dense.c -n 3 --data idx:examples/digits/train -D IMAGE=8 -D CHANNELS=1 --steps 50 -o out
#include <stagecc/model.h>

#ifndef IMAGE
#define IMAGE 32
#endif
#ifndef CHANNELS
#define CHANNELS 3
#endif
#ifndef CLASSES
#define CLASSES 10
#endif
#ifndef GROWTH
#define GROWTH 16
#endif

enum { LAYERS = 4 }; // of a block

TRAIN(.lr = 0.05, .momentum = 0.9);

static Tensor grow(Tensor x)
{
    return conv2d(relu(batch_norm(x)), GROWTH, .kernel = 3, .padding = 1, .bias = false);
}

static Tensor block(Tensor x)
{
    Tensor all[LAYERS + 1] = {x};
    for (int i = 0; i < LAYERS; i++)
        all[i + 1] = grow(concat_list(all, i + 1));
    return concat_list(all, LAYERS + 1);
}

static Tensor transition(Tensor x)
{
    x = conv2d(relu(batch_norm(x)), channels(x) / 2, .kernel = 1, .bias = false);
    return avg_pool2d(x, .kernel = 2);
}

MODEL(dense)
{
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    Tensor stem = conv2d(x, 2 * GROWTH, .kernel = 3, .padding = 1, .bias = false);
    Tensor first = block(stem);
    Tensor second = block(transition(first));
    Tensor logits = linear(flatten(global_avg_pool(relu(batch_norm(second)))), CLASSES);
    loss(cross_entropy(logits, target("label", I32)));
}
