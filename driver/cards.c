#include "driver/cards.h"

#include "control/launch.h"
#include "control/remote.h"
#include "driver/driver.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_S = 60 };

int64_t cards_usable(int64_t free_bytes)
{
    return free_bytes / 10 * 9;
}

int cards_read(Arena *a, const char *text, Card **out)
{
    VEC(Card) cards = {0};
    json_error_t error;
    for (json_t *o; *text && (o = json_loads(text, JSON_DISABLE_EOF_CHECK, &error)) != NULL;) {
        const char *name = json_string_value(json_object_get(o, "name"));
        Card c = {.name = arena_strdup(a, name ? name : "?")};
        const struct {
            const char *key;
            double *to;
        } rates[] = {{"flops", &c.flops},
                     {"bf16_flops", &c.bf16_flops},
                     {"bytes_per_s", &c.bytes_per_s},
                     {"to_bytes_per_s", &c.to_bytes_per_s},
                     {"from_bytes_per_s", &c.from_bytes_per_s}};
        for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
            *rates[i].to = json_number_value(json_object_get(o, rates[i].key));
        c.memory_bytes = json_integer_value(json_object_get(o, "memory_bytes"));
        vec_push(a, &cards, c);
        json_decref(o);
        text += error.position;
        text += strspn(text, " \r\n");
    }
    *out = cards.items;
    return *text ? 0 : cards.n;
}

static const char own_script[] = "exec \"$STAGECC_CARD_PROGRAM\" memory $STAGECC_CARD_COUNT";

static int ask(Arena *a, int n, const char *program, uint64_t *memory_bytes)
{
    Remote r;
    Card *cards;
    char count[16];
    snprintf(count, sizeof count, "%d", n);
    setenv("STAGECC_CARD_PROGRAM", program, 1);
    setenv("STAGECC_CARD_COUNT", count, 1);
    if (!remote_start(a, &r, "localhost", own_script, NULL)) {
        error_at(NO_LOC, "cannot start %s: %s", program, strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    RemoteEnd end = remote_wait(&r, LIMIT_S, false);
    int status = end != REMOTE_ENDED || r.status
                     ? remote_failed(a, &r, end, "looking at its CUDA devices")
                     : EXIT_DONE;
    if (!status && cards_read(a, r.out.data ? r.out.data : "", &cards) != n) {
        error_at(NO_LOC, "%s is not understood: is it of this stagecc?", program);
        status = EXIT_ENVIRONMENT;
    }
    for (int i = 0; i < n && !status; i++) { // each gets as much as the one with least has
        uint64_t all = (uint64_t)n * (uint64_t)cards_usable(cards[i].memory_bytes);
        *memory_bytes = i && *memory_bytes < all ? *memory_bytes : all;
    }
    remote_end(&r);
    return status;
}

int cards_here(Arena *a, int n, uint64_t *memory_bytes)
{
    Toolchain t = toolchain_find(a);
    *memory_bytes = launch_free_memory();
    if (t.emulated)
        return EXIT_DONE;
    if (!access(t.card, X_OK))
        return ask(a, n, t.card, memory_bytes);
    error_at((Loc){t.card, 0, 0},
             "is not there, so nothing is known of CUDA devices: build stagecc "
             "where CUDA's headers and cudart_static are (docs/cuda.md)");
    return EXIT_ENVIRONMENT;
}
