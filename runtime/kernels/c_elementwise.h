// Part of <stagecc/c.h>: element-wise ops as the generated loops call them, one element at a time and
// without branches, so that the loops become vector code.
#ifndef STAGECC_C_ELEMENTWISE_H
#define STAGECC_C_ELEMENTWISE_H

C_INLINE float c_relu(float x) // NaN stays NaN
{
    return x < 0 ? 0 : x;
}

C_INLINE float c_relu6(float x)
{
    float y = c_relu(x);
    return y > 6 ? 6 : y;
}

C_INLINE float c_sigmoid(float x)
{
    return 1 / (1 + rt_exp(-x));
}

C_INLINE float c_normal_cdf(float x)
{
    return 0.5f * (1 + rt_erf(x * 0.707106781f));
}

C_INLINE float c_gelu(float x)
{
    return c_normal_cdf(x) * x;
}

// The tanh of gelu_tanh: of sqrt(2/pi) (x + 0.044715 x^3).
C_INLINE float c_gelu_inner(float x)
{
    return rt_tanh(0.797884561f * (x + 0.044715f * x * x * x));
}

C_INLINE float c_gelu_tanh(float x)
{
    return 0.5f * x * (1 + c_gelu_inner(x));
}

// Kept elements grow by 1 / (1 - rate).
C_INLINE float c_dropout(float x, float rate, uint64_t key, int64_t element)
{
    float grown = x * (1 / (1 - rate));
    return rt_uniform(key, (uint64_t)element) >= rate ? grown : 0;
}

// Gradients. The second argument of relu, relu6, sigmoid and tanh is their result, that of gelu its input.
C_INLINE float c_relu_grad(float dy, float y)
{
    return y > 0 ? dy : 0;
}

C_INLINE float c_relu6_grad(float dy, float y)
{
    return y < 6 ? c_relu_grad(dy, y) : 0;
}

C_INLINE float c_gelu_grad(float dy, float x)
{
    float density = 0.398942280f * rt_exp(-0.5f * x * x);
    return (c_normal_cdf(x) + x * density) * dy;
}

C_INLINE float c_gelu_tanh_grad(float dy, float x)
{
    float t = c_gelu_inner(x), slope = 0.797884561f * (1 + 3 * 0.044715f * x * x);
    return dy * (0.5f * (1 + t) + 0.5f * x * (1 - t * t) * slope);
}

C_INLINE float c_sigmoid_grad(float dy, float y)
{
    return (1 - y) * y * dy;
}

C_INLINE float c_tanh_grad(float dy, float y)
{
    return (1 - y * y) * dy;
}

#endif
