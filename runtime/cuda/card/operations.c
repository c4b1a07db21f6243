#include "runtime/cuda/card/operations.h"

#include <stdio.h>
#include <string.h>

// Descriptors
// ----------------------------------------------------------------------------------------

void rt__dnn_begin(DnnParts *p, const Dnn *d)
{
    memset(p, 0, sizeof *p);
    p->dnn = d;
}

void rt__dnn_drop(DnnParts *p)
{
    while (p->n_made)
        cudnn.BackendDestroyDescriptor(p->made[--p->n_made]);
}

void rt__dnn_say(DnnParts *p, const char *what, cudnnStatus_t status)
{
    char last[256] = "";
    cudnn.GetLastErrorString(last, sizeof last);
    for (char *c = last; *c; c++)
        if (*c == '\n')
            *c = ' ';
    snprintf(p->why, sizeof p->why, "%s: %s: %.200s", what, cudnn.GetErrorString(status), last);
}

static void note(DnnParts *p, const char *what, cudnnStatus_t status)
{
    if (!status || p->bad)
        return;
    p->bad = status;
    rt__dnn_say(p, what, status);
}

DnnDesc rt__dnn_part(DnnParts *p, cudnnBackendDescriptorType_t type)
{
    DnnDesc d = NULL;
    if (p->bad)
        return NULL;
    note(p, "descriptors of a graph",
         p->n_made == DNN_MOST_PARTS ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED
                                     : cudnn.BackendCreateDescriptor(type, &d));
    if (!p->bad)
        p->made[p->n_made++] = d;
    return d;
}

void rt__dnn_set(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name,
                 cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    char what[32];
    if (p->bad)
        return;
    snprintf(what, sizeof what, "attribute %d", (int)name);
    note(p, what, cudnn.BackendSetAttribute(d, name, type, n, values));
}

