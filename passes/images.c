// Convolution, pooling and batch norm want their images in the backend's own layout wherever the shape allows it;
// element-wise ops, and what puts images together or takes them apart, follow their inputs; everything else is
// plain. An image that is the same bytes either way counts as plain.
//
//   in blocks        [N, C/b, H, W, b] where b divides C. What follows has one shape for all its images, and moves whole blocks.
//   channels last    [N, H, W, C] of any C. Numbers that repeat over pixels or channels may be read beside images, and images
//                    be summed up to such, because these lie alike in both layouts. A convolution's weight lies so, too.
#include "passes/images.h"

#include "passes/values.h"

static bool fits(const ImageRules *r, Shape s)
{
    return s.rank == 4 && (r->own == LAYOUT_CHANNELS_LAST || s.dim[1] % r->g->block == 0);
}

bool image_differs(const ImageRules *r, Shape s)
{
    bool pixels = s.rank == 4 && (s.dim[2] > 1 || s.dim[3] > 1);
    return pixels && fits(r, s) && (r->own == LAYOUT_BLOCKED || !shape_lies_alike(s));
}

static Layout image(const ImageRules *r, Shape s, bool own)
{
    return own && image_differs(r, s) ? r->own : LAYOUT_PLAIN;
}

// Convolutions
// ------------------------------------------------------------------------------------------

// The kernels take plain input and blocked output for a first layer of few channels, as long as
// nobody wants the gradient of that input. AVX2's backward kernel knows three channels only.
static bool first_layer(const Graph *g, Node *x)
{
    int64_t channels = x->shape.dim[1];
    return value_root(x)->op == OP_INPUT && (g->block == 16 ? channels < 16 : channels == 3);
}

typedef struct Wish {
    bool x, y; // in the backend's layout
} Wish;

// x and y (or their gradients) of one convolution. x is NULL where its gradient is wanted.
static Wish wish_conv(const ImageRules *r, Node *x, Shape xs, Shape ys, int64_t groups)
{
    if (r->own == LAYOUT_CHANNELS_LAST)
        return (Wish){true, true};
    bool depthwise = groups == xs.dim[1] && groups == ys.dim[1];
    bool wide = xs.dim[1] / groups % r->g->block == 0 && ys.dim[1] / groups % r->g->block == 0;
    if (!fits(r, ys) || (groups > 1 && !depthwise && !wide))
        return (Wish){false, false};
    if (fits(r, xs))
        return (Wish){true, true};
    return (Wish){false, x && groups == 1 && first_layer(r->g, x)};
}

static Wish wish_of(const ImageRules *r, const Node *n)
{
    Node *a = n->inputs[0], *b = n->inputs[1];
    int64_t groups = node_int(n, A_GROUPS);
    switch ((int)n->op) {
    case OP_CONV2D: return wish_conv(r, a, a->shape, n->shape, groups);
    case OP_CONV2D_GRAD_INPUT: return wish_conv(r, NULL, n->shape, a->shape, groups);
    }
    return wish_conv(r, a, a->shape, b->shape, groups);
}

static bool is_conv(Op op)
{
    return op == OP_CONV2D || op == OP_CONV2D_GRAD_INPUT || op == OP_CONV2D_GRAD_WEIGHT;
}

// A weight that is not its kernel's own. In blocks the library takes it plain.
static Layout weight(const ImageRules *r, Shape s)
{
    return image(r, s, r->own == LAYOUT_CHANNELS_LAST);
}

static Layout conv_made(const ImageRules *r, const Node *n)
{
    const Node *of = n->forward ? value_root(n->forward->inputs[1]) : NULL;
    bool later = r->own == LAYOUT_BLOCKED; // when the images of all its convolutions are known
    if (n->op == OP_CONV2D_GRAD_WEIGHT)
        return later || (of && of->layout == LAYOUT_KERNEL) ? LAYOUT_KERNEL
                                                            : weight(r, n->shape);
    Wish w = wish_of(r, n);
    return image(r, n->shape, n->op == OP_CONV2D ? w.y : w.x && w.y);
}

static Layout conv_wanted(const ImageRules *r, const Node *n, int i)
{
    Wish w = wish_of(r, n);
    Shape s = n->inputs[i]->shape;
    bool gradient = n->op == OP_CONV2D_GRAD_INPUT || i == 1;
    if (i == 1 && n->op != OP_CONV2D_GRAD_WEIGHT)
        return weight(r, s);
    return image(r, s, gradient ? w.y : w.x);
}

