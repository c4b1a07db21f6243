// devices.json as people like to read and change it: one device or link a line, numbers with as many
// digits as read back to the same and no more.
#include "base/text.h"
#include "plan/devices.h"

#include <jansson.h>
#include <stdlib.h>

static void put_text(Text *t, const char *key, const char *value)
{
    json_t *s = json_string(value);
    char *quoted = json_dumps(s, JSON_ENCODE_ANY);
    CHECK(quoted, "plan", "`%s` is not UTF-8", value);
    text_printf(t, "\"%s\": %s", key, quoted);
    free(quoted);
    json_decref(s);
}

static void put_number(Text *t, const char *key, double value)
{
    char digits[32] = "";
    for (int n = 1; n <= 17 && strtod(digits, NULL) != value; n++)
        snprintf(digits, sizeof digits, "%.*g", n, value);
    text_printf(t, ", \"%s\": %s", key, *digits ? digits : "0");
}

static void put_device(Text *t, const Device *d)
{
    text_puts(t, "{");
    put_text(t, "name", d->name);
    text_puts(t, ", ");
    put_text(t, "host", d->host);
    text_puts(t, ", ");
    put_text(t, "backend", d->backend);
    text_printf(t, ", \"memory_bytes\": %lld", (long long)d->memory_bytes);
    put_number(t, "speed", d->speed);
    text_printf(t, ", \"threads\": %d", d->threads);
    if (d->profile) {
        text_puts(t, ", ");
        put_text(t, "profile", d->profile);
    }
    text_puts(t, "}");
}

static void put_link(Text *t, const DeviceLink *l)
{
    text_puts(t, "{");
    put_text(t, "from", l->from);
    text_puts(t, ", ");
    put_text(t, "to", l->to);
    put_number(t, "bytes_per_s", l->bytes_per_s);
    put_number(t, "latency_s", l->latency_s);
    text_printf(t, ", \"shared\": \"%s\"}", l->per_device ? "device" : "host");
}

char *devices_to_json(const Devices *d)
{
    Text t = {0};
    text_puts(&t, "{");
    if (d->reference) {
        put_text(&t, "reference", d->reference);
        text_puts(&t, ",\n ");
    }
    text_puts(&t, "\"devices\": [");
    for (int i = 0; i < d->n; i++) {
        text_puts(&t, i ? ",\n  " : "\n  ");
        put_device(&t, &d->devices[i]);
    }
    text_puts(&t, "\n ],\n \"links\": [");
    for (int i = 0; i < d->n_links; i++) {
        text_puts(&t, i ? ",\n  " : "\n  ");
        put_link(&t, &d->links[i]);
    }
    text_puts(&t, d->n_links ? "\n ]}\n" : "]}\n");
    return t.data;
}
