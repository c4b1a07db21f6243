// From figures to devices.json and to what people read.
#include "driver/devices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// A device's share of the memory that is free: a tenth stays for everything else.
static const double usable = 0.9;
// Speeds that differ by less are the same: what the planner needs to know is that machines are alike.
static const double least_difference = 0.03, most_difference = 0.1;
static const double large_spread = 0.3;

static double three_digits(double x) // by decimal digits, so that it is written with three
{
    char text[32];
    snprintf(text, sizeof text, "%.3g", x);
    return strtod(text, NULL);
}

static double measured_speed(const Session *s, int host)
{
    const Measured *step = &s->figures[host].step_s;
    double first = s->hosts.items[0].weight > 0 ? s->hosts.items[0].weight : 1;
    return step->value > 0 ? first * s->alone_s / step->value : 1;
}

// As an earlier host's, or as 1, where the difference is within what measuring it again would change.
static double speed_of(const Session *s, int host, const double *earlier)
{
    double weight = s->hosts.items[host].weight, speed = measured_speed(s, host);
    double noise = s->figures[host].step_s.spread / 2;
    noise = noise < least_difference ? least_difference : noise;
    noise = noise > most_difference ? most_difference : noise;
    if (weight > 0)
        return weight;
    for (int i = 0; i < host; i++)
        if (fabs(speed / earlier[i] - 1) <= noise)
            return earlier[i];
    return fabs(speed - 1) <= noise ? 1 : three_digits(speed);
}

// Down to a sixteenth of its power of two: hosts that are alike differ in what is free by chance.
static int64_t memory_of(const Session *s, int host)
{
    const Host *h = &s->hosts.items[host];
    const HostFigures *f = &s->figures[host];
    double share = h->cuda ? (double)cards_usable(f->card.memory_bytes)
                           : usable * (double)f->memory_bytes / h->slots;
    int exponent;
    frexp(share, &exponent);
    double step = ldexp(1, exponent - 5);
    return h->memory_bytes ? h->memory_bytes : (int64_t)(floor(share / step) * step);
}

static const char *backend_of(const Session *s, int host)
{
    if (s->hosts.items[host].cuda)
        return "cuda";
    return s->args->backend ? s->args->backend : "c";
}

// Seconds a byte that a message waits to leave and to enter memory of devices, in the slower direction.
static double aside_s(const Session *s, int from, int to)
{
    const Host *hosts = s->hosts.items;
    const Card *a = &s->figures[from].card, *b = &s->figures[to].card;
    double there = (hosts[from].cuda ? 1 / a->from_bytes_per_s : 0) +
                   (hosts[to].cuda ? 1 / b->to_bytes_per_s : 0);
    double back = (hosts[to].cuda ? 1 / b->from_bytes_per_s : 0) +
                  (hosts[from].cuda ? 1 / a->to_bytes_per_s : 0);
    return fmax(there, back);
}

// Within a host devices write messages into its memory and read them there, and no processor touches them.
static double link_bytes_per_s(const Session *s, int from, int to, const LinkFigures *f)
{
    bool inside = from == to && s->hosts.items[from].cuda;
    return 1 / ((inside ? 0 : 1 / f->bytes_per_s) + aside_s(s, from, to));
}

static void add_link(const Session *s, Devices *d, int from, int to, const LinkFigures *f)
{
    double bytes_per_s = link_bytes_per_s(s, from, to, f);
    d->links[d->n_links++] = (DeviceLink){.from = s->hosts.items[from].name,
                                          .to = s->hosts.items[to].name,
                                          .bytes_per_s = three_digits(bytes_per_s),
                                          .latency_s = three_digits(f->latency_s.value),
                                          .per_device = from == to};
}

static void add_links(const Session *s, Devices *d)
{
    const Host *hosts = s->hosts.items;
    int n = s->hosts.n;
    d->links = arena_array(s->arena, DeviceLink, (size_t)n * (size_t)(n + 1) / 2 + 1);
    for (int i = 0; i < n; i++) {
        if (hosts[i].slots > 1)
            add_link(s, d, i, i, &s->figures[i].inside);
        for (int j = i + 1; j < n; j++) {
            const LinkFigures *f = &s->between[i * n + j];
            add_link(s, d, i, j, f->bytes_per_s > 0 ? f : &s->between[j * n + i]);
        }
    }
}

