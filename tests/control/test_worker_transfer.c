// Tensors go from one worker's states to another's, whatever the network does: frames that are lost, doubled, late or
// spoilt, connections that are new, a source that loses the state or says nothing any more.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifndef STAGECC_ZMQ
int main(void)
{
    return 77;
}
#else
#include "control/worker/transfer.h"

#include <stdlib.h>
#include <string.h>

enum { FRAMES = 64, BIG = 3 * TRANSFER_PIECE + 12345, SMALL = 100 };
#define MS INT64_C(1000000)
#define SECOND_NS (1000 * MS)

typedef struct Network {
    States *source;
    uint8_t *frames[FRAMES]; // answers that are on their way
    size_t bytes[FRAMES];
    int n, asked, most;
    int lose, repeat, spoil; // every so many of them; 0: none
    bool silent;
    uint64_t seed;
} Network;

static uint64_t chance(Network *n)
{
    n->seed = n->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return n->seed >> 33;
}

static bool every(Network *n, int so_many)
{
    return so_many && chance(n) % (uint64_t)so_many == 0;
}

static void ask(void *user, uint16_t worker, const Fetch *fetch, const char *name)
{
    Network *n = user;
    Message m = {
        .id = MESSAGE_FETCH, .fetch = *fetch, .rest = name, .rest_bytes = strlen(name)};
    assert_int_equal(worker, 4);
    n->asked++;
    for (int again = every(n, n->repeat); again >= 0; again--) {
        if (n->silent || every(n, n->lose) || n->n == FRAMES)
            continue;
        uint8_t *frame = malloc(MESSAGE_MOST);
        size_t bytes = transfer_answer(n->source, &m, frame, MESSAGE_MOST);
        assert_true(bytes);
        frame[bytes - 1] ^= every(n, n->spoil);
        n->frames[n->n] = frame;
        n->bytes[n->n++] = bytes;
    }
}

// One of those that are on their way arrives, in any order.
static void arrive(Network *n, Transfer *t, int64_t now_ns)
{
    Message m;
    char why[MESSAGE_WHY];
    if (!n->n)
        return;
    int i = (int)(chance(n) % (uint64_t)n->n);
    uint8_t *frame = n->frames[i];
    if (message_check(frame, n->bytes[i], FROM_PEER, &m, why)) {
        assert_false(transfer_take(t, (uint16_t)(t->worker + 1), &m, now_ns)); // nobody else's
        transfer_take(t, t->worker, &m, now_ns);
    }
    n->frames[i] = n->frames[--n->n];
    n->bytes[i] = n->bytes[n->n];
    free(frame);
}

static void drop_all(Network *n)
{
    while (n->n)
        free(n->frames[--n->n]);
}

// A state with a tensor of several pieces, a small one and an empty one; of another plan, so it lies elsewhere.
static Image *source_of(States *s)
{
    static const char *const text =
        "{\"generation_bytes\": 2097152, \"tensors\": ["
        "{\"name\": \"b.big\", \"at\": 4096, \"bytes\": 1585209, \"layout\": \"F32 plain\"},"
        "{\"name\": \"a.small\", \"at\": 64, \"bytes\": 100, \"layout\": \"F32 plain\"},"
        "{\"name\": \"a.empty\", \"at\": 512, \"bytes\": 0, \"layout\": \"F32 plain\"}]}";
    json_t *parts = json_loads("{\"a\": 0, \"b\": 1}", 0, NULL);
    Tensors t = {0};
    char why[TENSORS_WHY];
    assert_int_equal(BIG, 1585209);
    assert_true(tensors_of_program(&t, text, parts, why));
    Image *image = image_new(s, 1, 0, &t);
    for (uint64_t i = 0; i < image->header->bytes; i++)
        image_generation(image->header, 0)[i] = (uint8_t)(i * 2654435761u >> 13);
    image_settle(image, 10, 2, 3, &(Beginning){5, 6, 7});
    json_decref(parts);
    return image;
}

static void want_all(Transfer *t, uint8_t *to)
{
    Wanted *wanted = calloc((size_t)t->tensors.n, sizeof *wanted);
    for (int i = 0; i < t->tensors.n; i++) {
        const StateTensor *x = &t->tensors.items[i];
        wanted[i] = (Wanted){x->name, to + x->at, x->bytes};
    }
    transfer_want(t, wanted, t->tensors.n);
}

// Until it is over, in steps of 20 ms.
static void run(Network *n, Transfer *t, uint8_t *to)
{
    TransferLine line = {.ask = ask, .user = n};
    for (int64_t now = MS; t->phase != TRANSFER_MOVED && t->phase != TRANSFER_FAILED;
         now += 20 * MS) {
        if (t->phase == TRANSFER_LISTED)
            want_all(t, to);
        transfer_run(t, &line, now);
        n->most = t->n_open > n->most ? t->n_open : n->most;
        arrive(n, t, now);
        assert_true(now < 1000 * SECOND_NS);
    }
}

