// Threads that read samples of a micro-batch side by side, for data that take more time than a device does.
#ifndef STAGECC_RUNTIME_DATA_CREW_H
#define STAGECC_RUNTIME_DATA_CREW_H

#include <stdint.h>

typedef struct rt__crew rt__crew;

// n threads beside those that call rt__crew_run; fewer, or NULL, where the system has no more.
rt__crew *rt__crew_open(int n);
void rt__crew_close(rt__crew *crew); // NULL is fine
// work(user, i) for all i in [0, n), in any order, by the caller too; returns when all is done. Without a crew the caller
// alone does it, in order.
void rt__crew_run(rt__crew *crew, int64_t n, void work(void *user, int64_t i), void *user);

#endif
