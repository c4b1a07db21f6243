// The learning rate as a pure function of the step, as PyTorch's schedulers define it.
//   constant    lr
//   step        lr * gamma^(t / steps), integer division      (StepLR)
//   cosine      final + (lr - final) (1 + cos(pi t/T)) / 2    (CosineAnnealingLR; final after T)
//   polynomial  final + (lr - final) (1 - t/T)^power          (PolynomialLR for final = 0)
// Linear warm-up: step s < warmup has lr (s+1) / warmup, and t = s - warmup afterwards (as
// SequentialLR restarts the second schedule). T = steps, or total - warmup where steps is 0;
// "step" with steps = 0 never drops.
#ifndef STAGECC_RUNTIME_LR_H
#define STAGECC_RUNTIME_LR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rt__lr_schedule {
    const char *name; // "constant", "step", "cosine", "polynomial" (rt_program.lr_schedule)
    double lr, gamma, power, final;
    int64_t steps, warmup;
    int64_t total; // steps of the whole run; 0 where nobody knows
} rt__lr_schedule;

bool rt__lr_known(const char *name);
// Rate of step s, from 0. An unknown name counts as "constant": check with rt__lr_known before.
double rt__lr_at(const rt__lr_schedule *schedule, int64_t s);

#endif
