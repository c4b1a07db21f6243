// FUZZ: base/*.c plan/*.c plan/schedules/*.c passes/planner/*.c
// plan.json: any bytes are read or refused; the streams of what is read verify, and it is written to a
// text that reads back to itself. Its units are planned as a chain.
#include "base/text.h"
#include "plan/plan.h"
#include "tests/fuzz/planned.h"
#include "tests/fuzz/silent.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Seconds and bytes that a profile may hold.
static double bounded(double x)
{
    return x < 1e12 ? x : 1e12;
}

static void plan_units(Arena *a, const Plan *plan)
{
    Problem p = {.n_profiles = 1};
    double bytes = 1;
    if (plan->n_units > MOST_PLANNED)
        return;
    p.nodes = arena_array(a, ProblemNode, plan->n_units);
    p.tensors = arena_array(a, ProblemTensor, plan->n_units);
    for (int i = 0; i < plan->n_units; i++) {
        const PlanUnit *u = &plan->units[i];
        p.nodes[p.n++] =
            (ProblemNode){.name = u->name,
                          .forward_s = {bounded(u->forward_s)},
                          .backward_s = {bounded(u->backward_s)},
                          .parameter_bytes = bounded((double)u->parameter_bytes),
                          .activation_bytes = bounded((double)u->activation_bytes)};
        int *next = arena_new(a, int);
        *next = i + 1;
        p.tensors[p.n_tensors++] = (ProblemTensor){.producer = i,
                                                   .users = next,
                                                   .n_users = i + 1 < plan->n_units,
                                                   .bytes = bounded((double)u->cut_bytes)};
        bytes += 2 * p.nodes[i].parameter_bytes;
    }
    plan_small(a, &p, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    silent();
    Arena arena = {0};
    Plan *p = plan_from_json(&arena, "fuzz", arena_strndup(&arena, (const char *)data, size));
    if (p) {
        char *once = plan_to_json(p);
        Plan *again = plan_from_json(&arena, "printed", once);
        if (!again)
            abort();
        char *twice = plan_to_json(again);
        if (strcmp(once, twice) != 0 || plan_hash(p) != plan_hash(again))
            abort();
        plan_simulate(p);
        plan_units(&arena, p);
        free(once);
        free(twice);
    } else if (diag_errors() == 0) {
        abort(); // refused without a word
    }
    diag_reset();
    arena_release(&arena);
    return 0;
}