void rt__dnn_set_desc(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name, DnnDesc value)
{
    rt__dnn_set(p, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void rt__dnn_set_int(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name, int64_t value)
{
    rt__dnn_set(p, d, name, CUDNN_TYPE_INT64, 1, &value);
}

static void set_type(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name,
                     cudnnDataType_t value)
{
    rt__dnn_set(p, d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

DnnDesc rt__dnn_done(DnnParts *p, DnnDesc d, const char *what)
{
    if (!p->bad)
        note(p, what, cudnn.BackendFinalize(d));
    return d;
}

// Tensors
// ----------------------------------------------------------------------------------------

DnnShape rt__dnn_plain(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (DnnShape){{a, b, c, d}, {b * c * d, c * d, d, 1}};
}

DnnShape rt__dnn_channels_last(int64_t n, int64_t c, int64_t h, int64_t w)
{
    return (DnnShape){{n, c, h, w}, {c * h * w, 1, c * w, c}};
}

DnnShape rt__dnn_turned(DnnShape s)
{
    return (DnnShape){{s.dim[0], s.dim[1], s.dim[3], s.dim[2]},
                      {s.stride[0], s.stride[1], s.stride[3], s.stride[2]}};
}

static void set_number(DnnParts *p, DnnDesc d, int64_t number)
{
    rt__dnn_set_int(p, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, number);
    if (p->n_real == DNN_MOST_REAL)
        note(p, "tensors of a graph", CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
    else
        p->real[p->n_real++] = number;
}

DnnDesc rt__dnn_tensor(DnnParts *p, cudnnDataType_t type, DnnShape shape, int number)
{
    enum { FIRST_INSIDE = 1000, ALIGNMENT = 16 };
    const bool yes = true;
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set_type(p, d, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    rt__dnn_set(p, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape.dim);
    rt__dnn_set(p, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, shape.stride);
    rt__dnn_set_int(p, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, ALIGNMENT);
    if (number) {
        set_number(p, d, number);
    } else {
        rt__dnn_set_int(p, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, FIRST_INSIDE + p->n_made);
        rt__dnn_set(p, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    }
    return rt__dnn_done(p, d, "tensor");
}

DnnDesc rt__dnn_scalar(DnnParts *p, int number)
{
    const bool yes = true;
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    DnnShape one = rt__dnn_plain(1, 1, 1, 1);
    set_type(p, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT);
    rt__dnn_set(p, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, one.dim);
    rt__dnn_set(p, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, one.stride);
    rt__dnn_set_int(p, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, sizeof(float));
    set_number(p, d, number);
    rt__dnn_set(p, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    return rt__dnn_done(p, d, "number");
}

// Convolution
// ----------------------------------------------------------------------------------------

static DnnDesc add_op(DnnParts *p, DnnDesc op, const char *what)
{
    rt__dnn_done(p, op, what);
    if (p->n_ops == DNN_MOST_OPS)
        note(p, "operations of a graph", CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
    else
        p->ops[p->n_ops++] = op;
    return op;
}

static DnnDesc convolution_of(DnnParts *p, const rt_conv *c)
{
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t before[] = {c->padding[0], c->padding[1]};
    const int64_t after[] = {c->padding[2], c->padding[3]};
    const int64_t stride[] = {c->stride[0], c->stride[1]};
    const int64_t dilation[] = {c->dilation[0], c->dilation[1]}; // 1 is dense
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set_type(p, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    rt__dnn_set(p, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    rt__dnn_set_int(p, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    rt__dnn_set(p, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before);
    rt__dnn_set(p, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after);
    rt__dnn_set(p, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    rt__dnn_set(p, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    return rt__dnn_done(p, d, "convolution");
}

static const struct Convolution {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
} convolutions[] = {
    [RT_CONV2D] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [RT_CONV2D_GRAD_INPUT] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [RT_CONV2D_GRAD_WEIGHT] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

DnnDesc rt__dnn_convolution(DnnParts *p, rt_kernel_op op, const rt_conv *c, DnnDesc x,
                            DnnDesc w, DnnDesc y)
{
    const struct Convolution *k = &convolutions[op];
    const double one = 1, zero = 0;
    DnnDesc conv = convolution_of(p, c), d = rt__dnn_part(p, k->type);
    rt__dnn_set_desc(p, d, k->conv, conv);
    rt__dnn_set_desc(p, d, k->x, x);
    rt__dnn_set_desc(p, d, k->w, w);
    rt__dnn_set_desc(p, d, k->y, y);
    rt__dnn_set(p, d, k->alpha, CUDNN_TYPE_DOUBLE, 1, &one);
    rt__dnn_set(p, d, k->beta, CUDNN_TYPE_DOUBLE, 1, &zero);
    add_op(p, d, "convolution operation");
    return op == RT_CONV2D ? y : op == RT_CONV2D_GRAD_INPUT ? x : w;
}

// Element by element
// ----------------------------------------------------------------------------------------

typedef struct Pointwise {
    cudnnPointwiseMode_t mode;
    cudnnDataType_t type; // in which it computes
    DnnDesc a, b, condition, y;
    const int64_t *axis;
} Pointwise;

static DnnDesc pointwise(DnnParts *p, const Pointwise *w)
{
    DnnDesc how = rt__dnn_part(p, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    rt__dnn_set(p, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &w->mode);
    set_type(p, how, CUDNN_ATTR_POINTWISE_MATH_PREC, w->type);
    if (w->axis)
        rt__dnn_set_int(p, how, CUDNN_ATTR_POINTWISE_AXIS, *w->axis);
    rt__dnn_done(p, how, "pointwise");
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, w->a);
    if (w->b)
        rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, w->b);
    if (w->condition)
        rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, w->condition);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, w->y);
    add_op(p, d, "pointwise operation");
    return w->y;
}

DnnDesc rt__dnn_pointwise(DnnParts *p, cudnnPointwiseMode_t mode, DnnDesc a, DnnDesc b,
                          DnnDesc y)
{
    return pointwise(p, &(Pointwise){mode, CUDNN_DATA_FLOAT, a, b, NULL, y, NULL});
}

DnnDesc rt__dnn_compare(DnnParts *p, cudnnPointwiseMode_t mode, DnnDesc a, DnnDesc b, DnnDesc y)
{
    return pointwise(p, &(Pointwise){mode, CUDNN_DATA_BOOLEAN, a, b, NULL, y, NULL});
}

DnnDesc rt__dnn_select(DnnParts *p, DnnDesc condition, DnnDesc a, DnnDesc b, DnnDesc y)
{
    return pointwise(p, &(Pointwise){CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, a, b,
                                     condition, y, NULL});
}

DnnDesc rt__dnn_index(DnnParts *p, int64_t axis, DnnDesc like, DnnDesc y)
{
    return pointwise(p, &(Pointwise){CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, like, NULL,
                                     NULL, y, &axis});
}

// Others
// ----------------------------------------------------------------------------------------

DnnDesc rt__dnn_product(DnnParts *p, DnnDesc a, DnnDesc b, DnnDesc y)
{
    DnnDesc how = rt__dnn_part(p, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_type(p, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    rt__dnn_done(p, how, "product");
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_MATMUL_CDESC, y);
    add_op(p, d, "product operation");
    return y;
}

DnnDesc rt__dnn_reduce(DnnParts *p, cudnnReduceTensorOp_t op, DnnDesc x, DnnDesc y)
{
    DnnDesc how = rt__dnn_part(p, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    rt__dnn_set(p, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1,
                &op);
    set_type(p, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    rt__dnn_done(p, how, "reduction");
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    add_op(p, d, "reduction operation");
    return y;
}

DnnDesc rt__dnn_reshape(DnnParts *p, DnnDesc x, DnnDesc y)
{
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    add_op(p, d, "reshape operation");
    return y;
}

DnnDesc rt__dnn_sums(DnnParts *p, DnnDesc x, DnnDesc sum, DnnDesc squares)
{
    const cudnnGenStatsMode_t mode = CUDNN_GENSTATS_SUM_SQSUM;
    DnnDesc d = rt__dnn_part(p, CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
    rt__dnn_set(p, d, CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE, 1, &mode);
    set_type(p, d, CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_DATA_FLOAT);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_GENSTATS_XDESC, x);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, sum);
    rt__dnn_set_desc(p, d, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, squares);
    add_op(p, d, "sums");
    return x;
}

DnnDesc rt__dnn_graph(DnnParts *p)
{
    DnnDesc g = rt__dnn_part(p, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    rt__dnn_set(p, g, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, p->n_ops,
                p->ops);
    if (p->dnn->handle)
        rt__dnn_set(p, g, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
                    &p->dnn->handle);
    return rt__dnn_done(p, g, "operation graph");
}
