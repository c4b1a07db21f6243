// The small transformer of reference.py: learned positions, causal attention, pre-norm blocks.
#include <stagecc/model.h>

enum { VOCAB = 13, T = 8, DIM = 16, HEADS = 2, HEAD = DIM / HEADS };

struct names {
    const char *ln1, *ln2, *q, *k, *v, *proj, *up, *down;
};

static Tensor heads(Tensor x)
{
    return transpose(reshape(x, T, HEADS, HEAD), 0, 2, 1, 3);
}

static Tensor block(Tensor x, struct names n)
{
    Tensor h = layer_norm(x, .name = n.ln1);
    Tensor q = heads(linear(h, DIM, .name = n.q));
    Tensor k = heads(linear(h, DIM, .name = n.k));
    Tensor v = heads(linear(h, DIM, .name = n.v));
    Tensor s =
        softmax(scale(matmul(q, k, .transpose_b = true), 0.35355339059327379), .causal = true);
    Tensor a = reshape(transpose(matmul(s, v), 0, 2, 1, 3), T, DIM);
    x = add(x, linear(a, DIM, .name = n.proj));
    h = gelu(linear(layer_norm(x, .name = n.ln2), 4 * DIM, .name = n.up), .tanh_form = true);
    return add(x, linear(h, DIM, .name = n.down));
}

MODEL(transformer)
{
    static const struct names names[2] = {
        {"blocks.0.ln1", "blocks.0.ln2", "blocks.0.q", "blocks.0.k", "blocks.0.v",
         "blocks.0.proj", "blocks.0.up", "blocks.0.down"},
        {"blocks.1.ln1", "blocks.1.ln2", "blocks.1.q", "blocks.1.k", "blocks.1.v",
         "blocks.1.proj", "blocks.1.up", "blocks.1.down"},
    };
    Tensor x = embedding(input("ids", I32, T), VOCAB, DIM, .name = "wte");
    x = add(x, parameter("wpe", T, DIM));
    for (int i = 0; i < 2; i++)
        x = block(x, names[i]);
    x = linear(layer_norm(x, .name = "lnf"), VOCAB, .bias = false, .name = "head");
    loss(cross_entropy(x, target("next", I32, T)));
}
