#include "runtime/lr.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define PI 3.14159265358979323846

// t counts from the end of the warm-up; T is the length of the fall (0: unknown, no fall).
typedef double shape(const rt__lr_schedule *s, int64_t t, int64_t T);

static double constant(const rt__lr_schedule *s, int64_t t, int64_t T)
{
    (void)t, (void)T;
    return s->lr;
}

static double steps(const rt__lr_schedule *s, int64_t t, int64_t T)
{
    (void)T;
    int64_t drops = s->steps > 0 ? t / s->steps : 0;
    return s->lr * pow(s->gamma, (double)drops);
}

static double fallen(int64_t t, int64_t T) // from 0 to 1
{
    if (T <= 0)
        return 0;
    return t < T ? (double)t / (double)T : 1;
}

static double cosine(const rt__lr_schedule *s, int64_t t, int64_t T)
{
    return s->final + (s->lr - s->final) * (1 + cos(PI * fallen(t, T))) / 2;
}

static double polynomial(const rt__lr_schedule *s, int64_t t, int64_t T)
{
    return s->final + (s->lr - s->final) * pow(1 - fallen(t, T), s->power);
}

static const struct {
    const char *name;
    shape *at;
} shapes[] = {
    {"constant", constant}, {"step", steps}, {"cosine", cosine}, {"polynomial", polynomial}};

static shape *find(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (name && strcmp(shapes[i].name, name) == 0)
            return shapes[i].at;
    return NULL;
}

bool rt__lr_known(const char *name)
{
    return find(name) != NULL;
}

double rt__lr_at(const rt__lr_schedule *schedule, int64_t s)
{
    if (s < schedule->warmup)
        return schedule->lr * (double)(s + 1) / (double)schedule->warmup;
    shape *at = find(schedule->name);
    int64_t T = schedule->steps > 0 ? schedule->steps : schedule->total - schedule->warmup;
    return (at ? at : constant)(schedule, s - schedule->warmup, T);
}
