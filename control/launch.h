// Runs the programs of a plan, one process per replica of a stage, on this machine (launch.c) or on
// several hosts (hub.c), and watches over them: shows progress, passes their reports on, notices the end
// of each, stops all when one fails, and leaves no process behind.
#ifndef STAGECC_CONTROL_LAUNCH_H
#define STAGECC_CONTROL_LAUNCH_H

#include "plan/plan.h"

#include <jansson.h>

typedef struct Launch {
    const Plan *plan;
    const char *dir;            // programs are dir/stage0, dir/stage1, …
    const char *const *options; // [n_options], for every program
    int n_options;
    const char *trace; // where the stages' timelines are merged; NULL: none
    double
        rehearse; // every instruction takes at least so many times what the plan says; 0: what it takes
    const char *state; // directory of the ranks' states; NULL: none, or those of restarts
    int restarts;      // where a program is killed, all go on from their states, so often
    const int *states; // [n_ranks], descriptors of memory; NULL: none
    bool *here;        // [n_ranks]: which of them run on this machine; NULL: all
    const int *
        cards; // [n_ranks]: its number among the CUDA devices of its host, -1: none; NULL: each chooses one
    bool quiet; // no progress on stderr
    // Reports of the programs as they come (docs/runtime.md), errors but for the one that counts left
    // out. NULL: nobody wants them.
    void (*event)(void *user, int rank, const json_t *event);
    void *user;
} Launch;

// Exit status of the job. The first error was shown.
int launch_run(const Launch *l);
// The path of a stage's program.
const char *launch_program(Arena *a, const char *dir, int stage);
// Where a rank writes its timeline.
const char *launch_trace(Arena *a, const Launch *l, int rank);
// Where a rank keeps what it goes on from; NULL: nowhere.
const char *launch_state(Arena *a, const Launch *l, int rank);
// --at-least of a rank's program, NULL: none.
const char *launch_at_least(Arena *a, const Launch *l, int rank);
// Cores that this process may use; whether the ranks here leave one free while they wait.
int launch_cores(void);
bool launch_may_spin(const Launch *l);
// Bytes that this machine can still give; UINT64_MAX where it does not say.
uint64_t launch_free_memory(void);
// Is there memory for the ranks that run here? false: reported.
bool launch_fits(const Launch *l);
int launch_here(const Launch *l); // how many they are
// Bytes that this machine can still give; UINT64_MAX where it does not say.
uint64_t launch_free_memory(void);

#endif
