// FUZZ: base/*.c frontend/profile/*.c passes/planner/*.c
// graph.txt: any bytes are read or refused; what is read prints to the same bytes, but for blank lines
// and lines that stand out of order. Small graphs are planned.
#define SOURCE_DIR "."
#include "tests/fuzz/planned.h"
#include "tests/fuzz/silent.h"
#include "tests/planner/profiles.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    silent();
    Arena arena = {0};
    char *text = arena_strndup(&arena, (const char *)data, size);
    Profile *p = profile_read(&arena, "fuzz", text);
    if (p) {
        Text once = {0}, twice = {0};
        profile_print(&once, p);
        Profile *again = profile_read(&arena, "printed", once.data);
        if (!again)
            abort();
        profile_print(&twice, again);
        if (strcmp(once.data, twice.data))
            abort();
        if (profile_order(&arena, p)) {
            const Problem *problem = problem_of_profile(&arena, profile_planned(&arena, p));
            double bytes = 1;
            for (int i = 0; i < problem->n; i++)
                bytes += 2 * problem->nodes[i].parameter_bytes;
            plan_small(&arena, problem, bytes);
        }
        text_release(&once);
        text_release(&twice);
    }
    diag_reset();
    arena_release(&arena);
    return 0;
}