// Other ops
// ------------------------------------------------------------------------------------------

// Ops whose image input(s) and output are of one kind, and whose further inputs are vectors.
static bool is_image_op(Op op)
{
    static const bool image_op[N_OPS] = {
        [OP_BATCH_NORM] = true,           [OP_BATCH_NORM_INFER] = true,
        [OP_BATCH_NORM_GRAD] = true,      [OP_MAX_POOL2D] = true,
        [OP_MAX_POOL2D_GRAD] = true,      [OP_AVG_POOL2D] = true,
        [OP_AVG_POOL2D_GRAD] = true,      [OP_GLOBAL_AVG_POOL] = true,
        [OP_GLOBAL_AVG_POOL_GRAD] = true,
    };
    return image_op[op];
}

// Puts images together or takes them apart, in any dimension or, in blocks, whole blocks.
static bool moves_images(const ImageRules *r, const Node *n)
{
    if (n->op != OP_CONCAT && n->op != OP_SLICE && n->op != OP_PAD)
        return false;
    if (r->own == LAYOUT_CHANNELS_LAST)
        return true;
    return node_int(n, A_AXIS) == 1 &&
           (n->op == OP_CONCAT || node_int(n, A_BEGIN) % r->g->block == 0);
}

// A part of an image, or what may be read beside one.
static bool follows(const ImageRules *r, const Node *n, Shape s)
{
    if (moves_images(r, n))
        return r->own == LAYOUT_CHANNELS_LAST ? fits(r, s) : image_differs(r, s);
    return shape_equal(s, n->shape) || shape_count(s) == 1 ||
           (r->own == LAYOUT_CHANNELS_LAST && shape_lies_alike(s));
}

// Its random numbers bind dropout to the order of the plain layout.
static bool may_follow(const ImageRules *r, const Node *n)
{
    if ((!node_is(n, 'E') && !moves_images(r, n)) || n->op == OP_DROPOUT ||
        !image_differs(r, n->shape))
        return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (!follows(r, n, n->inputs[i]->shape))
            return false;
    return true;
}

static bool any_own_input(const ImageRules *r, const Node *n)
{
    for (int i = 0; i < n->n_inputs; i++)
        if (!node_is(n->inputs[i], 'V') && n->inputs[i]->layout == r->own)
            return true;
    return false;
}

bool image_able(const ImageRules *r, const Node *n)
{
    return is_image_op(n->op) ? fits(r, n->shape) : may_follow(r, n);
}

bool image_reason(const ImageRules *r, const Node *n)
{
    return is_image_op(n->op) ? fits(r, n->shape) : any_own_input(r, n);
}

static bool is_own(const ImageRules *r, const Node *n)
{
    if (node_is(n, 'H')) // rows, even in a group of images
        return false;
    return n->group >= 0 ? r->group[n->group] == r->own
                         : image_able(r, n) && image_reason(r, n);
}

// How many of its inputs are images (or the weight); what follows are vectors.
static int image_inputs(const Node *n)
{
    if (is_conv(n->op) || n->op == OP_BATCH_NORM_GRAD)
        return 2;
    return is_image_op(n->op) ? 1 : n->n_inputs;
}

// Adds up over images however they lie.
static bool takes_any(const ImageRules *r, const Node *n)
{
    if (n->op == OP_BIAS_GRAD)
        return node_int(n, A_AXIS) == 1;
    return n->op == OP_SUM_TO && r->own == LAYOUT_CHANNELS_LAST &&
           n->inputs[0]->shape.rank == 4 && shape_lies_alike(n->shape);
}

Layout image_made(const ImageRules *r, Node *n)
{
    return is_conv(n->op) ? conv_made(r, n) : image(r, n->shape, is_own(r, n));
}

Layout image_wanted(const ImageRules *r, Node *n, int i)
{
    const Node *x = n->inputs[i];
    if (i >= image_inputs(n))
        return LAYOUT_PLAIN;
    if (is_conv(n->op))
        return conv_wanted(r, n, i);
    return takes_any(r, n) ? x->layout : image(r, x->shape, is_own(r, n));
}
