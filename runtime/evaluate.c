// The loss of a micro-batch is a mean, so it is weighted by the rows it is a mean of: the result does
// not depend on how the test set falls into micro-batches. The label's rank is the number of classes
// that beat it; of equal logits the lower class wins, as with an argmax from the left.
//
// cross_entropy ignores the labels that pad the last micro-batch. Where the loss is another one, an
// incomplete micro-batch is left out, and its samples come one by one (rt__data_alone).
#include "runtime/evaluate.h"

#include "runtime/bf16.h"
#include "runtime/loop.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void rt__score_reset(rt__score *score)
{
    *score = (rt__score){.rows = 0};
}

static void update_means(rt__score *score)
{
    double rows = (double)score->rows;
    if (score->rows == 0)
        return;
    score->loss = score->loss_sum / rows;
    score->top1 = (double)score->hits1 / rows;
    score->top5 = (double)score->hits5 / rows;
}

// How many classes come before the label; `classes` where its logit is not a number.
#define RANK(name, type, real, get)                                                            \
    static int64_t rank_##name(const type *row, int64_t classes, int64_t label)                \
    {                                                                                          \
        real own = get(row[label]);                                                            \
        if (isnan(own))                                                                        \
            return classes;                                                                    \
        int64_t rank = 0;                                                                      \
        for (int64_t c = 0; c < classes; c++)                                                  \
            rank += get(row[c]) > own || (get(row[c]) == own && c < label);                    \
        return rank;                                                                           \
    }
RANK(float, float, float, )
RANK(double, double, double, )
RANK(bf16, rt_bf16, float, rt_to_float)
#undef RANK

static int64_t rank_of_label(const rt__predictions *p, int64_t row)
{
    int64_t label = p->labels[row], first = row * p->classes;
    if (label >= p->classes)
        return p->classes;
    if (p->type == RT_F64)
        return rank_double((const double *)p->logits + first, p->classes, label);
    if (p->type == RT_BF16)
        return rank_bf16((const rt_bf16 *)p->logits + first, p->classes, label);
    return rank_float((const float *)p->logits + first, p->classes, label);
}

void rt__score_add(rt__score *score, const rt__predictions *p, double loss, int64_t samples)
{
    uint64_t valid = 0;
    for (int64_t row = 0; row < p->rows; row++) {
        if (p->labels[row] < 0)
            continue;
        int64_t rank = rank_of_label(p, row);
        score->hits1 += rank < 1 && rank < p->classes;
        score->hits5 += rank < 5 && rank < p->classes;
        valid++;
    }
    if (valid > 0) // else the mean is of nothing, and not a number
        score->loss_sum += loss * (double)valid;
    score->rows += valid;
    score->samples += (uint64_t)samples;
    update_means(score);
}

void rt__score_add_loss(rt__score *score, double loss, int64_t samples)
{
    score->loss_sum += loss * (double)samples;
    score->rows += (uint64_t)samples;
    score->samples += (uint64_t)samples;
    update_means(score);
}

// In a stage
// --------------------------------------------------------------------------------------

int rt__evaluate_open(rt_stage *s)
{
    size_t n = (size_t)s->program->micro_batches + 1;
    s->losses = calloc(n, sizeof *s->losses);
    s->scores = calloc(n, sizeof *s->scores);
    if (rt__has_loss(s->program))
        s->score = calloc(1, sizeof *s->score);
    bool good = s->losses && s->scores && (s->score || !rt__has_loss(s->program));
    return good ? 0 : rt_fail(s, RT_E_ENVIRONMENT, "no memory for the evaluation's score");
}

void rt__evaluate_close(rt_stage *s)
{
    free(s->losses);
    free(s->scores);
    free(s->score);
    s->losses = NULL;
    s->scores = NULL;
    s->score = NULL;
}

void rt__evaluate_begin(rt_stage *s)
{
    if (s->score)
        rt__score_reset(s->score);
}

void rt__evaluate_begin_batch(rt_stage *s)
{
    memset(s->scores, 0, (size_t)s->program->micro_batches * sizeof *s->scores);
}

// Counts are exact in a double.
void rt__evaluate_end_batch(rt_stage *s)
{
    for (int mb = 0; s->score && mb < s->program->micro_batches; mb++) {
        const double *one = s->scores[mb];
        s->score->loss_sum += one[0];
        s->score->rows += (uint64_t)one[1];
        s->score->samples += (uint64_t)one[2];
        s->score->hits1 += (uint64_t)one[3];
        s->score->hits5 += (uint64_t)one[4];
    }
    if (s->score)
        update_means(s->score);
}

static void keep(rt_stage *s, int mb, const rt__score *one)
{
    double fields[RT_SCORE_FIELDS] = {one->loss_sum, (double)one->rows, (double)one->samples,
                                      (double)one->hits1, (double)one->hits5};
    memcpy(s->scores[mb], fields, sizeof fields);
}

static bool has_predictions(const rt_program *p)
{
    return p->classes > 0 && p->rows > 0 && p->eval_logits_offset >= 0;
}

static void add_predictions(rt_stage *s, rt__score *one, int mb, double loss, int64_t valid)
{
    const rt_program *p = s->program;
    const void *labels = p->eval_labels_edge != RT_NO_EDGE
                             ? rt_slot(s, p->eval_labels_edge, mb)
                             : rt_scratch(s, p->eval_labels_offset);
    rt__predictions of = {.logits = rt_scratch(s, p->eval_logits_offset),
                          .type = p->logits ? p->logits : p->real,
                          .labels = labels,
                          .rows = p->rows,
                          .classes = p->classes};
    rt__score_add(one, &of, loss, valid);
}

int rt__evaluate_mb(rt_stage *s, int mb)
{
    const rt_program *p = s->program;
    int64_t size = s->alone ? 1 : p->micro_batch;
    uint64_t first = s->eval_first + (uint64_t)mb * (uint64_t)size;
    int64_t valid = rt__data_valid(s->test, first, size);
    double loss = rt__real_at(rt_scratch(s, p->eval_loss_offset), p->real);
    rt__score one = {.rows = 0};
    int error = 0;
    if (has_predictions(p))
        add_predictions(s, &one, mb, loss, valid);
    else if (valid == size)
        rt__score_add_loss(&one, loss, valid);
    if (one.rows > 0 && !isfinite(loss))
        error = rt_fail(s, RT_E_LOSS,
                        "evaluation: the loss of the micro-batch at sample %" PRIu64
                        " is not finite",
                        first);
    keep(s, mb, &one);
    return error;
}
