// Speed: a model is compiled by the way that every model goes, and runs in all slots of a host at once,
// as training would: what they take from each other is in the figure.
#include "driver/devices.h"

#include "control/progress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 3, RUN_LIMIT_S = 300, MODEL_STEPS = 5, OWN_STEPS = 12 };
static const double enough_s = 45; // no further run after that

// What training is made of, about a third of the time each: a convolution, a normalisation that reads
// and writes 12 MiB, matrix products.
static const char own_model[] =
    "#include <stagecc/model.h>\n"
    "TRAIN(.batch = 4, .micro_batches = 1);\n"
    "MODEL(speed)\n"
    "{\n"
    "    Tensor image = input(\"image\", F32, 3, 112, 112);\n"
    "    Tensor stem = conv2d(image, 64, .kernel = 3, .padding = 1, .bias = false);\n"
    "    Tensor pooled = max_pool2d(relu(batch_norm(stem)), .kernel = 4);\n"
    "    Tensor convolution = relu(conv2d(pooled, 128, .kernel = 3, .padding = 1));\n"
    "    Tensor rows = reshape(max_pool2d(convolution, .kernel = 2), 196, 128);\n"
    "    Tensor product = relu(linear(relu(linear(rows, 512)), 512));\n"
    "    loss(cross_entropy(linear(product, 64), target(\"label\", I32, 196)));\n"
    "}\n";

const char *devices_model(const Session *s)
{
    if (s->args->model)
        return s->args->model;
    const char *path = arena_printf(s->arena, "%s/speed.c", s->dir);
    if (file_write(path, own_model, strlen(own_model)))
        fatal("cannot write %s: %s", path, strerror(errno));
    return path;
}

int devices_build_model(Session *s)
{
    Args args = *s->args;
    Job j;
    args.operand = devices_model(s);
    args.out = arena_printf(s->arena, "%s/model", s->dir);
    s->program = arena_printf(s->arena, "%s/stage0", args.out);
    s->steps = args.model ? MODEL_STEPS : OWN_STEPS;
    devices_progress(s, "compiling %s", args.model ? args.model : "a model to measure with");
    int status = job_load(&j, s->arena, &args);
    if (!status)
        status = job_compile(&j, 1);
    if (!status && dir_make(args.out))
        fatal("cannot make the directory %s: %s", args.out, strerror(errno));
    if (!status)
        status = build_programs(&j, args.out);
    job_release(&j);
    return status;
}

// Slots that compute at once. Where there are more of them than cores they take turns, which the medians
// of layers do not see: they are shorter than a turn. Then as many run as have cores, and the time is
// what the turns make of it.
static int slots_at_once(const Session *s, int host, bool alone)
{
    int slots = alone ? 1 : s->hosts.items[host].slots,
        room = s->figures[host].cores / s->threads;
    return slots <= room ? slots : room > 1 ? room : 1;
}

static double turns(const Session *s, int host, bool alone)
{
    int slots = alone ? 1 : s->hosts.items[host].slots;
    return (double)slots / slots_at_once(s, host, alone);
}

// One run in `slots` processes; prints the times of one after the other.
static const char *run_script(const Session *s, int host, int slots)
{
    bool crowded = slots * s->threads > s->figures[host].cores;
    const char *before = arena_printf(
        s->arena,
        "i=0; while [ $i -lt %d ]; do %s timeout %d \"$d/p\" --data synthetic --steps %lld "
        "--profile \"$d/times$i\" > \"$d/log$i\" 2>&1 & p=\"$p $!\"; i=$((i+1)); done",
        slots, crowded ? "OMP_WAIT_POLICY=passive" : "", RUN_LIMIT_S, (long long)s->steps);
    return devices_script(s->arena, before, "cat \"$d\"/times*");
}

typedef VEC(double) Samples;

static double step_of(const json_t *times)
{
    const json_t *layers = json_object_get(times, "layers"), *layer;
    double sum = 0;
    size_t i;
    json_array_foreach(layers, i, layer) sum +=
        devices_number(layer, "forward_s") + devices_number(layer, "backward_s");
    return sum;
}

