// What cuDNN's operation graphs mean: they are walked, one operation after the other, by naive loops with sums in
// double. For cudnn.cpp.
#ifndef STAGECC_TESTS_CUDNN_GRAPH_H
#define STAGECC_TESTS_CUDNN_GRAPH_H

#include <cudnn.h>

#include <math.h>
#include <string.h>

#include <map>
#include <memory>
#include <vector>

// Descriptors
// ----------------------------------------------------------------------------------------

struct Node;
typedef std::shared_ptr<Node> Ref;

struct Node {
    cudnnBackendDescriptorType_t type;
    std::map<int, std::vector<uint8_t>> values; // by attribute
    std::map<int, std::vector<Ref>> nodes;

    bool has(int name) const
    {
        return values.count(name) || nodes.count(name);
    }
    template <typename T> std::vector<T> all(int name) const
    {
        auto found = values.find(name);
        if (found == values.end())
            return {};
        std::vector<T> list(found->second.size() / sizeof(T));
        memcpy((void *)list.data(), found->second.data(), list.size() * sizeof(T));
        return list;
    }
    bool flag(int name) const
    {
        auto found = values.find(name);
        return found != values.end() && found->second[0];
    }
    template <typename T> T one(int name) const
    {
        std::vector<T> list = all<T>(name);
        return list.empty() ? T() : list[0];
    }
    const Node &node(int name) const
    {
        return *nodes.at(name).at(0);
    }
};

static Node &node_of(cudnnBackendDescriptor_t d)
{
    return **(Ref *)d;
}

// Tensors
// ----------------------------------------------------------------------------------------

typedef std::vector<int64_t> Index;

struct Shape {
    Index dim, stride;
    cudnnDataType_t type;

    explicit Shape(const Node &tensor)
        : dim(tensor.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)),
          stride(tensor.all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES)),
          type(tensor.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE))
    {
    }
    int64_t count() const
    {
        int64_t n = 1;
        for (int64_t d : dim)
            n *= d;
        return n;
    }
    Index index(int64_t i) const // of element i, row-major
    {
        Index at(dim.size());
        for (size_t d = dim.size(); d-- > 0; i /= dim[d])
            at[d] = i % dim[d];
        return at;
    }
    int64_t place(const Index &at) const // in memory
    {
        int64_t sum = 0;
        for (size_t d = 0; d < dim.size(); d++)
            sum += at[d] * stride[d];
        return sum;
    }
    int64_t element(const Index &at)
        const // likewise row-major; where there is one of a dimension, it stands for all
    {
        int64_t i = 0;
        for (size_t d = 0; d < dim.size(); d++)
            i = i * dim[d] + (dim[d] == 1 ? 0 : at[d]);
        return i;
    }
};

static float of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Rounds to the nearest, ties to even; NaN stays NaN.
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

typedef std::vector<float> Values; // row-major

struct Run {
    Ref graph;
    bool tf32;                    // floats are convolved in its 10 bits
    std::map<int64_t, void *> at; // real tensors by their number
    std::map<int64_t, float> scalars;
    void *workspace; // NULL: none is wanted
    size_t workspace_bytes;
    std::map<const Node *, Values> inside; // what operations have made
};

static Values read(Run &run, const Node &tensor)
{
    const Shape shape(tensor);
    const int64_t number = tensor.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    if (tensor.flag(CUDNN_ATTR_TENSOR_IS_BY_VALUE))
        return {run.scalars.at(number)};
    if (run.inside.count(&tensor))
        return run.inside.at(&tensor);
    const void *from = run.at.at(number); // throws where nobody has made it
    Values values((size_t)shape.count());
    for (size_t i = 0; i < values.size(); i++) {
        const int64_t place = shape.place(shape.index((int64_t)i));
        values[i] = shape.type == CUDNN_DATA_BFLOAT16
                        ? of_bits((uint32_t)((const uint16_t *)from)[place] << 16)
                        : ((const float *)from)[place];
    }
    return values;
}

static void write(Run &run, const Node &tensor, Values values)
{
    const Shape shape(tensor);
    const bool narrow = shape.type == CUDNN_DATA_BFLOAT16;
    for (float &value : values)
        value = narrow ? of_bits((uint32_t)to_bf16(value) << 16) : value;
    if (!tensor.flag(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) {
        void *to = run.at.at(tensor.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID));
        for (size_t i = 0; i < values.size(); i++) {
            const int64_t place = shape.place(shape.index((int64_t)i));
            if (narrow)
                ((uint16_t *)to)[place] = to_bf16(values[i]);
            else
                ((float *)to)[place] = values[i];
        }
    }
    run.inside[&tensor] = values;
}

// Operations
// ----------------------------------------------------------------------------------------

struct Conv {
    int op; // 0: forward, 1: gradient of x, 2: of w
    int conv, x, w, y;
};

