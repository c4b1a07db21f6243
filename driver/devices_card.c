// CUDA devices of hosts: a program of ours measures what each of them can do at best, and what a model takes there follows by
// the planner's own estimate.
#include "driver/devices.h"

#include <math.h>
#include <string.h>

enum { CARD_LIMIT_S = 100 };

static void take_least(Card *least, const Card *c)
{
    if (!least->name) {
        *least = *c;
        return;
    }
    if (c->memory_bytes < least->memory_bytes)
        least->memory_bytes = c->memory_bytes;
    least->flops = fmin(least->flops, c->flops);
    least->bf16_flops = fmin(least->bf16_flops, c->bf16_flops);
    least->bytes_per_s = fmin(least->bytes_per_s, c->bytes_per_s);
    least->to_bytes_per_s = fmin(least->to_bytes_per_s, c->to_bytes_per_s);
    least->from_bytes_per_s = fmin(least->from_bytes_per_s, c->from_bytes_per_s);
}

static int take_answer(Session *s, const Question *q, int host)
{
    Card *cards, *least = &s->figures[host].card;
    int n = cards_read(s->arena, q->answer, &cards);
    for (int i = 0; i < n; i++)
        take_least(least, &cards[i]);
    if (n == s->hosts.items[host].slots && least->flops > 0 && least->bf16_flops > 0 &&
        least->bytes_per_s > 0 && least->to_bytes_per_s > 0 && least->from_bytes_per_s > 0)
        return EXIT_DONE;
    error_at(NO_LOC, "%s: %s gave `%s`", q->host, q->what,
             remote_last_line(s->arena, q->answer));
    return EXIT_PEER;
}

int devices_cards(Session *s)
{
    Question *q = arena_array(s->arena, Question, s->hosts.n + 1);
    int *which = arena_array(s->arena, int, s->hosts.n + 1), n = 0;
    for (int i = 0; i < s->hosts.n; i++) {
        const Host *h = &s->hosts.items[i];
        if (!h->cuda)
            continue;
        const char *before = arena_printf(s->arena, "timeout %d \"$d/p\" measure %d & p=$!",
                                          CARD_LIMIT_S, h->slots);
        which[n] = i;
        q[n++] = (Question){.host = h->name,
                            .script = devices_script(s->arena, before, ""),
                            .input = s->card,
                            .what = "measuring its CUDA devices",
                            .limit_s = CARD_LIMIT_S + 20};
    }
    if (n)
        devices_progress(s, "measuring CUDA devices of %d host%s", n, n > 1 ? "s" : "");
    int status = devices_ask(s, q, n);
    for (int i = 0; i < n && !status; i++)
        status = take_answer(s, &q[i], which[i]);
    return status;
}

double devices_estimate(Session *s, const Card *card)
{
    DeviceSpeed *speed = arena_new(s->arena, DeviceSpeed);
    Args args = *s->args;
    Job j;
    *speed = (DeviceSpeed){
        .flops = card->flops, .bf16_flops = card->bf16_flops, .bytes_per_s = card->bytes_per_s};
    args.operand = devices_model(s);
    args.backend = "cuda";
    int status = job_load(&j, s->arena, &args);
    j.compile.speed = speed;
    if (!status)
        status = job_compile(&j, 1);
    double seconds = status ? 0 : j.plan.stages[0].forward_s + j.plan.stages[0].backward_s;
    job_release(&j);
    return seconds;
}

const char *devices_card_words(const Session *s, int host)
{
    const Card *c = &s->figures[host].card;
    return arena_printf(
        s->arena,
        "%s: products %.3g TFLOP/s, of bf16 %.3g; its memory %.3g GB/s, to it %.3g, "
        "from it %.3g",
        c->name, 1e-12 * c->flops, 1e-12 * c->bf16_flops, 1e-9 * c->bytes_per_s,
        1e-9 * c->to_bytes_per_s, 1e-9 * c->from_bytes_per_s);
}