static int read_steps(const Session *s, const Question *q, Samples *samples)
{
    const char *at = q->answer;
    json_error_t error;
    for (json_t *o; *at && (o = json_loads(at, JSON_DISABLE_EOF_CHECK, &error)) != NULL;) {
        if (step_of(o) > 0)
            vec_push(s->arena, samples, step_of(o));
        json_decref(o);
        at += error.position;
        at += strspn(at, " \r\n");
    }
    if (!*at && samples->n)
        return EXIT_DONE;
    error_at(NO_LOC, "%s: %s gave no times", q->host, q->what);
    return EXIT_PEER;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static Measured middle(Samples *samples)
{
    int n = samples->n;
    double *v = samples->items;
    qsort(v, (size_t)n, sizeof *v, compare);
    double median = (v[(n - 1) / 2] + v[n / 2]) / 2;
    return (Measured){median, (v[n - 1 - n / 10] - v[n / 10]) / median};
}

// The hosts of `which` (n of them) run the model together, RUNS times; figures[i].step_s of each.
static int run_all(Session *s, const int *which, int n, bool alone, Measured *result)
{
    Question *q = arena_array(s->arena, Question, n + 1);
    Samples *samples = arena_array(s->arena, Samples, n + 1);
    int64_t begin = progress_now_ns();
    int status = EXIT_DONE;
    for (int run = 0; run < RUNS && !status; run++) {
        if (run && (double)(progress_now_ns() - begin) * 1e-9 > enough_s)
            break;
        for (int i = 0; i < n; i++) {
            const Host *host = &s->hosts.items[which[i]];
            q[i] =
                (Question){.host = host->name,
                           .script = run_script(s, which[i], slots_at_once(s, which[i], alone)),
                           .input = s->program,
                           .what = "measuring its speed",
                           .limit_s = RUN_LIMIT_S + 60};
        }
        status = devices_ask(s, q, n);
        for (int i = 0; i < n && !status; i++)
            status = read_steps(s, &q[i], &samples[i]);
    }
    for (int i = 0; i < n && !status; i++) {
        result[i] = middle(&samples[i]);
        result[i].value *= turns(s, which[i], alone);
    }
    return status;
}

// On processors: the model runs.
static int run_on_processors(Session *s, const int *which, int n)
{
    Measured *result = arena_array(s->arena, Measured, s->hosts.n);
    int status = devices_build_model(s), first = 0;
    devices_progress(s, "measuring the speed of %d host%s, all slots at once", n,
                     n > 1 ? "s" : "");
    if (!status)
        status = run_all(s, which, n, false, result);
    for (int i = 0; i < n && !status; i++)
        s->figures[which[i]].step_s = result[i];
    Measured alone = result[0];
    if (!status && !which[0] && s->hosts.items[0].slots > 1) {
        devices_progress(s, "measuring %s with one slot: its speed is 1",
                         s->hosts.items[0].name);
        status = run_all(s, &first, 1, true, &alone);
    }
    s->alone_s = which[0] ? s->alone_s : alone.value;
    return status;
}

// Hosts whose weight the hostfile gives need no measuring; the first one is what others are
// compared with.
int devices_speeds(Session *s)
{
    int *which = arena_array(s->arena, int, s->hosts.n), n = 0;
    bool wanted = false;
    for (int i = 0; i < s->hosts.n; i++)
        wanted |= s->hosts.items[i].weight <= 0;
    for (int i = 0; i < s->hosts.n && wanted; i++) {
        const Host *h = &s->hosts.items[i];
        if (i && h->weight > 0)
            continue;
        if (!h->cuda) {
            which[n++] = i;
            continue;
        }
        s->figures[i].step_s.value = devices_estimate(s, &s->figures[i].card);
        if (!(s->figures[i].step_s.value > 0))
            return EXIT_INPUT;
    }
    if (wanted && s->hosts.items[0].cuda)
        s->alone_s = s->figures[0].step_s.value;
    return n ? run_on_processors(s, which, n) : EXIT_DONE;
}
