// FUZZ: runtime/manifest.c runtime/plain.c
// manifest.json of checkpoints: any bytes are read or refused; what is read is written to a text that
// reads back to itself. Any JSON object is tried with the checksum that it needs as well.
#include "plan/crc32c.h"
#include "runtime/manifest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_and_write(const void *bytes, size_t size)
{
    rt__manifest m, again;
    rt__why why;
    int status = rt__manifest_parse(&m, "x", bytes, size, &why);
    if (status == 0) {
        char *once = rt__manifest_text(&m);
        if (!once || rt__manifest_parse(&again, "x", once, strlen(once), &why))
            abort();
        char *twice = rt__manifest_text(&again);
        if (strcmp(once, twice) != 0)
            abort();
        rt__manifest_release(&again);
        free(once);
        free(twice);
    } else if (strncmp(why.text, "x: ", 3) != 0) {
        abort();
    }
    rt__manifest_release(&m);
}

static void with_checksum(const uint8_t *data, size_t size)
{
    json_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(o)) {
        char crc[16];
        json_object_del(o, "crc32c");
        char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(crc, sizeof crc, "%08x", text ? crc32c(0, text, strlen(text)) : 0);
        json_object_set_new(o, "crc32c", json_string(crc));
        free(text);
        text = json_dumps(o, 0);
        if (text)
            read_and_write(text, strlen(text));
        free(text);
    }
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size + !size);
    memcpy(exact, size ? data : (const uint8_t *)"", size);
    read_and_write(exact, size);
    with_checksum(exact, size);
    free(exact);
    return 0;
}
