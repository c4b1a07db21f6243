// NASNet-A (Zoph, Vasudevan, Shlens and Le, "Learning transferable architectures for scalable image
// recognition", 2017): two kinds of cells that a search found. Every cell reads the two cells before it. As
// in pretrainedmodels (nasnetamobile) and timm (nasnetalarge), which count the same parameters:
//
//   NASNet-A (4 @ 1056), mobile 5,289,978
//   NASNet-A (6 @ 4032), large 88,753,150      -D CELLS=6 -D FILTERS=4032 -D STEM=96 -D IMAGE=331
//
//   stagecc build examples/nasnet/nasnet.c --stages 3 --batch 32 --micro-batches 4 -o out
//   stagecc run out --data synthetic --steps 10
#include <assert.h>
#include <stagecc/model.h>

#ifndef CELLS // normal ones before, between and after the two reductions
#define CELLS 4
#endif
#ifndef FILTERS // channels of the last cell
#define FILTERS 1056
#endif
#ifndef STEM
#define STEM 32
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
static_assert(FILTERS % 96 == 0,
              "the first cells have a 96th of the filters in each half of a path");

enum { WIDTH = FILTERS / 24 };

TRAIN(.lr = 0.05, .momentum = 0.9, .weight_decay = 0.00004, .clip_norm = 10);

// The padding that keeps all pixels (TensorFlow's SAME): halving an even image, it is one less in front.
static int front(Tensor x, int kernel, int stride)
{
    return kernel / 2 - (stride == 2 && height(x) % 2 == 0);
}

static Tensor norm(Tensor x)
{
    return batch_norm(x, .eps = 1e-3);
}

static Tensor pointwise(Tensor x, int width)
{
    return conv2d(x, width, .kernel = 1, .bias = false, .init = kaiming_normal());
}

static Tensor separable(Tensor x, int width, int kernel, int stride)
{
    x = conv2d(x, (int)channels(x), .kernel = kernel, .stride = stride,
               .padding = front(x, kernel, stride), .padding_end = kernel / 2,
               .groups = (int)channels(x), .bias = false, .init = kaiming_normal());
    return norm(pointwise(x, width));
}

static Tensor twice(Tensor x, int width, int kernel, int stride)
{
    x = separable(relu(x), width, kernel, stride);
    return separable(relu(x), width, kernel, 1);
}

static Tensor average(Tensor x, int stride)
{
    return avg_pool2d(x, .kernel = 3, .stride = stride, .padding = front(x, 3, stride),
                      .padding_end = 1, .count_include_pad = false);
}

static Tensor maximum(Tensor x)
{
    return max_pool2d(x, .kernel = 3, .stride = 2, .padding = front(x, 3, 2), .padding_end = 1);
}

static Tensor normal_cell(Tensor left, Tensor right, int width)
{
    Tensor a = add(twice(right, width, 5, 1), twice(left, width, 3, 1));
    Tensor b = add(twice(left, width, 5, 1), twice(left, width, 3, 1));
    Tensor c = add(average(right, 1), left);
    Tensor d = scale(average(left, 1), 2); // the search found the same pooling on both sides
    Tensor e = add(twice(right, width, 3, 1), right);
    return concat(left, a, b, c, d, e);
}

static Tensor reduction_cell(Tensor left, Tensor right, int width)
{
    Tensor largest = maximum(right);
    Tensor a = add(twice(right, width, 5, 2), twice(left, width, 7, 2));
    Tensor b = add(largest, twice(left, width, 7, 2));
    Tensor c = add(average(right, 2), twice(left, width, 5, 2));
    Tensor d = add(average(a, 1), b);
    Tensor e = add(twice(a, width, 3, 1), largest);
    return concat(b, c, d, e);
}

static Tensor squeeze(Tensor x, int width)
{
    return norm(pointwise(relu(x), width));
}

static Tensor every_second(Tensor x, int filters, int after)
{
    return conv2d(x, filters, .kernel = 1, .stride = 2, .padding = 0, .padding_end = after,
                  .bias = false, .init = kaiming_normal());
}

// Half the size: one half of the filters reads pixels 0, 2, 4, ..., the other half 1, 3, 5, ....
static Tensor halve(Tensor x, int filters)
{
    x = relu(x);
    Tensor even = every_second(x, filters / 2, 0);
    Tensor rest = slice(slice(x, 1, height(x) - 1, .axis = 2), 1, width(x) - 1, .axis = 3);
    Tensor odd = every_second(rest, filters / 2, height(x) % 2);
    return norm(concat(even, odd));
}

// The cell before the last has the size of the last one, or twice as much.
static Tensor fit(Tensor before, Tensor x, int width)
{
    return height(before) == height(x) ? squeeze(before, width) : halve(before, width);
}

static Tensor cell(Tensor before, Tensor x, int width, bool reduces)
{
    Tensor left = fit(before, x, width), right = squeeze(x, width);
    return reduces ? reduction_cell(left, right, width) : normal_cell(left, right, width);
}

MODEL(nasnet)
{
    Tensor x = input("image", F32, CHANNELS, IMAGE, IMAGE);
    Tensor image = norm(conv2d(x, STEM, .kernel = 3, .stride = 2, .bias = false));
    Tensor before = reduction_cell(image, squeeze(image, WIDTH / 4), WIDTH / 4);
    Tensor last = cell(image, before, WIDTH / 2, true);
    for (int i = 0; i < 3 * CELLS + 2; i++) {
        int part = i / (CELLS + 1); // CELLS normal ones and a reduction
        bool reduces = i % (CELLS + 1) == CELLS;
        Tensor made = cell(before, last, WIDTH << (part + reduces), reduces);
        before = last;
        last = made;
    }
    x = dropout(flatten(global_avg_pool(relu(last))), DROPOUT);
    loss(cross_entropy(linear(x, CLASSES), target("label", I32)));
}