static void check_all(const Transfer *t, const Image *image, const uint8_t *to)
{
    assert_string_equal(t->why, "");
    for (int i = 0; i < t->tensors.n; i++) {
        const StateTensor *theirs = tensors_find(&image->tensors, t->tensors.items[i].name);
        assert_memory_equal(to + t->tensors.items[i].at,
                            image_generation(image->header, 0) + theirs->at, theirs->bytes);
    }
    assert_int_equal(t->beginning.seed, 5);
    assert_int_equal(t->beginning.epoch, 6);
    assert_int_equal(t->beginning.index, 7);
}

static void whatever_happens(void **state)
{
    (void)state;
    States s = {0};
    const Image *image = source_of(&s);
    uint8_t *to = malloc(image->header->bytes);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        Network n = {.source = &s, .seed = seed};
        Transfer t = {0};
        n.lose = seed % 4 ? 8 : 0;
        n.repeat = seed % 3 ? 3 : 0;
        n.spoil = seed % 5 ? 9 : 0;
        memset(to, 0, image->header->bytes);
        transfer_begin(&t, 4, &(Held){10, 2, 3}, 0);
        run(&n, &t, to);
        assert_int_equal(t.tensors.n, 3);
        check_all(&t, image, to);
        assert_true(n.most <= TRANSFER_WINDOW);
        drop_all(&n);
        transfer_release(&t);
    }
    free(to);
    states_release(&s);
}

static void only_what_is_asked_for(void **state)
{
    (void)state;
    States s = {0};
    Network n = {.source = &s};
    Transfer t = {0};
    uint8_t to[SMALL];
    const Image *image = source_of(&s);
    transfer_begin(&t, 4, &(Held){10, 2, 1}, 0);
    run(&n, &t, to);
    assert_int_equal(t.tensors.n, 2);
    assert_null(tensors_find(&t.tensors, "b.big"));
    check_all(&t, image, to);
    assert_int_equal(n.asked, 2); // the listing and one tensor: no empty ones
    transfer_release(&t);
    states_release(&s);
}

static void not_held(void **state)
{
    (void)state;
    States s = {0};
    Network n = {.source = &s};
    Transfer t = {0};
    Image *image = source_of(&s);
    uint8_t *to = malloc(image->header->bytes);
    transfer_begin(&t, 4, &(Held){11, 2, 3}, 0);
    run(&n, &t, to);
    assert_string_equal(t.why, "worker 4 does not hold anything of the state behind step 11");
    // It is written over while the transfer is on its way.
    TransferLine line = {.ask = ask, .user = &n};
    transfer_begin(&t, 4, &(Held){10, 2, 3}, 0);
    transfer_run(&t, &line, MS);
    arrive(&n, &t, MS);
    assert_int_equal(t.phase, TRANSFER_LISTED);
    image_set_step(image->header, 0, -1);
    run(&n, &t, to);
    assert_int_equal(t.phase, TRANSFER_FAILED);
    drop_all(&n);
    transfer_release(&t);
    free(to);
    states_release(&s);
}

// A cut: what was asked is asked again as soon as there is a connection, and not before that much.
static void connection_is_new(void **state)
{
    (void)state;
    States s = {0};
    Network n = {.source = &s, .silent = true};
    TransferLine line = {.ask = ask, .user = &n};
    Transfer t = {0};
    const Image *image = source_of(&s);
    uint8_t *to = malloc(image->header->bytes);
    transfer_begin(&t, 4, &(Held){10, 2, 3}, 0);
    for (int64_t ms = 1; ms < 1000; ms += 20)
        transfer_run(&t, &line, ms * MS);
    assert_int_equal(n.asked, 1);
    n.silent = false;
    transfer_again(&t);
    transfer_run(&t, &line, 1000 * MS);
    assert_int_equal(n.asked, 2);
    run(&n, &t, to);
    check_all(&t, image, to);
    drop_all(&n);
    transfer_release(&t);
    free(to);
    states_release(&s);
}

static void patience_ends(void **state)
{
    (void)state;
    States s = {0};
    Network n = {.source = &s, .silent = true};
    TransferLine line = {.ask = ask, .user = &n};
    Transfer t = {0};
    transfer_begin(&t, 4, &(Held){10, 2, 3}, 0);
    transfer_run(&t, &line, PATIENCE_S * SECOND_NS);
    assert_int_equal(t.phase, TRANSFER_LISTING);
    transfer_run(&t, &line, PATIENCE_S * SECOND_NS + 1);
    assert_string_equal(t.why,
                        "worker 4 has sent nothing of the state behind step 10 for 10 s");
    transfer_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens), cmocka_unit_test(only_what_is_asked_for),
        cmocka_unit_test(not_held),         cmocka_unit_test(connection_is_new),
        cmocka_unit_test(patience_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
