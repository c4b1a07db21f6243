// The loss of a micro-batch is a mean, so it is weighted by the rows it is a mean of: the result does
// not depend on how the test set falls into micro-batches.
//
// cross_entropy ignores the labels that pad the last micro-batch. Where the loss is another one, an
// incomplete micro-batch is left out, and its samples come one by one (rt__data_alone).
#include "runtime/evaluate.h"

#include "runtime/device.h"
#include "runtime/loop.h"
#include "runtime/plain.h"
#include "runtime/settle.h"

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

void rt__score_add(rt__score *score, const rt__hits *hits, double loss, int64_t samples)
{
    score->hits1 += hits->first;
    score->hits5 += hits->fifth;
    if (hits->rows > 0) // else the mean is of nothing, and not a number
        score->loss_sum += loss * (double)hits->rows;
    score->rows += hits->rows;
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

// What a micro-batch has been asked for.
typedef struct rt__evaluated {
    bool owed;
    double loss; // in the model's type
    rt__hits hits;
} rt__evaluated;

int rt__evaluate_open(rt_stage *s)
{
    size_t n = (size_t)s->program->micro_batches + 1;
    s->losses = calloc(n, sizeof *s->losses);
    s->scores = calloc(n, sizeof *s->scores);
    s->evaluated = calloc(n, sizeof *s->evaluated);
    if (rt__has_loss(s->program))
        s->score = calloc(1, sizeof *s->score);
    bool good =
        s->losses && s->scores && s->evaluated && (s->score || !rt__has_loss(s->program));
    return good ? 0 : rt_fail(s, RT_E_ENVIRONMENT, "no memory for the evaluation's score");
}

void rt__evaluate_close(rt_stage *s)
{
    free(s->losses);
    free(s->scores);
    free(s->evaluated);
    free(s->score);
    s->losses = NULL;
    s->scores = NULL;
    s->evaluated = NULL;
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

static void ask_for_hits(rt_stage *s, int mb)
{
    const rt_program *p = s->program;
    const void *labels = p->eval_labels_edge != RT_NO_EDGE
                             ? rt_slot(s, p->eval_labels_edge, mb)
                             : rt_scratch(s, p->eval_labels_offset);
    rt__predictions of = {.logits = rt_scratch(s, p->eval_logits_offset),
                          .type = p->logits ? p->logits : p->real,
                          .labels = labels,
                          .rows = p->rows,
                          .classes = p->classes,
                          .row = p->logits_row ? p->logits_row : p->classes};
    s->device->score(s, &s->evaluated[mb].hits, &of);
}

// What a micro-batch was asked for is there.
static int take(rt_stage *s, int mb)
{
    const rt_program *p = s->program;
    rt__evaluated *e = &s->evaluated[mb];
    int64_t size = s->alone ? 1 : p->micro_batch;
    uint64_t first = s->eval_first + (uint64_t)mb * (uint64_t)size;
    int64_t valid = rt__data_valid(s->test, first, size);
    double loss = rt__real_at(&e->loss, p->real);
    rt__score one = {.rows = 0};
    int error = 0;
    if (has_predictions(p))
        rt__score_add(&one, &e->hits, loss, valid);
    else if (valid == size)
        rt__score_add_loss(&one, loss, valid);
    if (one.rows > 0 && !isfinite(loss))
        error = rt_fail(s, RT_E_LOSS,
                        "evaluation: the loss of the micro-batch at sample %" PRIu64
                        " is not finite",
                        first);
    keep(s, mb, &one);
    e->owed = false;
    return error;
}

int rt__evaluate_mb(rt_stage *s, int mb)
{
    const rt_program *p = s->program;
    s->evaluated[mb].owed = true;
    s->device->get(s, &s->evaluated[mb].loss, rt_scratch(s, p->eval_loss_offset),
                   (size_t)rt__dtype_bytes(p->real));
    if (has_predictions(p))
        ask_for_hits(s, mb);
    if (rt__lag(s))
        return 0;
    int error = rt__device_wait(s);
    return error ? error : take(s, mb);
}

static int take_owed(rt_stage *s)
{
    int error = rt__device_wait(s);
    for (int mb = 0; mb < s->program->micro_batches && !error; mb++)
        if (s->evaluated[mb].owed)
            error = take(s, mb);
    return error;
}

// Counts are exact in a double.
int rt__evaluate_end_batch(rt_stage *s)
{
    int error = s->score ? take_owed(s) : 0;
    for (int mb = 0; s->score && !error && mb < s->program->micro_batches; mb++) {
        const double *one = s->scores[mb];
        s->score->loss_sum += one[0];
        s->score->rows += (uint64_t)one[1];
        s->score->samples += (uint64_t)one[2];
        s->score->hits1 += (uint64_t)one[3];
        s->score->hits5 += (uint64_t)one[4];
    }
    if (s->score)
        update_means(s->score);
    return error;
}
