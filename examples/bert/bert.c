// BERT (Devlin, Chang, Lee and Toutanova, 2018), trained to fill in masked tokens: post-norm blocks that see the
// whole sequence. It has the parameters of Hugging Face's BertForMaskedLM:
//
//   bert-base-uncased 109,514,298
//   bert-large-uncased 335,174,458      -D LAYERS=24 -D DIM=1024 -D HEADS=16
//
// Left out are the pooler and the classifier of the paper's second task, whether two sentences follow each
// other, which later models dropped: a sample is one segment. Labels below 0 are no masked positions.
//
//   stagecc build examples/bert/bert.c --stages 3 --batch 16 --micro-batches 4 -o out
//   stagecc run out --data npy:tokens=tokens.npy,length=length.npy,masked=masked.npy --steps 10
//
// Samples are padded to T tokens, and `length` says how many of them are the sample's: nobody attends to the others,
// and their labels are below 0 like those of all tokens that are not masked. LENGTHS=0: all have T.
// TIED=0: the last layer gets a table of its own. With 1, as published, it is the first layer's; where they are in two
// stages, both hold it.
#include <assert.h>
#include <stagecc/model.h>

#ifndef LAYERS
#define LAYERS 12
#endif
#ifndef DIM
#define DIM 768
#endif
#ifndef HEADS
#define HEADS 12
#endif
#ifndef T
#define T 128
#endif
#ifndef POSITIONS // the longest sequence that the parameters know
#define POSITIONS 512
#endif
#ifndef VOCAB
#define VOCAB 30522
#endif
#ifndef LENGTHS
#define LENGTHS 1
#endif
#ifndef TIED
#define TIED 1
#endif
#ifndef DROPOUT
#define DROPOUT 0.1
#endif
static_assert(DIM % HEADS == 0, "every head gets as many features");
static_assert(T <= POSITIONS, "every token needs a position");

TRAIN(.optimizer = "adamw", .lr = 0.0001, .weight_decay = 0.01, .clip_norm = 1, .warmup = 100);

static Tensor norm(Tensor x)
{
    return layer_norm(x, .eps = 1e-12);
}

static Tensor dense(Tensor x, int features)
{
    return linear(x, features, .init = normal(0.02), .bias_init = constant(0));
}

static Tensor heads(Tensor x)
{
    return transpose(reshape(x, T, HEADS, DIM / HEADS), 0, 2, 1, 3);
}

static Tensor attention(Tensor x, Tensor lengths)
{
    Tensor q = heads(dense(x, DIM));
    Tensor k = heads(dense(x, DIM));
    Tensor v = heads(dense(x, DIM));
    Tensor scores = scale(matmul(q, k, .transpose_b = true), 1 / sqrt((double)DIM / HEADS));
    Tensor mixed = matmul(dropout(softmax(scores, .lengths = lengths), DROPOUT), v);
    return dense(reshape(transpose(mixed, 0, 2, 1, 3), T, DIM), DIM);
}

static Tensor block(Tensor x, Tensor lengths)
{
    x = norm(add(x, dropout(attention(x, lengths), DROPOUT)));
    Tensor hidden = dense(gelu(dense(x, 4 * DIM)), DIM);
    return norm(add(x, dropout(hidden, DROPOUT)));
}

static Tensor embed(Tensor ids, Tensor table)
{
    Tensor tokens = embedding(ids, VOCAB, DIM, .init = normal(0.02), .weight = table);
    Tensor positions = parameter("positions", POSITIONS, DIM, .init = normal(0.02));
    Tensor segments = parameter("segments", 2, DIM, .init = normal(0.02));
    Tensor place = add(slice(positions, 0, T, .axis = 0), slice(segments, 0, 1, .axis = 0));
    return dropout(norm(add(tokens, place)), DROPOUT);
}

MODEL(bert)
{
    Tensor table = TIED ? parameter("table", VOCAB, DIM, .init = normal(0.02)) : NULL;
    Tensor x = embed(input("tokens", I32, T), table);
    Tensor lengths = LENGTHS ? input("length", I32) : NULL;
    for (int i = 0; i < LAYERS; i++)
        x = block(x, lengths);
    x = norm(gelu(dense(x, DIM)));
    Tensor logits =
        linear(x, VOCAB, .init = normal(0.02), .bias_init = constant(0), .weight = table);
    loss(cross_entropy(logits, target("masked", I32, T)));
}
