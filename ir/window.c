// Sizes of convolutions and poolings, as PyTorch computes them (torch.nn.Conv2d, MaxPool2d):
//   out = floor((in + before + after - dilation (kernel - 1) - 1) / stride) + 1
// With ceil_mode the division rounds up, but the last window must begin inside the input or the
// padding before it.
#include "ir/rule.h"

#include <inttypes.h>

typedef struct Window {
    int64_t in, kernel, stride, dilation, before, after;
    bool ceil;
} Window;

static int64_t extent(const Window *w)
{
    return w->dilation * (w->kernel - 1) + 1;
}

// 0: the window does not fit.
static int64_t window_count(const Window *w)
{
    int64_t room = w->in + w->before + w->after - extent(w);
    if (w->ceil)
        room += w->stride - 1;
    if (room < 0)
        return 0;
    int64_t n = room / w->stride + 1;
    return w->ceil && (n - 1) * w->stride >= w->in + w->before ? n - 1 : n;
}

static int64_t pair(const Node *n, AttrKey key, int axis, int64_t absent)
{
    const int64_t *v = node_ints(n, key);
    return v ? v[axis] : absent;
}

static Window window_of(const Node *n, Shape x, int axis, int64_t kernel)
{
    const int64_t *padding = node_ints(n, A_PADDING);
    return (Window){x.dim[2 + axis],
                    kernel,
                    pair(n, A_STRIDE, axis, 1),
                    pair(n, A_DILATION, axis, 1),
                    padding[axis],
                    padding[2 + axis],
                    node_int(n, A_CEIL_MODE)};
}

static bool slide(const Rule *r, Shape x, const int64_t kernel[2], Shape *y)
{
    static const char *const side[] = {"height", "width"};
    for (int axis = 0; axis < 2; axis++) {
        Window w = window_of(r->n, x, axis, kernel[axis]);
        if (kernel[axis] > INT64_C(1) << 30)
            return rule_wrong(r, NO_INPUT, "a kernel of %s %" PRId64 " is too large",
                              side[axis], kernel[axis]);
        y->dim[2 + axis] = window_count(&w);
        if (y->dim[2 + axis] <= 0)
            return rule_wrong(r, 0,
                              "a window of %s %" PRId64 " does not fit the image of %s %" PRId64
                              " with padding %" PRId64 " and %" PRId64,
                              side[axis], extent(&w), side[axis], w.in, w.before, w.after);
    }
    return true;
}

bool rule_conv(const Rule *r, Shape x, Shape w, Shape *y)
{
    int64_t groups = node_int(r->n, A_GROUPS);
    if (x.dim[1] % groups || w.dim[0] % groups)
        return rule_wrong(r, 0,
                          "%" PRId64 " groups do not divide %" PRId64 " input and %" PRId64
                          " output channels",
                          groups, x.dim[1], w.dim[0]);
    if (x.dim[1] / groups != w.dim[1])
        return rule_wrong(r, 0,
                          "the input has %" PRId64 " channels, but the weight takes %" PRId64
                          " in %" PRId64 " group%s",
                          x.dim[1], w.dim[1], groups, groups == 1 ? "" : "s");
    *y = (Shape){4, {x.dim[0], w.dim[0]}};
    return slide(r, x, w.dim + 2, y);
}

bool shape_CONV2D(const Rule *r)
{
    r->out[0].dtype = rule_in(r, 0).dtype;
    return rule_want_rank(r, 0, "input", 4) && rule_want_rank(r, 1, "weight", 4) &&
           rule_conv(r, rule_in(r, 0).shape, rule_in(r, 1).shape, &r->out[0].shape) &&
           (r->n->n_inputs < 3 ||
            rule_want_shape(r, 2, "bias", (Shape){1, {rule_in(r, 1).shape.dim[0]}}));
}

bool rule_pool(const Rule *r, Shape x, Shape *y)
{
    const int64_t *kernel = node_ints(r->n, A_KERNEL), *padding = node_ints(r->n, A_PADDING);
    for (int axis = 0; axis < 2; axis++) {
        Window w = window_of(r->n, x, axis, kernel[axis]);
        if (2 * padding[axis] > extent(&w) || 2 * padding[2 + axis] > extent(&w))
            return rule_wrong(r, NO_INPUT,
                              "padding [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                              "] is more than half the window of %" PRId64,
                              padding[0], padding[1], padding[2], padding[3], extent(&w));
    }
    *y = (Shape){4, {x.dim[0], x.dim[1]}};
    return slide(r, x, kernel, y);
}

bool shape_AVG_POOL2D(const Rule *r)
{
    r->out[0].dtype = rule_in(r, 0).dtype;
    return rule_want_rank(r, 0, "input", 4) &&
           rule_pool(r, rule_in(r, 0).shape, &r->out[0].shape);
}

bool shape_MAX_POOL2D(const Rule *r)
{
    if (!shape_AVG_POOL2D(r))
        return false;
    r->out[1] = (Type){I32, r->out[0].shape};
    return true;
}

bool shape_GLOBAL_POOL(const Rule *r)
{
    Type x = rule_in(r, 0);
    if (!rule_want_rank(r, 0, "input", 4))
        return false;
    r->out[0] = type_make(x.dtype, 4, (int64_t[]){x.shape.dim[0], x.shape.dim[1], 1, 1});
    return true;
}
