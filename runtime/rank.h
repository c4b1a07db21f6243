// Ranks are the processes of a job: one for each replica of each stage, numbered stage by stage.
#ifndef STAGECC_RUNTIME_RANK_H
#define STAGECC_RUNTIME_RANK_H

#include "runtime/stage.h"

#include <stdbool.h>

enum { RT__RANK_NAME = 64 };

int rt__first_rank(const rt_program *p, int stage); // of n_stages: how many ranks there are
int rt__n_ranks(const rt_program *p);
int rt__n_replicas(const rt_program *p); // of this stage
// "stage 1", of a replicated stage "stage 1, replica 0". Returns text.
const char *rt__rank_name(const rt_program *p, int rank, char text[RT__RANK_NAME]);

#endif
