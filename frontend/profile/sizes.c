// Sizes. A profile has no shapes, but activation_size is the bytes of a whole batch: where the elements
// of one sample are known, the batch follows, and the other way round. A Linear says both, so the batch
// comes from there, and the image from what the input then has a sample. When all shapes are made, every
// node votes for a batch; those that disagree with most are contradicted by their layers.
#include "frontend/profile/import.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 4 }; // of an element, in profiles

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// What most say; 0: nobody says anything. Of equally many the smallest.
static int64_t majority(int64_t *votes, int n)
{
    int64_t best = 0;
    int most = 0, run = 0;
    qsort(votes, (size_t)n, sizeof *votes, by_size);
    for (int i = 0; i < n; i++) {
        run = i && votes[i] == votes[i - 1] ? run + 1 : 1;
        if (run > most)
            best = votes[i];
        most = run > most ? run : most;
    }
    return best;
}

// bytes as a batch of so many elements; 0: it is none.
static int64_t batch_of(double bytes, int64_t elements)
{
    double batch = elements > 0 ? bytes / BYTES / (double)elements : 0;
    return batch >= 1 && batch < 0x1p40 && batch == floor(batch) ? (int64_t)batch : 0;
}

// Elements of one sample, where the description alone tells; 0: it does not.
static int64_t described_elements(const Importer *im, int node)
{
    const Description *d = &im->described[node];
    int64_t n = 0, all = 1;
    if (!strcmp(d->kind, "Linear") && field_int(description_field(d, "out_features", 0), &n))
        return n > 0 ? n : 0;
    if (strcmp(d->kind, "View") != 0)
        return 0;
    for (int i = 0; i < d->fields.n; i++)
        if (!field_int(description_field(d, NULL, i), &n) || n < 1 ||
            __builtin_mul_overflow(all, n, &all))
            return 0;
    return all;
}

static int64_t described_batch(const Importer *im)
{
    const Profile *p = im->profile;
    int64_t *votes = arena_array(im->arena, int64_t, p->nodes.n + 1);
    int n = 0;
    for (int i = 0; i < p->nodes.n; i++) {
        int64_t batch = batch_of(p->nodes.items[i].activation_bytes, described_elements(im, i));
        if (batch)
            votes[n++] = batch;
    }
    return majority(votes, n);
}

static bool has_sizes(const Profile *p)
{
    for (int i = 0; i < p->nodes.n; i++)
        if (p->nodes.items[i].activation_bytes > 0)
            return true;
    return false;
}

// Part i of `activation_size=[1.0; 2.0]`; 0: it is not there.
static double size_part(const ProfileNode *n, int i)
{
    const char *p = strstr(n->fields, "activation_size=[");
    for (p = p ? p + strlen("activation_size=") : NULL; p && i > 0; i--)
        p = strpbrk(p + 1, ";]");
    return p && *p != ']' ? strtod(p + 1, NULL) : 0;
}

// An LSTM has the outputs of all steps and the state of one, so the batch follows, and from it how many
// steps an embedding has. 0: no LSTM says it.
static int64_t sequence_length(const Importer *im, int embedding)
{
    const Profile *p = im->profile;
    int64_t features = 0, hidden = 0, batch = 0;
    for (int i = 0; i < p->nodes.n && !batch; i++)
        if (!strcmp(im->described[i].kind, "LSTM") &&
            field_int(description_field(&im->described[i], NULL, 1), &hidden))
            batch = batch_of(size_part(&p->nodes.items[i], 1), hidden);
    field_int(description_field(&im->described[embedding], NULL, 1), &features);
    return batch
               ? batch_of(p->nodes.items[embedding].activation_bytes / (double)batch, features)
               : 0;
}

// The first node behind `from` that says what it takes: channels or features, into *size. NULL: none.
static const char *first_taker(const Importer *im, int from, int64_t *size)
{
    const Profile *p = im->profile;
    bool *behind = arena_array(im->arena, bool, p->nodes.n + 1);
    behind[from] = true;
    for (int k = 0; k < p->nodes.n; k++) {
        int i = im->order[k];
        for (int e = im->first[i]; e < im->first[i + 1]; e++)
            behind[i] |= behind[im->from[e]];
        if (!behind[i])
            continue;
        const Description *d = &im->described[i];
        if (!strcmp(d->kind, "Conv2d") && field_int(description_field(d, NULL, 0), size))
            return d->kind;
        if (!strcmp(d->kind, "Linear") &&
            field_int(description_field(d, "in_features", 0), size))
            return d->kind;
        if (!strcmp(d->kind, "Embedding")) {
            *size = sequence_length(im, i);
            return d->kind;
        }
    }
    return NULL;
}

// The side of a square image of so many channels; batch 0: not known, then a usual side or one image. 0: none
// fits.
static int64_t image_side(double bytes, int64_t channels, int64_t batch)
{
    static const int usual[] = {224, 299, 331, 227, 256, 288, 320, 192,
                                160, 128, 96,  64,  48,  32,  28};
    double pixels = bytes / BYTES / (double)channels / (double)(batch ? batch : 1);
    if (bytes <= 0)
        return usual[0];
    for (size_t i = 0; !batch && i < sizeof usual / sizeof *usual; i++)
        if (fmod(pixels, usual[i] * usual[i]) == 0)
            return usual[i];
    double side = floor(sqrt(pixels) + 0.5);
    return side >= 1 && side < 0x1p30 && side * side == pixels ? (int64_t)side : 0;
}

