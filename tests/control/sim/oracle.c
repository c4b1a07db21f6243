// What must be true after every event, from outside of the cores: of the disk, of the memory of workers, and of what
// programs accept. docs/control.md lists it.
#include "control/master_epoch.h"
#include "tests/control/sim/world.h"

#include <stdarg.h>
#include <stdio.h>

void violated(World *w, const char *format, ...)
{
    va_list ap;
    if (w->violation)
        return;
    va_start(ap, format);
    vsnprintf(w->violation_text, sizeof w->violation_text, format, ap);
    va_end(ap);
    w->violation = w->violation_text;
    story(w, "VIOLATION: %s", w->violation);
}

// Values: what training would have computed, as far as it can be mixed up
// ------------------------------------------------------------------------------

static uint64_t mixed(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b * UINT64_C(0x9e3779b97f4a7c15)) + UINT64_C(0x632be59bd9b4e019);
    x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 32;
}

uint64_t value_of(uint64_t before, uint64_t step, uint64_t made)
{
    return mixed(mixed(before, step), made);
}

uint64_t part_value(uint64_t value, uint32_t part)
{
    return mixed(value, part + 1000);
}

Label *label_of(World *w, uint64_t step, uint64_t made)
{
    for (int i = w->n_labels; i-- > 0;)
        if (w->labels[i].step == step && w->labels[i].made == made)
            return &w->labels[i];
    return NULL;
}

static int host_of(const World *w, uint32_t worker)
{
    return w->master.members[worker].key.bytes[0] - 1;
}

static const Epoch *epoch_of(const World *w, uint64_t number)
{
    for (int i = w->n_journal; i-- > 0;)
        if (w->journal[i].kind == RECORD_EPOCH && w->journal[i].epoch.number == number)
            return &w->journal[i].epoch;
    return NULL;
}

// All ranks have had its state behind this step.
static bool is_saved(World *w, const Epoch *e, uint64_t step)
{
    const Label *l = label_of(w, step, epoch_made(e, step));
    for (uint32_t r = 0; r < e->n_ranks; r++)
        for (uint32_t part = 0; part < PARTS; part++)
            if (e->ranks[r].runs >> part & 1 &&
                !(l && l->had[part] >> host_of(w, e->ranks[r].worker) & 1))
                return false;
    return true;
}

// Nobody may be more than a step beyond the others, or beyond the copy behind that which is on its way.
static void may_have_run(World *w, uint64_t step, uint64_t made)
{
    const Epoch *e = epoch_of(w, made);
    uint64_t most = w->committed + 1;
    if (!e)
        return;
    if (e->copy_every > 1)
        most = epoch_point(e, epoch_point(e, w->committed + 1, UINT64_MAX) + 1, UINT64_MAX) + 1;
    if (step > most)
        violated(w, "step %d of epoch %d is ended with %d committed", (int)step, (int)made,
                 (int)w->committed);
    if (!is_saved(w, e, step - 1))
        violated(w, "step %d of epoch %d is ended, and not all are behind the one before it",
                 (int)step, (int)made);
}

void oracle_ran(World *w, uint64_t step, uint64_t made, uint64_t value, uint64_t before)
{
    Label *l = label_of(w, step, made);
    may_have_run(w, step, made);
    if (made > w->ran_made || (made == w->ran_made && step > w->ran)) {
        w->ran = step;
        w->ran_made = made;
    }
    if (l && l->value != value)
        violated(w, "step %d of epoch %d is run from two states", (int)step, (int)made);
    if (l || w->violation)
        return;
    if (w->n_labels == (int)(sizeof w->labels / sizeof *w->labels))
        violated(w, "%d different states", w->n_labels);
    else
        w->labels[w->n_labels++] =
            (Label){.step = step, .made = made, .value = value, .before = before};
}

void oracle_saved(World *w, int host, uint32_t part, const State *state)
{
    Label *l = label_of(w, state->step, state->made);
    if (!l || state->value != part_value(l->value, part))
        violated(w, "w%d has a state of part %u that nobody has run", host, part);
    else
        l->had[part] |= UINT64_C(1) << host;
}

// The journal
// -----------------------------------------------------------------------------------

// Who have its state before it is committed.
static uint64_t holders(const World *w, const EpochRank *rank)
{
    uint64_t hosts = UINT64_C(1) << host_of(w, rank->worker);
    if (rank->copier != NOBODY)
        hosts |= UINT64_C(1) << host_of(w, rank->copier);
    return hosts;
}

static bool hears(const World *w, const Member *x)
{
    const Process *p = &w->processes[x->key.bytes[0] - 1];
    return p->alive && x->here && !x->ended &&
           p->core.config.has.incarnation == x->has.incarnation &&
           w->now - x->heard_ns < w->master.config.silence_ns;
}

