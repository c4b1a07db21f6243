// Which convolutions and products are computed by an algorithm that multiplies less:
//
//   Winograd's F(4x4,3x3)   a quarter of the products (Lavin and Gray, "Fast Algorithms for Convolutional
//                           Neural Networks", CVPR 2016). The library has it for dense 3x3 convolutions
//                           of stride 1 on blocks of 16 channels. It is faster where there are tiles of
//                           4 x 4 pixels enough to share the transformed weights, mostly filled.
//   Strassen's              seven products of quarters instead of eight (Strassen, "Gaussian Elimination
//                           is not Optimal", 1969): ours, for large matrices.
//
// docs/backends.md has the measurements behind the limits. The rules see one node's sizes and layouts
// only, so cutting a model changes no bit. Both are for AVX-512, where blocks have 16 channels.
#include "ir/product.h"
#include "passes/pass.h"

#include <string.h>

enum { TILE = 4, FEWEST_TILES = 24, LEAST_FILLED = 65 /* percent */, LEAST_CHANNELS = 32 };
enum { SMALLEST_MATRIX = 512 };

static bool all_ones(const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);
    for (int i = 0; i < a->n; i++)
        if (a->ints[i] != 1)
            return false;
    return true;
}

// Image and result have the same height and width.
static bool suits(const Node *n, Shape w)
{
    return w.dim[2] == 3 && w.dim[3] == 3 && node_int(n, A_GROUPS) == 1 &&
           all_ones(n, A_STRIDE) && all_ones(n, A_DILATION) && all_ones(n, A_PADDING) &&
           w.dim[0] >= LEAST_CHANNELS && w.dim[1] >= LEAST_CHANNELS;
}

static bool pays(Shape image)
{
    int64_t rows = (image.dim[2] + TILE - 1) / TILE, columns = (image.dim[3] + TILE - 1) / TILE;
    int64_t filled = image.dim[2] * image.dim[3] * 100 / (rows * columns * TILE * TILE);
    return image.dim[0] * rows * columns >= FEWEST_TILES && filled >= LEAST_FILLED;
}

static bool laid_out(const Node *image, const Node *other, const Node *weight)
{
    return image->layout == LAYOUT_BLOCKED && other->layout == LAYOUT_BLOCKED &&
           weight->layout == LAYOUT_KERNEL;
}

static bool large(Product p)
{
    return p.batch == 1 && p.m >= SMALLEST_MATRIX && p.n >= SMALLEST_MATRIX &&
           p.k >= SMALLEST_MATRIX && p.m % 2 + p.n % 2 + p.k % 2 == 0;
}

static bool is_convolution(Op op)
{
    return op == OP_CONV2D || op == OP_CONV2D_GRAD_INPUT || op == OP_CONV2D_GRAD_WEIGHT;
}

static bool wants_fast(const Node *n)
{
    if (n->n_inputs && n->inputs[0]->dtype != F32) // both are made for floats
        return false;
    if (is_product(n->op))
        return large(product_of(n));
    if (!is_convolution(n->op))
        return false;
    const Node *a = n->inputs[0], *b = n->inputs[1];
    bool of_weight = n->op == OP_CONV2D_GRAD_WEIGHT;
    const Node *weight = of_weight ? n : b, *other = of_weight ? b : n;
    return suits(n, weight->shape) && pays(a->shape) && laid_out(a, other, weight);
}

void pass_algorithms(Compile *c)
{
    bool able = c->images == IMAGES_BLOCKED && c->graph->block == 16 &&
                strcmp(c->options->isa, "avx2") != 0 && !strcmp(c->options->algorithms, "auto");
    for (int i = 0; i < c->graph->nodes.n; i++) {
        Node *n = c->graph->nodes.items[i];
        node_drop_attr(n, A_FAST); // of a printed graph
        if (able && wants_fast(n))
            graph_set_attr(c->graph, n, attr_int(A_FAST, 1));
    }
}