static const Conv forward = {0, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
static const Conv grad_x = {1, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY};
static const Conv grad_w = {2, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};

struct Window {
    Index pad, behind, stride, dilation;

    explicit Window(const Node &conv)
        : pad(conv.all<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS)),
          behind(conv.all<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS)),
          stride(conv.all<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES)),
          dilation(conv.all<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS))
    {
    }
    int64_t size(size_t d, int64_t x, int64_t w) const // of the result
    {
        return (x + pad[d] + behind[d] - (w - 1) * dilation[d] - 1) / stride[d] + 1;
    }
    int64_t from(size_t d, int64_t y, int64_t w) const // which element of x
    {
        return y * stride[d] - pad[d] + w * dilation[d];
    }
};

static bool fits(const Node &op, const Conv &k)
{
    const Window window(op.node(k.conv));
    const Index x = Shape(op.node(k.x)).dim, w = Shape(op.node(k.w)).dim,
                y = Shape(op.node(k.y)).dim;
    bool good = x[0] == y[0] && w[0] == y[1] && x[1] % w[1] == 0 && y[1] % (x[1] / w[1]) == 0;
    for (size_t d = 0; d < 2; d++)
        good = good && y[d + 2] == window.size(d, x[d + 2], w[d + 2]);
    return good;
}

// Adds the products that element `at` of y takes part in.
static void convolve_at(const Conv &k, const Window &window, const Shape shape[3],
                        const Index &at, std::vector<double> v[3])
{
    const Index &x = shape[0].dim, &w = shape[1].dim;
    const int64_t group = at[1] / (w[0] / (x[1] / w[1]));
    const size_t y_at = (size_t)shape[2].element(at);
    for (int64_t c = 0; c < w[1]; c++)
        for (int64_t r = 0; r < w[2]; r++)
            for (int64_t s = 0; s < w[3]; s++) {
                const int64_t h = window.from(0, at[2], r), q = window.from(1, at[3], s);
                if (h < 0 || h >= x[2] || q < 0 || q >= x[3])
                    continue;
                const size_t x_at =
                    (size_t)(((at[0] * x[1] + group * w[1] + c) * x[2] + h) * x[3] + q);
                const size_t w_at = (size_t)(((at[1] * w[1] + c) * w[2] + r) * w[3] + s);
                if (k.op == 0)
                    v[2][y_at] += v[0][x_at] * v[1][w_at];
                else if (k.op == 1)
                    v[0][x_at] += v[2][y_at] * v[1][w_at];
                else
                    v[1][w_at] += v[2][y_at] * v[0][x_at];
            }
}

// What the bits of tf32 leave is cut off.
static void cut(Values &values)
{
    for (float &value : values) {
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        value = of_bits(bits & ~UINT32_C(0x1fff));
    }
}

static void convolve(Run &run, const Node &op, const Conv &k)
{
    const Node *tensors[] = {&op.node(k.x), &op.node(k.w), &op.node(k.y)};
    const int out = k.op == 0 ? 2 : k.op == 1 ? 0 : 1;
    const Shape shape[] = {Shape(*tensors[0]), Shape(*tensors[1]), Shape(*tensors[2])};
    std::vector<double> v[3];
    for (int i = 0; i < 3; i++) {
        Values from = i == out ? Values((size_t)shape[i].count()) : read(run, *tensors[i]);
        if (run.tf32)
            cut(from);
        v[i].assign(from.begin(), from.end());
    }
    const Window window(op.node(k.conv));
    for (int64_t i = 0; i < shape[2].count(); i++)
        convolve_at(k, window, shape, shape[2].index(i), v);
    write(run, *tensors[out], Values(v[out].begin(), v[out].end()));
}

static float pointwise_of(cudnnPointwiseMode_t mode, float a, float b)
{
    switch ((int)mode) {
    case CUDNN_POINTWISE_ADD: return a + b;
    case CUDNN_POINTWISE_SUB: return a - b;
    case CUDNN_POINTWISE_MUL: return a * b;
    case CUDNN_POINTWISE_DIV: return a / b;
    case CUDNN_POINTWISE_EXP: return expf(a);
    case CUDNN_POINTWISE_LOG: return logf(a);
    case CUDNN_POINTWISE_RELU_FWD: return a > 0 || a != a ? a : 0;
    case CUDNN_POINTWISE_IDENTITY: return a;
    case CUDNN_POINTWISE_CMP_GE: return a >= b;
    }
    throw mode;
}