// A change of plan, where nothing else has ended the epoch, cuts no step off.
void oracle_changes(World *w)
{
    for (uint32_t i = 0; i < w->master.n_members; i++) {
        const Process *p = &w->processes[host_of(w, i)];
        if (w->master.epoch.incarnations[i] &&
            (!hears(w, &w->master.members[i]) || p->core.phase != WORKER_RUNNING))
            return;
    }
    for (int i = 0; i < w->n_hosts; i++)
        for (uint32_t r = 0; r < PARTS; r++) {
            const Program *p = &w->processes[i].programs[r];
            if (w->processes[i].alive && p->there && p->epoch == w->epochs &&
                p->stage != AT_BEGIN)
                violated(w, "a change of plan cuts off step %d", (int)p->step + 1);
        }
}

// Nobody whom the master hears runs programs when it decides about others.
static void all_have_stopped(World *w)
{
    for (uint32_t i = 0; i < w->master.n_members; i++) {
        const Member *x = &w->master.members[i];
        if (hears(w, x) && w->processes[host_of(w, i)].core.phase != WORKER_STOPPED)
            violated(w, "an epoch is decided about while w%d runs programs", host_of(w, i));
    }
}

// Where only programs have ended, the next epoch repeats one step at most.
static void repeats_little(World *w, const Epoch *e)
{
    for (uint32_t i = 0; i < w->master.n_members; i++) {
        const Member *x = &w->master.members[i];
        uint64_t incarnation = w->master.epoch.incarnations[i];
        if (incarnation && (!hears(w, x) || x->has.incarnation != incarnation))
            return;
    }
    if (w->ran_made == w->master.epoch.number && e->step + 1 < w->ran)
        violated(w, "epoch %d goes back from step %d to %d, and nobody is lost", (int)e->number,
                 (int)w->ran, (int)e->step);
}

// Nothing is committed that one host alone has ever had.
void oracle_appended(World *w, const Record *r)
{
    const Label *l =
        r->kind == RECORD_COMMIT ? label_of(w, r->commit.step, r->commit.made) : NULL;
    if (r->kind == RECORD_EPOCH) {
        all_have_stopped(w);
        repeats_little(w, &r->epoch);
    }
    if (r->kind == RECORD_COMMIT && !l)
        violated(w, "step %d is committed that nobody has run", (int)r->commit.step);
    if (l && l->step != epoch_point(&w->master.epoch, l->step, master_last(&w->master)))
        violated(w, "step %d is committed, which is none that is copied", (int)l->step);
    for (uint32_t k = 0; l && k < w->master.epoch.n_ranks; k++) {
        const EpochRank *rank = &w->master.epoch.ranks[k];
        uint64_t both = holders(w, rank);
        for (uint32_t part = 0; part < PARTS; part++)
            if (rank->owns >> part & 1 && both & ~l->had[part])
                violated(w, "step %d is committed before part %u was saved and copied",
                         (int)l->step, part);
    }
}

static void begins(World *w, const Epoch *e)
{
    uint64_t owned = 0;
    const Label *l = label_of(w, e->step, e->made);
    if (e->number != w->epochs + 1)
        violated(w, "epoch %d comes after %d", (int)e->number, (int)w->epochs);
    for (uint32_t r = 0; r < e->n_ranks; r++) {
        if (e->ranks[r].owns & owned)
            violated(w, "epoch %d: a part has two owners", (int)e->number);
        owned |= e->ranks[r].owns;
    }
    if (owned != (UINT64_C(1) << PARTS) - 1)
        violated(w, "epoch %d: a part has no owner", (int)e->number);
    if (e->step < w->committed || (e->step == w->committed && e->made != w->committed_made))
        violated(w, "epoch %d goes back behind committed step %d", (int)e->number,
                 (int)w->committed);
    if (!l)
        violated(w, "epoch %d begins with a state that nobody has run", (int)e->number);
    w->epochs = e->number;
    w->epoch_at = w->now;
    story(w, "journal: epoch %d from step %d with %u ranks", (int)e->number, (int)e->step,
          e->n_ranks);
}

// Does it come of the committed state, step by step?
static bool descends(const World *w, const Label *l)
{
    for (int i = w->n_labels; l && l->step > w->committed && i-- > 0;)
        if (w->labels[i].step + 1 == l->step && w->labels[i].value == l->before)
            l = &w->labels[i]; // which was run before it
    return l && l->step == w->committed && l->made == w->committed_made;
}

