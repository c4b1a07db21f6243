#include "runtime/evaluate.h"

#include <stdlib.h>

int rt__evaluate_open(rt_stage *s)
{
    if (s->program->eval_loss_offset < 0)
        return 0;
    s->score = calloc(1, sizeof *s->score);
    return s->score ? 0 : rt_fail(s, RT_E_MEMORY, "no memory for a score");
}

void rt__evaluate_close(rt_stage *s)
{
    free(s->score);
    s->score = NULL;
}

void rt__evaluate_begin(rt_stage *s)
{
    if (s->score)
        *s->score = (rt__score){0};
}

static double real_at(const rt_stage *s, const void *at, int64_t i)
{
    return s->program->real == RT_F64 ? ((const double *)at)[i]
                                      : (double)((const float *)at)[i];
}

// How many classes of the row beat the label; equal ones only where they come first.
static int64_t rank_of(const rt_stage *s, const void *logits, int64_t row, int32_t label)
{
    int64_t classes = s->program->classes, rank = 0;
    double mine = real_at(s, logits, row * classes + label);
    for (int64_t c = 0; c < classes; c++) {
        double other = real_at(s, logits, row * classes + c);
        rank += other > mine || (other == mine && c < label);
    }
    return rank;
}

static uint64_t score_rows(rt_stage *s, int mb)
{
    const rt_program *p = s->program;
    const void *logits = rt_scratch(s, p->eval_logits_offset);
    const int32_t *labels = p->eval_labels_edge != RT_NO_EDGE
                                ? rt_slot(s, p->eval_labels_edge, mb)
                                : rt_scratch(s, p->eval_labels_offset);
    uint64_t rows = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        if (labels[r] < 0 || labels[r] >= p->classes)
            continue;
        int64_t rank = rank_of(s, logits, r, labels[r]);
        s->score->first += rank < 1;
        s->score->five += rank < 5;
        rows++;
    }
    return rows;
}

int rt__evaluate_mb(rt_stage *s, int mb)
{
    const rt_program *p = s->program;
    rt__score *score = s->score;
    if (!score)
        return 0;
    uint64_t first = s->eval_first + (uint64_t)(mb * p->micro_batch);
    uint64_t samples = (uint64_t)rt__data_valid(s->test, first, p->micro_batch);
    if (!samples)
        return 0;
    uint64_t rows = p->classes > 0 && p->eval_logits_offset >= 0 ? score_rows(s, mb) : samples;
    score->loss_sum += (double)rows * real_at(s, rt_scratch(s, p->eval_loss_offset), 0);
    score->samples += samples;
    score->rows += rows;
    double all = score->rows ? (double)score->rows : 1;
    score->loss = score->loss_sum / all;
    score->top1 = (double)score->first / all;
    score->top5 = (double)score->five / all;
    return 0;
}