static void pointwise(Run &run, const Node &op)
{
    const Node &how = op.node(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Node &x = op.node(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
    const Node &y = op.node(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const cudnnPointwiseMode_t mode = how.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    const Shape shape(y);
    Values out((size_t)shape.count());
    if (mode == CUDNN_POINTWISE_GEN_INDEX) {
        const size_t axis = (size_t)how.one<int64_t>(CUDNN_ATTR_POINTWISE_AXIS);
        for (size_t i = 0; i < out.size(); i++)
            out[i] = (float)shape.index((int64_t)i)[axis];
        write(run, y, out);
        return;
    }
    const bool two = op.has(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    const bool select = mode == CUDNN_POINTWISE_BINARY_SELECT;
    const Node &b = two ? op.node(CUDNN_ATTR_OPERATION_POINTWISE_BDESC) : x;
    const Node &t = select ? op.node(CUDNN_ATTR_OPERATION_POINTWISE_TDESC) : x;
    const Shape xs(x), bs(b), ts(t);
    const Values av = read(run, x), bv = read(run, b), tv = read(run, t);
    for (size_t i = 0; i < out.size(); i++) {
        const Index at = shape.index((int64_t)i);
        const float left = av[(size_t)xs.element(at)], right = bv[(size_t)bs.element(at)];
        out[i] = select ? tv[(size_t)ts.element(at)] != 0 ? left : right
                        : pointwise_of(mode, left, right);
    }
    write(run, y, out);
}

static void reduce(Run &run, const Node &op)
{
    const Node &x = op.node(CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
    const Node &y = op.node(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    const bool most = op.node(CUDNN_ATTR_OPERATION_REDUCTION_DESC)
                          .one<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR) ==
                      CUDNN_REDUCE_TENSOR_MAX;
    const Shape from(x), to(y);
    const Values values = read(run, x);
    std::vector<double> sums((size_t)to.count(), most ? -INFINITY : 0);
    for (size_t i = 0; i < values.size(); i++) {
        double &sum = sums[(size_t)to.element(from.index((int64_t)i))];
        sum = most ? fmax(sum, (double)values[i]) : sum + (double)values[i];
    }
    write(run, y, Values(sums.begin(), sums.end()));
}

static void multiply(Run &run, const Node &op)
{
    const Node &a = op.node(CUDNN_ATTR_OPERATION_MATMUL_ADESC);
    const Node &b = op.node(CUDNN_ATTR_OPERATION_MATMUL_BDESC);
    const Node &c = op.node(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    const Shape as(a), bs(b), cs(c);
    const Values av = read(run, a), bv = read(run, b);
    Values out((size_t)cs.count());
    for (size_t i = 0; i < out.size(); i++) {
        const Index at = cs.index((int64_t)i);
        double sum = 0;
        for (int64_t k = 0; k < as.dim[3]; k++)
            sum += (double)av[(size_t)as.element({at[0], at[1], at[2], k})] *
                   (double)bv[(size_t)bs.element({at[0], at[1], k, at[3]})];
        out[i] = (float)sum;
    }
    write(run, c, out);
}

// For every channel, of an image.
static void add_up(Run &run, const Node &op)
{
    const Node &x = op.node(CUDNN_ATTR_OPERATION_GENSTATS_XDESC);
    const Shape from(x);
    const Values values = read(run, x);
    std::vector<double> sums((size_t)from.dim[1]), squares(sums);
    for (size_t i = 0; i < values.size(); i++) {
        const size_t channel = (size_t)from.index((int64_t)i)[1];
        const double v = (double)values[i];
        sums[channel] += v;
        squares[channel] += v * v;
    }
    write(run, op.node(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC),
          Values(sums.begin(), sums.end()));
    write(run, op.node(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC),
          Values(squares.begin(), squares.end()));
}

// The same memory, seen otherwise.
static void reshape(Run &run, const Node &op)
{
    const Node &x = op.node(CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
    const Node &y = op.node(CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    const Shape from(x), to(y);
    const Values values = read(run, x);
    std::map<int64_t, float> memory;
    for (size_t i = 0; i < values.size(); i++)
        memory[from.place(from.index((int64_t)i))] = values[i];
    Values out((size_t)to.count());
    for (size_t i = 0; i < out.size(); i++)
        out[i] = memory.at(to.place(to.index((int64_t)i)));
    write(run, y, out);
}

static void work_off(void *user)
{
    Run &run = *(Run *)user;
    if (run.workspace) // bits that nobody expects where other numbers lie
        memset(run.workspace, 0xff, run.workspace_bytes);
    for (const Ref &op : run.graph->nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS))
        switch ((int)op->type) {
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
            convolve(run, *op, forward);
            break;
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
            convolve(run, *op, grad_x);
            break;
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
            convolve(run, *op, grad_w);
            break;
        case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: pointwise(run, *op); break;
        case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR: reduce(run, *op); break;
        case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR: multiply(run, *op); break;
        case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: reshape(run, *op); break;
        case CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR: add_up(run, *op); break;
        default: throw op->type;
        }
    run.inside.clear(); // it may run again, on other contents
}

static void drop(void *run)
{
    delete (Run *)run;
}

#endif
