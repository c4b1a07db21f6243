// <stagecc/model.h>: the model language of stagecc. docs/model-language.md is its reference.
//
//   MODEL(mlp)
//   {
//       Tensor x = input("image", F32, 1, 8, 8);
//       x = relu(linear(flatten(x), 64));
//       loss(cross_entropy(linear(x, 10), target("label", I32)));
//   }
//
// A model is C that stagecc evaluates when it compiles; nothing here has a definition to link with.
// Layers are macros so that options can be written by name, as in conv2d(x, 64, .kernel = 3): each
// makes a struct of the options given. What is left out has the default that stands beside it.
#ifndef STAGECC_MODEL_H
#define STAGECC_MODEL_H

#ifdef __clang__
#pragma clang system_header
#pragma clang diagnostic ignored "-Wmissing-field-initializers" // {3, 8, 8} of six dimensions
#endif

#include <math.h> // before our tanh, so that a model may include it as well
#include <stdbool.h>
#include <stddef.h>

typedef struct stagecc_tensor *Tensor; // NULL: no tensor

// Element types of inputs and targets. F32 is the model's own type: double under --dtype f64.
enum stagecc_dtype { F32 = 1, I32 };

// A model, and optionally what it wants to be trained with; the command line overrides.
#define MODEL(name)                                                                            \
    void stagecc_model_##name(void);                                                           \
    void stagecc_model_##name(void)
#define TRAIN(...)                                                                             \
    static const struct stagecc_train stagecc_train_settings                                   \
        __attribute__((unused)) = {__VA_ARGS__}

// Shapes are written without the batch; dimension numbers count it as dimension 0.
#define input(name, type, ...) stagecc_input(name, type, (struct stagecc_dims){__VA_ARGS__})
#define target(name, type, ...) stagecc_target(name, type, (struct stagecc_dims){__VA_ARGS__})
#define parameter(name, ...) stagecc_parameter(name, (struct stagecc_parameter){__VA_ARGS__})

#define conv2d(x, channels, ...)                                                               \
    stagecc_conv2d(x, channels, (struct stagecc_conv2d){__VA_ARGS__})
#define linear(x, features, ...)                                                               \
    stagecc_linear(x, features, (struct stagecc_linear){__VA_ARGS__})
#define matmul(a, b, ...) stagecc_matmul(a, b, (struct stagecc_matmul){__VA_ARGS__})
#define embedding(ids, entries, features, ...)                                                 \
    stagecc_embedding(ids, entries, features, (struct stagecc_embedding){__VA_ARGS__})

#define lstm(x, hidden, ...) stagecc_lstm(x, hidden, (struct stagecc_lstm){__VA_ARGS__})
#define lstm_states(x, hidden, ...)                                                            \
    stagecc_lstm_states(x, hidden, (struct stagecc_lstm_states){__VA_ARGS__})
#define additive_scores(query, keys, units, ...)                                               \
    stagecc_additive_scores(query, keys, units, (struct stagecc_additive_scores){__VA_ARGS__})

#define batch_norm(x, ...) stagecc_batch_norm(x, (struct stagecc_batch_norm){__VA_ARGS__})
#define layer_norm(x, ...) stagecc_layer_norm(x, (struct stagecc_layer_norm){__VA_ARGS__})
#define max_pool2d(x, ...) stagecc_max_pool2d(x, (struct stagecc_max_pool2d){__VA_ARGS__})
#define avg_pool2d(x, ...) stagecc_avg_pool2d(x, (struct stagecc_avg_pool2d){__VA_ARGS__})
#define global_avg_pool(x, ...) stagecc_global_avg_pool(x, (struct stagecc_named){__VA_ARGS__})