static int first_input(const Importer *im)
{
    for (int k = 0; k < im->profile->nodes.n; k++)
        if (im->kind[im->order[k]]->makes_tensor && im->kind[im->order[k]]->most == 0 &&
            !im->label[im->order[k]])
            return im->order[k];
    return -1;
}

bool sizes_find_input(Importer *im)
{
    const Shape given = im->draft.options->input;
    Script *s = im->script;
    s->input = given;
    if (given.rank)
        return true;
    if (!has_sizes(im->profile)) {
        error_at((Loc){im->path, 1, 0},
                 "no node has an activation_size, so the size of the input cannot be found: "
                 "say it, as in --input 3x224x224");
        return false;
    }
    int input = first_input(im);
    int64_t takes = 0;
    const char *taker = input < 0 ? NULL : first_taker(im, input, &takes);
    if (input < 0)
        error_at((Loc){im->path, 0, 0}, "there is no node `Input` that reads data");
    if (taker && !strcmp(taker, "Embedding") && !takes)
        error_at(im->profile->nodes.items[input].loc,
                 "the sizes do not tell how long its sequences are: say it, as in --input 48");
    if (diag_errors())
        return false;
    if (!taker || takes < 1)
        return input < 0 ? false : (s->input = (Shape){3, {3, 224, 224}}, true);
    s->input = (Shape){1, {takes}};
    if (strcmp(taker, "Conv2d") != 0)
        return true;
    const ProfileNode *n = &im->profile->nodes.items[input];
    int64_t side = image_side(n->activation_bytes, takes, described_batch(im));
    if (!side)
        error_at(n->loc,
                 "activation_size=%.0f is no batch of square images of %" PRId64
                 " channels: say their size, as in --input %" PRId64 "x224x224",
                 n->activation_bytes, takes, takes);
    s->input = (Shape){3, {takes, side, side}};
    return side > 0;
}

static int64_t elements_of(const Importer *im, int node)
{
    const Tensor *t = &im->made[node];
    if (!t->node || !im->kind[node]->makes_tensor || im->parts[node])
        return 0;
    return shape_count(t->node->shape) / im->draft.options->micro_batch;
}

// Batches of sequences are as long as their longest, so a profile of many has sizes of many lengths.
static bool has_sequences(const Importer *im)
{
    for (int i = 0; i < im->profile->nodes.n; i++)
        if (im->made[i].node && im->made[i].node->op == OP_EMBEDDING)
            return true;
    return false;
}

static void check_activation(const Importer *im, int node)
{
    const ProfileNode *n = &im->profile->nodes.items[node];
    int64_t elements = elements_of(im, node);
    if (!elements || n->activation_bytes <= 0 || // not recorded
        batch_of(n->activation_bytes, elements) == im->script->batch)
        return;
    Shape sample = im->made[node].node->shape;
    for (int i = 1; i < sample.rank; i++)
        sample.dim[i - 1] = sample.dim[i];
    sample.rank--;
    error_at(n->loc,
             "activation_size=%.0f contradicts its shape: %s of each of %" PRId64
             " samples are %.0f bytes",
             n->activation_bytes, shape_text(im->arena, sample), im->script->batch,
             (double)elements * BYTES * (double)im->script->batch);
}

// bytes[node]: of the parameters of its layers.
static double *parameter_bytes(const Importer *im)
{
    const ProfileNode *first = im->profile->nodes.items;
    double *bytes = arena_array(im->arena, double, im->profile->nodes.n + 1);
    const Graph *g = im->draft.graph;
    const ProfileNode **of = arena_array(im->arena, const ProfileNode *, g->layers.n + 1);
    for (int i = 0; i < im->script->lines.n; i++) {
        const Line *l = im->script->lines.items[i];
        if (l->result.node)
            of[l->result.node->layer->id] = l->node;
    }
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (n->op == OP_PARAM && of[n->layer->id])
            bytes[of[n->layer->id] - first] += (double)shape_count(n->shape) * BYTES;
    }
    return bytes;
}

void sizes_check(Importer *im)
{
    const Profile *p = im->profile;
    int64_t *votes = arena_array(im->arena, int64_t, p->nodes.n + 1);
    const double *bytes = parameter_bytes(im);
    bool fixed = !has_sequences(im);
    int n = 0;
    for (int i = 0; i < p->nodes.n; i++) {
        int64_t batch = batch_of(p->nodes.items[i].activation_bytes, elements_of(im, i));
        if (batch)
            votes[n++] = batch;
    }
    im->script->batch = majority(votes, n);
    for (int i = 0; i < p->nodes.n && diag_errors() < MOST_ERRORS; i++) {
        const ProfileNode *node = &p->nodes.items[i];
        if (fixed)
            check_activation(im, i);
        bool recorded = node->parameter_bytes > 0 || node->activation_bytes > 0;
        if (im->made[i].node && recorded && bytes[i] != node->parameter_bytes)
            error_at(node->loc,
                     "parameter_size=%.0f contradicts its layer, `%.80s`, which has %.0f bytes",
                     node->parameter_bytes, node->description, bytes[i]);
    }
}
