// What a model asks of its tensors, and what it is for.
#include "frontend/clang/layers.h"

#include <string.h>

static Value nothing(const BuiltinCall *c)
{
    return (Value){.type = c->at->type};
}

static Value set_loss(const BuiltinCall *c)
{
    Tensor x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    if (x.node->shape.rank)
        return call_wrong(c, &x, "the loss must be one number, but it is %s", call_type(c, &x));
    if (c->m->loss_made.file) {
        call_wrong(c, NULL, "the model has a loss already; add() joins several");
        note_at(c->m->loss_made, "it was given here");
        return POISON;
    }
    c->m->loss_made = c->at->spot.loc;
    c->m->draft.graph->loss = x.node;
    return nothing(c);
}

static Value set_output(const BuiltinCall *c)
{
    Tensor x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    if (c->m->output_made.file) {
        call_wrong(c, NULL, "the model has an output already");
        note_at(c->m->output_made, "it was given here");
        return POISON;
    }
    c->m->output_made = c->at->spot.loc;
    c->m->draft.graph->output = x.node;
    return nothing(c);
}

static Value dimension(const BuiltinCall *c, int64_t i, int least_rank)
{
    Tensor x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    int64_t rank = x.node->shape.rank, at = i < 0 ? i + rank : i;
    if (rank < least_rank)
        return call_wrong(c, &x, "%d dimensions are needed, but it is %s", least_rank,
                          call_type(c, &x));
    if (at < 0 || at >= rank)
        return call_wrong(c, &x, "%s has no dimension %lld", call_type(c, &x), (long long)i);
    if (at == 0 && x.sample)
        return call_wrong(c, NULL, "dimension 0 is the batch, which is chosen when compiling");
    return value_integer(c->at->type, (uint64_t)x.node->shape.dim[at]);
}

static Value query_dim(const BuiltinCall *c)
{
    return dimension(c, (int64_t)c->args[1].bits, 1);
}

static Value query_channels(const BuiltinCall *c)
{
    return dimension(c, 1, 2);
}

static Value query_height(const BuiltinCall *c)
{
    return dimension(c, 2, 4);
}

static Value query_width(const BuiltinCall *c)
{
    return dimension(c, 3, 4);
}

static Value query_features(const BuiltinCall *c)
{
    return dimension(c, -1, 1);
}

static Value query_rank(const BuiltinCall *c)
{
    Tensor x;
    if (!tensor_of(c, c->args[0], &x))
        return POISON;
    return value_integer(c->at->type, (uint64_t)x.node->shape.rank);
}

static const Builtin table[] = {
#define QUESTION(name, kind, run)                                                              \
    {                                                                                          \
        name, run, kind, kind,                                                                 \
        {                                                                                      \
            NULL                                                                               \
        }                                                                                      \
    }
    QUESTION("stagecc_loss", "loss", set_loss),
    QUESTION("stagecc_output", "output", set_output),
    QUESTION("dim", "dim", query_dim),
    QUESTION("rank", "rank", query_rank),
    QUESTION("channels", "channels", query_channels),
    QUESTION("height", "height", query_height),
    QUESTION("width", "width", query_width),
    QUESTION("features", "features", query_features),
};

const Builtin *question_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name))
            return &table[i];
    return NULL;
}
