// GPT: pre-norm blocks as in GPT-2 (Radford et al., "Language models are unsupervised multitask learners",
// 2019). As it stands, a small one on characters, tokens are bytes:
//
//   stagecc train examples/gpt/gpt.c -n 2 --data text:README.md --steps 200 -o out
//
// GPT-2 itself, on tokens, has -D VOCAB=50257 -D T=1024 -D TIED=1, and the parameters of the published ones:
//
//   GPT-2 124,439,808          -D LAYERS=12 -D DIM=768 -D HEADS=12
//   GPT-2 medium 354,823,168   -D LAYERS=24 -D DIM=1024 -D HEADS=16
//   GPT-2 large 774,030,080    -D LAYERS=36 -D DIM=1280 -D HEADS=20
//   GPT-2 XL 1,557,611,200     -D LAYERS=48 -D DIM=1600 -D HEADS=25
//
// TIED: the last layer reads the table of the first, as GPT-2's does; where they are in two stages, both hold it.
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
#ifndef TIED
#define TIED 0
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
    Tensor table = TIED ? parameter("table", VOCAB, DIM, .init = normal(0.02)) : NULL;
    Tensor tokens =
        embedding(input("tokens", I32, T), VOCAB, DIM, .init = normal(0.02), .weight = table);
    Tensor positions = parameter("positions", T, DIM, .init = normal(0.02));
    Tensor x = dropout(add(tokens, positions), DROPOUT);
    for (int i = 0; i < LAYERS; i++)
        x = block(x);
    Tensor logits =
        linear(layer_norm(x), VOCAB, .bias = false, .init = normal(0.02), .weight = table);
    loss(cross_entropy(logits, target("next", I32, T)));
}
