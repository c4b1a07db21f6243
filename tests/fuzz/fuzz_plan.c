// FUZZ: base/*.c plan/*.c
// plan.json: any bytes are read or refused; the streams of what is read verify, and it is written to a
// text that reads back to itself.
#include "base/diag.h"
#include "base/text.h"
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *sink;
    if (!sink)
        sink = fopen("/dev/null", "w");
    diag_output(sink, false);
    diag_reset();
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
        free(once);
        free(twice);
    } else if (diag_errors() == 0) {
        abort(); // refused without a word
    }
    diag_reset();
    arena_release(&arena);
    return 0;
}
