// Every kernel once for both types, for nvcc.sh: it need compile only.
#include <stagecc/cu_elementwise.cuh>

// All element-wise functions, so that a host's function in one of them is seen.
template <typename T> static __global__ void elementwise(T *y, const T *a, const T *b)
{
    float x[8], d[8];
    cu_load<8>(x, a + threadIdx.x * 8);
    cu_load<8>(d, b + threadIdx.x * 8);
    CU_UNROLL
    for (int i = 0; i < 8; i++) {
        float v =
            c_relu(x[i]) + c_relu6(x[i]) + c_gelu(x[i]) + c_gelu_tanh(x[i]) + c_sigmoid(x[i]);
        float g = c_relu_grad(d[i], v) + c_relu6_grad(d[i], v) + c_gelu_grad(d[i], v);
        g +=
            c_gelu_tanh_grad(d[i], v) + c_sigmoid_grad(d[i], v) + c_tanh_grad(d[i], rt_tanh(v));
        x[i] = c_dropout(v + g, 0.5f, 7, threadIdx.x);
    }
    cu_store<8>(y + threadIdx.x * 8, x);
}

template <typename T> static void all(cudaStream_t stream, T *t)
{
    CU_LAUNCH(elementwise<T>, 1, 256, stream, t, t, t);
}

void all_f32(cudaStream_t stream, float *t);
void all_f32(cudaStream_t stream, float *t)
{
    all(stream, t);
}

void all_bf16(cudaStream_t stream, rt_bf16 *t);
void all_bf16(cudaStream_t stream, rt_bf16 *t)
{
    all(stream, t);
}
