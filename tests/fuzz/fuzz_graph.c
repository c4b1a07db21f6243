// FUZZ: base/*.c ir/*.c frontend/layers/*.c frontend/profile/*.c passes/planner/*.c
// graph.txt: any bytes are read or refused; what is read prints to the same bytes, but for blank lines
// and lines that stand out of order. Small graphs are planned.
#define SOURCE_DIR "."
#include "frontend/profile/import.h"
#include "ir/text.h"
#include "tests/fuzz/planned.h"
#include "tests/fuzz/silent.h"
#include "tests/planner/profiles.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A graph that becomes a model prints as text that reads back, and as C.
static void import(Arena *arena, const char *text)
{
    ModelOptions options = {.micro_batch = 2, .real = F32};
    const Script *s = profile_import(arena, "fuzz", text, &options);
    Text ir = {0}, c = {0};
    if (!s)
        return;
    ir_print(&ir, s->graph);
    if (!ir_read(arena, "printed", ir.data))
        abort();
    script_print(&c, s, "stagecc emit-model fuzz");
    text_release(&ir);
    text_release(&c);
}

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
        if (p->nodes.n <= 1000)
            import(&arena, text);
    }
    diag_reset();
    arena_release(&arena);
    return 0;
}