#define relu(x, ...) stagecc_relu(x, (struct stagecc_named){__VA_ARGS__})
#define relu6(x, ...) stagecc_relu6(x, (struct stagecc_named){__VA_ARGS__})
#define gelu(x, ...) stagecc_gelu(x, (struct stagecc_gelu){__VA_ARGS__})
#define sigmoid(x, ...) stagecc_sigmoid(x, (struct stagecc_named){__VA_ARGS__})
#define tanh(x, ...) stagecc_tanh(x, (struct stagecc_named){__VA_ARGS__})
#define softmax(x, ...) stagecc_softmax(x, (struct stagecc_softmax){__VA_ARGS__})
#define mask(x, lengths, ...) stagecc_mask(x, lengths, (struct stagecc_mask){__VA_ARGS__})
#define dropout(x, rate, ...) stagecc_dropout(x, rate, (struct stagecc_named){__VA_ARGS__})
#define add(a, b, ...) stagecc_add(a, b, (struct stagecc_named){__VA_ARGS__})
#define mul(a, b, ...) stagecc_mul(a, b, (struct stagecc_named){__VA_ARGS__})
#define scale(x, factor, ...) stagecc_scale(x, factor, (struct stagecc_named){__VA_ARGS__})

#define concat(...) stagecc_concat((struct stagecc_concat){__VA_ARGS__})
#define concat_list(tensors, n, ...)                                                           \
    stagecc_concat_list(tensors, n, (struct stagecc_concat_list){__VA_ARGS__})
#define slice(x, begin, length, ...)                                                           \
    stagecc_slice(x, begin, length, (struct stagecc_slice){__VA_ARGS__})
#define pad(x, before, after, ...)                                                             \
    stagecc_pad(x, before, after, (struct stagecc_pad){__VA_ARGS__})
#define flatten(x, ...) stagecc_flatten(x, (struct stagecc_named){__VA_ARGS__})
#define reshape(x, ...) stagecc_reshape(x, (struct stagecc_dims){__VA_ARGS__})
#define transpose(x, ...) stagecc_transpose(x, (struct stagecc_dims){__VA_ARGS__})

#define cross_entropy(logits, labels, ...)                                                     \
    stagecc_cross_entropy(logits, labels, (struct stagecc_cross_entropy){__VA_ARGS__})
#define mse(x, wanted, ...) stagecc_mse(x, wanted, (struct stagecc_named){__VA_ARGS__})
#define loss(x) stagecc_loss(x)
#define output(x) stagecc_output(x)

// Initial values: .init = normal(0.02). gain: see the runtime's formulas in the reference.
#define kaiming_uniform(...) ((struct stagecc_init){STAGECC_KAIMING_UNIFORM, __VA_ARGS__})
#define kaiming_normal(...) ((struct stagecc_init){STAGECC_KAIMING_NORMAL, __VA_ARGS__})
#define xavier_uniform(...) ((struct stagecc_init){STAGECC_XAVIER_UNIFORM, __VA_ARGS__})
#define xavier_normal(...) ((struct stagecc_init){STAGECC_XAVIER_NORMAL, __VA_ARGS__})
#define normal(deviation) ((struct stagecc_init){STAGECC_NORMAL, deviation})
#define uniform(bound) ((struct stagecc_init){STAGECC_UNIFORM, bound})
#define constant(value) ((struct stagecc_init){STAGECC_CONSTANT, value})

// What shapes are, dimension 0 being the batch.
long long dim(Tensor x, int i); // i < 0 counts from the end
int rank(Tensor x);             // how many dimensions
long long channels(Tensor x);   // dimension 1 of [N,C,...]
long long height(Tensor x);     // of [N,C,H,W]
long long width(Tensor x);      // of [N,C,H,W]
long long features(Tensor x);   // the last dimension
const char *format(const char *text, ...) __attribute__((format(printf, 1, 2))); // as sprintf

// Only options by name: this field stops conv2d(x, 64, 3).
#define STAGECC_BY_NAME const struct stagecc_options_have_names *stagecc_by_name

enum stagecc_rule {
    STAGECC_KAIMING_UNIFORM = 1,
    STAGECC_KAIMING_NORMAL,
    STAGECC_XAVIER_UNIFORM,
    STAGECC_XAVIER_NORMAL,
    STAGECC_NORMAL,
    STAGECC_UNIFORM,
    STAGECC_CONSTANT,
};
struct stagecc_init {
    enum stagecc_rule rule;
    double gain;  // default: sqrt(2) for Kaiming, 1 for Xavier
    bool fan_out; // Kaiming: keep the variance of gradients instead of activations
};

