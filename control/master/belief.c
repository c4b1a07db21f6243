#include "control/master/belief.h"

#include <math.h>

static const double least_noise = 0.12, first_noise = 0.1, newer = 0.1;
// Evidence that is enough: the larger of it and so many times the noise. One time makes up no more than a share of it.
static const double least_weight = 0.45, noises = 3, of_one = 0.75;

void belief_begin(Belief *b, double speed)
{
    *b = (Belief){.times = 1, .log = log(speed), .noise = first_noise};
}

static double enough(const Belief *b)
{
    return fmax(least_weight, noises * b->noise);
}

static void weigh(Evidence *e, double off, double most, double log)
{
    e->weight += fmin(off, most);
    if (e->weight <= 0) {
        *e = (Evidence){0};
        return;
    }
    if (off <= 0)
        return;
    e->sum += e->times ? log : 0;
    e->times++;
}

// The mean of those that said so, but the first.
static void change(Belief *b, const Evidence *e)
{
    b->log = e->sum / (e->times - 1);
    b->times = e->times - 1;
    b->slower = b->faster = (Evidence){0};
}

bool belief_heard(Belief *b, double speed)
{
    if (!b->times) {
        belief_begin(b, speed);
        return true;
    }
    double x = log(speed), off = x - b->log, slack = fmax(least_noise, b->noise);
    b->noise += newer * (fabs(off) - b->noise);
    weigh(&b->faster, off - slack, of_one * enough(b), x);
    weigh(&b->slower, -off - slack, of_one * enough(b), x);
    const Evidence *most = b->faster.weight > b->slower.weight ? &b->faster : &b->slower;
    if (most->times >= 2 && most->weight >= enough(b)) {
        change(b, most);
        return true;
    }
    if (b->times < 2 || fabs(off) <= slack) { // others are evidence alone
        b->times += b->times < BELIEF_MEMORY;
        b->log += off / b->times;
    }
    return false;
}

void belief_loosen(Belief *b)
{
    b->times = b->times ? 1 : 0;
    b->slower = b->faster = (Evidence){0};
}

double belief_speed(const Belief *b)
{
    return b->times ? exp(b->log) : 0;
}
