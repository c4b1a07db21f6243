// What moving a state between workers costs: an image of so many tensors, by a data port over loopback (control/worker/stream.h),
// both ends in this process. Prints one JSON object; compare bench/net, the same by the control plane.
//   streams [BYTES [TENSORS [TIMES]]]     of a state, 480 MB in 300 tensors
#include "base/clock.h"
#include "base/diag.h"
#include "control/worker/stream.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Image *fill(States *s, uint64_t bytes, int n)
{
    char why[TENSORS_WHY];
    Text text = {0};
    Tensors t = {0};
    json_t *parts = json_loads("{\"a\": 0}", 0, NULL);
    uint64_t each = bytes / (uint64_t)n;
    text_printf(&text, "{\"generation_bytes\": %llu, \"tensors\": [",
                (unsigned long long)bytes);
    for (int i = 0; i < n; i++)
        text_printf(
            &text, "%s{\"name\": \"a.%d\", \"at\": %llu, \"bytes\": %llu, \"layout\": \"F32\"}",
            i ? ", " : "", i, (unsigned long long)(each * (uint64_t)i),
            (unsigned long long)each);
    text_puts(&text, "]}");
    if (!tensors_of_program(&t, text.data, parts, why))
        fatal("%s", why);
    json_decref(parts);
    text_release(&text);
    Image *image = image_new(s, 1, 0, &t);
    if (!image)
        fatal("no memory");
    memset(image_generation(image->header, 0), 1, bytes);
    image_settle(image, 1, 1, 1, &(Beginning){0});
    return image;
}

static void wait(Streams *s)
{
    struct pollfd fd = {.fd = streams_fd(s), .events = POLLIN};
    poll(&fd, 1, -1);
    streams_seen(s);
}

static double move(States *s, Streams *streams, uint8_t *to, uint64_t each)
{
    double from = clock_seconds();
    uint8_t ticket[TICKET_BYTES];
    Parcel *p = parcel_new(s, &(Held){1, 1, 1});
    int n = p ? p->n : 0;
    if (!p || !streams_give(streams, p, 0, ticket))
        fatal("no parcel");
    Stream *t = stream_open(streams, "127.0.0.1", streams_port(streams), ticket);
    while (t && stream_phase(t) == STREAM_COMING)
        wait(streams);
    StreamPlace *places = calloc((size_t)n, sizeof *places);
    for (int i = 0; i < n && places; i++)
        places[i] = (StreamPlace){to + each * (uint64_t)i, each};
    if (!t || !places)
        fatal("no stream");
    stream_into(t, places, n);
    while (stream_phase(t) < STREAM_DONE)
        wait(streams);
    if (stream_phase(t) != STREAM_DONE)
        fatal("the stream has failed");
    stream_close(t);
    while (!(p = streams_back(streams, 0)))
        wait(streams);
    parcel_free(p);
    return clock_seconds() - from;
}

int main(int argc, char **argv)
{
    uint64_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 480000000;
    int n = argc > 2 ? atoi(argv[2]) : 300, times = argc > 3 ? atoi(argv[3]) : 9;
    States s = {0};
    Streams *streams = streams_open("127.0.0.1");
    uint8_t *to = calloc(1, bytes);
    if (!streams || !to || n < 1 || bytes < (uint64_t)n)
        return EXIT_ENVIRONMENT;
    fill(&s, bytes, n);
    memset(to, 2, bytes);
    double best = 1e9, all = 0, cpu = clock_cpu_seconds();
    for (int i = 0; i < times; i++) {
        double seconds = move(&s, streams, to, bytes / (uint64_t)n);
        best = seconds < best ? seconds : best;
        all += seconds;
    }
    cpu = clock_cpu_seconds() - cpu;
    double gb = 1e-9 * (double)bytes;
    printf("{\"bytes\": %llu, \"tensors\": %d, \"times\": %d, \"mb_per_s\": %.0f, "
           "\"best_mb_per_s\": %.0f, \"both_ends_cpu_s_per_gb\": %.3f}\n",
           (unsigned long long)bytes, n, times, 1e3 * gb * times / all, 1e3 * gb / best,
           cpu / (gb * times));
    streams_close(streams);
    states_release(&s);
    free(to);
    return EXIT_DONE;
}