struct stagecc_dims {
    long long dim0, dim1, dim2, dim3, dim4, dim5;
    const char *name;
};
struct stagecc_parameter {
    long long dim0, dim1, dim2, dim3, dim4, dim5;
    struct stagecc_init init; // default: normal(1)
};
struct stagecc_named {
    STAGECC_BY_NAME;
    const char *name; // of the layer; default: from the variable or the function
};
struct stagecc_conv2d {
    STAGECC_BY_NAME;
    int kernel, stride, padding, dilation; // required, 1, 0, 1; both directions
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
    int padding_end, padding_end_h, padding_end_w; // below, right; default: as above, left
    int groups;                                    // default 1
    bool bias;                                     // default true
    struct stagecc_init init;      // default: PyTorch's, uniform within 1/sqrt(fan in)
    struct stagecc_init bias_init; // likewise
    Tensor weight;                 // an own parameter [K,C/groups,R,S] instead
    const char *name;
};
struct stagecc_linear {
    STAGECC_BY_NAME;
    bool bias;                     // default true
    struct stagecc_init init;      // default: PyTorch's, uniform within 1/sqrt(fan in)
    struct stagecc_init bias_init; // likewise
    Tensor weight;                 // an own parameter [features, inputs] instead: tied weights
    const char *name;
};
struct stagecc_matmul {
    STAGECC_BY_NAME;
    bool transpose_a, transpose_b; // of the last two dimensions
    const char *name;
};
struct stagecc_embedding {
    STAGECC_BY_NAME;
    struct stagecc_init init; // default: normal(1)
    Tensor weight;            // an own parameter [entries, features] instead: tied weights
    long long padding_index;  // the id that stands for padding: zeros, which are not trained
    const char *name;
};
struct stagecc_lstm {
    STAGECC_BY_NAME;
    bool bias;          // default true
    bool reverse;       // default false; true: from the last step to the first
    bool bidirectional; // default false; true: both ways side by side, [N,T,2 hidden]
    Tensor lengths; // I32 [N]: what lies behind a sample's length changes nothing, gives zeros
    Tensor state;   // [N,2 hidden], h beside c, before the first step; default zeros
    struct stagecc_init init;      // default: uniform within 1/sqrt(hidden)
    struct stagecc_init bias_init; // likewise
    const char *name;
};
struct stagecc_lstm_states {
    STAGECC_BY_NAME;
    bool bias, reverse;    // as for lstm, as are all others
    Tensor lengths, state; // steps behind a sample's length keep the state
    struct stagecc_init init, bias_init;
    const char *name;
};
struct stagecc_additive_scores {
    STAGECC_BY_NAME;
    bool normalize;           // default false; true: a weight of trained length, and a bias
    struct stagecc_init init; // of both projections; default: uniform within 1/sqrt(fan in)
    const char *name;
};
struct stagecc_batch_norm {
    STAGECC_BY_NAME;
    double eps;                    // default 1e-5
    double momentum;               // default 0.1: of the running statistics
    struct stagecc_init init;      // default constant(1)
    struct stagecc_init bias_init; // default constant(0)
    const char *name;
};
struct stagecc_layer_norm {
    STAGECC_BY_NAME;
    double eps;                    // default 1e-5
    struct stagecc_init init;      // default constant(1)
    struct stagecc_init bias_init; // default constant(0)
    const char *name;
};
struct stagecc_max_pool2d {
    STAGECC_BY_NAME;
    int kernel, stride, padding, dilation; // required, the kernel, 0, 1; both directions
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
    int padding_end, padding_end_h, padding_end_w; // below, right; default: as above, left
    bool ceil_mode; // default false: a last, partial window does not count
    const char *name;
};
struct stagecc_avg_pool2d {
    STAGECC_BY_NAME;
    int kernel, stride, padding; // required, the kernel, 0; both directions
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
    int padding_end, padding_end_h, padding_end_w; // below, right; default: as above, left
    bool ceil_mode;                                // default false
    bool count_include_pad; // default true: padding counts in the divisor
    const char *name;
};
struct stagecc_gelu {
    STAGECC_BY_NAME;
    bool tanh_form; // default false: by erf
    const char *name;
};
struct stagecc_softmax {
    STAGECC_BY_NAME;
    bool causal;    // default false; true: row i sees columns 0 .. i
    Tensor lengths; // I32 [N]: how many columns the rows of each sample see; default: all
    const char *name;
};
struct stagecc_mask {
    STAGECC_BY_NAME;
    int axis; // default 1
    const char *name;
};
struct stagecc_cross_entropy {
    STAGECC_BY_NAME;
    double smoothing; // default 0: the part of each row that all classes share
    const char *name;
};
struct stagecc_concat {
    Tensor tensor0, tensor1, tensor2, tensor3, tensor4, tensor5, tensor6, tensor7, tensor8,
        tensor9, tensor10, tensor11, tensor12, tensor13, tensor14, tensor15;
    int axis; // default 1: channels
    const char *name;
};
struct stagecc_concat_list {
    STAGECC_BY_NAME;
    int axis; // default 1
    const char *name;
};
struct stagecc_slice {
    STAGECC_BY_NAME;
    int axis; // default 1
    const char *name;
};
struct stagecc_pad {
    STAGECC_BY_NAME;
    int axis; // default 1
    const char *name;
};
// The options of the command line that a model may set, `_` for `-` (stagecc check --help).
struct stagecc_train {
    STAGECC_BY_NAME;
    long long batch, micro_batches;
    const char *schedule;
    long long threads;
    const char *isa, *dtype, *bits, *batch_norm;
    long long seed;
    const char *optimizer;
    double lr;
    const char *lr_schedule;
    long long lr_steps;
    double lr_gamma, lr_power, lr_final;
    long long warmup;
    double momentum;
    long long nesterov;
    double weight_decay, beta1, beta2, eps, clip_norm;
};

