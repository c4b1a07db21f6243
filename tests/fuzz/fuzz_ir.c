// FUZZ: base/*.c ir/*.c
// The text form of graphs: any bytes are read or refused; what is read prints to a text that reads
// back to itself.
#include "ir/text.h"
#include "tests/fuzz/silent.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    silent();
    Arena arena = {0};
    Graph *g = ir_read(&arena, "fuzz", arena_strndup(&arena, (const char *)data, size));
    if (g) {
        Text once = {0}, twice = {0};
        ir_print(&once, g);
        Graph *again = ir_read(&arena, "printed", once.data);
        if (!again)
            abort();
        ir_print(&twice, again);
        if (strcmp(once.data, twice.data))
            abort();
        text_release(&once);
        text_release(&twice);
    }
    diag_reset();
    arena_release(&arena);
    return 0;
}
