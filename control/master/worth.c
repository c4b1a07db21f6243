#include "control/master/worth.h"

#include <math.h>

enum {
    SOON = 200,     // steps after a change
    FIRST = 3,      // the step of an epoch from which on it is measured what a change brought
    JUDGED = 12,    // steps for that
    RECOVERY = 200, // steps without a broken promise that give back some trust
};
typedef struct Need {
    double gain;   // share of a step's time
    double regret; // steps' time
} Need;
static const Need usual = {0.05, 1}, soon = {0.10, 3};
static const double kept = 0.5; // of a promise: it was true
// What a broken one does to trust, and one of which that cannot be said; a kept one, or some time, gives it back.
static const double broken = 0.125, unknown = 0.7, better = 8, least_trust = 1.0 / 64;
static const double enough_trust = 0.6; // to go by news
// A gain that is no chance; and a share of the regret that is needed. With either of them programs are built.
static const double large = 0.2, likely = 0.25;
static const double newer = 0.2; // weight of the newest step

static double seconds(int64_t from_ns, int64_t to_ns)
{
    return 1e-9 * (double)(to_ns - from_ns);
}

// What the change brought
// ------------------------------------------------------------------------------------------------

static void judge(Worth *w, uint64_t step, double after_s)
{
    bool good = 1 - after_s / w->before_s >= kept * w->promised;
    double change = good ? better : w->news ? unknown : broken;
    w->trust = fmax(least_trust, fmin(1, w->trust * change));
    w->news = false;
    w->trusted = step;
    w->promised = 0;
}

void worth_step(Worth *w, uint64_t step, int64_t now_ns)
{
    double step_s =
        w->came_ns ? seconds(w->came_ns, now_ns) : 0; // the epoch's first one takes longer
    w->step_s = w->step_s > 0 ? newer * step_s + (1 - newer) * w->step_s : step_s;
    w->came_ns = now_ns;
    w->trust = w->trust > 0 ? w->trust : 1;
    if (step >= w->trusted + RECOVERY) {
        w->trust = fmin(1, w->trust * better);
        w->trusted = step;
    }
    if (!(w->promised > 0) || step < w->changed + FIRST)
        return;
    if (step == w->changed + FIRST)
        w->from_ns = now_ns;
    else if (step == w->changed + FIRST + JUDGED)
        judge(w, step, seconds(w->from_ns, now_ns) / JUDGED);
}

void worth_epoch(Worth *w, uint64_t step, double promised)
{
    bool long_known = w->began && step >= w->began + FIRST && w->came_ns;
    w->before_s =
        long_known ? seconds(w->began_ns, w->came_ns) / (double)(step - w->began) : w->step_s;
    w->promised = w->before_s > 0 ? promised : 0;
    if (promised > 0)
        w->changed = step;
    w->began = 0;
    w->regret = 0;
    w->step_s = 0;
    w->came_ns = 0;
    w->news = false;
}

void worth_news(Worth *w)
{
    w->news = true;
}

// ------------------------------------------------------------------------------------------------

// Soon after a change that was for nothing, or with the speeds that it was for, another one needs better reasons.
static const Need *needed(const Worth *w, uint64_t step)
{
    bool is_soon = w->changed && step < w->changed + SOON;
    return is_soon && !(w->news && w->trust >= enough_trust) ? &soon : &usual;
}

// What is small may be chance, so it has to last longer than what it costs: as the square, like every mean of what wavers.
static void regret(Worth *w, uint64_t step, double steps, double gain, const Need *need)
{
    if (!w->began && gain >= need->gain) {
        w->began = step;
        w->began_ns = w->came_ns;
        w->regret = 0;
        return;
    }
    w->regret += steps * (gain >= need->gain ? gain * gain / large : gain - need->gain);
    if (w->regret <= 0) {
        w->began = 0;
        w->regret = 0;
    }
}

WorthVerdict worth_look(Worth *w, const WorthOffer *o)
{
    const Need *need = needed(w, o->step);
    double gain = (w->trust > 0 ? w->trust : 1) * (1 - o->other_s / o->now_s);
    double steps = w->looked ? (double)(o->step - w->looked) : 0;
    bool pays = gain * w->step_s * (double)(o->last_step - o->step) > o->change_s;
    w->looked = o->step;
    regret(w, o->step, steps, gain, need);
    if (!w->began || w->promised > 0) // the last one is judged first
        return w->began ? WORTH_THOUGHT : WORTH_STAYING;
    if (!pays || gain < need->gain)
        return WORTH_THOUGHT;
    if (w->regret >= need->regret)
        return WORTH_CHANGING;
    return gain >= large || w->regret >= likely * need->regret ? WORTH_BUILDING : WORTH_THOUGHT;
}