Tensor stagecc_input(const char *, enum stagecc_dtype, struct stagecc_dims);
Tensor stagecc_target(const char *, enum stagecc_dtype, struct stagecc_dims);
Tensor stagecc_parameter(const char *, struct stagecc_parameter);
Tensor stagecc_conv2d(Tensor, long long, struct stagecc_conv2d);
Tensor stagecc_linear(Tensor, long long, struct stagecc_linear);
Tensor stagecc_matmul(Tensor, Tensor, struct stagecc_matmul);
Tensor stagecc_embedding(Tensor, long long, long long, struct stagecc_embedding);
Tensor stagecc_lstm(Tensor, long long, struct stagecc_lstm);
Tensor stagecc_lstm_states(Tensor, long long, struct stagecc_lstm_states);
Tensor stagecc_additive_scores(Tensor, Tensor, long long, struct stagecc_additive_scores);
Tensor stagecc_batch_norm(Tensor, struct stagecc_batch_norm);
Tensor stagecc_layer_norm(Tensor, struct stagecc_layer_norm);
Tensor stagecc_max_pool2d(Tensor, struct stagecc_max_pool2d);
Tensor stagecc_avg_pool2d(Tensor, struct stagecc_avg_pool2d);
Tensor stagecc_global_avg_pool(Tensor, struct stagecc_named);
Tensor stagecc_relu(Tensor, struct stagecc_named);
Tensor stagecc_relu6(Tensor, struct stagecc_named);
Tensor stagecc_gelu(Tensor, struct stagecc_gelu);
Tensor stagecc_sigmoid(Tensor, struct stagecc_named);
Tensor stagecc_tanh(Tensor, struct stagecc_named);
Tensor stagecc_softmax(Tensor, struct stagecc_softmax);
Tensor stagecc_mask(Tensor, Tensor, struct stagecc_mask);
Tensor stagecc_dropout(Tensor, double, struct stagecc_named);
Tensor stagecc_add(Tensor, Tensor, struct stagecc_named);
Tensor stagecc_mul(Tensor, Tensor, struct stagecc_named);
Tensor stagecc_scale(Tensor, double, struct stagecc_named);
Tensor stagecc_concat(struct stagecc_concat);
Tensor stagecc_concat_list(const Tensor *, long long, struct stagecc_concat_list);
Tensor stagecc_slice(Tensor, long long, long long, struct stagecc_slice);
Tensor stagecc_pad(Tensor, long long, long long, struct stagecc_pad);
Tensor stagecc_flatten(Tensor, struct stagecc_named);
Tensor stagecc_reshape(Tensor, struct stagecc_dims);
Tensor stagecc_transpose(Tensor, struct stagecc_dims);
Tensor stagecc_cross_entropy(Tensor, Tensor, struct stagecc_cross_entropy);
Tensor stagecc_mse(Tensor, Tensor, struct stagecc_named);
void stagecc_loss(Tensor);
void stagecc_output(Tensor);

#endif
