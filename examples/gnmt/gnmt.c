// GNMT (Wu et al., "Google's Neural Machine Translation System", 2016) as MLPerf trains it: LSTMs in both
// languages, the encoder's first in both directions, and additive attention from the decoder's first.
//
//   stagecc build examples/gnmt/gnmt.c -n 4 --batch 128 --micro-batches 4 -o out
//   stagecc run out --data npy:source=de.npy,source_length=de_length.npy,tokens=en.npy,next=en_next.npy
//
// source, tokens and next are padded to SOURCE and TARGET tokens: source and tokens with PAD, next, which
// is tokens one step later, with -1. source_length counts the tokens of each source.
#include <assert.h>
#include <stagecc/model.h>

#ifndef VOCAB
#define VOCAB 32320
#endif
#ifndef HIDDEN
#define HIDDEN 1024
#endif
#ifndef LAYERS // of the encoder, and of the decoder
#define LAYERS 4
#endif
#ifndef SOURCE
#define SOURCE 48
#endif
#ifndef TARGET
#define TARGET 48
#endif
#ifndef DROPOUT
#define DROPOUT 0.2
#endif
#ifndef SMOOTHING
#define SMOOTHING 0.1
#endif
#ifndef NORMALIZE // attention's weight as a direction and a length
#define NORMALIZE 1
#endif
enum { PAD = 0 };
static_assert(LAYERS >= 2, "both ways, then back to HIDDEN features");

TRAIN(.optimizer = "adam", .lr = 0.001, .clip_norm = 5, .warmup = 200);

static Tensor words(Tensor ids)
{
    return embedding(ids, VOCAB, HIDDEN, .padding_index = PAD, .init = uniform(0.1));
}

static Tensor recurrent(Tensor x)
{
    return lstm(x, HIDDEN, .init = uniform(0.1), .bias_init = uniform(0.1));
}

static Tensor encoder(Tensor source, Tensor lengths)
{
    Tensor x = lstm(dropout(words(source), DROPOUT), HIDDEN, .bidirectional = true,
                    .lengths = lengths, .init = uniform(0.1), .bias_init = uniform(0.1));
    x = recurrent(dropout(x, DROPOUT));
    for (int i = 2; i < LAYERS; i++)
        x = add(recurrent(dropout(x, DROPOUT)), x);
    return x;
}

// What every target token looks at in the source.
static Tensor attend(Tensor query, Tensor memory, Tensor lengths)
{
    Tensor scores = additive_scores(query, memory, HIDDEN, .normalize = NORMALIZE);
    return matmul(softmax(scores, .lengths = lengths), memory);
}

static Tensor decoder(Tensor tokens, Tensor memory, Tensor lengths)
{
    Tensor query = recurrent(dropout(words(tokens), DROPOUT));
    Tensor context = attend(query, memory, lengths);
    Tensor x = recurrent(concat(dropout(query, DROPOUT), context, .axis = 2));
    for (int i = 2; i < LAYERS; i++)
        x = add(recurrent(concat(dropout(x, DROPOUT), context, .axis = 2)), x);
    return x;
}

MODEL(gnmt)
{
    Tensor lengths = input("source_length", I32);
    Tensor memory = encoder(input("source", I32, SOURCE), lengths);
    Tensor x = decoder(input("tokens", I32, TARGET), memory, lengths);
    Tensor logits = linear(x, VOCAB, .init = uniform(0.1), .bias_init = uniform(0.1));
    loss(cross_entropy(logits, target("next", I32, TARGET), .smoothing = SMOOTHING));
}
