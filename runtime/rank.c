#include "runtime/rank.h"

#include <stdio.h>

int rt__first_rank(const rt_program *p, int stage)
{
    return p->first_rank ? p->first_rank[stage] : stage;
}

int rt__n_ranks(const rt_program *p)
{
    return rt__first_rank(p, p->n_stages);
}

int rt__n_replicas(const rt_program *p)
{
    return rt__first_rank(p, p->stage + 1) - rt__first_rank(p, p->stage);
}

const char *rt__rank_name(const rt_program *p, int rank, char text[RT__RANK_NAME])
{
    int stage = 0;
    while (stage + 1 < p->n_stages && rt__first_rank(p, stage + 1) <= rank)
        stage++;
    int first = rt__first_rank(p, stage);
    if (rt__first_rank(p, stage + 1) - first > 1)
        snprintf(text, RT__RANK_NAME, "stage %d, replica %d", stage, rank - first);
    else
        snprintf(text, RT__RANK_NAME, "stage %d", stage);
    return text;
}
