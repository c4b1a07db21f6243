// FUZZ: base/*.c control/keys.c control/allow.c control/curve.c
// Key files and allow lists: any bytes are read or refused with a word. A key that is read has all that it
// needs; one that is not leaves nothing behind, and no message shows a line of the file.
#include "control/allow.h"
#include "control/keys.h"
#include "tests/fuzz/silent.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_key(const char *text)
{
    static const Key nothing;
    Key k;
    char *said = NULL;
    size_t n;
    FILE *out = open_memstream(&said, &n);
    diag_output(out, false);
    int status = key_parse(&k, "fuzz", text);
    fclose(out);
    if (status ? memcmp(&k, &nothing, sizeof k) != 0 || diag_errors() == 0
               : !key_name_good(k.name) || !curve_key_good(k.secret, strlen(k.secret)) ||
                     !curve_key_good(k.public_key, strlen(k.public_key)))
        abort();
    if (strstr(said, "\n    ")) // where the source line would stand
        abort();
    free(said);
    silent();
}

static void read_list(Arena *a, const char *text)
{
    diag_source("list", text);
    AllowList *list = allow_parse(a, "list", text);
    if (!list && diag_errors() == 0)
        abort();
    for (int i = 0; list && i < list->n; i++) {
        const AllowedKey *k = &list->items[i];
        if (memcmp(text + k->offset, k->public_key, CURVE_CHARS) != 0 ||
            allow_key(list, k->public_key) != k || allow_name(list, k->name) != k)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena arena = {0};
    char *text = arena_strndup(&arena, (const char *)data, size);
    silent();
    read_key(text);
    read_list(&arena, text);
    diag_reset();
    arena_release(&arena);
    return 0;
}
