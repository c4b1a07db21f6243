// A small GPT on characters: pre-norm blocks as in GPT-2, tokens are bytes.
//
//   stagecc train examples/gpt/gpt.c -n 2 --data text:README.md --steps 200 -o out
//
// -D LAYERS=12 -D DIM=768 -D HEADS=12 -D T=128 is the size of GPT-2 small.
#include <assert.h>
#include <stagecc/model.h>

#ifndef LAYERS
#define LAYERS 4
#endif
#ifndef DIM
#define DIM 128
#endif
#ifndef T
#define T 64
#endif
#ifndef HEADS
#define HEADS 4
#endif
#ifndef VOCAB
#define VOCAB 256
#endif
#ifndef DROPOUT
#define DROPOUT 0.1
#endif
static_assert(DIM % HEADS == 0, "every head gets as many features");

TRAIN(.optimizer = "adamw", .lr = 0.001, .weight_decay = 0.1, .clip_norm = 1, .warmup = 20);

// Layers that write into the residual stream begin smaller, the deeper the model (GPT-2).
static Tensor residual(Tensor x, int features)
{
    return dropout(linear(x, features, .init = normal(0.02 / sqrt(2.0 * LAYERS)),
                          .bias_init = constant(0)),
                   DROPOUT);
}

static Tensor dense(Tensor x, int features)
{
    return linear(x, features, .init = normal(0.02), .bias_init = constant(0));
}

static Tensor heads(Tensor x)
{
    return transpose(reshape(x, T, HEADS, DIM / HEADS), 0, 2, 1, 3);
}

static Tensor attention(Tensor x)
{
    Tensor q = heads(dense(x, DIM));
    Tensor k = heads(dense(x, DIM));
    Tensor v = heads(dense(x, DIM));
    Tensor scores = scale(matmul(q, k, .transpose_b = true), 1 / sqrt((double)DIM / HEADS));
    Tensor weights = dropout(softmax(scores, .causal = true), DROPOUT);
    Tensor mixed = reshape(transpose(matmul(weights, v), 0, 2, 1, 3), T, DIM);
    return residual(mixed, DIM);
}

static Tensor block(Tensor x)
{
    x = add(x, attention(layer_norm(x)));
    Tensor hidden = gelu(dense(layer_norm(x), 4 * DIM), .tanh_form = true);
    return add(x, residual(hidden, DIM));
}

MODEL(gpt)
{
    Tensor tokens = embedding(input("tokens", I32, T), VOCAB, DIM, .init = normal(0.02));
    Tensor positions = parameter("positions", T, DIM, .init = normal(0.02));
    Tensor x = dropout(add(tokens, positions), DROPOUT);
    for (int i = 0; i < LAYERS; i++)
        x = block(x);
    Tensor logits = linear(layer_norm(x), VOCAB, .bias = false, .init = normal(0.02));
    loss(cross_entropy(logits, target("next", I32, T)));
}
