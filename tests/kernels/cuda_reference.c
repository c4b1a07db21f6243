#define REAL double
#include <stagecc/ref.h>

#include "tests/kernels/cuda_reference.h"

const Reference ref = {
    .relu = ref_relu,
    .relu6 = ref_relu6,
    .gelu = ref_gelu,
    .gelu_tanh = ref_gelu_tanh,
    .sigmoid = ref_sigmoid,
    .tanh = ref_tanh,
    .relu_grad = ref_relu_grad,
    .relu6_grad = ref_relu6_grad,
    .gelu_grad = ref_gelu_grad,
    .gelu_tanh_grad = ref_gelu_tanh_grad,
    .sigmoid_grad = ref_sigmoid_grad,
    .tanh_grad = ref_tanh_grad,
    .dropout = ref_dropout,
    .layer_norm = ref_layer_norm,
    .layer_norm_grad = ref_layer_norm_grad,
    .softmax = ref_softmax,
    .softmax_grad = ref_softmax_grad,
    .cross_entropy = ref_cross_entropy,
    .cross_entropy_grad = ref_cross_entropy_grad,
    .mse = ref_mse,
    .mse_grad = ref_mse_grad,
    .batch_norm = ref_batch_norm,
    .batch_norm_infer = ref_batch_norm_infer,
    .batch_norm_grad = ref_batch_norm_grad,
    .running_update = ref_running_update,
};
