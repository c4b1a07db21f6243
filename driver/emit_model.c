// stagecc emit-model: a profiled graph as a model that people can go on with.
#include "driver/driver.h"

#include "frontend/profile/import.h"

int command_emit_model(Arena *a, Args *args)
{
    ModelOptions options = {.micro_batch = 2,
                            .real = F32,
                            .input = args->input}; // no statement depends on the batch
    const char *kept = operand_read(a, args);
    if (!kept)
        return EXIT_INPUT;
    if (!profile_frontend.probe(args->operand, kept)) {
        error_at((Loc){args->operand, 0, 0},
                 "this is no profiled graph (\"node1 -- Conv2d(...) -- ...\")");
        return EXIT_INPUT;
    }
    const Script *s = profile_import(a, args->operand, kept, &options);
    if (!s)
        return EXIT_INPUT;
    Text t = {0};
    script_print(&t, s, args->line);
    if (args->out)
        return report_write(args->out, &t);
    fputs(t.data, stdout);
    text_release(&t);
    return EXIT_DONE;
}