static const char *reference(const Session *s)
{
    const char *model = s->args->model ? s->args->model : "stagecc's own model",
               *host = s->hosts.items[0].name, *threads = s->threads > 1 ? "s" : "";
    if (s->hosts.items[0].cuda)
        return arena_printf(s->arena, "speed 1: %s on %s, estimated at %.3g ms; %s", model,
                            host, 1e3 * s->alone_s, devices_card_words(s, 0));
    return arena_printf(s->arena,
                        "speed 1: %s on %s with nothing beside it, %d thread%s, %.3g ms", model,
                        host, s->threads, threads, 1e3 * s->alone_s);
}

Devices *devices_of(Session *s)
{
    Devices *d = arena_new(s->arena, Devices);
    double *speeds = arena_array(s->arena, double, s->hosts.n);
    int slots = 0;
    for (int i = 0; i < s->hosts.n; i++)
        slots += s->hosts.items[i].slots;
    d->devices = arena_array(s->arena, Device, slots);
    for (int i = 0; i < s->hosts.n; i++) {
        const Host *h = &s->hosts.items[i];
        speeds[i] = speed_of(s, i, speeds);
        for (int k = 0; k < h->slots; k++)
            d->devices[d->n++] = (Device){
                .name = h->slots > 1 ? arena_printf(s->arena, "%s-%d", h->name, k) : h->name,
                .host = h->name,
                .backend = backend_of(s, i),
                .memory_bytes = memory_of(s, i),
                .speed = speeds[i],
                .threads = s->threads};
    }
    add_links(s, d);
    if (s->alone_s > 0 && !(s->hosts.items[0].weight > 0))
        d->reference = reference(s);
    return d;
}

void devices_print(const Session *s, const Devices *d)
{
    char memory[32];
    printf("%-24s %-20s %-7s %7s %7s %12s\n", "device", "host", "backend", "threads", "speed",
           "memory");
    for (int i = 0; i < d->n; i++) {
        const Device *v = &d->devices[i];
        printf("%-24s %-20s %-7s %7d %7.3g %12s\n", v->name, v->host, v->backend, v->threads,
               v->speed, human_bytes(memory, v->memory_bytes));
    }
    for (int i = 0; i < s->hosts.n; i++)
        if (s->hosts.items[i].cuda)
            printf("%s: %s\n", s->hosts.items[i].name, devices_card_words(s, i));
    if (d->n_links)
        printf("%-24s %-20s %12s %12s  %s\n", "from", "to", "bandwidth", "latency",
               "shared by");
    for (int i = 0; i < d->n_links; i++) {
        const DeviceLink *l = &d->links[i];
        printf("%-24s %-20s %7.3g GB/s %9.3g us  %s\n", l->from, l->to, 1e-9 * l->bytes_per_s,
               1e6 * l->latency_s, l->per_device ? "nobody" : "the host's devices");
    }
}

static void warn_spread(const Session *s, const char *what, double spread)
{
    if (spread > large_spread)
        warning_at(NO_LOC,
                   "%s varies by %.0f %%: the median counts; measure again when %s idle", what,
                   100 * spread, s->hosts.n > 1 ? "the hosts are" : "the host is");
}

static void warn_host(const Session *s, int i)
{
    const Host *h = &s->hosts.items[i];
    const HostFigures *f = &s->figures[i];
    int wanted = h->slots * s->threads;
    if (h->cuda)
        return;
    if (wanted > f->cores)
        warning_at(
            NO_LOC,
            "%s has %d core%s for %d slot%s of %d thread%s: they take turns, and the speed "
            "says so",
            h->name, f->cores, f->cores > 1 ? "s" : "", h->slots, h->slots > 1 ? "s" : "",
            s->threads, s->threads > 1 ? "s" : "");
    else if (wanted > f->free_cores + 0.5)
        warning_at(NO_LOC,
                   "%s had %.1f of %d cores free for %d: something else runs there, and the "
                   "figures say so",
                   h->name, f->free_cores, f->cores, wanted);
    warn_spread(s, arena_printf(s->arena, "the speed of %s", h->name), f->step_s.spread);
    if (h->slots > 1)
        warn_spread(s, arena_printf(s->arena, "the bandwidth within %s", h->name),
                    f->inside.bandwidth_spread);
}

// Of the links between hosts only the one that varies most: where a host is busy they all do.
void devices_warn(const Session *s)
{
    const Host *hosts = s->hosts.items;
    int n = s->hosts.n, worst = 0;
    for (int i = 0; i < n; i++)
        warn_host(s, i);
    for (int i = 0; i < n * n; i++)
        if (s->between[i].bandwidth_spread > s->between[worst].bandwidth_spread)
            worst = i;
    warn_spread(s,
                arena_printf(s->arena, "the bandwidth from %s to %s", hosts[worst / n].name,
                             hosts[worst % n].name),
                s->between[worst].bandwidth_spread);
}
