// FUZZ: base/*.c plan/*.c plan/schedules/*.c
// devices.json: any bytes are read or refused with a word; what is read is written to a text that reads
// back to itself, without a warning, with the same numbers.
#include "plan/devices.h"
#include "tests/fuzz/silent.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_numbers(const Devices *a, const Devices *b)
{
    if (a->n != b->n || a->n_links != b->n_links)
        abort();
    for (int i = 0; i < a->n; i++)
        if (a->devices[i].speed != b->devices[i].speed)
            abort();
    for (int i = 0; i < a->n_links; i++)
        if (a->links[i].bytes_per_s != b->links[i].bytes_per_s ||
            a->links[i].latency_s != b->links[i].latency_s ||
            devices_link(a, a->links[i].from, a->links[i].to) != &a->links[i])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    silent();
    Arena arena = {0};
    char *text = arena_strndup(&arena, (const char *)data, size);
    diag_source("fuzz", text);
    Devices *d = devices_from_json(&arena, "fuzz", text);
    if (!d && diag_errors() == 0)
        abort(); // refused without a word
    diag_reset();
    if (d) {
        char *once = devices_to_json(d);
        Devices *again = devices_from_json(&arena, "printed", once);
        if (!again || diag_warnings())
            abort();
        check_numbers(d, again);
        char *twice = devices_to_json(again);
        if (strcmp(once, twice) != 0)
            abort();
        free(once);
        free(twice);
    }
    diag_reset();
    arena_release(&arena);
    return 0;
}
