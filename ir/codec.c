#include "ir/codec.h"

#include <string.h>

// Of several with one ratio the first is what the ratio stands for.
static const Codec codecs[] = {
    {"bf16", 2, 2, 0},
    {"f16", 2, 2, 4},
    {"int8", 4, 1, 4},
};
enum { N_CODECS = sizeof codecs / sizeof *codecs };

const Codec *codec_find(const char *name)
{
    for (int i = 0; i < N_CODECS; i++)
        if (!strcmp(codecs[i].name, name))
            return &codecs[i];
    return NULL;
}

const Codec *codec_of_ratio(double ratio)
{
    for (int i = 0; i < N_CODECS; i++)
        if (codecs[i].ratio == ratio)
            return &codecs[i];
    return NULL;
}

int64_t codec_bytes(const Codec *c, int64_t elements)
{
    int64_t blocks = elements / CODEC_BLOCK + (elements % CODEC_BLOCK != 0);
    return blocks * c->scale_bytes + elements * c->code_bytes;
}