static void commits(World *w, uint64_t epoch, uint64_t step, uint64_t made)
{
    const Label *l = label_of(w, step, made);
    if (step <= w->committed)
        violated(w, "step %d is committed after %d", (int)step, (int)w->committed);
    if (epoch != w->epochs)
        violated(w, "step %d is committed by epoch %d, which is over", (int)step, (int)epoch);
    if (!descends(w, l))
        violated(w, "step %d does not come of the committed one before it", (int)step);
    w->committed = step;
    w->committed_made = made;
    w->committed_at = w->now;
}

void oracle_durable(World *w, const Record *r)
{
    w->n_seen++;
    if (r->kind == RECORD_EPOCH)
        begins(w, &r->epoch);
    if (r->kind == RECORD_COMMIT)
        commits(w, r->commit.epoch, r->commit.step, r->commit.made);
}

// Messages
// ---------------------------------------------------------------------------------------

static bool is_listed(const World *w, uint32_t worker)
{
    for (int i = 0; i < w->n_seen; i++)
        if (w->journal[i].kind == RECORD_MEMBER && w->journal[i].member.worker == worker)
            return true;
    return false;
}

// Nothing is sent that a master which starts from the disk would not know.
void oracle_told(World *w, int host, const Message *m)
{
    bool known = true;
    if (m->id == MESSAGE_WELCOME)
        known = is_listed(w, m->welcome.worker);
    if (m->id == MESSAGE_START)
        known = m->start.number <= w->epochs;
    if (m->id == MESSAGE_ORDER)
        known = m->order.epoch <= w->epochs && m->order.committed <= w->committed;
    if (!known)
        violated(w, "w%d is told what is not on the disk (%s)", host, message_name(m->id));
}

void oracle_accepts(World *w, const Event *e, const Program *p)
{
    if (e->epoch != p->epoch)
        violated(w, "a program of epoch %d accepts a message of epoch %d", (int)p->epoch,
                 (int)e->epoch);
}

// Memory
// -----------------------------------------------------------------------------------------

static bool has(const World *w, int host, uint32_t part, uint64_t step, uint64_t made)
{
    const Process *p = &w->processes[host];
    return p->alive && find_state(p, part, step, made);
}

static void has_what_it_says(World *w, int host)
{
    const Worker *core = &w->processes[host].core;
    for (uint32_t i = 0; i < core->n_held; i++) {
        uint64_t step = core->held[i].step;
        bool passed = step > core->committed && step < core->epoch.step;
        if (core->phase == WORKER_RUNNING && passed)
            violated(w, "w%d holds the state behind step %d, which nobody goes back to", host,
                     (int)step);
        for (uint32_t part = 0; part < PARTS; part++)
            if (core->held[i].parts >> part & 1 &&
                !has(w, host, part, core->held[i].step, core->held[i].made))
                violated(w, "w%d says that it has part %u behind step %d", host, part,
                         (int)step);
    }
}

static bool another_has(const World *w, int except, uint32_t part, const Label *l)
{
    for (int i = 0; i < w->n_hosts; i++)
        if (i != except && w->processes[i].alive &&
            worker_holds(&w->processes[i].core, l->step, l->made, part))
            return true;
    return false;
}

static bool others_have(World *w, int except, uint64_t step, uint64_t made)
{
    const Label *l = label_of(w, step, made);
    for (uint32_t part = 0; part < PARTS && made; part++)
        if (!another_has(w, except, part, l))
            return false;
    return true;
}

// News of a part that two had may be on its way to the master, who commits it when it has come.
static bool may_be_lost(World *w, int host, const Label *next)
{
    const Epoch *e = &w->master.epoch;
    for (uint32_t r = 0; r < e->n_ranks && next; r++)
        for (uint32_t part = 0; part < PARTS; part++)
            if (e->ranks[r].owns >> part & 1 &&
                !(holders(w, &e->ranks[r]) & ~next->had[part]) &&
                !another_has(w, host, part, next))
                return true;
    return false;
}

bool survivable(World *w, int host)
{
    const Epoch *e = &w->master.epoch;
    Held next = e->number ? master_next_commit(&w->master) : (Held){0, 0, 0};
    for (uint32_t r = 0; r < e->n_ranks; r++)
        if (e->ranks[r].owns && e->ranks[r].copier == NOBODY &&
            host_of(w, e->ranks[r].worker) == host)
            return false; // nothing of what it commits next is held by others
    return !may_be_lost(w, host, label_of(w, next.step, next.made)) &&
           others_have(w, host, w->committed, w->committed_made);
}

void oracle_look(World *w, int process)
{
    if (process >= 0 && process < MASTER && w->processes[process].alive)
        has_what_it_says(w, process);
    if (w->lost || w->committed == w->last_step) // all may go
        return;
    if (others_have(w, -1, w->committed, w->committed_made))
        return;
    if (w->lossy)
        w->lost = true;
    else
        violated(w, "nobody has the committed step %d", (int)w->committed);
}
